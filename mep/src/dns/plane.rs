//! [`ZonePlane`]: the catalog compiled to a zone, prepared and published with every commit.

use std::sync::Arc;

use arc_swap::ArcSwap;
use gateway_model::catalog::Collection;
use gateway_model::ports::{DataPlane, Publish};
use gateway_model::{Catalog, Entity as _, Rejection, Write};

use super::zone::{Taken, Zone, contribution};
use crate::entities::{DnsRecord, DnsRule};

/// The zone that is served now; clones see the same one.
#[derive(Clone, Default)]
pub struct CurrentZone(Arc<ArcSwap<Zone>>);

impl CurrentZone {
    /// The zone to answer one question with.
    pub fn load(&self) -> arc_swap::Guard<Arc<Zone>> {
        self.0.load()
    }
}

/// Compiles what is configured to a [`Zone`].
pub struct ZonePlane {
    current: CurrentZone,
    /// The kinds that contribute.
    kinds: &'static [&'static str],
}

impl ZonePlane {
    /// A plane that publishes to `current`; with `rules`, DNS rules of applications are answered
    /// here, else only the records of the management API.
    pub const fn new(current: CurrentZone, rules: bool) -> Self {
        let kinds: &[&str] =
            if rules { &[DnsRule::KIND, DnsRecord::KIND] } else { &[DnsRecord::KIND] };
        Self { current, kinds }
    }

    /// The whole zone of a catalog. What one entity holds is not taken from it by a later one; a
    /// commit that would have asked for that was refused.
    fn whole(&self, catalog: &Catalog) -> Zone {
        let mut zone = Zone::default();
        let all = self.kinds.iter().filter_map(|kind| catalog.collection(kind));
        for stored in all.flat_map(Collection::iter) {
            if let Some((name, addresses)) = contribution(stored)
                && let Err(taken) = zone.add(name, addresses)
            {
                tracing::error!("{}/{} does not answer: {taken}", stored.kind().kind, stored.id());
            }
        }
        zone
    }

    fn changed(zone: &Zone, writes: &[&Write]) -> Result<Zone, Taken> {
        let mut zone = zone.clone();
        for write in writes {
            if let Some((name, addresses)) = write.before.as_deref().and_then(contribution) {
                zone.remove(&name, addresses.source);
            }
        }
        for write in writes {
            if let Some((name, addresses)) = write.after.as_deref().and_then(contribution) {
                zone.add(name, addresses)?;
            }
        }
        Ok(zone)
    }
}

impl DataPlane for ZonePlane {
    fn prepare(
        &self,
        next: &Arc<Catalog>,
        writes: &[Write],
    ) -> Result<Box<dyn Publish>, Rejection> {
        if writes.is_empty() {
            return Ok(Box::new(Prepared::Next(self.current.clone(), self.whole(next))));
        }
        let ours: Vec<&Write> =
            writes.iter().filter(|write| self.kinds.contains(&write.kind)).collect();
        if ours.is_empty() {
            return Ok(Box::new(Prepared::Same));
        }
        let zone = Self::changed(&self.current.load(), &ours)
            .map_err(|taken| Rejection::Condition(taken.to_string()))?;
        Ok(Box::new(Prepared::Next(self.current.clone(), zone)))
    }
}

enum Prepared {
    /// Nothing of it changed.
    Same,
    Next(CurrentZone, Zone),
}

impl Publish for Prepared {
    fn publish(self: Box<Self>) {
        if let Self::Next(current, zone) = *self {
            current.0.store(Arc::new(zone));
        }
    }
}
