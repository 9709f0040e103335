//! The CAPIF profile (ETSI GS MEC 011 v3, clause 9; 3GPP TS 29.222): a third way to write and read
//! the same services.

mod description;
mod events;
mod publishing;
mod types;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

pub(crate) use self::description::describe;
use self::types::{
    DiscoveredApis, EventSubscription, EventSubscriptionPatch, ServiceApiDescription,
    ServiceApiDescriptionPatch,
};
use super::asked::Asked;
use super::parameter::Parameter;
use super::refusal::Refusal;
use super::service_mgmt::visible_to;
use super::told::{anybody, of_app};
use crate::Platform;
use crate::openapi::{Api, Routes};

pub(super) fn routes() -> Routes<Arc<Platform>> {
    const PUBLISHED: &str = "/published-apis/v1/{apfId}/service-apis";
    const EVENTS: &str = "/capif-events/v1/{subscriberId}/subscriptions";
    Routes::of(Api::Capif)
        .at("/service-apis/v1/allServiceAPIs", |on| {
            let told = anybody("The services the caller may use, as CAPIF has them", "9.2.3.3.1")
                .refuses(&[StatusCode::NOT_FOUND])
                .queried(&KNOWN);
            on.get(discover, told.answers::<DiscoveredApis>(StatusCode::OK, "The services."))
        })
        .at(PUBLISHED, |on| {
            let listed = of_app("The services of an application, as CAPIF has them", "9.2.4.3.1");
            let made = of_app("Publishes a service", "9.2.4.3.4")
                .reads::<ServiceApiDescription>(description::example())
                .stores()
                .creates::<ServiceApiDescription>("The service.");
            on.get(publishing::list, listed.lists::<ServiceApiDescription>("The services."))
                .post(publishing::publish, made)
        })
        .at(&format!("{PUBLISHED}/{{serviceApiId}}"), |on| {
            let shown = of_app("A service, as CAPIF has it", "9.2.5.3.1")
                .shows::<ServiceApiDescription>("The service.");
            let replaced = of_app("Replaces a published service", "9.2.5.3.2")
                .reads::<ServiceApiDescription>(description::example());
            let changed =
                of_app("Changes a published service", "9.2.5.3.3")
                    .patches::<ServiceApiDescriptionPatch>(json!({"description": "in the lobby"}));
            let [replaced, changed] = [replaced, changed].map(|told| {
                told.conditional().stores().replaces::<ServiceApiDescription>("The service.")
            });
            let removed = of_app("Withdraws a published service", "9.2.5.3.5")
                .conditional()
                .stores()
                .does("The service is gone.");
            on.get(publishing::show, shown)
                .put(publishing::replace, replaced)
                .patch(publishing::change, changed)
                .delete(publishing::unpublish, removed)
        })
        .at(EVENTS, |on| {
            let made = of_app("Subscribes to events", "9.2.6.3.4")
                .reads::<EventSubscription>(events::example())
                .stores()
                .creates::<EventSubscription>("The subscription.");
            on.post(events::subscribe, made)
        })
        .at(&format!("{EVENTS}/{{subscriptionId}}"), |on| {
            let replaced = of_app("Replaces a subscription to events", "9.2.7.3.2")
                .reads::<EventSubscription>(events::example());
            let changed =
                of_app("Changes a subscription to events", "9.2.7.3.3")
                    .patches::<EventSubscriptionPatch>(json!({"events": ["SERVICE_API_UPDATE"]}));
            let [replaced, changed] = [replaced, changed].map(|told| {
                told.conditional().stores().replaces::<EventSubscription>("The subscription.")
            });
            let removed = of_app("Unsubscribes from events", "9.2.7.3.5")
                .conditional()
                .stores()
                .does("Nothing is told any more.");
            on.put(events::replace, replaced)
                .patch(events::change, changed)
                .delete(events::unsubscribe, removed)
        })
}

const KNOWN: [Parameter; 15] = {
    const UNUSED: &str = "Taken and not looked at.";
    [
        Parameter::single("api-invoker-id", UNUSED),
        Parameter::single("api-name", "Of this name."),
        Parameter::single("apiName", "Of this name, as ETSI's test suite asks for it."),
        Parameter::single("apiId", "Of this id, as ETSI's test suite asks for it."),
        Parameter::single("api-version", "Of this version."),
        Parameter::single("comm-type", UNUSED),
        Parameter::single("protocol", "Reached by this protocol."),
        Parameter::single("aef-id", "With a transport of this id."),
        Parameter::single("data-format", "That write this."),
        Parameter::single("api-cat", "Of the category of this id."),
        Parameter::single("preferred-aef-loc", UNUSED),
        Parameter::single("req-api-prov-name", UNUSED),
        Parameter::single("api-supported-features", UNUSED),
        Parameter::single("api-prov-name", UNUSED),
        Parameter::single(
            "supported-features",
            "Features of the client, hexadecimal; 2 for MEC's extensions.",
        ),
    ]
};

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
        .filter(|instance| {
            let info = &instance.info;
            let transport = &info.transport_info;
            let is = |name: &str, text: &str| query.single(name).is_none_or(|asked| asked == text);
            let protocol = |asked| {
                description::protocol(&transport.protocol, &transport.version) == Some(asked)
            };
            is("api-name", &info.ser_name)
                && is("apiName", &info.ser_name)
                && query.single("apiId").is_none_or(|asked| asked == instance.service_id())
                && is("api-version", &info.version)
                && is("api-cat", &info.ser_category.id)
                && query.single("protocol").is_none_or(protocol)
                && is("aef-id", &transport.id)
                && is("data-format", &info.serializer)
        })
        .map(|instance| describe(published, instance, extensions))
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
