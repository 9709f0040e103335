//! A service as clients see it.

use axum::response::Response;
use gateway_model::Id;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::dialect::json;
use crate::entities::{Address, Category, Security, ServiceInfo, ServiceInstance, service_id};
use crate::face::Face;
use crate::mp1::subscriptions::Href;
use crate::problem::json_reply;
use crate::settings::Published;

/// What discovery shows of a service: JSON text. Its endpoints are the gateway's.
pub(crate) fn shown<'a>(instance: &'a ServiceInstance, published: &Published) -> &'a str {
    instance.shown.get_or_init(|| {
        let app = instance.app_instance_id();
        let uris: Vec<String> =
            instance.publications.iter().map(|offer| published.uri(&offer.name)).collect();
        let endpoint = EndpointView {
            uris: (!uris.is_empty()).then_some(&uris),
            addresses: None,
            alternative: &instance.info.transport_info.endpoint.alternative,
        };
        let links = Links::of(&instance.info, instance.app.id, instance.id, &app);
        let state = instance.state.as_str();
        let mut view = View::of(&instance.info, instance.id, state, endpoint, &links);
        view.transport_info.impl_specific_info = &Value::Null;
        // Strings, numbers and text keys only: it can be written.
        json::to_string(&view).unwrap_or_default().into()
    })
}

/// The reply to a registration: the request with what was filled in.
pub(super) fn echo(status: StatusCode, info: &ServiceInfo, app: Id, id: Id) -> Response {
    // Whose it is says who sent it, as the original had it.
    let links = Links::of(info, app, id, &info.links.app_instance_id);
    let given = &info.transport_info.endpoint;
    let endpoint = EndpointView {
        uris: given.uris.as_ref(),
        addresses: given.addresses.as_ref(),
        alternative: &given.alternative,
    };
    json_reply(status, &View::of(info, id, &info.state, endpoint, &links))
}

/// Links as the original has them, which are texts, and beside them as the standard does (MEC 011
/// contract 10.3). Those to heartbeats are there with heartbeats only.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = edgegallery::ShownServiceLinks)]
struct Links<'a> {
    #[serde(rename = "self")]
    own: OwnLinks,
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness: Option<Href>,
    app_instance_id: &'a str,
}

/// Links to a service itself.
#[derive(Serialize, ToSchema)]
#[schema(as = edgegallery::ShownServiceSelf)]
struct OwnLinks {
    href: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness: Option<String>,
}

impl<'a> Links<'a> {
    fn of(info: &ServiceInfo, app: Id, id: Id, app_instance_id: &'a str) -> Self {
        let liveness = (info.liveness_interval != 0).then(|| Face::Dialect.liveness(app, id));
        Self {
            own: OwnLinks { href: Face::Dialect.service(app, id), liveness: liveness.clone() },
            liveness: liveness.map(|href| Href { href }),
            app_instance_id,
        }
    }
}

/// Members in the original's order.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = edgegallery::ServiceInfo)]
pub(crate) struct View<'a> {
    ser_instance_id: String,
    ser_name: &'a str,
    ser_category: &'a Category,
    version: &'a str,
    state: &'a str,
    transport_id: &'a str,
    transport_info: TransportView<'a>,
    serializer: &'a str,
    scope_of_locality: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    consumed_local_only: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_local: bool,
    liveness_interval: i64,
    #[serde(rename = "_links")]
    links: &'a Links<'a>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = edgegallery::ShownTransportInfo)]
pub(crate) struct TransportView<'a> {
    id: &'a str,
    name: &'a str,
    description: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    protocol: &'a str,
    version: &'a str,
    endpoint: EndpointView<'a>,
    security: &'a Security,
    #[serde(skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Object)]
    impl_specific_info: &'a Value,
}

#[derive(Serialize, ToSchema)]
#[schema(as = edgegallery::ShownEndPointInfo)]
pub(crate) struct EndpointView<'a> {
    uris: Option<&'a Vec<String>>,
    addresses: Option<&'a Vec<Address>>,
    alternative: &'a Value,
}

impl<'a> View<'a> {
    fn of(
        info: &'a ServiceInfo,
        id: Id,
        state: &'a str,
        endpoint: EndpointView<'a>,
        links: &'a Links<'a>,
    ) -> Self {
        let transport = &info.transport_info;
        Self {
            ser_instance_id: service_id(id),
            ser_name: &info.ser_name,
            ser_category: &info.ser_category,
            version: &info.version,
            state,
            transport_id: &info.transport_id,
            transport_info: TransportView {
                id: &transport.id,
                name: &transport.name,
                description: &transport.description,
                kind: &transport.kind,
                protocol: &transport.protocol,
                version: &transport.version,
                endpoint,
                security: &transport.security,
                impl_specific_info: &transport.impl_specific_info,
            },
            serializer: &info.serializer,
            scope_of_locality: &info.scope_of_locality,
            consumed_local_only: info.consumed_local_only,
            is_local: info.is_local,
            liveness_interval: info.liveness_interval,
            links,
        }
    }
}
