//! Rules as the standard writes and reads them (ETSI GS MEC 011, clause 7.1.2).

use std::net::IpAddr;

use serde_json::{Value, json};

use super::reading::Reader;
use super::service_mgmt::filled;
use crate::entities::{
    Action, DestinationInterface, DnsRule, FilterType, InterfaceType, IpAddressType, RuleState,
    TrafficFilter, TrafficRule, TunnelInfo, TunnelType,
};
use crate::mp1::rule_bodies::is_mac;

const ANY: usize = usize::MAX;

pub(super) fn dns_view(rule: &DnsRule) -> Value {
    filled([
        ("dnsRuleId", json!(rule.rule_id)),
        ("domainName", json!(rule.domain_name)),
        ("ipAddressType", json!(rule.ip_address_type.as_str())),
        ("ipAddress", json!(rule.ip_address)),
        ("ttl", if rule.ttl_seconds == 0 { Value::Null } else { json!(rule.ttl_seconds) }),
        ("state", json!(rule.state.as_str())),
    ])
}

/// What is to take the place of `present`; its name may differ, which the caller looks at.
pub(super) fn dns(body: &Reader<'_>, present: &DnsRule) -> DnsRule {
    body.word("dnsRuleId", &[present.rule_id.as_str()]);
    let kind = body.mandatory_one_of("ipAddressType", IpAddressType::parse);
    let text = body.mandatory_text("ipAddress", 64);
    let address = text.parse::<IpAddr>().ok();
    let given = body.any("ipAddress").is_some();
    if given
        && let Some(kind) = kind
        && !address.is_some_and(|address| kind.covers(&address))
    {
        body.refuse("ipAddress", "is no address of its type");
    }
    DnsRule {
        domain_name: body.filled_text("domainName", 255),
        ip_address_type: kind.unwrap_or(present.ip_address_type),
        ip_address: text,
        ttl_seconds: body
            .whole("ttl", u32::MAX.into())
            .and_then(|ttl| u32::try_from(ttl).ok())
            .unwrap_or(0),
        state: body.mandatory_one_of("state", RuleState::parse).unwrap_or(present.state),
        ..present.clone()
    }
}

pub(super) fn traffic_view(rule: &TrafficRule) -> Value {
    let filters: Vec<Value> = rule.filters.iter().map(filter_view).collect();
    let interfaces: Vec<Value> = rule.interfaces.iter().map(interface_view).collect();
    filled([
        ("trafficRuleId", json!(rule.rule_id)),
        ("filterType", json!(rule.filter_type.as_str())),
        ("priority", json!(rule.priority)),
        ("trafficFilter", json!(filters)),
        ("action", json!(rule.action.as_str())),
        ("dstInterface", if interfaces.is_empty() { Value::Null } else { json!(interfaces) }),
        ("state", json!(rule.state.as_str())),
    ])
}

fn filter_view(filter: &TrafficFilter) -> Value {
    let list = |list: &[String]| if list.is_empty() { Value::Null } else { json!(list) };
    filled([
        ("srcAddress", list(&filter.src_address)),
        ("dstAddress", list(&filter.dst_address)),
        ("srcPort", list(&filter.src_port)),
        ("dstPort", list(&filter.dst_port)),
        ("protocol", list(&filter.protocol)),
        ("token", list(&filter.tags)),
        ("srcTunnelAddress", list(&filter.src_tunnel_address)),
        ("tgtTunnelAddress", list(&filter.tgt_tunnel_address)),
        ("srcTunnelPort", list(&filter.src_tunnel_port)),
        ("dstTunnelPort", list(&filter.dst_tunnel_port)),
        ("qCI", json!(filter.qci)),
        ("dSCP", json!(filter.dscp)),
        ("tC", json!(filter.tc)),
    ])
}

fn interface_view(interface: &DestinationInterface) -> Value {
    let tunnel = interface.tunnel_info.as_ref().map(|tunnel| {
        filled([
            ("tunnelType", json!(tunnel.tunnel_type.map(TunnelType::as_str))),
            ("tunnelDstAddress", json!(tunnel.tunnel_dst_address)),
            ("tunnelSrcAddress", json!(tunnel.tunnel_src_address)),
        ])
    });
    filled([
        ("interfaceType", json!(interface.interface_type.map(InterfaceType::as_str))),
        ("tunnelInfo", json!(tunnel)),
        ("srcMacAddress", json!(interface.src_mac_address)),
        ("dstMacAddress", json!(interface.dst_mac_address)),
        ("dstIpAddress", json!(interface.dst_ip_address)),
    ])
}

/// What is to take the place of `present`.
pub(super) fn traffic(body: &Reader<'_>, present: &TrafficRule) -> TrafficRule {
    body.word("trafficRuleId", &[present.rule_id.as_str()]);
    let action = body.mandatory_one_of("action", Action::parse);
    let filters = body.objects("trafficFilter");
    match &filters {
        None if body.any("trafficFilter").is_none() => body.refuse("trafficFilter", "is missing"),
        Some(filters) if filters.is_empty() => body.refuse("trafficFilter", "is empty"),
        _ => {}
    }
    // Version 2.1.1 has a single object here.
    let interfaces = match body.any("dstInterface") {
        Some(Value::Object(_)) => body.object("dstInterface").map(|one| vec![one]),
        _ => body.objects("dstInterface"),
    };
    let interfaces: Vec<_> = interfaces.unwrap_or_default().iter().map(interface).collect();
    if let Some(action) = action
        && interfaces.len() != action.interfaces()
    {
        let number = action.interfaces();
        body.refuse("dstInterface", format!("must have {number} elements with this action"));
    }
    let priority = body.mandatory_whole("priority", u8::MAX.into());
    TrafficRule {
        filter_type: body
            .mandatory_one_of("filterType", FilterType::parse)
            .unwrap_or(present.filter_type),
        priority: u8::try_from(priority).unwrap_or_default(),
        filters: filters.unwrap_or_default().iter().map(filter).collect(),
        action: action.unwrap_or(present.action),
        interfaces,
        state: body.mandatory_one_of("state", RuleState::parse).unwrap_or(present.state),
        ..present.clone()
    }
}

fn filter(body: &Reader<'_>) -> TrafficFilter {
    let any = |text: &str| !text.is_empty() && text.chars().count() <= 128;
    let list = |name: &str| body.texts(name, any).unwrap_or_default();
    let address = |text: &str| text.parse::<IpAddr>().is_ok();
    let addresses = |name: &str| body.texts(name, address).unwrap_or_default();
    let number = |name: &str| {
        body.whole(name, i32::MAX.unsigned_abs().into())
            .and_then(|number| i64::try_from(number).ok())
    };
    TrafficFilter {
        src_address: list("srcAddress"),
        dst_address: list("dstAddress"),
        src_port: list("srcPort"),
        dst_port: list("dstPort"),
        protocol: list("protocol"),
        // The dialect's word is taken as well.
        tags: body.texts("token", any).unwrap_or_else(|| list("tag")),
        src_tunnel_address: addresses("srcTunnelAddress"),
        tgt_tunnel_address: addresses("tgtTunnelAddress"),
        src_tunnel_port: list("srcTunnelPort"),
        dst_tunnel_port: list("dstTunnelPort"),
        qci: number("qCI"),
        dscp: number("dSCP"),
        tc: number("tC"),
    }
}

fn interface(body: &Reader<'_>) -> DestinationInterface {
    let kind = body.mandatory_one_of("interfaceType", InterfaceType::parse);
    let needed: &[&str] = match kind {
        Some(InterfaceType::Tunnel) => &["tunnelInfo"],
        Some(InterfaceType::Mac) => &["srcMacAddress", "dstMacAddress"],
        Some(InterfaceType::Ip) => &["dstIpAddress"],
        None => &[],
    };
    for name in needed {
        if body.any(name).is_none() {
            body.refuse(name, "is missing");
        }
    }
    let checked = |body: &Reader<'_>, name: &str, holds: fn(&str) -> bool| {
        let text = body.text(name, ANY)?;
        if !holds(&text) {
            body.refuse(name, "is no address of its kind");
        }
        Some(text)
    };
    let ip: fn(&str) -> bool = |text| text.parse::<IpAddr>().is_ok();
    DestinationInterface {
        interface_type: kind,
        tunnel_info: body.object("tunnelInfo").map(|body| TunnelInfo {
            tunnel_type: body.mandatory_one_of("tunnelType", TunnelType::parse),
            tunnel_dst_address: checked(&body, "tunnelDstAddress", ip),
            tunnel_src_address: checked(&body, "tunnelSrcAddress", ip),
        }),
        src_mac_address: checked(body, "srcMacAddress", is_mac),
        dst_mac_address: checked(body, "dstMacAddress", is_mac),
        dst_ip_address: checked(body, "dstIpAddress", ip),
    }
}
