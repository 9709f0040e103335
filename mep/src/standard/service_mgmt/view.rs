//! Services as clients of the standard see them: what has no value is left out.

use serde_json::{Map, Value, json};

use crate::entities::{Category, Endpoint, Security, ServiceInfo, ServiceInstance, TransportInfo};
use crate::face::Face;
use crate::settings::Published;
use crate::transports;

/// What discovery shows of a service.
pub(crate) fn view(published: &Published, instance: &ServiceInstance) -> Value {
    let endpoint = endpoint(published, instance);
    service(published, instance, &instance.info, endpoint)
}

/// Where discovery says a service is: at the gateway, as far as that offers it.
pub(crate) fn endpoint(published: &Published, instance: &ServiceInstance) -> Value {
    let own = &instance.info.transport_info.endpoint;
    let uris: Vec<String> =
        instance.publications.iter().map(|offer| published.uri(&offer.name)).collect();
    if !uris.is_empty() {
        json!({"uris": uris})
    } else if instance.info.transport_id == transports::rest_id() && is_empty(own) {
        at_the_gateway(published)
    } else {
        as_given(own)
    }
}

/// The same as text, which is made once.
pub(super) fn text<'a>(published: &Published, instance: &'a ServiceInstance) -> &'a str {
    let make = || view(published, instance).to_string().into_boxed_str();
    instance.shown_by_standard.get_or_init(make)
}

/// The answer to a registration or a replacement: with the endpoint the client sent.
pub(super) fn echo(published: &Published, instance: &ServiceInstance, sent: &ServiceInfo) -> Value {
    let given = &sent.transport_info.endpoint;
    let endpoint = if is_empty(given) { at_the_gateway(published) } else { as_given(given) };
    service(published, instance, &instance.info, endpoint)
}

/// Where the gateway is.
pub(super) fn base(published: &Published) -> String {
    published.uri("")
}

pub(super) fn at_the_gateway(published: &Published) -> Value {
    json!({"uris": [base(published)]})
}

fn is_empty(endpoint: &Endpoint) -> bool {
    *endpoint == Endpoint::default()
}

/// An endpoint in the one form it has; the dialect may have none.
pub(crate) fn as_given(endpoint: &Endpoint) -> Value {
    let uris = endpoint.uris.as_ref().filter(|uris| !uris.is_empty());
    let addresses = endpoint.addresses.as_ref().filter(|addresses| !addresses.is_empty());
    match (uris, addresses, &endpoint.alternative) {
        (Some(uris), ..) => json!({"uris": uris}),
        (None, Some(addresses), _) => json!({"addresses": addresses}),
        (None, None, Value::Null) => json!({"uris": []}),
        (None, None, alternative) => json!({"alternative": alternative}),
    }
}

fn service(
    published: &Published,
    instance: &ServiceInstance,
    info: &ServiceInfo,
    endpoint: Value,
) -> Value {
    let (app, id) = (instance.app.id, instance.id);
    let link = |path: String| json!({"href": published.link(&path)});
    let mut links = Map::new();
    links.insert("self".to_owned(), link(Face::Standard.service(app, id)));
    let beats = info.liveness_interval > 0;
    if beats {
        links.insert("liveness".to_owned(), link(Face::Standard.liveness(app, id)));
    }
    let with_category = info.ser_category != Category::default();
    let members = [
        ("serInstanceId", json!(instance.service_id())),
        ("serName", json!(info.ser_name)),
        ("serCategory", if with_category { category(&info.ser_category) } else { Value::Null }),
        ("version", json!(info.version)),
        ("state", json!(instance.state.as_str())),
        ("transportInfo", transport(&info.transport_info, endpoint)),
        ("serializer", json!(info.serializer)),
        ("scopeOfLocality", json!(info.scope_of_locality)),
        ("consumedLocalOnly", json!(info.consumed_local_only)),
        ("isLocal", json!(true)),
        ("livenessInterval", if beats { json!(info.liveness_interval) } else { Value::Null }),
        ("_links", Value::Object(links)),
    ];
    filled(members)
}

/// Members without those that have no value.
pub(crate) fn filled<const N: usize>(members: [(&str, Value); N]) -> Value {
    let there = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(there.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A category as it stands on the wire.
pub(crate) fn category(category: &Category) -> Value {
    let Category { href, id, name, version } = category;
    json!({"href": href, "id": id, "name": name, "version": version})
}

/// A transport that is at `endpoint`.
pub(crate) fn transport(info: &TransportInfo, endpoint: Value) -> Value {
    let optional = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    filled([
        ("id", json!(info.id)),
        ("name", json!(info.name)),
        ("description", optional(&info.description)),
        ("type", json!(info.kind)),
        ("protocol", json!(info.protocol)),
        ("version", json!(info.version)),
        ("endpoint", endpoint),
        ("security", security(&info.security)),
        ("implSpecificInfo", info.impl_specific_info.clone()),
    ])
}

pub(crate) fn security(security: &Security) -> Value {
    let info = &security.o_auth2_info;
    match info.grant_types.as_ref().filter(|grants| !grants.is_empty()) {
        None => json!({}),
        Some(grants) => json!({
            "oAuth2Info": {"grantTypes": grants, "tokenEndpoint": info.token_endpoint},
        }),
    }
}
