//! [`TrafficRule`]: what an application wants done with packets.

use gateway_model::schema::Record;
use gateway_model::{Entity, Id, Ref};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AppInstance, RuleState};

/// What an application wants done with packets (ETSI GS MEC 011, clause 7.1.2.2).
///
/// What is [`RuleState::Active`] in the catalog has been given to the data plane, see
/// [`crate::traffic`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Record)]
pub struct TrafficRule {
    /// Derived from the app and the rule's own id, see [`TrafficRule::id_of`].
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// Whose rule it is.
    #[record(cascade)]
    pub app: Ref<AppInstance>,
    /// Its place among the rules of its app, from 0.
    #[record(default = 0)]
    pub position: u32,
    /// The id clients know it by, unique within its app: 1 to 63 characters.
    pub rule_id: String,
    /// Whether it is about flows or single packets.
    pub filter_type: FilterType,
    /// Which of two rules counts: the one with the lower number.
    #[record(default = 0)]
    pub priority: u8,
    /// Which packets it is about: those that pass any of these. Empty for all.
    pub filters: Vec<TrafficFilter>,
    /// What is done with them.
    pub action: Action,
    /// Where they go; at most two.
    pub interfaces: Vec<DestinationInterface>,
    /// Whether it is done now.
    pub state: RuleState,
}

impl Entity for TrafficRule {
    const KIND: &'static str = "mep_traffic_rules";
}

impl TrafficRule {
    /// The id of an app's rule.
    pub fn id_of(app: Id, rule_id: &str) -> Id {
        Id::derived(Self::KIND, &format!("{app}:{rule_id}"))
    }
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Record, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum FilterType {
    /// Both directions of what the filters match upstream.
    Flow,
    /// Each packet by itself.
    Packet,
}

impl FilterType {
    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flow => "FLOW",
            Self::Packet => "PACKET",
        }
    }

    /// The type of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Flow, Self::Packet].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What is done with packets. The dialect says `AS_IS` where the standard says `ENCAPSULATED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Record, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// They are dropped.
    Drop,
    /// They go to the interface without their tunnel.
    ForwardDecapsulated,
    /// They go to the interface as they are.
    ForwardEncapsulated,
    /// They pass.
    Passthrough,
    /// They pass, and a copy without its tunnel goes to the interface.
    DuplicateDecapsulated,
    /// They pass, and a copy as it is goes to the interface.
    DuplicateEncapsulated,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Drop,
        Self::ForwardDecapsulated,
        Self::ForwardEncapsulated,
        Self::Passthrough,
        Self::DuplicateDecapsulated,
        Self::DuplicateEncapsulated,
    ];

    /// As the standard spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drop => "DROP",
            Self::ForwardDecapsulated => "FORWARD_DECAPSULATED",
            Self::ForwardEncapsulated => "FORWARD_ENCAPSULATED",
            Self::Passthrough => "PASSTHROUGH",
            Self::DuplicateDecapsulated => "DUPLICATE_DECAPSULATED",
            Self::DuplicateEncapsulated => "DUPLICATE_ENCAPSULATED",
        }
    }

    /// As the dialect spells it.
    pub const fn dialect(self) -> &'static str {
        match self {
            Self::ForwardEncapsulated => "FORWARD_AS_IS",
            Self::DuplicateEncapsulated => "DUPLICATE_AS_IS",
            other => other.as_str(),
        }
    }

    /// The action of either spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text || action.dialect() == text)
    }

    /// How many interfaces it needs (ETSI GS MEC 011, clause 7.1.2.2).
    pub const fn interfaces(self) -> usize {
        match self {
            Self::Drop => 0,
            Self::ForwardDecapsulated | Self::ForwardEncapsulated | Self::Passthrough => 1,
            Self::DuplicateDecapsulated | Self::DuplicateEncapsulated => 2,
        }
    }
}

/// Which packets a rule is about: those for which every member that is not empty holds, a list by
/// any of its members. Texts are as clients gave them; what a driver cannot read it refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrafficFilter {
    /// Addresses, prefixes or ranges packets come from.
    pub src_address: Vec<String>,
    /// Addresses, prefixes or ranges packets go to.
    pub dst_address: Vec<String>,
    /// Ports or ranges packets come from.
    pub src_port: Vec<String>,
    /// Ports or ranges packets go to.
    pub dst_port: Vec<String>,
    /// Protocols, by name or number.
    pub protocol: Vec<String>,
    /// What users' traffic is marked with; the dialect's `tag` and the standard's `token`.
    pub tags: Vec<String>,
    /// Addresses tunnels come from.
    pub src_tunnel_address: Vec<String>,
    /// Addresses tunnels go to.
    pub tgt_tunnel_address: Vec<String>,
    /// Ports tunnels come from.
    pub src_tunnel_port: Vec<String>,
    /// Ports tunnels go to.
    pub dst_tunnel_port: Vec<String>,
    /// Class of the bearer.
    pub qci: Option<i64>,
    /// Differentiated services code point of IPv4.
    pub dscp: Option<i64>,
    /// Traffic class of IPv6.
    pub tc: Option<i64>,
}

/// Where packets go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DestinationInterface {
    /// Which of the other members count; the dialect may leave it open.
    pub interface_type: Option<InterfaceType>,
    /// The tunnel they go into.
    pub tunnel_info: Option<TunnelInfo>,
    /// The hardware address they are sent from.
    pub src_mac_address: Option<String>,
    /// The hardware address they are sent to.
    pub dst_mac_address: Option<String>,
    /// The address they are sent to.
    pub dst_ip_address: Option<String>,
}

/// The kind of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum InterfaceType {
    /// Into a tunnel.
    Tunnel,
    /// To a hardware address.
    Mac,
    /// To an IP address.
    Ip,
}

impl InterfaceType {
    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tunnel => "TUNNEL",
            Self::Mac => "MAC",
            Self::Ip => "IP",
        }
    }

    /// The type of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Tunnel, Self::Mac, Self::Ip].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TunnelInfo {
    /// Its kind; the dialect may leave it open.
    pub tunnel_type: Option<TunnelType>,
    /// The far end.
    pub tunnel_dst_address: Option<String>,
    /// The near end.
    pub tunnel_src_address: Option<String>,
}

/// The kind of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TunnelType {
    /// GTP, user plane.
    GtpU,
    /// Generic routing encapsulation.
    Gre,
}

impl TunnelType {
    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GtpU => "GTP_U",
            Self::Gre => "GRE",
        }
    }

    /// The type of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::GtpU, Self::Gre].into_iter().find(|kind| kind.as_str() == text)
    }
}

super::service_info::any_schema!(TrafficFilter, DestinationInterface);
