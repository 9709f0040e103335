//! Routes for streams. There are few, so they are compiled whole whenever anything was written that
//! they depend on.

use std::sync::Arc;

use gateway_model::entities::{PluginInstance, Route, Service};
use gateway_model::{Catalog, Entity, Id, Item, Rejection, Write};

use super::compile::Compiler;
use crate::chain::Chain;
use crate::stream::{STREAM, StreamRoute, StreamRouter};

/// The routes for streams, and which those are.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams {
    ids: imbl::HashSet<Id>,
    pub(super) router: StreamRouter,
    /// What handshakes of streams meet.
    pub(super) global: Arc<Chain>,
}

fn is_stream(route: &Route) -> bool {
    route.protocols.iter().any(|name| STREAM.contains(&name.as_str()))
}

impl Compiler<'_> {
    /// The routes for streams of the whole catalog.
    pub(super) fn all_streams(&self) -> Result<Streams, Rejection> {
        let routes = self.next.all::<Route>().filter(|route| is_stream(route));
        self.streams(routes.map(|route| route.id()).collect())
    }

    /// What became of them by these writes.
    pub(super) fn changed_streams(&self, writes: &[Write]) -> Result<Streams, Rejection> {
        let previous = &self.previous.streams_compiled;
        let mut ids = previous.ids.clone();
        for write in writes.iter().filter(|write| write.kind == Route::KIND) {
            match self.next.get::<Route>(write.id).filter(|route| is_stream(route)) {
                Some(_) => drop(ids.insert(write.id)),
                None => drop(ids.remove(&write.id)),
            }
        }
        let kinds = [Route::KIND, Service::KIND, PluginInstance::KIND];
        if previous.ids.is_empty() && ids.is_empty()
            || !writes.iter().any(|write| kinds.contains(&write.kind))
        {
            return Ok(previous.clone());
        }
        self.streams(ids)
    }

    fn streams(&self, ids: imbl::HashSet<Id>) -> Result<Streams, Rejection> {
        if ids.is_empty() {
            return Ok(Streams::default());
        }
        let global = Chain::global(self.instances().filter(|instance| instance.is_stream()));
        let mut routes = Vec::with_capacity(ids.len());
        for route in ids.iter().filter_map(|id| self.next.get::<Route>(*id)) {
            let Some(service) = served(self.next, &route) else { continue };
            let chain = Arc::new(self.stream_chain(&global, &route));
            let route = StreamRoute::new(route, service, chain, self.plane.flavour)
                .map_err(Rejection::Invalid)?;
            routes.push(Arc::new(route));
        }
        Ok(Streams { ids, router: StreamRouter::new(routes), global: Arc::new(global) })
    }

    fn stream_chain(&self, global: &Chain, route: &Item<Route>) -> Chain {
        let service = route.service.map(|service| service.id);
        let attached = |field: &str, id: Id| {
            let found = self.next.children::<PluginInstance>(field, id);
            found.filter_map(|entity| self.instance(entity.id())).collect::<Vec<_>>()
        };
        let own = attached("route", route.id())
            .into_iter()
            .filter(|instance| instance.entity.service.is_none_or(|of| Some(of.id) == service));
        let of_service = service.into_iter().flat_map(|id| attached("service", id));
        let of_service = of_service.filter(|instance| instance.entity.route.is_none());
        global.narrowed(own.chain(of_service).filter(|instance| instance.is_stream()))
    }
}

/// The service of a route, if any; `None` when it is disabled or gone.
fn served(catalog: &Catalog, route: &Route) -> Option<Option<Item<Service>>> {
    match route.service {
        None => Some(None),
        Some(service) => {
            catalog.get::<Service>(service.id).filter(|service| service.enabled).map(Some)
        }
    }
}
