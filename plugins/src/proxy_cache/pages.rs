//! `/proxy-cache` of the Admin API: what is kept, shown and forgotten
//! (kong/plugins/proxy-cache/api.lua).

use std::sync::Arc;

use gateway_model::entities::PluginInstance;
use gateway_model::{Catalog, Id, Item};
use http::Method;

use super::cache::{Answers, Place};
use super::purge;
use crate::contract::{AdminPage, PageAnswer, PageCall};

pub(super) const PAGES: &[AdminPage] = &[
    AdminPage { path: "/proxy-cache", methods: "DELETE, OPTIONS", serve: all },
    AdminPage {
        path: "/proxy-cache/{cache_key}",
        methods: "DELETE, GET, HEAD, OPTIONS",
        serve: anywhere,
    },
    AdminPage {
        path: "/proxy-cache/{plugin_id}/caches/{cache_key}",
        methods: "DELETE, GET, HEAD, OPTIONS",
        serve: of_instance,
    },
];

fn all(call: &PageCall<'_>) -> PageAnswer {
    Answers::of(call.tools).forget_all();
    told(call, None)
}

fn anywhere(call: &PageCall<'_>) -> PageAnswer {
    let [key] = call.parameters else { return PageAnswer::NotFound };
    let found = instances(call.catalog).find_map(|one| {
        let place = place(&one, key)?;
        Answers::of(call.tools).get(&place, call.tools.clock.unix_seconds())?;
        Some(place)
    });
    found.map_or(PageAnswer::NotFound, |place| at(call, &place))
}

fn of_instance(call: &PageCall<'_>) -> PageAnswer {
    let [id, key] = call.parameters else { return PageAnswer::NotFound };
    let id = Id::parse(id);
    let found = instances(call.catalog).find(|one| Some(one.id()) == id);
    match found.and_then(|one| place(&one, key)) {
        Some(place) => at(call, &place),
        None => PageAnswer::NotFound,
    }
}

fn at(call: &PageCall<'_>, place: &Place) -> PageAnswer {
    let answers = Answers::of(call.tools);
    let now = call.tools.clock.unix_seconds();
    if *call.method == Method::DELETE {
        return match answers.forget(place, now) {
            true => told(call, Some(place.clone())),
            false => PageAnswer::NotFound,
        };
    }
    answers.get(place, now).map_or(PageAnswer::NotFound, |found| PageAnswer::Json(found.shown()))
}

/// Done here; other nodes are told.
fn told(call: &PageCall<'_>, place: Option<Place>) -> PageAnswer {
    let tools = Arc::clone(call.tools);
    PageAnswer::Wait(Box::pin(async move {
        purge::tell(tools, place).await;
        PageAnswer::NoContent
    }))
}

fn instances(catalog: &Catalog) -> impl Iterator<Item = Item<PluginInstance>> {
    catalog.all::<PluginInstance>().filter(|instance| instance.name == "proxy-cache")
}

fn place(instance: &Item<PluginInstance>, key: &str) -> Option<Place> {
    let memory = instance.config.get("memory")?.get("dictionary_name")?.as_str()?;
    Some(Place { memory: memory.into(), key: key.to_owned() })
}
