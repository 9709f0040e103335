//! Services as clients of the standard see them: what has no value is left out.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::Link;
use super::body::{grant_types, localities, serializers, transport_types};
use crate::entities::{
    Address, Category, Endpoint, Security, ServiceInfo, ServiceInstance, State, TransportInfo,
};
use crate::face::Face;
use crate::settings::Published;
use crate::transports;

/// A service (clause 8.1.2.2).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ServiceInfo)]
pub(crate) struct ServiceView<'a> {
    /// The id the platform gave it.
    ser_instance_id: String,
    /// The name it is found by.
    ser_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ser_category: Option<CategoryView<'a>>,
    /// Its own version.
    version: &'a str,
    state: State,
    pub(crate) transport_info: TransportView<'a>,
    /// How it writes what it sends.
    #[schema(schema_with = serializers)]
    serializer: &'a str,
    /// How far it can be used.
    #[schema(schema_with = localities)]
    scope_of_locality: &'a str,
    /// Whether only consumers in the same locality may use it.
    consumed_local_only: bool,
    /// Whether it is in the locality of who asks.
    is_local: bool,
    /// Seconds between heartbeats; left out of services that send none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    liveness_interval: Option<i64>,
    #[serde(rename = "_links")]
    links: LinksView,
}

/// Where a service is found at this platform.
#[derive(Serialize, ToSchema)]
#[schema(as = ServiceLinks)]
struct LinksView {
    #[serde(rename = "self")]
    own: Link,
    /// Where heartbeats go.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    liveness: Option<Link>,
}

/// What sort of service something is (clause 8.1.5.2).
#[derive(PartialEq, Serialize, ToSchema)]
#[schema(as = CategoryRef)]
pub(crate) struct CategoryView<'a> {
    /// Where the category is described.
    href: &'a str,
    #[schema(max_length = 64)]
    id: &'a str,
    name: &'a str,
    version: &'a str,
}

/// How a service is reached (clause 8.1.2.3).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TransportInfo)]
pub(crate) struct TransportView<'a> {
    #[schema(max_length = 64)]
    id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(rename = "type")]
    #[schema(schema_with = transport_types)]
    kind: &'a str,
    /// `HTTP` for REST.
    protocol: &'a str,
    /// Of the protocol.
    version: &'a str,
    endpoint: EndpointView<'a>,
    security: SecurityView<'a>,
    /// Anything.
    #[serde(skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Object)]
    impl_specific_info: &'a Value,
}

/// Where a service is, in exactly one of three forms (clauses 8.1.5.3 to 8.1.5.5). Discovery shows
/// the gateway's URIs.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = EndPointInfo)]
pub(crate) enum EndpointView<'a> {
    /// URIs.
    Uris { uris: Cow<'a, [String]> },
    /// Hosts with ports.
    Addresses { addresses: &'a [Address] },
    /// What has no URI.
    Alternative {
        #[schema(value_type = Object)]
        alternative: &'a Value,
    },
}

/// How callers of a service prove who they are (clause 8.1.5.6).
#[derive(Serialize, ToSchema)]
#[schema(as = SecurityInfo)]
pub(crate) struct SecurityView<'a> {
    #[serde(rename = "oAuth2Info", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) o_auth2_info: Option<OAuth2View<'a>>,
}

/// By OAuth 2.0.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OAuth2Info)]
pub(crate) struct OAuth2View<'a> {
    #[schema(schema_with = grant_types)]
    grant_types: &'a [String],
    /// Where to get a token.
    token_endpoint: &'a str,
}

/// What discovery shows of a service.
pub(crate) fn view<'a>(published: &Published, instance: &'a ServiceInstance) -> ServiceView<'a> {
    let endpoint = endpoint(published, instance);
    service(published, instance, &instance.info, endpoint)
}

/// Where discovery says a service is: at the gateway, as far as that offers it.
pub(crate) fn endpoint<'a>(
    published: &Published,
    instance: &'a ServiceInstance,
) -> EndpointView<'a> {
    let own = &instance.info.transport_info.endpoint;
    let uris: Vec<String> =
        instance.publications.iter().map(|offer| published.uri(&offer.name)).collect();
    if !uris.is_empty() {
        EndpointView::Uris { uris: uris.into() }
    } else if instance.info.transport_id == transports::rest_id() && is_empty(own) {
        at_the_gateway(published)
    } else {
        as_given(own)
    }
}

/// The same as text, which is made once.
pub(super) fn text<'a>(published: &Published, instance: &'a ServiceInstance) -> &'a str {
    // Texts, numbers and text keys only: it can be written.
    let make =
        || serde_json::to_string(&view(published, instance)).unwrap_or_default().into_boxed_str();
    instance.shown_by_standard.get_or_init(make)
}

/// The answer to a registration or a replacement: with the endpoint the client sent.
pub(super) fn echo<'a>(
    published: &Published,
    instance: &'a ServiceInstance,
    sent: &'a ServiceInfo,
) -> ServiceView<'a> {
    let given = &sent.transport_info.endpoint;
    let endpoint = if is_empty(given) { at_the_gateway(published) } else { as_given(given) };
    service(published, instance, &instance.info, endpoint)
}

/// Where the gateway is.
pub(super) fn base(published: &Published) -> String {
    published.uri("")
}

pub(super) fn at_the_gateway<'a>(published: &Published) -> EndpointView<'a> {
    EndpointView::Uris { uris: vec![base(published)].into() }
}

fn is_empty(endpoint: &Endpoint) -> bool {
    *endpoint == Endpoint::default()
}

/// An endpoint in the one form it has; the dialect may have none.
pub(crate) fn as_given(endpoint: &Endpoint) -> EndpointView<'_> {
    let uris = endpoint.uris.as_deref().filter(|uris| !uris.is_empty());
    let addresses = endpoint.addresses.as_deref().filter(|addresses| !addresses.is_empty());
    match (uris, addresses, &endpoint.alternative) {
        (Some(uris), ..) => EndpointView::Uris { uris: uris.into() },
        (None, Some(addresses), _) => EndpointView::Addresses { addresses },
        (None, None, Value::Null) => EndpointView::Uris { uris: Cow::default() },
        (None, None, alternative) => EndpointView::Alternative { alternative },
    }
}

fn service<'a>(
    published: &Published,
    instance: &'a ServiceInstance,
    info: &'a ServiceInfo,
    endpoint: EndpointView<'a>,
) -> ServiceView<'a> {
    let (app, id) = (instance.app.id, instance.id);
    let link = |path: String| Link { href: published.link(&path) };
    let beats = info.liveness_interval > 0;
    let with_category = info.ser_category != Category::default();
    ServiceView {
        ser_instance_id: instance.service_id(),
        ser_name: &info.ser_name,
        ser_category: with_category.then(|| category(&info.ser_category)),
        version: &info.version,
        state: instance.state,
        transport_info: transport(&info.transport_info, endpoint),
        serializer: &info.serializer,
        scope_of_locality: &info.scope_of_locality,
        consumed_local_only: info.consumed_local_only,
        is_local: true,
        liveness_interval: beats.then_some(info.liveness_interval),
        links: LinksView {
            own: link(Face::Standard.service(app, id)),
            liveness: beats.then(|| link(Face::Standard.liveness(app, id))),
        },
    }
}

/// A category as it stands on the wire.
pub(crate) fn category(category: &Category) -> CategoryView<'_> {
    let Category { href, id, name, version } = category;
    CategoryView { href, id, name, version }
}

/// A transport that is at `endpoint`.
pub(crate) fn transport<'a>(
    info: &'a TransportInfo,
    endpoint: EndpointView<'a>,
) -> TransportView<'a> {
    TransportView {
        id: &info.id,
        name: &info.name,
        description: &info.description,
        kind: &info.kind,
        protocol: &info.protocol,
        version: &info.version,
        endpoint,
        security: security(&info.security),
        impl_specific_info: &info.impl_specific_info,
    }
}

pub(crate) fn security(security: &Security) -> SecurityView<'_> {
    let info = &security.o_auth2_info;
    let grants = info.grant_types.as_deref().filter(|grants| !grants.is_empty());
    SecurityView {
        o_auth2_info: grants
            .map(|grant_types| OAuth2View { grant_types, token_endpoint: &info.token_endpoint }),
    }
}
