//! [`ServiceInfo`]: what an app says about a service it offers.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::dialect::rules::{is_id, is_name, is_protocol, is_uri, length};

/// What an app says about a service it offers: the body of a registration, and what is kept of it
/// (ETSI GS MEC 011, clause 8.1.2.2).
///
/// Read with [`crate::dialect::casefold`] from clients, plainly from the store. Every member has a
/// default, so that what is missing is found by [`ServiceInfo::is_valid`] and not by the parser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = edgegallery::ServiceInfoPost, description = "What an app says about a service.")]
pub struct ServiceInfo {
    /// The name it is discovered by.
    pub ser_name: String,
    /// What sort of service it is.
    pub ser_category: Category,
    /// Its own version.
    pub version: String,
    /// The state asked for; what became of it is the instance's.
    #[serde(skip_serializing_if = "sent_only")]
    pub state: String,
    /// The platform's transport it uses.
    pub transport_id: String,
    /// How it is reached.
    pub transport_info: TransportInfo,
    /// How it writes what it sends.
    pub serializer: String,
    /// How far it can be used.
    pub scope_of_locality: String,
    /// Whether only consumers in the same locality may use it.
    pub consumed_local_only: bool,
    /// Whether it is in the same locality as the consumer.
    pub is_local: bool,
    /// Seconds between heartbeats; 0 for none. Signed, because a negative one is a broken rule and
    /// not a broken body.
    pub liveness_interval: i64,
    /// What a client of the CAPIF profile wrote about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub capif_description: String,
    /// Links the client sent; they are echoed, not kept.
    #[serde(rename = "_links", skip_serializing_if = "sent_only")]
    pub links: Links,
}

/// What clients send and nobody keeps. (`skip_serializing` would hide it from the documents too.)
pub(crate) const fn sent_only<T>(_: &T) -> bool {
    true
}

impl Default for ServiceInfo {
    fn default() -> Self {
        Self {
            ser_name: String::new(),
            ser_category: Category::default(),
            version: String::new(),
            state: String::new(),
            transport_id: String::new(),
            transport_info: TransportInfo::default(),
            serializer: String::new(),
            scope_of_locality: "MEC_HOST".to_owned(),
            consumed_local_only: true,
            is_local: true,
            liveness_interval: 0,
            capif_description: String::new(),
            links: Links::default(),
        }
    }
}

impl ServiceInfo {
    /// Whether a registration keeps every rule of the dialect.
    pub fn is_valid(&self) -> bool {
        let choice = |text: &str, choices: &[&str]| choices.contains(&text);
        !self.ser_name.is_empty()
            && named(&self.ser_name, 128)
            && self.ser_category.is_valid()
            && !self.version.is_empty()
            && length(&self.version) <= 32
            && choice(&self.state, &["ACTIVE", "INACTIVE"])
            && identified(&self.transport_id)
            && self.transport_info.is_valid()
            && choice(&self.serializer, &["JSON", "XML", "PROTOBUF3"])
            && choice(&self.scope_of_locality, LOCALITIES)
            && (0..MAX_INTERVAL).contains(&self.liveness_interval)
    }
}

/// How far a service can be used.
pub(crate) const LOCALITIES: &[&str] =
    &["MEC_SYSTEM", "MEC_HOST", "NFVI_POP", "ZONE", "ZONE_GROUP", "NFVI_NODE"];
const TRANSPORTS: &[&str] = &[
    "",
    "REST_HTTP",
    "MB_TOPIC_BASED",
    "MB_ROUTING",
    "MB_PUBSUB",
    "RPC",
    "RPC_STREAMING",
    "WEBSOCKET",
];
/// Ways to get a token.
pub(crate) const GRANTS: &[&str] = &[
    "OAUTH2_AUTHORIZATION_CODE",
    "OAUTH2_IMPLICIT_GRANT",
    "OAUTH2_RESOURCE_OWNER",
    "OAUTH2_CLIENT_CREDENTIALS",
];
/// The largest interval a client may name is one less.
const MAX_INTERVAL: i64 = 2_147_483_647;

/// What sort of service it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = edgegallery::CategoryRef)]
pub struct Category {
    /// Where the category is described.
    pub href: String,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Category {
    fn is_valid(&self) -> bool {
        (self.href.is_empty() || is_uri(&self.href))
            && identified(&self.id)
            && named(&self.name, 128)
            && length(&self.version) <= 32
    }
}

/// How a service is reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = edgegallery::TransportInfo)]
pub struct TransportInfo {
    /// The client's id of it.
    pub id: String,
    /// A name.
    pub name: String,
    /// A description.
    pub description: String,
    /// What kind of transport it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The protocol: the scheme of addresses.
    pub protocol: String,
    /// Its version.
    pub version: String,
    /// Where it is.
    pub endpoint: Endpoint,
    /// How callers prove who they are.
    pub security: Security,
    /// Anything. The dialect echoes it and does not show it afterwards.
    #[serde(skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Object)]
    pub impl_specific_info: Value,
}

impl TransportInfo {
    fn is_valid(&self) -> bool {
        let OAuth2 { grant_types, token_endpoint } = &self.security.o_auth2_info;
        let granted = grant_types.as_ref().is_none_or(|grants| {
            (1..=4).contains(&grants.len())
                && grants.iter().all(|grant| GRANTS.contains(&grant.as_str()))
        });
        identified(&self.id)
            && named(&self.name, 128)
            && length(&self.description) <= 128
            && TRANSPORTS.contains(&self.kind.as_str())
            && length(&self.protocol) <= 32
            && is_protocol(&self.protocol)
            && length(&self.version) <= 32
            && self.endpoint.uris.iter().flatten().all(|uri| is_uri(uri))
            && granted
            && (token_endpoint.is_empty() || is_uri(token_endpoint))
    }
}

/// Where a service is; the first of the three that is given counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = edgegallery::EndPointInfo)]
pub struct Endpoint {
    /// URIs.
    pub uris: Option<Vec<String>>,
    /// Hosts with ports.
    pub addresses: Option<Vec<Address>>,
    /// Anything else; the gateway publishes nothing of it.
    pub alternative: Value,
}

/// A host with a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = EndPointInfoAddress)]
pub struct Address {
    /// Host name or IP address.
    #[schema(required = true)]
    pub host: String,
    /// The port, as given.
    #[schema(required = true)]
    pub port: u64,
}

/// How callers of a service prove who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = edgegallery::SecurityInfo)]
pub struct Security {
    /// By OAuth 2.0.
    #[serde(rename = "oAuth2Info")]
    pub o_auth2_info: OAuth2,
}

/// OAuth 2.0 as a service uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = edgegallery::OAuth2Info)]
pub struct OAuth2 {
    /// Ways to get a token.
    pub grant_types: Option<Vec<String>>,
    /// Where to get one.
    pub token_endpoint: String,
}

/// Links of a service, as far as a client may say something by them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = edgegallery::ServiceLinks)]
pub struct Links {
    /// Whose it is.
    pub app_instance_id: String,
}

fn named(text: &str, most: usize) -> bool {
    length(text) <= most && is_name(text)
}

fn identified(text: &str) -> bool {
    length(text) <= 64 && is_id(text)
}

/// Gives types that were checked before they came here a place in the field language.
macro_rules! any_schema {
    ($($type:ty),+) => {
        $(impl gateway_model::schema::Schema for $type {
            fn kind() -> gateway_model::schema::Kind {
                gateway_model::schema::Kind::Any
            }
        })+
    };
}
pub(super) use any_schema;

any_schema!(ServiceInfo);
