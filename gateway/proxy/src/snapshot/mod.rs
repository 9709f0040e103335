//! [`Snapshot`]: the catalog compiled for traffic; [`Current`]: the one being served;
//! [`ProxyPlane`]: how the next one comes to be.
//!
//! A snapshot never changes. An exchange pins the current one when it begins and keeps it to its
//! end, so nothing it reads can change under it. Publishing swaps one pointer.
//!
//! Absent from here: deciding what is configured, which is the control plane's.

mod compile;
mod streams;
#[cfg(test)]
pub(crate) mod test_kit;

#[cfg(test)]
mod tests;
mod unusable;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gateway_model::ports::{DataPlane, Publish};
use gateway_model::{Catalog, Id, Registry, Rejection, Write};
use plugins::contract::{PluginType, Tools};
use tokio::runtime::Handle;

use crate::chain::{Chain, Instance};
use crate::resolve::Resolver;
use crate::router::{CompiledRoute, CompiledService, Flavour, Router};
use crate::stream::StreamRouter;
use crate::tls::{Defaults, Keyring};
use crate::upstream::{CompiledUpstream, Prober};
use compile::Compiler;
use streams::Streams;

/// The catalog compiled for traffic.
pub struct Snapshot {
    /// What it was compiled of.
    pub catalog: Arc<Catalog>,
    /// Which route a request takes.
    pub router: Router,
    /// The chain of requests without a route, and of the rewrite phase of all.
    pub global: Arc<Chain>,
    /// The routes for streams.
    streams_compiled: Streams,
    /// Certificates, server names and authorities.
    pub(crate) keyring: Keyring,
    /// Enabled plugin instances.
    instances: imbl::HashMap<Id, Arc<Instance>>,
    /// The routes in the router.
    routes: imbl::HashMap<Id, Arc<CompiledRoute>>,
    /// The services of routes.
    services: imbl::HashMap<Id, CompiledService>,
    /// The upstreams, by name.
    upstreams: imbl::HashMap<Box<str>, Arc<CompiledUpstream>>,
}

impl Snapshot {
    /// Nothing compiled: every request finds no route.
    pub fn empty(registry: Arc<Registry>, flavour: Flavour) -> Self {
        Self {
            catalog: Arc::new(Catalog::empty(registry)),
            router: Router::new(flavour),
            global: Arc::default(),
            streams_compiled: Streams::default(),
            keyring: Keyring::default(),
            instances: imbl::HashMap::new(),
            routes: imbl::HashMap::new(),
            services: imbl::HashMap::new(),
            upstreams: imbl::HashMap::new(),
        }
    }

    /// An enabled plugin instance.
    pub fn instance(&self, id: Id) -> Option<&Arc<Instance>> {
        self.instances.get(&id)
    }

    /// The chain of a route of this snapshot.
    pub fn chain(&self, route: &CompiledRoute) -> Arc<Chain> {
        route.attached.under(&self.global)
    }

    /// A route that is served.
    pub fn route(&self, id: Id) -> Option<&Arc<CompiledRoute>> {
        self.routes.get(&id)
    }

    /// Which route a connection without requests takes.
    pub(crate) const fn streams(&self) -> &StreamRouter {
        &self.streams_compiled.router
    }

    /// The chain of handshakes of such connections.
    pub(crate) const fn stream_global(&self) -> &Arc<Chain> {
        &self.streams_compiled.global
    }

    /// The upstream of this name.
    pub(crate) fn upstream(&self, name: &str) -> Option<&Arc<CompiledUpstream>> {
        // Most gateways have few or none, and hashing a name is not free.
        if self.upstreams.is_empty() { None } else { self.upstreams.get(name) }
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

    /// The current snapshot for a short look.
    pub(crate) fn load(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.0.load()
    }
}

/// The proxy as the control plane sees it: compiles the next snapshot, and publishes it.
pub struct ProxyPlane {
    types: &'static [PluginType],
    tools: Arc<Tools>,
    current: Current,
    flavour: Flavour,
    /// For the names of targets.
    resolver: Resolver,
    /// Whether published upstreams resolve and probe their targets.
    looks_after_targets: bool,
    /// How probes are secured.
    tls: Defaults,
}

impl ProxyPlane {
    /// A plane that compiles instances of `types` with `tools`, and publishes to `current`. Names of
    /// targets are the resolver's to know.
    pub fn new(
        types: &'static [PluginType],
        tools: Arc<Tools>,
        current: Current,
        flavour: Flavour,
        resolver: Resolver,
    ) -> Self {
        let tls = Defaults::default();
        Self { types, tools, current, flavour, resolver, looks_after_targets: true, tls }
    }

    /// Has probes of targets believe and show what is told here.
    #[must_use]
    pub fn securing_probes(self, tls: Defaults) -> Self {
        Self { tls, ..self }
    }

    /// For a process that compiles but serves nobody: no target is resolved or probed.
    #[must_use]
    pub const fn without_targets(mut self) -> Self {
        self.looks_after_targets = false;
        self
    }

    /// The next snapshot, and what it took to make it.
    fn compile(
        &self,
        next: &Arc<Catalog>,
        writes: &[Write],
    ) -> Result<(Snapshot, Work, Turnover), Rejection> {
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
        let (snapshot, work, turnover) = self.compile(next, writes)?;
        Ok(Box::new(Prepared {
            snapshot: Arc::new(snapshot),
            work,
            turnover,
            runtime: self.looks_after_targets.then(|| self.tools.runtime.clone()),
            tls: self.tls.clone(),
            current: self.current.clone(),
        }))
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
    /// The global chain, and lists of what routes add to it.
    chains: usize,
    /// Routes entered anew into the router.
    routes: usize,
}

/// Upstreams that come and go by a publish: a changed one does both.
#[derive(Debug, Default)]
struct Turnover {
    come: Vec<Arc<CompiledUpstream>>,
    go: Vec<Arc<CompiledUpstream>>,
}

/// A snapshot ready to be served.
struct Prepared {
    snapshot: Arc<Snapshot>,
    work: Work,
    turnover: Turnover,
    /// Where the background work of upstreams runs.
    runtime: Option<Handle>,
    tls: Defaults,
    current: Current,
}

impl Publish for Prepared {
    fn publish(self: Box<Self>) {
        let Work { handlers, chains, routes } = self.work;
        let revision = self.snapshot.catalog.revision();
        if self.runtime.is_some() {
            self.turnover.come.iter().for_each(|upstream| upstream.settle());
        }
        self.current.0.store(self.snapshot);
        for upstream in &self.turnover.go {
            upstream.stop();
        }
        if let Some(runtime) = &self.runtime {
            let prober = Prober { current: self.current.clone(), tls: self.tls };
            for upstream in &self.turnover.come {
                upstream.start(runtime, &prober);
            }
        }
        tracing::debug!(%revision, handlers, chains, routes, "serving revision {revision}");
    }
}
