//! [`Lowered`]: a rule in the kernel's terms, or why there is none.

use std::net::IpAddr;

use gateway_model::Id;

use super::device::{Devices, Mac};
use super::packets::{Packets, Version};
use crate::entities::{Action, DestinationInterface, FilterType, InterfaceType, TrafficRule};
use crate::traffic::Unsupported;

/// A rule the kernel can follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lowered {
    pub(super) id: Id,
    pub(super) filter_type: FilterType,
    /// Alternatives.
    pub(super) packets: Vec<Packets>,
    pub(super) verdict: Verdict,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Drop,
    Pass,
    Forward(Target),
    /// What passes is copied there; it goes where it would, or to `forward`.
    Duplicate {
        forward: Option<Target>,
        copy: Target,
    },
}

/// Where packets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Address(IpAddr),
    /// Out by a device, to a hardware address or the one they have.
    Device {
        name: String,
        src: Mac,
        dst: Option<Mac>,
    },
}

impl Target {
    /// Whether packets of a version can go there.
    pub(super) const fn takes(&self, version: Version) -> bool {
        match (self, version) {
            (Self::Address(address), Version::V4) => address.is_ipv4(),
            (Self::Address(address), Version::V6) => address.is_ipv6(),
            (Self::Device { .. }, _) => true,
        }
    }
}

impl Lowered {
    /// Lowers a rule; `ingress` says whether there are devices traffic comes in by.
    ///
    /// # Errors
    ///
    /// What the kernel cannot do.
    pub(super) fn of(
        rule: &TrafficRule,
        devices: &Devices,
        ingress: bool,
    ) -> Result<Self, Unsupported> {
        if rule.filters.is_empty() {
            return unsupported("a rule without a filter would match all traffic");
        }
        let target = |at: usize| Target::of(rule.interfaces.get(at), devices, ingress);
        let verdict = match rule.action {
            Action::Drop => Verdict::Drop,
            Action::Passthrough => Verdict::Pass,
            Action::ForwardEncapsulated => Verdict::Forward(target(0)?),
            Action::DuplicateEncapsulated => {
                let (forward, copy) = match rule.interfaces.len() {
                    0 | 1 => (None, target(0)?),
                    _ => (Some(target(0)?), target(1)?),
                };
                if matches!(copy, Target::Device { dst: Some(_), .. }) {
                    return unsupported("a copy cannot be given another hardware address");
                }
                Verdict::Duplicate { forward, copy }
            }
            Action::ForwardDecapsulated | Action::DuplicateDecapsulated => {
                return unsupported("packets cannot be taken out of tunnels");
            }
        };
        let packets: Vec<Packets> =
            rule.filters.iter().map(Packets::of).collect::<Result<_, _>>()?;
        let lowered = Self { id: rule.id, filter_type: rule.filter_type, packets, verdict };
        let reachable = lowered.packets.iter().all(|packets| {
            Version::BOTH.into_iter().any(|version| lowered.concerns(packets, version))
        });
        if !reachable {
            return unsupported("packets of one IP version cannot go to an address of the other");
        }
        Ok(lowered)
    }

    /// Whether the rule is about packets of this version.
    pub(super) fn concerns(&self, packets: &Packets, version: Version) -> bool {
        let takes = |target: &Target| target.takes(version);
        let possible = match &self.verdict {
            Verdict::Drop | Verdict::Pass => true,
            Verdict::Forward(target) => takes(target),
            Verdict::Duplicate { forward, copy } => {
                takes(copy) && forward.as_ref().is_none_or(takes)
            }
        };
        possible && packets.exist(version)
    }

    /// The packets it is about, of a version; of flows, those of the answers too, unless they are
    /// sent elsewhere, which is for one direction.
    pub(super) fn all_packets(&self, version: Version) -> Vec<Packets> {
        let both = self.filter_type == FilterType::Flow
            && !matches!(
                self.verdict,
                Verdict::Forward(_) | Verdict::Duplicate { forward: Some(_), .. }
            );
        let mut all = Vec::new();
        for packets in self.packets.iter().filter(|packets| self.concerns(packets, version)) {
            all.push(packets.clone());
            let back = packets.back();
            if both && back != *packets {
                all.push(back);
            }
        }
        all
    }

    /// Where packets are sent that would go elsewhere.
    pub(super) const fn forward(&self) -> Option<&Target> {
        match &self.verdict {
            Verdict::Forward(target) => Some(target),
            Verdict::Duplicate { forward, .. } => forward.as_ref(),
            Verdict::Drop | Verdict::Pass => None,
        }
    }
}

impl Target {
    fn of(
        interface: Option<&DestinationInterface>,
        devices: &Devices,
        ingress: bool,
    ) -> Result<Self, Unsupported> {
        let Some(interface) = interface else {
            return unsupported("dstInterface is needed to forward or duplicate");
        };
        let kind = interface.interface_type.or_else(|| guessed(interface));
        match kind {
            Some(InterfaceType::Ip) => {
                let text = interface.dst_ip_address.as_deref().unwrap_or_default();
                let address = text
                    .parse()
                    .map_err(|_| Unsupported(format!("dstIpAddress cannot be read: '{text}'")))?;
                Ok(Self::Address(address))
            }
            Some(InterfaceType::Mac) => Self::device(interface, devices, ingress),
            Some(InterfaceType::Tunnel) => unsupported("packets cannot be put into tunnels"),
            None => unsupported("dstInterface names neither an address nor a hardware address"),
        }
    }

    fn device(
        interface: &DestinationInterface,
        devices: &Devices,
        ingress: bool,
    ) -> Result<Self, Unsupported> {
        if !ingress {
            return unsupported(
                "forwarding to hardware addresses needs to know the devices traffic comes in by \
                 (mep_traffic_devices)",
            );
        }
        let read = |what: &str, text: &str| -> Result<Mac, Unsupported> {
            text.parse().map_err(|()| Unsupported(format!("{what} cannot be read: '{text}'")))
        };
        let Some(src) = given(interface.src_mac_address.as_deref()) else {
            return unsupported("srcMacAddress is needed: it names the device packets go out by");
        };
        let src = read("srcMacAddress", src)?;
        let dst = given(interface.dst_mac_address.as_deref());
        let dst = dst.map(|text| read("dstMacAddress", text)).transpose()?;
        let Some(name) = devices.named(src) else {
            return Err(Unsupported(format!("no device has the hardware address {src}")));
        };
        Ok(Self::Device { name, src, dst })
    }
}

/// The kind of an interface that does not say it.
fn guessed(interface: &DestinationInterface) -> Option<InterfaceType> {
    let tunnel = interface.tunnel_info.as_ref();
    let tunnel = tunnel.is_some_and(|info| *info != crate::entities::TunnelInfo::default());
    let mac = given(interface.src_mac_address.as_deref()).is_some();
    let address = given(interface.dst_ip_address.as_deref()).is_some();
    match (tunnel, mac, address) {
        (true, ..) => Some(InterfaceType::Tunnel),
        (_, true, _) => Some(InterfaceType::Mac),
        (_, _, true) => Some(InterfaceType::Ip),
        _ => None,
    }
}

fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn unsupported<T>(why: &str) -> Result<T, Unsupported> {
    Err(Unsupported(why.to_owned()))
}
