//! Rules as the dialect writes and reads them: for Mp1 and for Mm5.

use std::net::IpAddr;

use gateway_model::{Id, Ref};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::dialect::rules::length;
use crate::dns::{is_host, is_name};
use crate::entities::{
    Action, DestinationInterface, DnsRule, FilterType, InterfaceType, IpAddressType, RuleState,
    TrafficFilter, TrafficRule, TunnelInfo, TunnelType, sent_only,
};

/// A DNS rule on the wire, members in the original's order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = edgegallery::DnsRule)]
pub(crate) struct DnsRuleBody {
    pub(crate) dns_rule_id: String,
    pub(crate) domain_name: String,
    pub(crate) ip_address_type: String,
    pub(crate) ip_address: String,
    pub(crate) ttl: u32,
    pub(crate) state: String,
}

impl DnsRuleBody {
    pub(crate) fn of(rule: &DnsRule) -> Self {
        Self {
            dns_rule_id: rule.rule_id.clone(),
            domain_name: rule.domain_name.clone(),
            ip_address_type: rule.ip_address_type.as_str().to_owned(),
            ip_address: rule.ip_address.clone(),
            ttl: rule.ttl_seconds,
            state: rule.state.as_str().to_owned(),
        }
    }

    /// The rule, or the fields that break one, by the names the original gave them.
    pub(crate) fn read(self, app: Id, position: u32) -> Result<DnsRule, Vec<&'static str>> {
        let kind = match self.ip_address_type.as_str() {
            "IPv4" => Some(IpAddressType::V4),
            "IPv6" => Some(IpAddressType::V6),
            other => IpAddressType::parse(other),
        };
        let state = state(&self.state);
        let address = self.ip_address.parse::<IpAddr>().ok().filter(|address| is_host(*address));
        // The original looked at either alone; a rule that cannot be answered is of no use.
        let fits = matches!((kind, &address), (Some(kind), Some(address)) if kind.covers(address));
        let broken: Vec<&str> = [
            ((1..=63).contains(&length(&self.dns_rule_id)), "DNSRuleID"),
            (
                (1..=255).contains(&length(&self.domain_name)) && is_name(&self.domain_name),
                "DomainName",
            ),
            (kind.is_some(), "IPAddressType"),
            (address.is_some() && (kind.is_none() || fits), "IPAddress"),
            (state.is_some(), "State"),
        ]
        .into_iter()
        .filter_map(|(holds, field)| (!holds).then_some(field))
        .collect();
        match (kind, state) {
            (Some(ip_address_type), Some(state)) if broken.is_empty() => Ok(DnsRule {
                id: DnsRule::id_of(app, &self.dns_rule_id),
                app: Ref::new(app),
                position,
                key: DnsRule::key_of(&self.domain_name),
                rule_id: self.dns_rule_id,
                domain_name: self.domain_name,
                ip_address_type,
                ip_address: self.ip_address,
                ttl_seconds: self.ttl,
                state,
            }),
            _ => Err(broken),
        }
    }
}

/// A state that may be left out.
fn state(text: &str) -> Option<RuleState> {
    if text.is_empty() { Some(RuleState::Active) } else { RuleState::parse(text) }
}

/// A traffic rule on the wire, members in the original's order.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = edgegallery::TrafficRule)]
pub(crate) struct TrafficRuleBody {
    pub(crate) traffic_rule_id: String,
    filter_type: String,
    priority: i64,
    traffic_filter: Option<Vec<FilterBody>>,
    action: String,
    dst_interface: Option<Vec<InterfaceBody>>,
    state: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = edgegallery::TrafficFilter)]
struct FilterBody {
    src_address: Option<Vec<String>>,
    dst_address: Option<Vec<String>>,
    src_port: Option<Vec<String>>,
    dst_port: Option<Vec<String>>,
    protocol: Option<Vec<String>>,
    tag: Option<Vec<String>>,
    src_tunnel_address: Option<Vec<String>>,
    tgt_tunnel_address: Option<Vec<String>>,
    src_tunnel_port: Option<Vec<String>>,
    dst_tunnel_port: Option<Vec<String>>,
    #[serde(rename = "qCI")]
    qci: i64,
    #[serde(rename = "dSCP")]
    dscp: i64,
    #[serde(rename = "tC")]
    tc: i64,
    /// The standard's word for `tag`, taken as well.
    #[serde(skip_serializing_if = "sent_only")]
    token: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = edgegallery::DestinationInterface)]
struct InterfaceBody {
    interface_type: String,
    tunnel_info: TunnelBody,
    src_mac_address: String,
    dst_mac_address: String,
    dst_ip_address: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = edgegallery::TunnelInfo)]
struct TunnelBody {
    tunnel_type: String,
    tunnel_dst_address: String,
    tunnel_src_address: String,
}

impl TrafficRuleBody {
    pub(crate) fn of(rule: &TrafficRule) -> Self {
        let interfaces: Vec<_> = rule.interfaces.iter().map(InterfaceBody::of).collect();
        Self {
            traffic_rule_id: rule.rule_id.clone(),
            filter_type: rule.filter_type.as_str().to_owned(),
            priority: rule.priority.into(),
            traffic_filter: Some(rule.filters.iter().map(FilterBody::of).collect()),
            action: rule.action.dialect().to_owned(),
            dst_interface: (!interfaces.is_empty()).then_some(interfaces),
            state: rule.state.as_str().to_owned(),
        }
    }

    /// The rule, or the fields that break one, by the names the original gave them.
    pub(crate) fn read(self, app: Id, position: u32) -> Result<TrafficRule, Vec<&'static str>> {
        let filter_type = FilterType::parse(&self.filter_type);
        let action = Action::parse(&self.action);
        let priority = u8::try_from(self.priority).ok().filter(|priority| *priority > 0);
        let state = state(&self.state);
        let mut broken: Vec<&str> = [
            ((1..=63).contains(&length(&self.traffic_rule_id)), "TrafficRuleID"),
            (filter_type.is_some(), "FilterType"),
            (priority.is_some(), "Priority"),
            (self.traffic_filter.is_some(), "TrafficFilter"),
            (action.is_some(), "Action"),
            (state.is_some(), "State"),
        ]
        .into_iter()
        .filter_map(|(holds, field)| (!holds).then_some(field))
        .collect();
        let mut filters = Vec::new();
        for filter in self.traffic_filter.into_iter().flatten() {
            filters.push(filter.read(&mut broken));
        }
        let mut interfaces = Vec::new();
        for interface in self.dst_interface.into_iter().flatten() {
            interfaces.push(interface.read(&mut broken));
        }
        match (filter_type, action, priority, state) {
            (Some(filter_type), Some(action), Some(priority), Some(state)) if broken.is_empty() => {
                Ok(TrafficRule {
                    id: TrafficRule::id_of(app, &self.traffic_rule_id),
                    app: Ref::new(app),
                    position,
                    rule_id: self.traffic_rule_id,
                    filter_type,
                    priority,
                    filters,
                    action,
                    interfaces,
                    state,
                })
            }
            _ => Err(broken),
        }
    }
}

impl FilterBody {
    fn of(filter: &TrafficFilter) -> Self {
        let list = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        Self {
            src_address: list(&filter.src_address),
            dst_address: list(&filter.dst_address),
            src_port: list(&filter.src_port),
            dst_port: list(&filter.dst_port),
            protocol: list(&filter.protocol),
            tag: list(&filter.tags),
            src_tunnel_address: list(&filter.src_tunnel_address),
            tgt_tunnel_address: list(&filter.tgt_tunnel_address),
            src_tunnel_port: list(&filter.src_tunnel_port),
            dst_tunnel_port: list(&filter.dst_tunnel_port),
            qci: filter.qci.unwrap_or(0),
            dscp: filter.dscp.unwrap_or(0),
            tc: filter.tc.unwrap_or(0),
            token: None,
        }
    }

    fn read(self, broken: &mut Vec<&'static str>) -> TrafficFilter {
        let mut each = |list: Option<Vec<String>>, field, holds: &dyn Fn(&str) -> bool| {
            let list = list.unwrap_or_default();
            if !list.iter().all(|text| holds(text)) {
                broken.push(field);
            }
            list
        };
        let address = |text: &str| length(text) <= 64;
        let port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let word = |text: &str| (1..=8).contains(&length(text));
        let ip = |text: &str| text.parse::<IpAddr>().is_ok();
        let number = |number: i64| (number != 0).then_some(number);
        TrafficFilter {
            src_address: each(self.src_address, "SrcAddress", &address),
            dst_address: each(self.dst_address, "DstAddress", &address),
            src_port: each(self.src_port, "SrcPort", &port),
            dst_port: each(self.dst_port, "DstPort", &port),
            protocol: each(self.protocol, "Protocol", &word),
            tags: each(self.tag.or(self.token), "Tag", &word),
            src_tunnel_address: each(self.src_tunnel_address, "SrcTunnelAddress", &ip),
            tgt_tunnel_address: each(self.tgt_tunnel_address, "TgtTunnelAddress", &ip),
            src_tunnel_port: each(self.src_tunnel_port, "SrcTunnelPort", &port),
            dst_tunnel_port: each(self.dst_tunnel_port, "DstTunnelPort", &port),
            qci: number(self.qci),
            dscp: number(self.dscp),
            tc: number(self.tc),
        }
    }
}

impl InterfaceBody {
    fn of(interface: &DestinationInterface) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let tunnel = interface.tunnel_info.clone().unwrap_or_default();
        Self {
            interface_type: interface.interface_type.map_or("", InterfaceType::as_str).to_owned(),
            tunnel_info: TunnelBody {
                tunnel_type: tunnel.tunnel_type.map_or("", TunnelType::as_str).to_owned(),
                tunnel_dst_address: text(&tunnel.tunnel_dst_address),
                tunnel_src_address: text(&tunnel.tunnel_src_address),
            },
            src_mac_address: text(&interface.src_mac_address),
            dst_mac_address: text(&interface.dst_mac_address),
            dst_ip_address: text(&interface.dst_ip_address),
        }
    }

    fn read(self, broken: &mut Vec<&'static str>) -> DestinationInterface {
        let mut check = |holds: bool, field| {
            if !holds {
                broken.push(field);
            }
        };
        let ip = |text: &str| text.is_empty() || text.parse::<IpAddr>().is_ok();
        let mac = |text: &str| text.is_empty() || is_mac(text);
        let tunnel = self.tunnel_info;
        let interface_type = InterfaceType::parse(&self.interface_type);
        let tunnel_type = TunnelType::parse(&tunnel.tunnel_type);
        check(interface_type.is_some() || self.interface_type.is_empty(), "InterfaceType");
        check(tunnel_type.is_some() || tunnel.tunnel_type.is_empty(), "TunnelType");
        check(ip(&tunnel.tunnel_dst_address), "TunnelDstAddress");
        check(ip(&tunnel.tunnel_src_address), "TunnelSrcAddress");
        check(mac(&self.src_mac_address), "SrcMACAddress");
        check(mac(&self.dst_mac_address), "DstMACAddress");
        check(ip(&self.dst_ip_address), "DstIPAddress");
        let given = |text: String| (!text.is_empty()).then_some(text);
        let tunnel_info = TunnelInfo {
            tunnel_type,
            tunnel_dst_address: given(tunnel.tunnel_dst_address),
            tunnel_src_address: given(tunnel.tunnel_src_address),
        };
        DestinationInterface {
            interface_type,
            tunnel_info: (tunnel_info != TunnelInfo::default()).then_some(tunnel_info),
            src_mac_address: given(self.src_mac_address),
            dst_mac_address: given(self.dst_mac_address),
            dst_ip_address: given(self.dst_ip_address),
        }
    }
}

/// Six pairs of hexadecimal digits with one kind of mark between them.
pub(crate) fn is_mac(text: &str) -> bool {
    [':', '-'].into_iter().any(|mark| {
        let mut pairs = 0;
        text.split(mark).all(|pair| {
            pairs += 1;
            pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit())
        }) && pairs == 6
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only what the name server would answer is a rule.
    #[test]
    fn names_and_addresses_can_be_answered() {
        let long = "a".repeat(64);
        for (name, address, broken) in [
            ("www.example.com", "192.0.2.1", None),
            ("www.example.com.", "192.0.2.1", None),
            ("_sip.example.com", "192.0.2.1", None),
            ("", "192.0.2.1", Some("DomainName")),
            ("a..b", "192.0.2.1", Some("DomainName")),
            (&*long, "192.0.2.1", Some("DomainName")),
            ("b\u{fc}ro.example", "192.0.2.1", Some("DomainName")),
            ("www.example.com", "224.0.0.1", Some("IPAddress")),
            ("www.example.com", "255.255.255.255", Some("IPAddress")),
        ] {
            let body = DnsRuleBody {
                dns_rule_id: "d".to_owned(),
                domain_name: name.to_owned(),
                ip_address_type: "IP_V4".to_owned(),
                ip_address: address.to_owned(),
                ..DnsRuleBody::default()
            };
            let read = body.read(Id::random(), 0).err();
            assert_eq!(read, broken.map(|field| vec![field]), "{name} {address}");
        }
    }
}
