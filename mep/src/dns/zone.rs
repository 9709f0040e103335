//! [`Zone`]: what names resolve to, compiled for answering.

use std::net::IpAddr;
use std::sync::Arc;

use gateway_model::{Id, Stored};
use hickory_server::proto::rr::{DNSClass, LowerName, Name, RData, RecordType};
use imbl::HashMap;

use crate::entities::{DnsRecord, DnsRule, Family, RuleState};

/// Everything this name server answers for. Cloning and changing cost the logarithm of its size.
#[derive(Clone, Default)]
pub struct Zone {
    names: HashMap<LowerName, Vec<Addresses>>,
}

/// The addresses of one family that one entity gives a name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Addresses {
    /// Kind and id of the entity.
    pub(crate) source: (&'static str, Id),
    pub(crate) family: Family,
    pub(crate) class: DNSClass,
    /// Seconds.
    pub(crate) ttl: u32,
    pub(crate) data: Arc<[RData]>,
}

/// What a name has of the type asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum Found<'a> {
    /// The name is not ours.
    Nothing,
    /// The name is ours and has no address of that type.
    NoData,
    /// These.
    Addresses(&'a Addresses),
}

/// Two entities give a name addresses of the same family.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} has {} records already, from {}/{}", .family.record_type(), .holder.0, .holder.1)]
pub(crate) struct Taken {
    pub(crate) name: LowerName,
    pub(crate) family: Family,
    /// Whose they are.
    pub(crate) holder: (&'static str, Id),
}

impl Zone {
    /// What a question is answered with.
    pub(crate) fn find(&self, name: &LowerName, wanted: RecordType, class: DNSClass) -> Found<'_> {
        let Some(held) = self.names.get(name) else { return Found::Nothing };
        let family = match wanted {
            RecordType::A => Some(Family::V4),
            RecordType::AAAA => Some(Family::V6),
            _ => None,
        };
        let wanted = |one: &&Addresses| Some(one.family) == family && one.class == class;
        held.iter().find(wanted).map_or(Found::NoData, Found::Addresses)
    }

    /// Who gives a name addresses of a family, in any class.
    pub(crate) fn holder(&self, name: &LowerName, family: Family) -> Option<(&'static str, Id)> {
        let held = self.names.get(name)?;
        held.iter().find(|one| one.family == family).map(|one| one.source)
    }

    /// Adds addresses; those of the same entity must be gone before.
    pub(crate) fn add(&mut self, name: LowerName, addresses: Addresses) -> Result<(), Taken> {
        let family = addresses.family;
        if let Some(holder) = self.holder(&name, family) {
            return Err(Taken { name, family, holder });
        }
        self.names.entry(name).or_default().push(addresses);
        Ok(())
    }

    /// Removes what an entity gave a name.
    pub(crate) fn remove(&mut self, name: &LowerName, source: (&'static str, Id)) {
        let Some(held) = self.names.get_mut(name) else { return };
        held.retain(|one| one.source != source);
        if held.is_empty() {
            self.names.remove(name);
        }
    }

    /// How many names it holds.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// What an entity contributes: a name with addresses, `None` when it contributes nothing.
pub(crate) fn contribution(stored: &Stored) -> Option<(LowerName, Addresses)> {
    let source = (stored.kind().kind, stored.id());
    match stored.entity::<DnsRule>() {
        Some(rule) => of_rule(source, rule),
        None => of_record(source, stored.entity()?),
    }
}

/// An active rule answers for its name, with a dot at the end or not.
fn of_rule(source: (&'static str, Id), rule: &DnsRule) -> Option<(LowerName, Addresses)> {
    let address = rule.address().filter(|_| rule.state == RuleState::Active)?;
    let name = of_key(&rule.key)?;
    let data = [RData::from(address)].into();
    let family = Family::of(address);
    Some((name, Addresses { source, family, class: DNSClass::IN, ttl: rule.ttl(), data }))
}

/// A record answers when its name ends with a dot and lies in its zone.
fn of_record(source: (&'static str, Id), record: &DnsRecord) -> Option<(LowerName, Addresses)> {
    let name = absolute(&record.name)?;
    let zone = absolute(&record.zone).or_else(|| absolute(&format!("{}.", record.zone)))?;
    if !zone.zone_of(&name) {
        return None;
    }
    let class = DNSClass::from(record.class.number());
    let data = record.addresses.0.iter().copied().map(RData::from).collect();
    Some((name, Addresses { source, family: record.family, class, ttl: record.ttl, data }))
}

/// A name that ends with the dot; others are never asked for.
pub(crate) fn absolute(text: &str) -> Option<LowerName> {
    let name = Name::from_ascii(text).ok().filter(Name::is_fqdn)?;
    Some(LowerName::new(&name))
}

/// The name a rule of this key answers for.
fn of_key(key: &str) -> Option<LowerName> {
    absolute(&format!("{key}."))
}

/// Whether a rule may name this: a name that cannot be asked for is answered by nobody.
pub(crate) fn is_name(domain_name: &str) -> bool {
    of_key(&DnsRule::key_of(domain_name)).is_some()
}

/// Whether an address may stand in a record: neither multicast nor broadcast.
pub(crate) fn is_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_multicast() && !broadcast
}
