//! The gateway's own kinds, one file each; fields, defaults and texts are Kong's
//! (kong/db/schema/entities).
//!
//! Credentials are not here: a plugin declares its own beside its handler.

mod certificate;
mod consumer;
mod plugin;
mod route;
mod service;
mod sni;

pub use certificate::Certificate;
pub use consumer::Consumer;
pub use plugin::PluginInstance;
pub use route::{Destination, PathHandling, Route};
pub use service::Service;
pub use sni::Sni;

use crate::EntityType;

/// The gateway's own kinds; a kind comes after those it refers to.
pub static ALL: [&EntityType; 6] = [&CERTIFICATES, &SNIS, &CONSUMERS, &SERVICES, &ROUTES, &PLUGINS];

static CERTIFICATES: EntityType = EntityType::of::<Certificate>().at("certificates", None);
static SNIS: EntityType = EntityType::of::<Sni>().at("snis", Some("name"));
static CONSUMERS: EntityType = EntityType::of::<Consumer>().at("consumers", Some("username"));
static SERVICES: EntityType = EntityType::of::<Service>().at("services", Some("name"));
static ROUTES: EntityType =
    EntityType::of::<Route>().at("routes", Some("name")).defaults(route::defaults);
static PLUGINS: EntityType = EntityType::of::<PluginInstance>()
    .at("plugins", Some("instance_name"))
    .unique_together(&[&["name", "route", "service", "consumer"]]);

/// Protocols an HTTP, stream or gRPC entity may name.
pub const PROTOCOLS: [&str; 8] =
    ["grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp"];
