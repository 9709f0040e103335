#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use gateway_model::entities::Route;
use gateway_model::ports::DataPlane;
use gateway_model::{Change, Id, Rejection};
use http::HeaderMap;
use plugins::contract::{Phases, Scheme};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::test_kit::{PLUGINS, World, delete, id, insert, patch, plugin, tools};
use super::{Current, Flavour, ProxyPlane, Snapshot, Work};
use crate::chain::Chain;
use crate::resolve::{NameOptions, Resolver};
use crate::router::Wanted;

/// A world and the plane that follows it.
struct Plane {
    world: World,
    plane: ProxyPlane,
}

const NOTHING: Work = Work { handlers: 0, chains: 0, routes: 0 };

impl Plane {
    /// Two services with two routes each, a consumer, and a route without a service.
    fn new() -> Self {
        let mut plane = Self::empty();
        plane.write(&[
            insert("consumers", json!({"id": id(9), "username": "c"})),
            insert("services", json!({"id": id(1), "host": "h"})),
            insert("services", json!({"id": id(2), "host": "h"})),
            route(11, Some(1)),
            route(12, Some(1)),
            route(21, Some(2)),
            route(22, Some(2)),
            route(30, None),
        ]);
        plane
    }

    fn empty() -> Self {
        let world = World::new();
        let flavour = Flavour::default();
        let first = Snapshot::empty(Arc::clone(world.catalog.registry()), flavour);
        let tools = tools();
        let (clock, runtime) = (tools.clock.clone(), tools.runtime.clone());
        let resolver = Resolver::new(NameOptions::default(), clock, runtime);
        let plane = ProxyPlane::new(PLUGINS, tools, Current::new(first), flavour, resolver);
        Self { world, plane }
    }

    /// Compiles and publishes; gives the snapshot and what it took.
    fn write(&mut self, changes: &[Change]) -> (Arc<Snapshot>, Work) {
        let writes = self.world.write(changes);
        let (_, work, _) = self.plane.compile(&self.world.catalog, &writes).unwrap();
        self.plane.prepare(&self.world.catalog, &writes).unwrap().publish();
        (self.snapshot(), work)
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.plane.current.load_full()
    }
}

/// A route whose path is its number.
fn route(n: u32, service: Option<u32>) -> Change {
    let service = service.map(|n| json!({"id": id(n)}));
    insert("routes", json!({"id": id(n), "paths": [format!("/{n}/")], "service": service}))
}

fn found(snapshot: &Snapshot, n: u32) -> Option<Id> {
    let headers = HeaderMap::new();
    let path = format!("/{n}/");
    let wanted = Wanted {
        method: "GET",
        host: "h",
        port: 80,
        path: &path,
        query: None,
        source: "10.0.0.1:1".parse().unwrap(),
        destination: [127, 0, 0, 1].into(),
        headers: &headers,
        scheme: Scheme::Http,
        sni: None,
    };
    snapshot.router.find(&wanted).map(|found| found.route.id())
}

/// The ids of what runs in the access phase for a consumer.
fn running(chain: &Chain, consumer: Option<Id>) -> Vec<Id> {
    let slots = chain.slots(Phases::ACCESS).iter();
    slots.filter_map(|slot| slot.pick(consumer)).map(|instance| instance.id()).collect()
}

/// Which of two snapshots' routes are the very same.
fn kept(before: &Snapshot, after: &Snapshot) -> Vec<u32> {
    let same = |n: &u32| match (before.route(id(*n)), after.route(id(*n))) {
        (Some(before), Some(after)) => Arc::ptr_eq(before, after),
        _ => false,
    };
    [11, 12, 21, 22, 30].into_iter().filter(same).collect()
}

#[test]
fn a_write_compiles_what_it_concerns() {
    let work = |handlers, chains, routes| Work { handlers, chains, routes };
    let check = |first: &[Change], then: Change, wanted: Work, untouched: &[u32]| {
        let mut plane = Plane::new();
        plane.write(first);
        let before = plane.snapshot();
        let shown = format!("{then:?}");
        let (after, done) = plane.write(&[then]);
        assert_eq!(done, wanted, "{shown}");
        assert_eq!(kept(&before, &after), untouched, "{shown}");
    };
    let all = [11, 12, 21, 22, 30];
    let on_route = || plugin(50, "alpha", &[("route", id(11))]);
    let on_service = || plugin(51, "bravo", &[("service", id(1))]);
    let everywhere = || plugin(52, "echo", &[]);
    let for_consumer = || plugin(53, "alpha", &[("consumer", id(9))]);
    // Nothing of ours.
    check(&[], patch("consumers", id(9), json!({"custom_id": "x"})), NOTHING, &all);
    check(&[], insert("services", json!({"id": id(3), "host": "h"})), NOTHING, &all);
    // Routes and services.
    check(&[], route(40, Some(1)), work(0, 0, 1), &all);
    check(&[], delete("routes", id(11)), NOTHING, &[12, 21, 22, 30]);
    check(&[], patch("routes", id(11), json!({"paths": ["/x"]})), work(0, 0, 1), &all[1..]);
    check(&[on_route()], patch("routes", id(11), json!({"tags": ["x"]})), work(0, 0, 1), &all[1..]);
    check(&[], patch("services", id(1), json!({"path": "/p"})), work(0, 0, 2), &[21, 22, 30]);
    check(&[], patch("services", id(1), json!({"enabled": false})), NOTHING, &[21, 22, 30]);
    // Plugins, by scope.
    check(&[], on_route(), work(1, 1, 1), &all[1..]);
    check(&[], on_service(), work(1, 1, 2), &[21, 22, 30]);
    check(&[], everywhere(), work(1, 1, 0), &all);
    check(&[], for_consumer(), work(1, 1, 0), &all);
    check(&[on_route()], everywhere(), work(1, 1, 0), &all);
    check(&[everywhere()], delete("plugins", id(52)), work(0, 1, 0), &all);
    check(&[everywhere()], patch("plugins", id(52), json!({"tags": ["x"]})), work(1, 1, 0), &all);
    check(&[on_route()], on_service(), work(1, 2, 2), &[21, 22, 30]);
    check(&[on_route()], delete("plugins", id(50)), work(0, 0, 1), &all[1..]);
    check(&[on_route()], delete("routes", id(11)), NOTHING, &[12, 21, 22, 30]);
    // An instance that moves leaves one place and comes to another.
    let moves = patch("plugins", id(50), json!({"route": {"id": id(21)}}));
    check(&[on_route()], moves, work(1, 1, 2), &[12, 22, 30]);
    // Disabled ones do not exist.
    let off = patch("plugins", id(50), json!({"enabled": false}));
    let on = patch("plugins", id(50), json!({"enabled": true}));
    let still_off = patch("plugins", id(50), json!({"tags": ["x"]}));
    check(&[on_route()], off.clone(), work(0, 0, 1), &all[1..]);
    check(&[on_route(), off.clone()], on, work(1, 1, 1), &all[1..]);
    check(&[on_route(), off], still_off, NOTHING, &all);
}

#[test]
fn handlers_chains_and_expressions_are_shared() {
    let mut plane = Plane::new();
    let (before, _) = plane.write(&[
        plugin(50, "alpha", &[]),
        plugin(51, "bravo", &[("route", id(11))]),
        plugin(52, "bravo", &[("service", id(2))]),
    ]);
    let chain = |snapshot: &Snapshot, n| snapshot.chain(snapshot.route(id(n)).unwrap());
    assert!(Arc::ptr_eq(&chain(&before, 12), &before.global), "nothing of its own");
    assert!(Arc::ptr_eq(&chain(&before, 21), &chain(&before, 22)), "only their service's");
    assert!(Arc::ptr_eq(&chain(&before, 11), &chain(&before, 11)), "put together once");
    let (after, _) = plane.write(&[
        patch("services", id(1), json!({"path": "/p"})),
        patch("plugins", id(50), json!({"config": {"value": 1}})),
    ]);
    let same = |n| Arc::ptr_eq(before.instance(id(n)).unwrap(), after.instance(id(n)).unwrap());
    assert_eq!([50, 51, 52].map(same), [false, true, true]);
    let routes = [&before, &after].map(|snapshot| Arc::clone(snapshot.route(id(11)).unwrap()));
    assert!(!Arc::ptr_eq(&routes[0], &routes[1]));
    assert!(routes[0].shares_matcher(&routes[1]), "its own fields did not change");
    let (again, work, _) = plane.plane.compile(&plane.world.catalog, &[]).unwrap();
    assert_eq!(work.handlers, 0, "a compile of everything keeps handlers of unchanged instances");
    assert!(Arc::ptr_eq(again.instance(id(50)).unwrap(), after.instance(id(50)).unwrap()));
}

#[test]
fn routes_of_a_disabled_service_are_not_found() {
    let mut plane = Plane::new();
    let (off, _) = plane.write(&[patch("services", id(1), json!({"enabled": false}))]);
    assert_eq!((found(&off, 11), found(&off, 21)), (None, Some(id(21))));
    let (on, _) = plane.write(&[patch("services", id(1), json!({"enabled": true}))]);
    assert_eq!(found(&on, 11), Some(id(11)));
}

#[test]
fn stream_routes_and_stream_instances_are_left_out() {
    let mut plane = Plane::new();
    let mut stream = json!({"id": id(50), "name": "alpha", "protocols": ["tcp"]});
    // The catalog refuses it for these plugins, so it must come from a store.
    for (field, value) in
        [("created_at", json!(0)), ("updated_at", json!(0)), ("config", json!({"value": 0}))]
    {
        stream[field] = value;
    }
    plane.write(&[insert(
        "routes",
        json!({"id": id(40), "protocols": ["tcp"], "destinations": [{"port": 1}]}),
    )]);
    assert!(plane.snapshot().route(id(40)).is_none());
    let catalog = &plane.world.catalog;
    let routes = catalog.all::<Route>().map(|route| ("routes", route.document().clone()));
    let rows = routes.filter(|(_, route)| route["service"].is_null());
    let rows = rows.chain([("plugins", super::test_kit::document(stream))]);
    let rows = rows.map(|(kind, row)| (kind.to_owned(), row));
    let loaded =
        gateway_model::Catalog::load(Arc::clone(catalog.registry()), catalog.revision(), rows);
    let (snapshot, ..) = plane.plane.compile(&Arc::new(loaded.unwrap()), &[]).unwrap();
    assert!(snapshot.instance(id(50)).is_some());
    assert_eq!(running(&snapshot.chain(snapshot.route(id(30)).unwrap()), None), []);
}

#[test]
fn a_refused_write_leaves_no_trace() {
    let mut plane = Plane::new();
    let served = plane.snapshot();
    let kept = Arc::clone(&plane.world.catalog);
    let bad = json!({"id": id(50), "name": "alpha", "config": {"value": 13}});
    let writes = plane.world.write(&[insert("plugins", bad)]);
    let Err(Rejection::Invalid(why)) = plane.plane.prepare(&plane.world.catalog, &writes) else {
        panic!("an unlucky plugin was accepted")
    };
    assert_eq!(why.message(), "schema violation (config.value: unlucky)");
    let bad = json!({"id": id(60), "paths": ["/h"], "headers": {"x-a": ["~*("]}});
    plane.world.catalog = Arc::clone(&kept);
    let writes = plane.world.write(&[insert("routes", bad)]);
    let refused = plane.plane.prepare(&plane.world.catalog, &writes);
    assert!(matches!(refused, Err(Rejection::Invalid(_))));
    assert!(Arc::ptr_eq(&plane.snapshot(), &served));
}

#[test]
fn only_what_was_published_counts() {
    let mut plane = Plane::new();
    let base = Arc::clone(&plane.world.catalog);
    let writes = plane.world.write(&[route(40, None), plugin(50, "alpha", &[])]);
    let prepared = plane.plane.prepare(&plane.world.catalog, &writes).unwrap();
    assert_eq!(found(&plane.snapshot(), 40), None, "not served before it is published");
    drop(prepared);
    // The store refused it; the next write begins where the last published one ended.
    plane.world.catalog = base;
    let (snapshot, work) = plane.write(&[route(41, None)]);
    assert_eq!(work, Work { routes: 1, ..NOTHING });
    assert_eq!((found(&snapshot, 40), found(&snapshot, 41)), (None, Some(id(41))));
    assert!(snapshot.instance(id(50)).is_none());
}

#[test]
fn a_pinned_snapshot_does_not_change() {
    let mut plane = Plane::new();
    let pinned = plane.snapshot();
    plane.write(&[delete("routes", id(11)), plugin(50, "alpha", &[("route", id(12))])]);
    assert_eq!(found(&pinned, 11), Some(id(11)));
    assert_eq!(running(&pinned.chain(pinned.route(id(12)).unwrap()), None), []);
    assert_eq!(found(&plane.snapshot(), 11), None);
}

#[test]
fn an_instance_of_an_unknown_plugin_is_refused() {
    let mut plane = Plane::new();
    plane.plane.types = &[];
    let writes = plane.world.write(&[plugin(50, "alpha", &[])]);
    let Err(why) = plane.plane.prepare(&plane.world.catalog, &writes) else {
        panic!("a plugin without code was accepted")
    };
    assert_eq!(why.to_string(), "schema violation (name: plugin 'alpha' is not installed)");
}

/// What a write compiles does not grow with what is there.
#[test]
fn one_write_among_many_routes_is_little_work() {
    const MANY: u32 = 10_000;
    let mut plane = Plane::empty();
    let mut changes = Vec::new();
    for n in 1..=MANY {
        let (service, route, instance) = (n, MANY + n, 2 * MANY + n);
        changes.push(insert("services", json!({"id": id(service), "host": "h"})));
        changes.push(self::route(route, Some(service)));
        changes.push(plugin(instance, "alpha", &[("route", id(route))]));
    }
    let (_, work) = plane.write(&changes);
    let many = MANY as usize;
    assert_eq!(work, Work { handlers: many, chains: many, routes: many });
    let (_, work) = plane.write(&[plugin(6 * MANY, "bravo", &[])]);
    assert_eq!(work, Work { handlers: 1, chains: 1, routes: 0 });
    let (_, work) = plane.write(&[route(4 * MANY, Some(1))]);
    assert_eq!(work, Work { handlers: 0, chains: 0, routes: 1 });
    let (_, work) = plane.write(&[patch("services", id(2), json!({"host": "i"}))]);
    assert_eq!(work, Work { handlers: 0, chains: 0, routes: 1 });
    let (snapshot, work) = plane.write(&[plugin(5 * MANY, "echo", &[("service", id(3))])]);
    assert_eq!(work, Work { handlers: 1, chains: 1, routes: 1 });
    assert_eq!(found(&snapshot, MANY + 3), Some(id(MANY + 3)));
    let chain = snapshot.chain(snapshot.route(id(MANY + 3)).unwrap());
    let wanted = [id(5 * MANY), id(6 * MANY), id(2 * MANY + 3)];
    assert!(wanted.iter().all(|one| running(&chain, None).contains(one)));
}

/// A change to a small world; some are refused by the catalog.
fn change() -> impl Strategy<Value = Change> {
    let routes = [11, 12, 21, 22, 30, 40];
    let scope = (
        prop::option::of(select(vec![11_u32, 12, 21, 30])),
        prop::option::of(select(vec![1_u32, 2])),
        prop::option::of(Just(9_u32)),
    );
    let named = |field, of: Option<u32>| of.map(|n| (field, id(n)));
    prop_oneof![
        4 => (50..58_u32, select(vec!["alpha", "bravo", "echo"]), scope).prop_map(
            move |(n, name, (route, service, consumer))| {
                let scope = [
                    named("route", route),
                    named("service", service),
                    named("consumer", consumer),
                ];
                plugin(n, name, &scope.into_iter().flatten().collect::<Vec<_>>())
            }
        ),
        1 => (50..58_u32, any::<bool>())
            .prop_map(|(n, on)| patch("plugins", id(n), json!({"enabled": on}))),
        1 => (50..58_u32).prop_map(|n| delete("plugins", id(n))),
        1 => (select(routes.to_vec()), prop::option::of(1..3_u32)).prop_map(|(n, service)| {
            patch("routes", id(n), json!({"service": service.map(|n| json!({"id": id(n)}))}))
        }),
        1 => select(routes.to_vec()).prop_map(|n| delete("routes", id(n))),
        1 => (select(routes.to_vec()), prop::option::of(1..3_u32))
            .prop_map(|(n, service)| route(n, service)),
        1 => (1..3_u32, any::<bool>())
            .prop_map(|(n, on)| patch("services", id(n), json!({"enabled": on}))),
        1 => Just(delete("consumers", id(9))),
    ]
}

/// Everything traffic can see of a snapshot.
fn seen(snapshot: &Snapshot) -> Vec<(u32, Option<Id>, [Vec<Id>; 2])> {
    let row = |n| {
        let chain = snapshot.route(id(n)).map(|route| snapshot.chain(route));
        let chain = chain.unwrap_or_default();
        (n, found(snapshot, n), [None, Some(id(9))].map(|who| running(&chain, who)))
    };
    let global = (0, None, [None, Some(id(9))].map(|who| running(&snapshot.global, who)));
    [11, 12, 21, 22, 30, 40].into_iter().map(row).chain([global]).collect()
}

proptest! {
    /// Compiling what changed, again and again, ends where compiling everything ends.
    #[test]
    fn changed_equals_everything(
        sets in prop::collection::vec(prop::collection::vec(change(), 1..4), 1..12),
    ) {
        let mut plane = Plane::new();
        for set in &sets {
            let Ok(writes) = plane.world.try_write(set) else { continue };
            if writes.is_empty() {
                continue;
            }
            plane.plane.prepare(&plane.world.catalog, &writes).unwrap().publish();
            let (whole, ..) = plane.plane.compile(&plane.world.catalog, &[]).unwrap();
            prop_assert_eq!(seen(&plane.snapshot()), seen(&whole), "after {:?}", set);
        }
    }
}
