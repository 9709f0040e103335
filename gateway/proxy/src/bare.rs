//! [`Plane`]: a catalog and the snapshot compiled of it, without a process around them. Benches and
//! fuzz targets drive it; nothing that serves traffic does.

use std::net::SocketAddr;
use std::sync::Arc;

use gateway_model::entities::{self, Route};
use gateway_model::ports::DataPlane as _;
use gateway_model::{Catalog, Change, Id, Item, Registry, Rejection, Write};
use pingora_http::RequestHeader;
use plugins::contract::{Client, Facts, Flow, Phases, Reply, Request, Scheme, Tools};
use serde_json::Value;

use crate::router::{CompiledRoute, Flavour};
use crate::snapshot::{Current, ProxyPlane, Snapshot};
use crate::{NameOptions, Resolver};

/// A catalog, its snapshot, and what compiles the next.
pub struct Plane {
    catalog: Arc<Catalog>,
    current: Current,
    plane: ProxyPlane,
    tools: Arc<Tools>,
}

impl Plane {
    /// One with nothing in it that knows every plugin.
    pub fn new(tools: Arc<Tools>) -> Self {
        // Another may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut registry = Registry::new(entities::ALL.into_iter().chain(plugins::entity_types()));
        plugins::register(&mut registry);
        let registry = Arc::new(registry);
        let flavour = Flavour::TraditionalCompatible;
        let current = Current::new(Snapshot::empty(Arc::clone(&registry), flavour));
        let names = NameOptions::default();
        let resolver = Resolver::new(names, tools.clock.clone(), tools.runtime.clone());
        let (types, made) = (plugins::ALL, Arc::clone(&tools));
        let plane =
            ProxyPlane::new(types, made, current.clone(), flavour, resolver).without_targets();
        Self { catalog: Arc::new(Catalog::empty(registry)), current, plane, tools }
    }

    /// Writes entities, each of a kind, and publishes what comes of it.
    ///
    /// # Errors
    ///
    /// What a rule refuses; nothing is written then.
    pub fn insert(&mut self, entities: &[(&'static str, Value)]) -> Result<(), Rejection> {
        let insert = |(kind, value): &(&'static str, Value)| {
            let document = value.as_object().cloned().unwrap_or_default();
            Change::Insert { kind, document }
        };
        self.write(&entities.iter().map(insert).collect::<Vec<_>>())
    }

    /// Takes one away.
    ///
    /// # Errors
    ///
    /// As [`Plane::insert`].
    pub fn remove(&mut self, kind: &'static str, id: Id) -> Result<(), Rejection> {
        self.write(&[Change::Delete { kind, key: id.into() }])
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), Rejection> {
        let (next, writes) = self.edited(changes)?;
        self.plane.prepare(&next, &writes)?.publish();
        self.catalog = next;
        Ok(())
    }

    /// The catalog after these changes, and what they wrote. Nothing is published.
    ///
    /// # Errors
    ///
    /// What a rule refuses.
    pub fn edited(&self, changes: &[Change]) -> Result<(Arc<Catalog>, Vec<Write>), Rejection> {
        let mut edit = self.catalog.edit(self.tools.clock.unix_ms());
        edit.apply(changes)?;
        let (next, writes) = edit.finish();
        Ok((Arc::new(next), writes))
    }

    /// Compiles a catalog and throws the result away; without `writes` all of it.
    ///
    /// # Errors
    ///
    /// What cannot be served.
    pub fn compile(&self, catalog: &Arc<Catalog>, writes: &[Write]) -> Result<(), Rejection> {
        self.plane.prepare(catalog, writes).map(drop)
    }

    /// What is in force.
    pub const fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// What is served of it.
    pub fn current(&self) -> Current {
        self.current.clone()
    }

    /// What is known of a request to a route before its handlers run.
    pub fn facts(&self, route: Option<Item<Route>>) -> Facts {
        let here = SocketAddr::from(([127, 0, 0, 1], 8000));
        let client = Client {
            ip: here.ip(),
            peer: SocketAddr::from(([127, 0, 0, 1], 40_000)),
            local: here,
            scheme: Scheme::Http,
            trusted: false,
            tls: None,
        };
        let id = "0123456789abcdef0123456789abcdef".into();
        let now = self.tools.clock.unix_ms();
        let mut facts = Facts::begun(Arc::clone(&self.catalog), client, id, now);
        facts.route = route;
        facts
    }

    /// Runs the access handlers of a route; the answer one of them gives instead of the upstream's.
    /// Where one waits, the runtime of the tools must be running by itself for what it waits for.
    pub fn access(
        &self,
        snapshot: &Snapshot,
        route: &CompiledRoute,
        head: &mut RequestHeader,
        facts: &mut Facts,
    ) -> Option<Reply> {
        let chain = snapshot.chain(route);
        for slot in chain.slots(Phases::ACCESS) {
            let consumer: Option<Id> = facts.identity.consumer.as_ref().map(Item::id);
            let Some(instance) = slot.pick(consumer) else { continue };
            let mut request = Request { head, facts };
            let mut flow = instance.handler.access(&mut request);
            loop {
                match flow {
                    Flow::Continue => break,
                    Flow::Reply(reply) => return Some(*reply),
                    Flow::Wait(wait) => flow = self.tools.runtime.block_on(wait),
                }
            }
        }
        None
    }
}
