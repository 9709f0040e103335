//! The CAPIF profile (ETSI GS MEC 011 v3, clause 9; 3GPP TS 29.222): a third way to write and read
//! the same services.

mod description;
mod events;
mod publishing;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post, put};
use http::StatusCode;
use serde_json::{Value, json};

pub(crate) use self::description::describe;
use super::asked::{Asked, Parameter};
use super::refusal::Refusal;
use super::service_mgmt::visible_to;
use crate::Platform;

pub(super) fn router() -> Router<Arc<Platform>> {
    const PUBLISHED: &str = "/published-apis/v1/{app}/service-apis";
    const EVENTS: &str = "/capif-events/v1/{app}/subscriptions";
    Router::new()
        .route("/service-apis/v1/allServiceAPIs", get(discover))
        .route(PUBLISHED, get(publishing::list).post(publishing::publish))
        .route(
            &format!("{PUBLISHED}/{{service}}"),
            get(publishing::show)
                .put(publishing::replace)
                .patch(publishing::change)
                .delete(publishing::unpublish),
        )
        .route(EVENTS, post(events::subscribe))
        .route(
            &format!("{EVENTS}/{{subscription}}"),
            put(events::replace).patch(events::change).delete(events::unsubscribe),
        )
}

const KNOWN: [Parameter; 15] = [
    Parameter::Single("api-invoker-id"),
    Parameter::Single("api-name"),
    Parameter::Single("apiName"),
    Parameter::Single("apiId"),
    Parameter::Single("api-version"),
    Parameter::Single("comm-type"),
    Parameter::Single("protocol"),
    Parameter::Single("aef-id"),
    Parameter::Single("data-format"),
    Parameter::Single("api-cat"),
    Parameter::Single("preferred-aef-loc"),
    Parameter::Single("req-api-prov-name"),
    Parameter::Single("api-supported-features"),
    Parameter::Single("api-prov-name"),
    Parameter::Single("supported-features"),
];

/// `GET /service-apis/v1/allServiceAPIs`: clause 9.2.3.3.1.
async fn discover(
    State(platform): State<Arc<Platform>>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let caller = asked.anybody()?;
    let query = asked.query(&KNOWN)?;
    let features = query.single("supported-features").unwrap_or("0");
    let features = description::features(features)
        .ok_or_else(|| Refusal::bad("supported-features is no hexadecimal number"))?;
    let extensions = features & description::DISCOVERY_EXTENSIONS != 0;
    let catalog = platform.control.catalog();
    let published = &platform.settings.published;
    let found: Vec<Value> = visible_to(&catalog, caller)
        .iter()
        .map(|instance| (instance, describe(published, instance, extensions)))
        .filter(|(instance, described)| {
            let profile = &described["aefProfiles"][0];
            let is = |name: &str, value: &Value| {
                query.single(name).is_none_or(|wanted| value.as_str() == Some(wanted))
            };
            is("api-name", &described["apiName"])
                && is("apiName", &described["apiName"])
                && is("apiId", &described["apiId"])
                && is("api-version", &json!(instance.info.version))
                && is("api-cat", &described["serviceAPICategory"])
                && is("protocol", &profile["protocol"])
                && is("aef-id", &profile["aefId"])
                && is("data-format", &profile["dataFormat"])
        })
        .map(|(_, described)| described)
        .collect();
    let by_name = ["api-name", "apiName", "apiId"];
    if found.is_empty() && by_name.iter().any(|name| query.single(name).is_some()) {
        return Err(Refusal::not_found("there is no such service API"));
    }
    let mut body = json!({});
    if !found.is_empty() {
        body["serviceAPIDescriptions"] = found.into();
    }
    if query.single("supported-features").is_some() {
        let shared = features & description::DISCOVERY_EXTENSIONS;
        body["supportedFeatures"] = format!("{shared:x}").into();
    }
    Ok(super::json(StatusCode::OK, &body))
}

/// A merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in members {
        if value.is_null() {
            if let Some(target) = target.as_object_mut() {
                target.remove(name);
            }
        } else {
            merge(&mut target[name.as_str()], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7396, appendix A.
    #[test]
    fn merge_patches() {
        for (target, patch, wanted) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (
                json!({"a": "foo"}),
                json!({"b": {"c": {"d": null}}}),
                json!({"a": "foo", "b": {"c": {}}}),
            ),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, wanted, "{target} {patch}");
        }
    }
}
