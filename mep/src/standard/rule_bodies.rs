//! Rules as the standard writes and reads them (ETSI GS MEC 011, clause 7.1.2).

use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::reading::Reader;
use crate::dns::is_host;
use crate::entities::{
    Action, DestinationInterface, DnsRule, FilterType, InterfaceType, IpAddressType, RuleState,
    TrafficFilter, TrafficRule, TunnelInfo, TunnelType,
};
use crate::mp1::rule_bodies::is_mac;

const ANY: usize = usize::MAX;

/// A DNS rule on the wire (clause 7.1.2.3).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DnsRule)]
pub(super) struct DnsRuleView<'a> {
    /// The id of the rule; in a request the one of the path.
    dns_rule_id: &'a str,
    /// The name that is answered. It is management's and cannot change.
    #[schema(max_length = 255)]
    domain_name: &'a str,
    ip_address_type: IpAddressType,
    /// An address of that type.
    ip_address: &'a str,
    /// Seconds an answer may be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ttl: Option<u32>,
    state: RuleState,
}

pub(super) fn dns_view(rule: &DnsRule) -> DnsRuleView<'_> {
    DnsRuleView {
        dns_rule_id: &rule.rule_id,
        domain_name: &rule.domain_name,
        ip_address_type: rule.ip_address_type,
        ip_address: &rule.ip_address,
        ttl: Some(rule.ttl_seconds).filter(|seconds| *seconds != 0),
        state: rule.state,
    }
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
    } else if address.is_some_and(|address| !is_host(address)) {
        body.refuse("ipAddress", "is no address of a host");
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

/// A traffic rule on the wire (clause 7.1.2.2).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TrafficRule)]
pub(super) struct TrafficRuleView<'a> {
    /// The id of the rule; in a request the one of the path.
    traffic_rule_id: &'a str,
    filter_type: FilterType,
    /// Of two rules the one with the lower number counts.
    priority: u8,
    /// Which packets it is about: those that any of these fits.
    #[schema(min_items = 1)]
    traffic_filter: Vec<FilterView<'a>>,
    action: Action,
    /// Where packets go: none with DROP, two with DUPLICATE, one with the others. A single object
    /// is taken as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 2)]
    dst_interface: Vec<InterfaceView<'a>>,
    state: RuleState,
}

/// Which packets a rule is about: those all given members fit, a list by any of its members.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TrafficFilter)]
struct FilterView<'a> {
    /// Addresses, prefixes or ranges packets come from.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    src_address: &'a [String],
    /// Addresses, prefixes or ranges packets go to.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    dst_address: &'a [String],
    /// Ports or ranges packets come from.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    src_port: &'a [String],
    /// Ports or ranges packets go to.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    dst_port: &'a [String],
    /// Protocols, by name or number.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    protocol: &'a [String],
    /// What the traffic of users is marked with.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    token: &'a [String],
    /// Addresses tunnels come from.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    src_tunnel_address: &'a [String],
    /// Addresses tunnels go to.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tgt_tunnel_address: &'a [String],
    /// Ports tunnels come from.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    src_tunnel_port: &'a [String],
    /// Ports tunnels go to.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    dst_tunnel_port: &'a [String],
    /// Class of the bearer.
    #[serde(rename = "qCI", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    qci: Option<i64>,
    /// Differentiated services code point of IPv4.
    #[serde(rename = "dSCP", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    dscp: Option<i64>,
    /// Traffic class of IPv6.
    #[serde(rename = "tC", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tc: Option<i64>,
}

/// Where packets go.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DestinationInterface)]
struct InterfaceView<'a> {
    // Rules of the dialect may leave it open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = true, nullable = false)]
    interface_type: Option<InterfaceType>,
    /// Of TUNNEL.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tunnel_info: Option<TunnelView<'a>>,
    /// Of MAC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    src_mac_address: Option<&'a str>,
    /// Of MAC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    dst_mac_address: Option<&'a str>,
    /// Of IP.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    dst_ip_address: Option<&'a str>,
}

/// A tunnel.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TunnelInfo)]
struct TunnelView<'a> {
    // Rules of the dialect may leave it open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = true, nullable = false)]
    tunnel_type: Option<TunnelType>,
    /// The far end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tunnel_dst_address: Option<&'a str>,
    /// The near end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tunnel_src_address: Option<&'a str>,
}

pub(super) fn traffic_view(rule: &TrafficRule) -> TrafficRuleView<'_> {
    TrafficRuleView {
        traffic_rule_id: &rule.rule_id,
        filter_type: rule.filter_type,
        priority: rule.priority,
        traffic_filter: rule.filters.iter().map(filter_view).collect(),
        action: rule.action,
        dst_interface: rule.interfaces.iter().map(interface_view).collect(),
        state: rule.state,
    }
}

fn filter_view(filter: &TrafficFilter) -> FilterView<'_> {
    FilterView {
        src_address: &filter.src_address,
        dst_address: &filter.dst_address,
        src_port: &filter.src_port,
        dst_port: &filter.dst_port,
        protocol: &filter.protocol,
        token: &filter.tags,
        src_tunnel_address: &filter.src_tunnel_address,
        tgt_tunnel_address: &filter.tgt_tunnel_address,
        src_tunnel_port: &filter.src_tunnel_port,
        dst_tunnel_port: &filter.dst_tunnel_port,
        qci: filter.qci,
        dscp: filter.dscp,
        tc: filter.tc,
    }
}

fn interface_view(interface: &DestinationInterface) -> InterfaceView<'_> {
    InterfaceView {
        interface_type: interface.interface_type,
        tunnel_info: interface.tunnel_info.as_ref().map(|tunnel| TunnelView {
            tunnel_type: tunnel.tunnel_type,
            tunnel_dst_address: tunnel.tunnel_dst_address.as_deref(),
            tunnel_src_address: tunnel.tunnel_src_address.as_deref(),
        }),
        src_mac_address: interface.src_mac_address.as_deref(),
        dst_mac_address: interface.dst_mac_address.as_deref(),
        dst_ip_address: interface.dst_ip_address.as_deref(),
    }
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
