//! [`DnsRecord`]: addresses of a name that the management API of the name server keeps.

use std::net::IpAddr;

use gateway_model::schema::Record;
use gateway_model::{Entity, Id};
use serde::{Deserialize, Serialize};

/// Addresses of a name, from the management API of the name server.
#[derive(Clone, Debug, Serialize, Deserialize, Record)]
pub struct DnsRecord {
    /// Derived from name and type, see [`DnsRecord::id_of`]: they exist once, whatever the zone.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// The zone it was put into, lower case. It answers only for names within.
    pub zone: String,
    /// The name, lower case. Without the dot at its end it never answers, as in the original.
    pub name: String,
    /// Which family its addresses are of.
    pub family: Family,
    /// The class it is asked for in.
    pub class: DnsClass,
    /// Seconds an answer may be kept.
    pub ttl: u32,
    /// At least one, all of the family.
    pub addresses: Addresses,
}

impl Entity for DnsRecord {
    const KIND: &'static str = "mep_dns_records";
}

impl DnsRecord {
    /// The id of what a name (lower case) has of a family.
    pub fn id_of(name: &str, family: Family) -> Id {
        Id::derived(Self::KIND, &format!("{name} {}", family.record_type()))
    }
}

/// The family of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Record)]
#[serde(rename_all = "UPPERCASE")]
pub enum Family {
    /// IPv4, type `A`.
    V4,
    /// IPv6, type `AAAA`.
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// `A` or `AAAA`.
    pub const fn record_type(self) -> &'static str {
        match self {
            Self::V4 => "A",
            Self::V6 => "AAAA",
        }
    }

    /// The family a record type is for; upper case only, as in the original.
    pub fn of_type(text: &str) -> Option<Self> {
        [Self::V4, Self::V6].into_iter().find(|family| family.record_type() == text)
    }
}

/// The classes of records (RFC 1035, section 3.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Record)]
#[serde(rename_all = "UPPERCASE")]
pub enum DnsClass {
    /// Internet.
    In,
    /// CSNET.
    Cs,
    /// Chaos.
    Ch,
    /// Hesiod.
    Hs,
}

impl DnsClass {
    /// A class by its name, upper case only.
    pub fn named(text: &str) -> Option<Self> {
        match text {
            "IN" => Some(Self::In),
            "CS" => Some(Self::Cs),
            "CH" => Some(Self::Ch),
            "HS" => Some(Self::Hs),
            _ => None,
        }
    }

    /// Its number in questions.
    pub const fn number(self) -> u16 {
        match self {
            Self::In => 1,
            Self::Cs => 2,
            Self::Ch => 3,
            Self::Hs => 4,
        }
    }
}

/// IP addresses, checked before they come here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Addresses(pub Vec<IpAddr>);

super::service_info::any_schema!(Addresses);
