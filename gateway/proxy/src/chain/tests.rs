#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use gateway_model::Id;
use gateway_model::entities::PluginInstance;
use plugins::contract::{Phases, Setup};
use serde_json::json;

use super::{Chain, Instance};
use crate::snapshot::test_kit::{PLUGINS, World, id, insert, plugin, tools};

const ROUTE: u32 = 1;
const SERVICE: u32 = 2;
const CONSUMER: u32 = 3;
const OTHER: u32 = 4;

/// All instances of a world with one route, its service and two consumers.
fn instances(changes: &[gateway_model::Change]) -> Vec<Arc<Instance>> {
    let mut world = World::new();
    world.write(&[
        insert("services", json!({"id": id(SERVICE), "host": "h"})),
        insert("routes", json!({"id": id(ROUTE), "paths": ["/"], "service": {"id": id(SERVICE)}})),
        insert("consumers", json!({"id": id(CONSUMER), "username": "c"})),
        insert("consumers", json!({"id": id(OTHER), "username": "o"})),
    ]);
    world.write(changes);
    let tools = tools();
    let build = |entity: gateway_model::Item<PluginInstance>| {
        let plugin = PLUGINS.iter().find(|plugin| plugin.name == entity.name).unwrap();
        let setup = Setup { instance: &entity, catalog: &world.catalog, tools: &tools };
        let handler = plugin.build(&entity.config, &setup).unwrap();
        Arc::new(Instance::new(entity.clone(), plugin, handler))
    };
    world.catalog.all::<PluginInstance>().map(build).collect()
}

fn chain(instances: &[Arc<Instance>]) -> Chain {
    let own = instances.iter().filter(|instance| !instance.is_broad());
    Chain::global(instances).narrowed(own)
}

/// The eight steps, in order; taking the winner away lets the next one win.
#[test]
fn the_most_specific_instance_is_picked() {
    let route = ("route", id(ROUTE));
    let service = ("service", id(SERVICE));
    let consumer = ("consumer", id(CONSUMER));
    let scopes: [&[(&str, Id)]; 8] = [
        &[route, service, consumer],
        &[route, consumer],
        &[service, consumer],
        &[route, service],
        &[consumer],
        &[route],
        &[service],
        &[],
    ];
    let changes: Vec<_> = (10..).zip(scopes).map(|(n, scope)| plugin(n, "alpha", scope)).collect();
    let all = instances(&changes);
    for first in 0..8 {
        // Order of arrival must not matter.
        for reversed in [false, true] {
            let mut left = all[first..].to_vec();
            if reversed {
                left.reverse();
            }
            let chain = chain(&left);
            let picked = |who: Option<u32>| {
                let slot = &chain.slots(Phases::ACCESS)[0];
                slot.pick(who.map(id)).map(|instance| instance.id())
            };
            let best = |fits: fn(&[(&str, Id)]) -> bool| {
                let mut left = (10..).zip(scopes).skip(first);
                left.find(|(_, scope)| fits(scope)).map(|(n, _)| id(n))
            };
            let no_consumer: fn(&[(&str, Id)]) -> bool =
                |scope| scope.iter().all(|(field, _)| *field != "consumer");
            assert_eq!(picked(Some(CONSUMER)), best(|_| true), "from step {first}");
            assert_eq!(picked(Some(OTHER)), best(no_consumer), "from step {first}");
            assert_eq!(picked(None), best(no_consumer), "from step {first}");
        }
    }
}

#[test]
fn slots_run_by_priority_then_name_in_their_phases() {
    let all = instances(&[
        plugin(10, "bravo", &[]),
        plugin(11, "alpha", &[("route", id(ROUTE))]),
        plugin(12, "echo", &[("service", id(SERVICE))]),
    ]);
    let chain = chain(&all);
    let check = |phase: Phases, wanted: &[&str]| {
        let names: Vec<_> = chain.slots(phase).iter().map(|slot| slot.plugin().name).collect();
        assert_eq!(names, wanted, "in {phase:?}");
    };
    check(Phases::REWRITE, &["bravo"]);
    check(Phases::ACCESS, &["echo", "alpha", "bravo"]);
    check(Phases::HEADER_FILTER, &["echo"]);
    check(Phases::BODY_FILTER, &[]);
    check(Phases::LOG, &["alpha"]);
    assert_eq!(chain.all().len(), 3);
}

#[test]
fn a_chain_shares_what_its_route_does_not_change() {
    let all = instances(&[
        plugin(10, "alpha", &[]),
        plugin(11, "bravo", &[]),
        plugin(12, "alpha", &[("route", id(ROUTE))]),
    ]);
    let global = Chain::global(&all);
    let own = global.narrowed(&all[2..]);
    assert!(Arc::ptr_eq(&global.all()[1], &own.all()[1]), "bravo's slot");
    assert_eq!(global.all()[0].pick(None).unwrap().id(), id(10));
    assert_eq!(own.all()[0].pick(None).unwrap().id(), id(12));
}
