//! [`Compiler`]: catalog to snapshot, reusing what did not change.
//!
//! The work grows with what was written, not with what exists: handlers are built for plugin
//! instances written, lists of what is attached for the routes in their scope, and only routes whose
//! own form, service or list changed are entered anew into the router. An instance attached to
//! neither route nor service changes the global chain alone, which routes meet when requests do.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use gateway_model::entities::{PluginInstance, Route, Service, Target, Upstream};
use gateway_model::{Catalog, Entity, Id, Item, Rejection, Violations, Write};
use plugins::contract::{Handler, Phases, PluginType, Setup};
use serde_json::Value;

use super::streams::Streams;
use super::unusable::Unusable;
use super::{ProxyPlane, Snapshot, Turnover, Work};
use crate::chain::{Attached, Chain, Instance};
use crate::router::{CompiledRoute, CompiledService, Router};
use crate::tls::Keyring;
use crate::upstream::CompiledUpstream;

/// The next snapshot in the making.
pub(super) struct Compiler<'a> {
    pub(super) plane: &'a ProxyPlane,
    pub(super) previous: &'a Snapshot,
    pub(super) next: &'a Arc<Catalog>,
    instances: imbl::HashMap<Id, Arc<Instance>>,
    global: Arc<Chain>,
    services: imbl::HashMap<Id, CompiledService>,
    upstreams: imbl::HashMap<Box<str>, Arc<CompiledUpstream>>,
    stale: Stale,
    /// What services attach to routes that have no instances of their own, as far as made by now.
    of_services: HashMap<Id, Arc<Attached>>,
    /// What routes without any attached instance have.
    nothing: Arc<Attached>,
    /// Whether what is attached to any route is listed anew.
    all_attached: bool,
    work: Work,
    turnover: Turnover,
}

/// What cannot be taken over from the previous snapshot.
#[derive(Default)]
struct Stale {
    /// Instances of the global chain that go.
    gone: Vec<Arc<Instance>>,
    /// Instances of the global chain that come.
    come: Vec<Arc<Instance>>,
    /// Services whose routes have other instances attached.
    services_attached: HashSet<Id>,
    /// Routes that have other instances attached.
    routes_attached: HashSet<Id>,
    /// Routes to look at, for whatever reason.
    routes: HashSet<Id>,
    /// Upstreams to look at.
    upstreams: HashSet<Id>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(
        plane: &'a ProxyPlane,
        previous: &'a Snapshot,
        next: &'a Arc<Catalog>,
    ) -> Self {
        Self {
            plane,
            previous,
            next,
            instances: previous.instances.clone(),
            global: Arc::clone(&previous.global),
            services: previous.services.clone(),
            upstreams: previous.upstreams.clone(),
            stale: Stale::default(),
            of_services: HashMap::new(),
            nothing: Arc::default(),
            all_attached: false,
            work: Work::default(),
            turnover: Turnover::default(),
        }
    }

    /// Compiles the catalog whole. Only handlers are reused, the expressions of routes, and what is
    /// known of targets.
    pub(super) fn everything(mut self) -> Result<(Snapshot, Work, Turnover), Rejection> {
        self.instances = imbl::HashMap::new();
        self.services = imbl::HashMap::new();
        for entity in self.next.all::<PluginInstance>() {
            self.put_instance(&entity)?;
        }
        self.work.chains += 1;
        let http = self.instances.values().filter(|instance| instance.is_http());
        self.global = Arc::new(Chain::global(http));
        self.all_attached = true;
        let ids: Vec<Id> = self.next.all::<Route>().map(|route| route.id()).collect();
        let mut added = Vec::with_capacity(ids.len());
        for id in ids {
            added.extend(self.route(id)?);
        }
        self.work.routes = added.len();
        let routes = added.iter().map(|route| (route.id(), Arc::clone(route))).collect();
        let router = Router::new(self.plane.flavour).with(&[], &added);
        for catalog in [&self.previous.catalog, self.next] {
            self.stale.upstreams.extend(catalog.all::<Upstream>().map(|upstream| upstream.id()));
        }
        self.renew_upstreams();
        let keyring = Keyring::everything(self.next, &self.previous.keyring)?;
        let streams = self.all_streams()?;
        Ok(self.finish(router, routes, keyring, streams))
    }

    /// Compiles what the writes concern.
    pub(super) fn changed(
        mut self,
        writes: &[Write],
    ) -> Result<(Snapshot, Work, Turnover), Rejection> {
        for write in writes {
            match write.kind {
                PluginInstance::KIND => self.plugin_written(write)?,
                Route::KIND => drop(self.stale.routes.insert(write.id)),
                Service::KIND => {
                    self.services.remove(&write.id);
                    self.stale_routes_of(write.id);
                }
                Upstream::KIND => drop(self.stale.upstreams.insert(write.id)),
                Target::KIND => {
                    let forms = [&write.before, &write.after].into_iter().flatten();
                    let of = forms.filter_map(|stored| stored.reference("upstream"));
                    self.stale.upstreams.extend(of);
                }
                // Everything else is looked up in the catalog while traffic flows.
                _ => {}
            }
        }
        self.renew_global();
        let mut routes = self.previous.routes.clone();
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for id in std::mem::take(&mut self.stale.routes) {
            if let Some(route) = self.route(id)? {
                routes.insert(id, Arc::clone(&route));
                added.push(route);
            } else {
                routes.remove(&id);
            }
            removed.extend(self.previous.routes.get(&id).cloned());
        }
        self.work.routes = added.len();
        let router = self.previous.router.with(&removed, &added);
        self.renew_upstreams();
        let keyring = self.previous.keyring.changed(self.next, writes)?;
        let streams = self.changed_streams(writes)?;
        Ok(self.finish(router, routes, keyring, streams))
    }

    fn finish(
        self,
        router: Router,
        routes: imbl::HashMap<Id, Arc<CompiledRoute>>,
        keyring: Keyring,
        streams_compiled: Streams,
    ) -> (Snapshot, Work, Turnover) {
        let catalog = Arc::clone(self.next);
        let Self { instances, global, services, upstreams, work, turnover, .. } = self;
        let snapshot = Snapshot {
            catalog,
            router,
            global,
            streams_compiled,
            keyring,
            instances,
            routes,
            services,
            upstreams,
        };
        (snapshot, work, turnover)
    }

    /// Compiles upstreams that are stale. All old names go before any new one comes: an upstream
    /// may be called what another was.
    fn renew_upstreams(&mut self) {
        let stale = std::mem::take(&mut self.stale.upstreams);
        let mut come = Vec::new();
        for id in stale {
            let name = self.previous.catalog.get::<Upstream>(id).map(|old| old.name.clone());
            let previous = name.and_then(|name| {
                self.upstreams.remove(&*name)?;
                self.previous.upstreams.get(&*name)
            });
            let resolver = &self.plane.resolver;
            let next = CompiledUpstream::compile(self.next, id, previous, resolver);
            match (previous, &next) {
                (Some(previous), Some(next)) if Arc::ptr_eq(previous, next) => {}
                _ => {
                    self.turnover.go.extend(previous.cloned());
                    self.turnover.come.extend(next.clone());
                }
            }
            come.extend(next);
        }
        for upstream in come {
            self.upstreams.insert(upstream.entity.name.as_str().into(), upstream);
        }
    }

    /// Every instance compiled so far.
    pub(super) fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.instances.values()
    }

    /// One of them.
    pub(super) fn instance(&self, id: Id) -> Option<&Arc<Instance>> {
        self.instances.get(&id)
    }

    fn plugin_written(&mut self, write: &Write) -> Result<(), Rejection> {
        let entities = [&write.before, &write.after].map(|stored| {
            let entity: Option<Item<PluginInstance>> = stored.as_ref().and_then(Item::new);
            entity.filter(|entity| entity.enabled)
        });
        for entity in entities.iter().flatten() {
            match (entity.route, entity.service) {
                (Some(route), _) => {
                    self.stale.routes_attached.insert(route.id);
                    self.stale.routes.insert(route.id);
                }
                (None, Some(service)) => {
                    self.stale.services_attached.insert(service.id);
                    self.stale_routes_of(service.id);
                }
                (None, None) => {}
            }
        }
        self.stale.gone.extend(self.instances.remove(&write.id));
        if let Some(entity) = &entities[1] {
            self.put_instance(entity)?;
            self.stale.come.extend(self.instances.get(&write.id).cloned());
        }
        Ok(())
    }

    fn stale_routes_of(&mut self, service: Id) {
        let routes = self.next.children::<Route>("service", service);
        self.stale.routes.extend(routes.map(|route| route.id()));
    }

    /// Takes over or builds the handler of an instance. A disabled one does not exist.
    fn put_instance(&mut self, entity: &Item<PluginInstance>) -> Result<(), Rejection> {
        if !entity.enabled {
            return Ok(());
        }
        let id = entity.id();
        let known = self.previous.instances.get(&id).filter(|known| known.entity.same(entity));
        let instance = match known {
            Some(known) => Arc::clone(known),
            None => self.build(entity)?,
        };
        self.instances.insert(id, instance);
        Ok(())
    }

    fn build(&mut self, entity: &Item<PluginInstance>) -> Result<Arc<Instance>, Rejection> {
        let plugin = self.plugin_type(&entity.name)?;
        let setup = Setup { instance: entity, catalog: self.next, tools: &self.plane.tools };
        let complete = entity.stored().unresolved().is_empty();
        let handler: Arc<dyn Handler> = match plugin.build(&entity.config, &setup) {
            // What lets requests in must not do so by an empty secret.
            Ok(_) if !complete && plugin.phases.has(Phases::ACCESS) => Arc::new(Unusable),
            Ok(handler) => handler,
            Err(why) if !complete => {
                tracing::error!(plugin = ?entity, "a plugin lacks its secrets: {}", why.message());
                Arc::new(Unusable)
            }
            Err(why) => return Err(Rejection::Invalid(why)),
        };
        self.work.handlers += 1;
        Ok(Arc::new(Instance::new(entity.clone(), plugin, handler)))
    }

    /// The catalog admits only plugins this process has; a store written by another may not.
    fn plugin_type(&self, name: &str) -> Result<&'static PluginType, Rejection> {
        self.plane.types.iter().find(|plugin| plugin.name == name).ok_or_else(|| {
            let mut violations = Violations::new();
            violations.add("name", Value::String(format!("plugin '{name}' is not installed")));
            Rejection::Invalid(violations)
        })
    }

    /// Brings the global chain up to date with the instances that came and went.
    fn renew_global(&mut self) {
        let of_global = |all: Vec<Arc<Instance>>| -> Vec<Arc<Instance>> {
            all.into_iter().filter(|one| one.is_broad() && one.is_http()).collect()
        };
        let gone = of_global(std::mem::take(&mut self.stale.gone));
        let come = of_global(std::mem::take(&mut self.stale.come));
        if !(gone.is_empty() && come.is_empty()) {
            self.work.chains += 1;
            self.global = Arc::new(self.global.renewed(&gone, &come));
        }
    }

    /// The compiled form of a route, `None` when the next router has no such route: it is gone,
    /// takes no HTTP requests, or its service is disabled.
    fn route(&mut self, id: Id) -> Result<Option<Arc<CompiledRoute>>, Rejection> {
        let Some(route) = self.next.get::<Route>(id) else { return Ok(None) };
        if !route.protocols.iter().any(|name| plugins::contract::HTTP.contains(&name.as_str())) {
            return Ok(None);
        }
        let service = match route.service {
            None => None,
            Some(service) => match self.service(service.id) {
                Some(service) => Some(service),
                None => return Ok(None),
            },
        };
        let previous = self.previous.routes.get(&id).map(|route| &**route);
        let attached = self.attached_to(&route, previous);
        CompiledRoute::new(route, service, attached, self.plane.flavour, previous)
            .map(|route| Some(Arc::new(route)))
            .map_err(Rejection::Invalid)
    }

    /// The compiled form of a service that is enabled.
    fn service(&mut self, id: Id) -> Option<CompiledService> {
        if let Some(made) = self.services.get(&id) {
            return Some(made.clone());
        }
        let service = self.next.get::<Service>(id).filter(|service| service.enabled)?;
        let made = CompiledService::from(service);
        self.services.insert(id, made.clone());
        Some(made)
    }

    /// What is attached to a route: the previous list where no instance in its scope was written,
    /// the service's where the route adds nothing to it.
    fn attached_to(
        &mut self,
        route: &Item<Route>,
        previous: Option<&CompiledRoute>,
    ) -> Arc<Attached> {
        let service = route.service.map(|service| service.id);
        let stale = self.all_attached
            || self.stale.routes_attached.contains(&route.id())
            || service.is_some_and(|id| self.stale.services_attached.contains(&id));
        if let Some(previous) = previous
            && !stale
            && previous.route.service == route.service
        {
            return Arc::clone(&previous.attached);
        }
        let own: Vec<_> = self
            .attached("route", route.id())
            .filter(|instance| instance.entity.service.is_none_or(|of| Some(of.id) == service))
            .collect();
        if own.is_empty() {
            return match service {
                Some(id) => self.attached_to_service(id),
                None => Arc::clone(&self.nothing),
            };
        }
        let of_service = service.into_iter().flat_map(|id| self.of_service(id));
        let attached = Attached::new(own.iter().copied().chain(of_service));
        self.work.chains += 1;
        Arc::new(attached)
    }

    /// What is attached to a service's routes that have no instances of their own.
    fn attached_to_service(&mut self, service: Id) -> Arc<Attached> {
        if let Some(made) = self.of_services.get(&service) {
            return Arc::clone(made);
        }
        let instances: Vec<_> = self.of_service(service).collect();
        let attached = if instances.is_empty() {
            Arc::clone(&self.nothing)
        } else {
            let attached = Arc::new(Attached::new(instances));
            self.work.chains += 1;
            attached
        };
        self.of_services.insert(service, Arc::clone(&attached));
        attached
    }

    /// Instances of a service's every route.
    fn of_service(&self, service: Id) -> impl Iterator<Item = &Arc<Instance>> {
        self.attached("service", service).filter(|instance| instance.entity.route.is_none())
    }

    /// Enabled instances for HTTP whose `field` names `id`.
    fn attached(&self, field: &str, id: Id) -> impl Iterator<Item = &Arc<Instance>> {
        self.next
            .children::<PluginInstance>(field, id)
            .filter_map(|entity| self.instances.get(&entity.id()))
            .filter(|instance| instance.is_http())
    }
}
