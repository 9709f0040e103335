//! [`CompiledUpstream`]: an upstream and its targets, ready to be chosen from.
//!
//! Targets that are addresses are known at once; names are resolved when the upstream is first
//! used, or in the background once it is published, and again when what was resolved expires.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::FutureExt as _;
use gateway_model::entities::{Target, Upstream};
use gateway_model::ports::{AddressState, Health, MarkError, TargetState};
use gateway_model::{Catalog, Id, Item};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::called::Called;
use super::health::Limits;
use super::live::Live;
use super::probe::{self, Prober};
use super::ring::{Member, Ring};
use crate::resolve::{Endpoint, Resolver};

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
    resolver: Resolver,
    background: Mutex<Option<AbortHandle>>,
}

/// One target of an upstream.
pub(crate) struct CompiledTarget {
    entity: Item<Target>,
    /// A name, or an address without brackets.
    host: Box<str>,
    port: u16,
    called: Called,
}

impl CompiledUpstream {
    /// Compiles an upstream, `None` when there is none of this id. `previous` is the form it had:
    /// taken over when nothing was written, else only what is known from traffic.
    pub(crate) fn compile(
        catalog: &Catalog,
        id: Id,
        previous: Option<&Arc<Self>>,
        resolver: &Resolver,
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
            resolver: resolver.clone(),
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
            self.targets.iter().map(|target| self.resolver.all(&target.host)),
        )
        .await;
        let holds = found.iter().filter_map(|(_, holds)| *holds).min();
        let mut members = Vec::new();
        for (at, (target, (found, _))) in self.targets.iter().zip(found).enumerate() {
            let endpoints = match found {
                Ok(endpoints) => endpoints,
                Err(error) => {
                    tracing::warn!(
                        upstream.name = self.entity.name,
                        target.name = target.entity.target,
                        "a target's name does not resolve: {error}"
                    );
                    continue;
                }
            };
            members.extend(endpoints.into_iter().map(|endpoint| {
                let socket = endpoint.socket(target.port);
                Member {
                    address: self.live.address(&target.entity.target, socket),
                    weight: target.weight(&endpoint),
                    target: at,
                    called: self.called_by_record(target, endpoint),
                }
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

    /// What a member is called where the target alone does not tell: an SRV record knows the port,
    /// and with `use_srv_name` the name.
    fn called_by_record(&self, target: &CompiledTarget, at: Endpoint) -> Option<Arc<Called>> {
        let record = at.service?;
        let own = match &self.entity.host_header {
            Some(header) => header,
            None if self.entity.use_srv_name == Some(true) => &*record.name,
            None => target.entity.host_and_port().0,
        };
        Some(Arc::new(Called::new(own, record.port)))
    }

    /// What a member is called.
    pub(super) fn called<'a>(&'a self, member: &'a Member) -> &'a Called {
        member.called.as_deref().unwrap_or(&self.targets[member.target].called)
    }

    /// Takes the addresses that are known already, so that nobody meets it without them. Called
    /// before it is published; others come when it is [started](Self::start).
    pub(crate) fn settle(&self) {
        let _ = self.resolve().now_or_never();
    }

    /// Begins what goes on beside traffic: resolving, and probing. Called when published.
    pub(crate) fn start(self: &Arc<Self>, runtime: &Handle, prober: &Prober) {
        let task = runtime.spawn(background(Arc::downgrade(self), prober.clone()));
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
        let called = Called::new(host_header.unwrap_or(host), port);
        Self { host: bare, port, called, entity }
    }

    /// The share of one of its endpoints: what its record says, or its own. One of weight 0 is out
    /// of use in any case.
    fn weight(&self, endpoint: &Endpoint) -> u32 {
        let own = self.entity.weight.map_or(100, u32::from);
        match &endpoint.service {
            Some(record) if own > 0 => u32::from(record.weight.max(1)),
            _ => own,
        }
    }
}

/// Everything that goes on beside traffic, until the upstream is gone.
async fn background(upstream: Weak<CompiledUpstream>, prober: Prober) {
    let Some(held) = upstream.upgrade() else { return };
    let (_, mut holds) = held.resolve().await;
    held.live.forget_unused();
    let probes = probe::run(Weak::clone(&upstream), &held.entity, prober);
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
