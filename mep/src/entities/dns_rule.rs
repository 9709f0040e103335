//! [`DnsRule`]: a name an application wants answered.

use std::net::IpAddr;

use gateway_model::schema::Record;
use gateway_model::{Entity, Id, Ref};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::AppInstance;

/// A name an application wants answered (ETSI GS MEC 011, clause 7.1.2.3).
///
/// Rules come from management with the application's configuration; the application itself may
/// switch them on and off. What is [`RuleState::Active`] in the catalog is answered by the name
/// server: nobody has to be told of it besides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Record)]
pub struct DnsRule {
    /// Derived from the app and the rule's own id, see [`DnsRule::id_of`].
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
    /// What makes two names one, see [`DnsRule::key_of`]: no two rules answer the same.
    #[record(unique)]
    pub key: String,
    /// The name to answer, as it was given.
    pub domain_name: String,
    /// Which kind of address it has.
    pub ip_address_type: IpAddressType,
    /// The address to answer with, as it was given; [`DnsRule::address`] reads it.
    pub ip_address: String,
    /// Seconds an answer may be kept; 0 means that nothing was said, see [`DnsRule::ttl`].
    #[record(default = 0)]
    pub ttl_seconds: u32,
    /// Whether it is answered now.
    pub state: RuleState,
}

impl Entity for DnsRule {
    const KIND: &'static str = "mep_dns_rules";
}

impl DnsRule {
    /// The id of an app's rule.
    pub fn id_of(app: Id, rule_id: &str) -> Id {
        Id::derived(Self::KIND, &format!("{app}:{rule_id}"))
    }

    /// A domain name without case and without the dot at its end.
    pub fn key_of(domain_name: &str) -> String {
        domain_name.strip_suffix('.').unwrap_or(domain_name).to_ascii_lowercase()
    }

    /// The address to answer with; `None` when it is not one of its type, which nothing that was
    /// checked before it came here is.
    pub fn address(&self) -> Option<IpAddr> {
        self.ip_address.parse().ok().filter(|address| self.ip_address_type.covers(address))
    }

    /// Seconds an answer may be kept. The original's name server refused 0, so that rules without a
    /// time never worked; they get its usual one.
    pub const fn ttl(&self) -> u32 {
        if self.ttl_seconds == 0 { DEFAULT_TTL } else { self.ttl_seconds }
    }
}

/// Seconds for which answers of rules that name no time are kept.
const DEFAULT_TTL: u32 = 30;

/// The kind of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Record, ToSchema)]
pub enum IpAddressType {
    /// IPv4: an `A` record.
    #[serde(rename = "IP_V4")]
    V4,
    /// IPv6: an `AAAA` record.
    #[serde(rename = "IP_V6")]
    V6,
}

impl IpAddressType {
    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IP_V4",
            Self::V6 => "IP_V6",
        }
    }

    /// The type of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::V4, Self::V6].into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether an address is of this kind.
    pub const fn covers(self, address: &IpAddr) -> bool {
        matches!((self, address), (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_)))
    }
}

/// Whether a rule has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Record, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum RuleState {
    /// It has.
    Active,
    /// It is kept without one.
    Inactive,
}

impl RuleState {
    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
        }
    }

    /// The state of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Inactive].into_iter().find(|state| state.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn names_are_one_whatever_their_case_and_dot() {
        for (name, key) in
            [("www.Example.com", "www.example.com"), ("a.", "a"), ("a..", "a."), (".", "")]
        {
            assert_eq!(DnsRule::key_of(name), key, "{name}");
        }
    }

    #[test]
    fn an_address_is_of_its_type() {
        let rule = |kind, address: &str, ttl_seconds| DnsRule {
            id: Id::random(),
            app: Ref::new(Id::random()),
            position: 0,
            rule_id: "r".to_owned(),
            key: "x".to_owned(),
            domain_name: "x".to_owned(),
            ip_address_type: kind,
            ip_address: address.to_owned(),
            ttl_seconds,
            state: RuleState::Active,
        };
        assert_eq!(rule(IpAddressType::V4, "10.0.0.1", 7).address(), "10.0.0.1".parse().ok());
        assert_eq!(rule(IpAddressType::V6, "10.0.0.1", 7).address(), None);
        assert_eq!(rule(IpAddressType::V6, "::1", 7).address(), "::1".parse().ok());
        assert_eq!(rule(IpAddressType::V4, "x", 7).address(), None);
        assert_eq!([0, 7].map(|ttl| rule(IpAddressType::V4, "10.0.0.1", ttl).ttl()), [30, 7]);
    }
}
