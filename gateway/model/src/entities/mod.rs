//! The gateway's own kinds, one file each; fields, defaults and texts are Kong's
//! (kong/db/schema/entities).
//!
//! Credentials are not here: a plugin declares its own beside its handler.

mod ca_certificate;
mod certificate;
mod consumer;
mod key;
mod plugin;
mod route;
mod service;
mod sni;
mod target;
mod upstream;
mod vault;

pub use ca_certificate::CaCertificate;
pub use certificate::Certificate;
pub use consumer::Consumer;
pub use key::{Key, KeySet, PemPair};
pub use plugin::PluginInstance;
pub use route::{Destination, PathHandling, Route};
pub use service::Service;
pub use sni::Sni;
pub use target::Target;
pub use upstream::{
    ActiveCheck, ActiveHealthy, ActiveUnhealthy, Algorithm, CheckType, HashOn, Healthchecks,
    PassiveCheck, PassiveHealthy, PassiveUnhealthy, Upstream,
};
pub use vault::{EnvVault, Vault};

use crate::{EntityType, Listing, Variants};

/// The gateway's own kinds; a kind comes after those it refers to.
pub static ALL: [&EntityType; 12] = [
    &CERTIFICATES,
    &SNIS,
    &CA_CERTIFICATES,
    &CONSUMERS,
    &UPSTREAMS,
    &TARGETS,
    &SERVICES,
    &ROUTES,
    &PLUGINS,
    &VAULTS,
    &KEY_SETS,
    &KEYS,
];

/// The same with routes that may be written as expressions (`router_flavor = expressions`).
pub fn with_expressions() -> [&'static EntityType; 12] {
    ALL.map(|kind| if kind.kind == ROUTES.kind { &EXPRESSION_ROUTES } else { kind })
}

static CERTIFICATES: EntityType = EntityType::of::<Certificate>()
    .at("certificates", None)
    .listing(&Listing { member: "snis", kind: "snis", key: "name", field: "certificate" });
static CA_CERTIFICATES: EntityType = EntityType::of::<CaCertificate>()
    .at("ca_certificates", None)
    .normalise(ca_certificate::normalise)
    .guard(ca_certificate::unused);
static UPSTREAMS: EntityType =
    EntityType::of::<Upstream>().at("upstreams", Some("name")).input(upstream::input);
static TARGETS: EntityType = EntityType::of::<Target>()
    .nested("targets")
    .keyed("target")
    .unique_together(&[&["upstream", "target"]])
    .normalise(target::normalise);
static VAULTS: EntityType = EntityType::of::<Vault>()
    .at("vaults", Some("prefix"))
    .variants(&Variants { all: &vault::VARIANTS, unknown: vault::unknown });
static KEY_SETS: EntityType = EntityType::of::<KeySet>().at("key-sets", Some("name"));
static KEYS: EntityType =
    EntityType::of::<Key>().at("keys", Some("name")).unique_together(&[&["kid", "set"]]);
static SNIS: EntityType = EntityType::of::<Sni>().at("snis", Some("name"));
static CONSUMERS: EntityType = EntityType::of::<Consumer>().at("consumers", Some("username"));
static SERVICES: EntityType = EntityType::of::<Service>().at("services", Some("name"));
static ROUTES: EntityType =
    EntityType::of::<Route>().at("routes", Some("name")).defaults(route::defaults);
static EXPRESSION_ROUTES: EntityType = EntityType::of::<Route>()
    .at("routes", Some("name"))
    .defaults(route::defaults)
    .extend(route::with_expressions);
static PLUGINS: EntityType = EntityType::of::<PluginInstance>()
    .at("plugins", Some("instance_name"))
    .unique_together(&[&["name", "route", "service", "consumer"]]);

/// Protocols an HTTP, stream or gRPC entity may name.
pub const PROTOCOLS: [&str; 8] =
    ["grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp"];
