//! [`Packets`]: one filter of a rule, in the kernel's terms.

use serde_json::{Value, json};

use super::span::{self, Addresses, Spans};
use crate::entities::TrafficFilter;
use crate::traffic::Unsupported;

/// The version of the internet protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

impl Version {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The name of its table family, and of its headers.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }
}

/// Which packets: those for which everything that is said holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packets {
    src: Addresses,
    dst: Addresses,
    src_ports: Spans<u16>,
    dst_ports: Spans<u16>,
    protocols: Spans<u8>,
    /// Of IPv4 packets.
    dscp: Option<u8>,
    /// Of IPv6 packets.
    traffic_class: Option<u8>,
}

/// Protocols whose headers begin with two ports.
const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];

impl Packets {
    /// Reads a filter.
    ///
    /// # Errors
    ///
    /// What cannot be read or cannot be matched by the kernel.
    pub(super) fn of(filter: &TrafficFilter) -> Result<Self, Unsupported> {
        let tunnel = [
            &filter.src_tunnel_address,
            &filter.tgt_tunnel_address,
            &filter.src_tunnel_port,
            &filter.dst_tunnel_port,
        ];
        if tunnel.into_iter().any(|list| !list.is_empty()) {
            return unsupported("what is inside of tunnels cannot be matched");
        }
        if !filter.tags.is_empty() {
            return unsupported("packets carry no tags that could be matched");
        }
        if filter.qci.is_some() {
            return unsupported("qCI: packets do not say the class of their bearer");
        }
        let unreadable = |what: &str| {
            let what = what.to_owned();
            move |text: &str| Unsupported(format!("{what} cannot be read: '{text}'"))
        };
        let packets = Self {
            src: Addresses::read(&filter.src_address).map_err(unreadable("srcAddress"))?,
            dst: Addresses::read(&filter.dst_address).map_err(unreadable("dstAddress"))?,
            src_ports: span::ports(&filter.src_port).map_err(unreadable("srcPort"))?,
            dst_ports: span::ports(&filter.dst_port).map_err(unreadable("dstPort"))?,
            protocols: protocols(&filter.protocol)?,
            dscp: number("dSCP", filter.dscp, 63)?,
            traffic_class: number("tC", filter.tc, 255)?,
        };
        if packets.says_nothing() {
            return unsupported("a filter that names nothing would match all traffic");
        }
        if !packets.src_ports.is_empty() || !packets.dst_ports.is_empty() {
            let with_ports = packets.protocols.all(|protocol| WITH_PORTS.contains(&protocol));
            if !with_ports {
                return unsupported("ports are of TCP, UDP, DCCP, SCTP and UDP-Lite only");
            }
        }
        if Version::BOTH.into_iter().all(|version| !packets.exist(version)) {
            return unsupported("no packet is of IPv4 and of IPv6");
        }
        Ok(packets)
    }

    fn says_nothing(&self) -> bool {
        self.src.is_empty()
            && self.dst.is_empty()
            && self.src_ports.is_empty()
            && self.dst_ports.is_empty()
            && self.protocols.is_empty()
            && self.dscp.is_none()
            && self.traffic_class.is_none()
    }

    /// Whether packets of a version can match.
    pub(super) fn exist(&self, version: Version) -> bool {
        let addressed = |all: &Addresses| match version {
            Version::V4 => all.is_empty() || !all.v4.is_empty(),
            Version::V6 => all.is_empty() || !all.v6.is_empty(),
        };
        let classed = match version {
            Version::V4 => self.traffic_class.is_none(),
            Version::V6 => self.dscp.is_none(),
        };
        addressed(&self.src) && addressed(&self.dst) && classed
    }

    /// The packets that go the other way.
    pub(super) fn back(&self) -> Self {
        let mut back = self.clone();
        std::mem::swap(&mut back.src, &mut back.dst);
        std::mem::swap(&mut back.src_ports, &mut back.dst_ports);
        back
    }

    /// The matches, in a table of a version.
    pub(super) fn matches(&self, version: Version) -> Vec<Value> {
        let mut all = Vec::new();
        for (field, addresses) in [("saddr", &self.src), ("daddr", &self.dst)] {
            let value = match version {
                Version::V4 if !addresses.v4.is_empty() => addresses.v4.value(),
                Version::V6 if !addresses.v6.is_empty() => addresses.v6.value(),
                _ => continue,
            };
            all.push(equal(payload(version.name(), field), value));
        }
        let ports = [("sport", &self.src_ports), ("dport", &self.dst_ports)];
        let ported = ports.iter().any(|(_, spans)| !spans.is_empty());
        if !self.protocols.is_empty() {
            all.push(equal(meta("l4proto"), self.protocols.value()));
        } else if ported {
            all.push(equal(meta("l4proto"), json!({ "set": ["tcp", "udp"] })));
        }
        for (field, spans) in ports.into_iter().filter(|(_, spans)| !spans.is_empty()) {
            all.push(equal(payload("th", field), spans.value()));
        }
        if let Some(dscp) = self.dscp {
            all.push(equal(payload("ip", "dscp"), dscp.into()));
        }
        if let Some(class) = self.traffic_class {
            all.push(equal(payload("ip6", "dscp"), (class >> 2).into()));
            all.push(equal(payload("ip6", "ecn"), (class & 3).into()));
        }
        all
    }
}

/// The match of a version, where a table has both.
pub(super) fn of_version(version: Version) -> Value {
    equal(meta("protocol"), version.name().into())
}

/// One of the packet's own facts.
fn meta(key: &str) -> Value {
    json!({ "meta": { "key": key } })
}

/// A field of a header.
pub(super) fn payload(protocol: &str, field: &str) -> Value {
    json!({ "payload": { "protocol": protocol, "field": field } })
}

fn equal(left: Value, right: Value) -> Value {
    json!({ "match": { "op": "==", "left": left, "right": right } })
}

fn protocols(texts: &[String]) -> Result<Spans<u8>, Unsupported> {
    let mut numbers = Vec::new();
    for text in texts {
        let number = match text.trim().to_ascii_uppercase().as_str() {
            // Said in words, it is nothing to match.
            "ANY" | "ALL" | "IP" => continue,
            "ICMP" => 1,
            "IGMP" => 2,
            "TCP" => 6,
            "UDP" => 17,
            "DCCP" => 33,
            "GRE" => 47,
            "ESP" => 50,
            "AH" => 51,
            "ICMPV6" | "ICMP6" | "IPV6-ICMP" => 58,
            "SCTP" => 132,
            "UDPLITE" => 136,
            other => other.parse().map_err(|_| {
                Unsupported(format!("protocol is neither a known name nor a number: '{text}'"))
            })?,
        };
        numbers.push((number, number));
    }
    Ok(Spans::new(numbers))
}

fn number(what: &str, value: Option<i64>, most: u8) -> Result<Option<u8>, Unsupported> {
    let read = |value: i64| u8::try_from(value).ok().filter(|value| *value <= most);
    match value {
        None => Ok(None),
        Some(value) => match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(Unsupported(format!("{what} must be from 0 to {most}, not {value}"))),
        },
    }
}

fn unsupported<T>(why: &str) -> Result<T, Unsupported> {
    Err(Unsupported(why.to_owned()))
}
