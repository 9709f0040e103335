//! [`Chain`]: the plugin instances of a route, in the order they run.
//!
//! A chain is a list of [`Slot`]s by descending priority. A slot holds every instance of one plugin
//! that may apply and picks the most specific one when its turn comes, because only then is it
//! known who calls. So authentication needs no second chain.
//!
//! Absent from here: running handlers, which the exchange does, and building them, which
//! [`crate::snapshot`] does.

mod attached;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use gateway_model::entities::PluginInstance;
use gateway_model::{Id, Item};
use plugins::contract::{Handler, Needs, Phases, PluginType};

pub use attached::Attached;

/// One compiled plugin instance. Shared by every chain it is part of.
pub struct Instance {
    /// What was configured: id, scope, configuration.
    pub entity: Item<PluginInstance>,
    /// Which plugin.
    pub plugin: &'static PluginType,
    /// Its compiled behaviour.
    pub handler: Arc<dyn Handler>,
    /// What the handler must know before it runs.
    pub needs: Needs,
    /// The phases it acts in.
    pub phases: Phases,
}

impl Instance {
    /// An instance of a compiled handler.
    pub fn new(
        entity: Item<PluginInstance>,
        plugin: &'static PluginType,
        handler: Arc<dyn Handler>,
    ) -> Self {
        let (needs, phases) = (handler.needs(), handler.phases());
        Self { entity, plugin, handler, needs, phases }
    }

    /// Its primary key.
    pub fn id(&self) -> Id {
        self.entity.id()
    }

    /// Whether it is attached to neither route nor service, and so concerns every chain.
    pub(crate) fn is_broad(&self) -> bool {
        self.entity.route.is_none() && self.entity.service.is_none()
    }

    /// Whether it lists a protocol of HTTP requests. Which one does not matter: Kong runs an
    /// instance for `https` on plain requests too (kong/runloop/plugins_iterator.lua).
    pub(crate) fn is_http(&self) -> bool {
        let of_http = |name: &String| plugins::contract::HTTP.contains(&name.as_str());
        self.entity.protocols.iter().any(of_http)
    }

    /// Whether it lists a protocol of streams.
    pub(crate) fn is_stream(&self) -> bool {
        let of_streams = |name: &String| crate::stream::STREAM.contains(&name.as_str());
        self.entity.protocols.iter().any(of_streams)
    }

    /// How specific its scope is, of the eight steps of Kong's lookup; 1 is looked at first.
    fn step(&self) -> u8 {
        let PluginInstance { route, service, consumer, .. } = &*self.entity;
        match (route.is_some(), service.is_some(), consumer.is_some()) {
            (true, true, true) => 1,
            (true, false, true) => 2,
            (false, true, true) => 3,
            (true, true, false) => 4,
            (false, false, true) => 5,
            (true, false, false) => 6,
            (false, true, false) => 7,
            (false, false, false) => 8,
        }
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.plugin.name, self.id())
    }
}

/// The instances of one plugin that may apply to a route
/// (kong/runloop/plugins_iterator.lua, lookup_cfg).
#[derive(Clone, Debug)]
pub struct Slot {
    plugin: &'static PluginType,
    /// Those any instance acts in.
    phases: Phases,
    /// What any instance needs.
    needs: Needs,
    /// Steps 1 to 3: a consumer on this route, this service, or both.
    narrow: HashMap<Id, Arc<Instance>>,
    /// Step 4: this route and this service.
    pinned: Option<Arc<Instance>>,
    /// Step 5: a consumer anywhere. Shared between chains, since there may be many.
    consumers: imbl::HashMap<Id, Arc<Instance>>,
    /// Steps 6 to 8: this route, this service, or everything.
    broad: Option<Arc<Instance>>,
}

impl Slot {
    fn new(plugin: &'static PluginType) -> Self {
        Self {
            plugin,
            phases: Phases::NONE,
            needs: Needs::NOTHING,
            narrow: HashMap::new(),
            pinned: None,
            consumers: imbl::HashMap::new(),
            broad: None,
        }
    }

    /// Which plugin.
    pub const fn plugin(&self) -> &'static PluginType {
        self.plugin
    }

    /// The instance for a request of this consumer, the most specific there is. Allocates nothing.
    pub fn pick(&self, consumer: Option<Id>) -> Option<&Arc<Instance>> {
        consumer
            .and_then(|id| self.narrow.get(&id))
            .or(self.pinned.as_ref())
            .or_else(|| consumer.and_then(|id| self.consumers.get(&id)))
            .or(self.broad.as_ref())
    }

    /// Whether who calls can change the pick.
    pub fn asks_consumer(&self) -> bool {
        !self.narrow.is_empty() || !self.consumers.is_empty()
    }

    /// Whether no instance is left.
    fn is_empty(&self) -> bool {
        self.narrow.is_empty()
            && self.consumers.is_empty()
            && self.pinned.is_none()
            && self.broad.is_none()
    }

    /// Takes out an instance that is attached to neither route nor service.
    fn remove_broad(&mut self, instance: &Instance) {
        match instance.entity.consumer {
            Some(consumer) => drop(self.consumers.remove(&consumer.id)),
            None => self.broad = None,
        }
    }

    /// Takes in an instance; of two for the same place the more specific one stays.
    fn add(&mut self, instance: &Arc<Instance>) {
        self.phases = self.phases.and(instance.phases);
        self.needs = self.needs.and(instance.needs);
        let beats = |held: &Arc<Instance>| instance.step() < held.step();
        match (instance.step(), instance.entity.consumer) {
            (1..=3, Some(consumer)) => {
                if self.narrow.get(&consumer.id).is_none_or(beats) {
                    self.narrow.insert(consumer.id, Arc::clone(instance));
                }
            }
            (4, _) => self.pinned = Some(Arc::clone(instance)),
            (_, Some(consumer)) => {
                self.consumers.insert(consumer.id, Arc::clone(instance));
            }
            (_, None) => {
                if self.broad.as_ref().is_none_or(beats) {
                    self.broad = Some(Arc::clone(instance));
                }
            }
        }
    }
}

/// The slots of a route in the order they run, in every phase: descending priority, equal ones by
/// name.
#[derive(Debug, Default)]
pub struct Chain {
    all: Box<[Arc<Slot>]>,
    timed: bool,
    by_phase: [Box<[Arc<Slot>]>; PHASES.len()],
}

const PHASES: [Phases; 7] = [
    Phases::CERTIFICATE,
    Phases::REWRITE,
    Phases::ACCESS,
    Phases::RESPONSE,
    Phases::HEADER_FILTER,
    Phases::BODY_FILTER,
    Phases::LOG,
];

impl Chain {
    /// The chain of requests without a route: of `instances`, those attached to neither route nor
    /// service.
    pub fn global<'a>(instances: impl IntoIterator<Item = &'a Arc<Instance>>) -> Self {
        let broad = instances.into_iter().filter(|instance| instance.is_broad());
        Self::extended(&[], broad)
    }

    /// This chain with the instances attached to one route and its service.
    #[must_use]
    pub fn narrowed<'a>(&self, instances: impl IntoIterator<Item = &'a Arc<Instance>>) -> Self {
        Self::extended(&self.all, instances)
    }

    fn extended<'a>(
        slots: &[Arc<Slot>],
        instances: impl IntoIterator<Item = &'a Arc<Instance>>,
    ) -> Self {
        let mut all = by_order(slots);
        for instance in instances {
            let slot = all
                .entry(order(instance.plugin))
                .or_insert_with(|| Arc::new(Slot::new(instance.plugin)));
            Arc::make_mut(slot).add(instance);
        }
        Self::of(all)
    }

    /// The chain of requests without a route once `gone` are gone and `come` have come. Costs what
    /// they are, not what there is.
    #[must_use]
    pub fn renewed<'a>(
        &self,
        gone: impl IntoIterator<Item = &'a Arc<Instance>>,
        come: impl IntoIterator<Item = &'a Arc<Instance>>,
    ) -> Self {
        let mut all = by_order(&self.all);
        // All that go before any that come, which may take their place.
        for instance in gone.into_iter().filter(|instance| instance.is_broad()) {
            let place = order(instance.plugin);
            if let Some(slot) = all.get_mut(&place) {
                Arc::make_mut(slot).remove_broad(instance);
                if slot.is_empty() {
                    all.remove(&place);
                }
            }
        }
        let all: Vec<Arc<Slot>> = all.into_values().collect();
        Self::extended(&all, come.into_iter().filter(|instance| instance.is_broad()))
    }

    fn of(all: BTreeMap<Order, Arc<Slot>>) -> Self {
        let all: Box<[Arc<Slot>]> = all.into_values().collect();
        let acts = |slot: &Slot, phase| slot.plugin.phases.has(phase) && slot.phases.has(phase);
        let of = |phase| all.iter().filter(|slot| acts(slot, phase)).cloned().collect();
        let timed = all.iter().any(|slot| slot.needs.has(Needs::TIMES));
        Self { by_phase: PHASES.map(of), all, timed }
    }

    /// The slots of plugins that act in `phase`, a single one, in order.
    pub fn slots(&self, phase: Phases) -> &[Arc<Slot>] {
        let at = PHASES.iter().position(|known| *known == phase);
        at.map_or(&[], |at| &self.by_phase[at])
    }

    /// Whether a handler wants to know how long handlers take.
    pub const fn is_timed(&self) -> bool {
        self.timed
    }

    /// Every slot, whatever its phases, in order.
    pub fn all(&self) -> &[Arc<Slot>] {
        &self.all
    }
}

/// Where a plugin's turn is.
type Order = (Reverse<i32>, &'static str);

fn order(plugin: &PluginType) -> Order {
    (Reverse(plugin.priority), plugin.name)
}

fn by_order(slots: &[Arc<Slot>]) -> BTreeMap<Order, Arc<Slot>> {
    slots.iter().map(|slot| (order(slot.plugin), Arc::clone(slot))).collect()
}

#[cfg(test)]
mod tests;
