//! [`CompiledUpstream`]: an upstream and its targets, ready to be chosen from.
//!
//! Targets that are addresses are known at once; names are resolved when the upstream is first
//! used, or in the background once it is published, and again when what was resolved expires.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use gateway_model::entities::{Target, Upstream};
use gateway_model::ports::{AddressState, Health, MarkError, TargetState};
use gateway_model::{Catalog, Id, Item};
use http::HeaderValue;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::Resolver;
use super::health::Limits;
use super::live::Live;
use super::probe;
use super::ring::{Member, Ring};

/// An upstream and its targets.
pub(crate) struct CompiledUpstream {
    pub(crate) entity: Item<Upstream>,
    pub(crate) targets: Vec<CompiledTarget>,
    /// When exchanges of clients turn an address.
    pub(crate) passive: Limits,
    /// When probes do.
    pub(crate) active: Limits,
    pub(crate) live: Arc<Live>,
    ring: ArcSwapOption<Ring>,
    resolver: Arc<Resolver>,
    background: Mutex<Option<AbortHandle>>,
}

/// One target of an upstream.
pub(crate) struct CompiledTarget {
    entity: Item<Target>,
    /// A name, or an address without brackets.
    host: Box<str>,
    port: u16,
    /// What the target is called in TLS and, without a port, in the Host header.
    pub(crate) name: Box<str>,
    bare_host: Option<HeaderValue>,
    host_and_port: Option<HeaderValue>,
}

impl CompiledUpstream {
    /// Compiles an upstream, `None` when there is none of this id. `previous` is the form it had:
    /// taken over when nothing was written, else only what is known from traffic.
    pub(crate) fn compile(
        catalog: &Catalog,
        id: Id,
        previous: Option<&Arc<Self>>,
        resolver: &Arc<Resolver>,
    ) -> Option<Arc<Self>> {
        let entity = catalog.get::<Upstream>(id)?;
        let mut targets: Vec<Item<Target>> = catalog.children::<Target>("upstream", id).collect();
        // Any order would do that is not a matter of random ids.
        targets.sort_by(|a, b| b.created_at.total_cmp(&a.created_at));
        if let Some(previous) = previous
            && previous.entity.same(&entity)
            && previous.targets.len() == targets.len()
            && previous.targets.iter().zip(&targets).all(|(old, new)| old.entity.same(new))
        {
            return Some(Arc::clone(previous));
        }
        let live = previous.map_or_else(|| Arc::new(Live::new()), |old| Arc::clone(&old.live));
        let target = |target| CompiledTarget::new(target, entity.host_header.as_deref());
        Some(Arc::new(Self {
            targets: targets.into_iter().map(target).collect(),
            passive: Limits::passive(&entity.healthchecks.passive),
            active: Limits::active(&entity.healthchecks.active),
            live,
            ring: ArcSwapOption::empty(),
            resolver: Arc::clone(resolver),
            background: Mutex::default(),
            entity,
        }))
    }

    /// The addresses of the moment. Waits only when a name was never resolved.
    pub(crate) async fn ring(&self) -> Arc<Ring> {
        match self.ring.load_full() {
            Some(ring) => ring,
            None => self.resolve().await.0,
        }
    }

    /// Resolves the names of targets; also tells how long that holds, `None` for good.
    async fn resolve(&self) -> (Arc<Ring>, Option<Duration>) {
        let found = futures::future::join_all(
            self.targets.iter().map(|target| self.resolver.addresses(&target.host)),
        )
        .await;
        let holds = found.iter().filter_map(|found| match found {
            Ok(found) => found.holds(self.resolver.clock()),
            Err(_) => Some(RETRY_NAME),
        });
        let holds = holds.min().map(|holds| holds.max(RETRY_NAME));
        let mut members = Vec::new();
        for (at, (target, found)) in self.targets.iter().zip(found).enumerate() {
            let mut ips = match found {
                Ok(found) => found.ips(),
                Err(error) => {
                    tracing::warn!(
                        upstream.name = self.entity.name,
                        target.name = target.entity.target,
                        "a target's name does not resolve: {error}"
                    );
                    continue;
                }
            };
            ips.sort_unstable();
            members.extend(ips.into_iter().map(|ip| Member {
                address: self.live.address(&target.entity.target, (ip, target.port).into()),
                weight: target.weight(),
                target: at,
            }));
        }
        let ring = match self.ring.load_full() {
            Some(ring) if ring.has(&members) => ring,
            _ => {
                let ring = Arc::new(Ring::new(
                    members,
                    self.entity.algorithm.unwrap_or_default(),
                    self.entity.slots.unwrap_or(10_000),
                    self.entity.healthchecks.are_on(),
                    self.entity.healthchecks.threshold.unwrap_or(0.0),
                ));
                self.ring.store(Some(Arc::clone(&ring)));
                ring
            }
        };
        (ring, holds)
    }

    /// Begins what goes on beside traffic: resolving, and probing. Called when published.
    pub(crate) fn start(self: &Arc<Self>, runtime: &Handle) {
        let task = runtime.spawn(background(Arc::downgrade(self)));
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(previous) = background.replace(task.abort_handle()) {
            previous.abort();
        }
    }

    /// Ends it. Exchanges that began with this form still may choose from it.
    pub(crate) fn stop(&self) {
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = background.take() {
            task.abort();
        }
    }

    /// State of a target, `None` when there is none or its name was not looked up yet.
    pub(crate) fn state(&self, target: Id) -> Option<TargetState> {
        let at = self.targets.iter().position(|one| one.entity.id() == target)?;
        let ring = self.ring.load_full()?;
        let checked = self.entity.healthchecks.are_on();
        let members = ring.members.iter().filter(|member| member.target == at);
        let addresses: Vec<AddressState> = members
            .map(|member| AddressState {
                address: member.address.socket,
                weight: member.weight,
                health: match (checked, member.address.health.is_good()) {
                    (false, _) => Health::Off,
                    (true, true) => Health::Healthy,
                    (true, false) => Health::Unhealthy,
                },
            })
            .collect();
        let health = if addresses.is_empty() {
            Health::DnsError
        } else if !checked {
            Health::Off
        } else if addresses.iter().any(|one| one.health == Health::Healthy) {
            Health::Healthy
        } else {
            Health::Unhealthy
        };
        Some(TargetState { health, addresses })
    }

    /// Sets the health of a target, or of one of its addresses.
    pub(crate) fn mark(
        &self,
        target: Id,
        address: Option<std::net::SocketAddr>,
        good: bool,
    ) -> Result<(), MarkError> {
        if !self.entity.healthchecks.are_on() {
            return Err(MarkError::Unchecked);
        }
        let at = self.targets.iter().position(|one| one.entity.id() == target);
        let ring = self.ring.load_full().ok_or(MarkError::Unknown)?;
        let meant: Vec<_> = ring
            .members
            .iter()
            .filter(|one| Some(one.target) == at)
            .filter(|one| address.is_none_or(|address| one.address.socket == address))
            .collect();
        if meant.is_empty() {
            return Err(MarkError::Unknown);
        }
        for member in meant {
            member.address.health.set(good);
        }
        Ok(())
    }
}

impl Drop for CompiledUpstream {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for CompiledUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompiledUpstream({}, {} targets)", self.entity.name, self.targets.len())
    }
}

impl CompiledTarget {
    fn new(entity: Item<Target>, host_header: Option<&str>) -> Self {
        let (host, port) = entity.host_and_port();
        let bare: Box<str> = host.trim_start_matches('[').trim_end_matches(']').into();
        let shown = host_header.unwrap_or(host);
        let name = shown.trim_start_matches('[').trim_end_matches(']').into();
        let bare_host = HeaderValue::try_from(shown).ok();
        let host_and_port = HeaderValue::try_from(format!("{shown}:{port}")).ok();
        Self { host: bare, port, name, bare_host, host_and_port, entity }
    }

    fn weight(&self) -> u32 {
        self.entity.weight.map_or(100, u32::from)
    }

    /// The Host header it gets: `host_header` or its name, and its port unless that is the
    /// protocol's own.
    pub(crate) const fn host_header(&self, tls: bool) -> Option<&HeaderValue> {
        let default = if tls { 443 } else { 80 };
        if self.port == default { self.bare_host.as_ref() } else { self.host_and_port.as_ref() }
    }
}

/// How soon a name that did not resolve is tried again (`dns_error_ttl`), and the least time
/// between two lookups.
const RETRY_NAME: Duration = Duration::from_secs(1);

/// Everything that goes on beside traffic, until the upstream is gone.
async fn background(upstream: Weak<CompiledUpstream>) {
    let Some(held) = upstream.upgrade() else { return };
    let (_, mut holds) = held.resolve().await;
    held.live.forget_unused();
    let probes = probe::run(Weak::clone(&upstream), &held.entity);
    drop(held);
    let resolving = async {
        while let Some(wait) = holds {
            tokio::time::sleep(wait).await;
            let Some(held) = upstream.upgrade() else { return };
            holds = held.resolve().await.1;
            held.live.forget_unused();
        }
    };
    tokio::join!(resolving, probes);
}
