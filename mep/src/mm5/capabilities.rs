//! Which services there are and who waits for them (contract section 5.4).

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use gateway_model::{Catalog, Item};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Platform;
use crate::entities::{ServiceInstance, ServiceName, Store, Subscription};
use crate::mp1::service_mgmt::discovery::filter::Filter;
use crate::mp1::service_mgmt::service_id;
use crate::problem::{Code, Problem, json_reply};

/// A service and who waits for it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = edgegallery::Capability)]
pub(super) struct Capability<'a> {
    capability_id: String,
    capability_name: &'a str,
    status: &'static str,
    version: &'a str,
    consumers: Vec<Consumer>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = edgegallery::Consumer)]
struct Consumer {
    application_instance_id: String,
}

pub(super) async fn list(
    State(platform): State<Arc<Platform>>,
    RawQuery(query): RawQuery,
) -> Response {
    let filter = Filter::parse(query.as_deref().unwrap_or_default());
    let strict = platform.settings.strict_original;
    let catalog = platform.control.catalog();
    let instances: Vec<_> = catalog
        .all::<ServiceInstance>()
        .filter(|instance| {
            filter.name.as_ref().is_none_or(|name| *name == instance.info.ser_name)
                && filter.matches(instance, strict)
        })
        .collect();
    let all: Vec<_> = instances.iter().map(|instance| capability(&catalog, instance)).collect();
    json_reply(StatusCode::OK, &all)
}

pub(super) async fn one(
    State(platform): State<Arc<Platform>>,
    Path(service): Path<String>,
) -> Result<Response, Problem> {
    let id = service_id(&service).ok_or(Problem::new(Code::BadRequest, "Invalid service ID"))?;
    let catalog = platform.control.catalog();
    let instance = catalog
        .get::<ServiceInstance>(id)
        .ok_or(Problem::new(Code::NoService, "get one instance error"))?;
    Ok(json_reply(StatusCode::OK, &capability(&catalog, &instance)))
}

fn capability<'a>(catalog: &Catalog, instance: &'a Item<ServiceInstance>) -> Capability<'a> {
    let id = instance.service_id();
    let name = ServiceName::id_of(&instance.info.ser_name);
    let first = catalog.children::<ServiceInstance>("service_name", name).next();
    let is_first = first.is_some_and(|first| first.id() == instance.id());
    let subscriptions = catalog.all::<Subscription>();
    let consumers = subscriptions
        .filter(|subscription| waits_for(subscription, instance, &id, is_first))
        .map(|subscription| Consumer { application_instance_id: subscription.app.id.to_string() });
    Capability {
        capability_name: &instance.info.ser_name,
        status: instance.state.as_str(),
        version: &instance.info.version,
        consumers: consumers.collect(),
        capability_id: id,
    }
}

/// Whether a subscription counts as consuming a service: by ids if it names some, else by names,
/// of which each stands for the first instance only, else by categories.
fn waits_for(
    subscription: &Subscription,
    instance: &ServiceInstance,
    id: &str,
    is_first: bool,
) -> bool {
    let Some(criteria) = &subscription.criteria else { return false };
    if subscription.store != Store::Availability {
        return false;
    }
    let [ids, names] = [&criteria.ser_instance_ids, &criteria.ser_names]
        .map(|list| list.as_deref().unwrap_or_default());
    if !ids.is_empty() {
        return ids.iter().any(|wanted| wanted == id);
    }
    if !names.is_empty() {
        return is_first && names.contains(&instance.info.ser_name);
    }
    let categories = criteria.ser_categories.as_deref().unwrap_or_default();
    categories.contains(&instance.info.ser_category)
}
