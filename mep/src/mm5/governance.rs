//! Numbers for portals (contract section 5.5).

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use gateway_model::Item;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};
use utoipa::ToSchema;

use crate::Platform;
use crate::entities::{ServiceInstance, Store, Subscription};
use crate::mp1::bytes_up_to;
use crate::mp1::service_mgmt::discovery::array;
use crate::problem::{Code, Problem, json_reply};
use crate::statistics::{DISCOVERY, REGISTRATION};

/// What portals get.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = edgegallery::Envelope, bound = "")]
pub(super) struct Envelope<T> {
    #[schema(value_type = Value)]
    data: T,
    ret_code: u8,
    message: &'static str,
    params: &'static str,
}

fn enveloped<T: Serialize>(data: T) -> Response {
    json_reply(StatusCode::OK, &Envelope { data, ret_code: 0, message: "", params: "" })
}

/// All services.
pub(super) async fn services(State(platform): State<Arc<Platform>>) -> Response {
    let all: Vec<Item<ServiceInstance>> = platform.control.catalog().all().collect();
    match RawValue::from_string(array(&platform, &all)) {
        Ok(shown) => enveloped(shown),
        Err(_) => enveloped(Vec::<u8>::new()),
    }
}

/// Who asked to be told of services.
pub(super) async fn subscriptions(State(platform): State<Arc<Platform>>) -> Response {
    let catalog = platform.control.catalog();
    let availability = |one: &Item<Subscription>| one.store == Store::Availability;
    let all: Vec<_> = catalog.all::<Subscription>().filter(availability).collect();
    let criteria = || all.iter().filter_map(|one| one.criteria.as_ref());
    let names: BTreeSet<&String> =
        criteria().filter_map(|criteria| criteria.ser_names.as_ref()).flatten().collect();
    let apps: BTreeSet<_> = all.iter().map(|one| one.app.id).collect();
    let relations: Vec<Value> = apps
        .iter()
        .map(|app| {
            let own = all.iter().filter(|one| one.app.id == *app);
            let ids: Vec<&String> = own
                .filter_map(|one| one.criteria.as_ref()?.ser_instance_ids.as_ref())
                .flatten()
                .collect();
            let services = if ids.is_empty() { Value::Null } else { json!(ids) };
            json!({"subscribeAppId": app.to_string(), "serviceList": services})
        })
        .collect();
    enveloped(json!({
        "subscribeNum": {
            "appSubscribeNum": apps.len(),
            "serviceSubscribedNum": names.len(),
        },
        "subscribeRelations": relations,
    }))
}

/// How often services were called on each of the last seven days.
pub(super) async fn calls(State(platform): State<Arc<Platform>>) -> Response {
    let catalog = platform.control.catalog();
    let now = platform.clock.unix_ms();
    let row = |name: &str, subjects: &mut dyn Iterator<Item = &str>| {
        let calls = platform.statistics.week(&catalog, subjects, now);
        json!({"callTimes": calls, "desc": "", "name": name})
    };
    let services: Vec<Value> = catalog
        .all::<ServiceInstance>()
        .map(|instance| {
            let mut names = instance.publications.iter().map(|offer| offer.name.as_str());
            row(&instance.info.ser_name, &mut names)
        })
        .collect();
    let own = |name: &'static str| row(name, &mut std::iter::once(name));
    enveloped(json!({
        "appServices": services,
        "mepServices": [own(REGISTRATION), own(DISCOVERY)],
    }))
}

/// The largest log entry that is read, bytes.
const LOG_ENTRY: usize = 2 << 20;

/// Takes what gateways of the original posted here. Calls are counted where they happen, so that
/// nothing of it is kept, tokens in it least of all.
pub(super) async fn take_log(body: Body) -> Result<Response, Problem> {
    let bytes = bytes_up_to(body, LOG_ENTRY).await?;
    match serde_json::from_slice::<serde::de::IgnoredAny>(&bytes) {
        Ok(_) => Ok(json_reply(StatusCode::OK, &Value::Null)),
        Err(_) => Err(Problem::new(Code::BadRequest, "Json Unmarshal error.")),
    }
}
