//! Services as clients of the standard write them (ETSI GS MEC 011, clause 8.1.2).

use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, Schema};

use super::super::reading::Reader;
use super::view::{self, CategoryView, TransportView};
use crate::dialect::rules::is_uri;
use crate::entities::{
    Address, Category, Endpoint, GRANTS, LOCALITIES, Links, OAuth2, Security, ServiceInfo, State,
    TransportInfo,
};
use crate::openapi::one_of;
use crate::{Platform, transports};

const TRANSPORTS: &[&str] = &[
    "REST_HTTP",
    "MB_TOPIC_BASED",
    "MB_ROUTING",
    "MB_PUBSUB",
    "RPC",
    "RPC_STREAMING",
    "WEBSOCKET",
];
pub(in crate::standard) const SERIALIZERS: &[&str] = &["JSON", "XML", "PROTOBUF3"];
/// Lengths nobody set: what fits a body.
const ANY: usize = usize::MAX;

pub(super) fn localities() -> RefOr<Schema> {
    one_of(LOCALITIES)
}

pub(in crate::standard) fn serializers() -> RefOr<Schema> {
    one_of(SERIALIZERS)
}

pub(super) fn transport_types() -> RefOr<Schema> {
    one_of(TRANSPORTS)
}

pub(super) fn grant_types() -> RefOr<Schema> {
    let list = ArrayBuilder::new().items(one_of(GRANTS));
    list.min_items(Some(1)).max_items(Some(4)).into()
}

// What `service` reads.
/// A service as a client wants it. It names either a transport of the platform or one of its own.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what is read member by member")]
pub(super) struct ServiceInfoPost {
    /// Given by the platform: not in a POST; in a PUT the id of the path.
    #[schema(nullable = false)]
    ser_instance_id: Option<String>,
    /// The name it is found by.
    #[schema(min_length = 1, max_length = 128)]
    ser_name: String,
    #[schema(nullable = false, value_type = Option<CategoryView<'static>>)]
    ser_category: Option<Category>,
    /// Its own version.
    #[schema(min_length = 1, max_length = 128)]
    version: String,
    /// SUSPENDED only in a PUT of a service that is.
    state: State,
    /// The id of one of the platform's transports; excludes transportInfo.
    #[schema(nullable = false)]
    transport_id: Option<String>,
    /// How it is reached; excludes transportId.
    #[schema(nullable = false, value_type = Option<TransportView<'static>>)]
    transport_info: Option<TransportInfo>,
    /// How it writes what it sends.
    #[schema(schema_with = serializers)]
    serializer: String,
    /// How far it can be used; MEC_HOST when left out.
    #[schema(schema_with = localities, required = false)]
    scope_of_locality: Option<String>,
    /// Whether only consumers in the same locality may use it; true when left out.
    #[schema(nullable = false)]
    consumed_local_only: Option<bool>,
    /// Computed by the platform and not looked at.
    #[schema(nullable = false)]
    is_local: Option<bool>,
    /// Seconds between heartbeats, 0 to leave it to the platform; no heartbeats when left out.
    #[schema(nullable = false)]
    liveness_interval: Option<u32>,
}

/// A service as a client may send it.
pub(super) fn example() -> Value {
    json!({
        "serName": "rni",
        "serCategory": {"href": "/catalogue/1", "id": "cat-1", "name": "RNI", "version": "v1"},
        "version": "1.4", "state": "ACTIVE", "serializer": "JSON", "livenessInterval": 60,
        "transportInfo": {
            "id": "t1", "name": "rest", "type": "REST_HTTP", "protocol": "HTTP", "version": "1.1",
            "security": {}, "endpoint": {"addresses": [{"host": "192.0.2.7", "port": 8080}]},
        },
    })
}

/// A service. `id` is the one in the path of a replacement; a registration names none.
pub(crate) fn service(platform: &Platform, body: &Reader<'_>, id: Option<&str>) -> ServiceInfo {
    let over = transport(platform, body);
    service_over(platform, body, id, over)
}

/// A service that is reached by a transport which is known: of the platform by its id, and as it is.
pub(crate) fn service_over(
    platform: &Platform,
    body: &Reader<'_>,
    id: Option<&str>,
    (transport_id, transport_info): (String, TransportInfo),
) -> ServiceInfo {
    match (body.any("serInstanceId"), id) {
        (Some(_), None) => body.refuse("serInstanceId", "is chosen by the platform"),
        (Some(given), Some(id)) if given != id => {
            body.refuse("serInstanceId", "is not the one in the path");
        }
        _ => {}
    }
    let states: &[&str] = match id {
        None => &["ACTIVE", "INACTIVE"],
        Some(_) => &["ACTIVE", "INACTIVE", "SUSPENDED"],
    };
    ServiceInfo {
        ser_name: body.filled_text("serName", 128),
        ser_category: body.object("serCategory").map(|body| category(&body)).unwrap_or_default(),
        version: body.filled_text("version", 128),
        state: body.word("state", states),
        transport_id,
        transport_info,
        serializer: body.word("serializer", SERIALIZERS),
        scope_of_locality: body
            .one_of("scopeOfLocality", |text| LOCALITIES.contains(&text).then(|| text.to_owned()))
            .unwrap_or_else(|| "MEC_HOST".to_owned()),
        consumed_local_only: body.boolean("consumedLocalOnly").unwrap_or(true),
        is_local: true,
        liveness_interval: interval(platform, body).into(),
        capif_description: String::new(),
        links: Links::default(),
    }
}

/// The interval the platform chooses: 0 for none, which is not what a client means by 0.
fn interval(platform: &Platform, body: &Reader<'_>) -> u32 {
    let settings = &platform.settings;
    match body.whole("livenessInterval", u32::MAX.into()) {
        None => 0,
        Some(0) => settings.liveness_interval.get(),
        Some(wanted) => u32::try_from(wanted)
            .unwrap_or(u32::MAX)
            .clamp(*settings.liveness_range.start(), *settings.liveness_range.end()),
    }
}

/// A category; all its members are mandatory.
pub(crate) fn category(body: &Reader<'_>) -> Category {
    Category {
        href: body.mandatory_text("href", ANY),
        id: body.mandatory_text("id", 64),
        name: body.mandatory_text("name", ANY),
        version: body.mandatory_text("version", ANY),
    }
}

/// The platform's transport or the app's own, of which exactly one is named.
fn transport(platform: &Platform, body: &Reader<'_>) -> (String, TransportInfo) {
    match body.given(&["transportId", "transportInfo"]).as_slice() {
        ["transportId"] => {
            let id = body.one_of("transportId", |id| (id == transports::rest_id()).then_some(()));
            if id.is_some() { by_the_platform() } else { Default::default() }
        }
        ["transportInfo"] => {
            let Some(body) = body.object("transportInfo") else { return Default::default() };
            let own = transport_info(&body);
            // What discovery shows of the platform's transport may come back.
            let shown = Some(vec![view::base(&platform.settings.published)]);
            if own.id == transports::rest_id() && own.endpoint.uris == shown {
                return by_the_platform();
            }
            (String::new(), own)
        }
        [] => {
            body.refuse("transportInfo", "is missing, and so is transportId");
            Default::default()
        }
        _ => {
            body.refuse("transportId", "excludes transportInfo");
            Default::default()
        }
    }
}

fn by_the_platform() -> (String, TransportInfo) {
    (transports::rest_id(), transports::rest())
}

fn transport_info(body: &Reader<'_>) -> TransportInfo {
    let endpoint = body.mandatory_object("endpoint").map(|body| endpoint(&body));
    let info = body.any("implSpecificInfo");
    if info.is_some_and(|info| !info.is_object()) {
        body.refuse("implSpecificInfo", "must be an object");
    }
    TransportInfo {
        id: body.mandatory_text("id", 64),
        name: body.mandatory_text("name", ANY),
        description: body.text("description", ANY).unwrap_or_default(),
        kind: body.word("type", TRANSPORTS),
        protocol: body.mandatory_text("protocol", ANY),
        version: body.mandatory_text("version", ANY),
        endpoint: endpoint.unwrap_or_default(),
        security: body.object("security").map(|body| security(&body)).unwrap_or_default(),
        impl_specific_info: info.cloned().unwrap_or_default(),
    }
}

/// Where something is, in exactly one of three forms.
pub(crate) fn endpoint(body: &Reader<'_>) -> Endpoint {
    let mut endpoint = Endpoint::default();
    match body.given(&["uris", "addresses", "alternative"]).as_slice() {
        ["uris"] => {
            let uris = body.texts("uris", is_uri);
            if uris.as_ref().is_some_and(Vec::is_empty) {
                body.refuse("uris", "is empty");
            }
            endpoint.uris = uris;
        }
        ["addresses"] => {
            let addresses = body.objects("addresses");
            if addresses.as_ref().is_some_and(Vec::is_empty) {
                body.refuse("addresses", "is empty");
            }
            let address = |body: &Reader<'_>| Address {
                host: body.filled_text("host", ANY),
                port: body.mandatory_whole("port", u16::MAX.into()),
            };
            endpoint.addresses = addresses.map(|addresses| addresses.iter().map(address).collect());
        }
        ["alternative"] => {
            if body.object("alternative").is_some() {
                endpoint.alternative = body.any("alternative").cloned().unwrap_or_default();
            }
        }
        [] => body.refuse("", "needs one of uris, addresses and alternative"),
        _ => body.refuse("", "may have only one of uris, addresses and alternative"),
    }
    endpoint
}

fn security(body: &Reader<'_>) -> Security {
    let Some(body) = body.object("oAuth2Info") else { return Security::default() };
    let grants = body.texts("grantTypes", |grant| GRANTS.contains(&grant));
    let number = grants.as_ref().map_or(0, Vec::len);
    if !(1..=4).contains(&number) {
        body.refuse("grantTypes", "must have one to four values");
    }
    let token_endpoint = body.mandatory_text("tokenEndpoint", ANY);
    if !token_endpoint.is_empty() && !is_uri(&token_endpoint) {
        body.refuse("tokenEndpoint", "is no URI");
    }
    Security { o_auth2_info: OAuth2 { grant_types: grants, token_endpoint } }
}
