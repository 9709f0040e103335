//! [`Snapshot`]: the catalog compiled for traffic; [`Current`]: the one being served;
//! [`ProxyPlane`]: how the next one comes to be.
//!
//! A snapshot never changes. An exchange pins the current one when it begins and keeps it to its
//! end, so nothing it reads can change under it. Publishing swaps one pointer.
//!
//! Absent from here: deciding what is configured, which is the control plane's.

mod compile;
#[cfg(test)]
pub(crate) mod test_kit;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gateway_model::ports::{DataPlane, Publish};
use gateway_model::{Catalog, Id, Registry, Rejection, Write};
use plugins::contract::{PluginType, Tools};

use crate::chain::{Chain, Instance};
use crate::router::{CompiledRoute, Flavour, Router};
use compile::Compiler;

/// The catalog compiled for traffic.
pub struct Snapshot {
    /// What it was compiled of.
    pub catalog: Arc<Catalog>,
    /// Which route a request takes.
    pub router: Router,
    /// The chain of requests without a route, and of the rewrite phase of all.
    pub global: Arc<Chain>,
    /// Enabled plugin instances.
    instances: imbl::HashMap<Id, Arc<Instance>>,
    /// The routes in the router.
    routes: imbl::HashMap<Id, Arc<CompiledRoute>>,
}

impl Snapshot {
    /// Nothing compiled: every request finds no route.
    pub fn empty(registry: Arc<Registry>, flavour: Flavour) -> Self {
        Self {
            catalog: Arc::new(Catalog::empty(registry)),
            router: Router::new(flavour),
            global: Arc::default(),
            instances: imbl::HashMap::new(),
            routes: imbl::HashMap::new(),
        }
    }

    /// An enabled plugin instance.
    pub fn instance(&self, id: Id) -> Option<&Arc<Instance>> {
        self.instances.get(&id)
    }

    /// A route that is served.
    pub fn route(&self, id: Id) -> Option<&Arc<CompiledRoute>> {
        self.routes.get(&id)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("revision", &self.catalog.revision())
            .field("routes", &self.routes.len())
            .field("instances", &self.instances.len())
            .finish()
    }
}

/// The snapshot being served. Every clone refers to the same one.
#[derive(Clone, Debug)]
pub struct Current(Arc<ArcSwap<Snapshot>>);

impl Current {
    /// Serves this snapshot until another is published.
    pub fn new(first: Snapshot) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(first)))
    }

    /// The current snapshot, kept alive for as long as the caller holds it.
    pub fn load_full(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }
}

/// The proxy as the control plane sees it: compiles the next snapshot, and publishes it.
pub struct ProxyPlane {
    types: &'static [PluginType],
    tools: Arc<Tools>,
    current: Current,
    flavour: Flavour,
}

impl ProxyPlane {
    /// A plane that compiles instances of `types` with `tools`, and publishes to `current`.
    pub const fn new(
        types: &'static [PluginType],
        tools: Arc<Tools>,
        current: Current,
        flavour: Flavour,
    ) -> Self {
        Self { types, tools, current, flavour }
    }

    /// The next snapshot, and what it took to make it.
    fn compile(
        &self,
        next: &Arc<Catalog>,
        writes: &[Write],
    ) -> Result<(Snapshot, Work), Rejection> {
        let previous = self.current.load_full();
        let compiler = Compiler::new(self, &previous, next);
        if writes.is_empty() { compiler.everything() } else { compiler.changed(writes) }
    }
}

impl DataPlane for ProxyPlane {
    fn prepare(
        &self,
        next: &Arc<Catalog>,
        writes: &[Write],
    ) -> Result<Box<dyn Publish>, Rejection> {
        let (snapshot, work) = self.compile(next, writes)?;
        Ok(Box::new(Prepared { snapshot: Arc::new(snapshot), work, current: self.current.clone() }))
    }
}

impl fmt::Debug for ProxyPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyPlane({} plugins, {:?})", self.types.len(), self.flavour)
    }
}

/// How much was compiled, rather than taken over from the snapshot before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Work {
    /// Plugin instances built.
    handlers: usize,
    /// Chains put together.
    chains: usize,
    /// Routes entered anew into the router.
    routes: usize,
}

/// A snapshot ready to be served.
struct Prepared {
    snapshot: Arc<Snapshot>,
    work: Work,
    current: Current,
}

impl Publish for Prepared {
    fn publish(self: Box<Self>) {
        let Work { handlers, chains, routes } = self.work;
        let revision = self.snapshot.catalog.revision();
        self.current.0.store(self.snapshot);
        tracing::debug!(%revision, handlers, chains, routes, "serving revision {revision}");
    }
}
