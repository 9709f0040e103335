//! The MEC platform: what applications on this host ask for, and what operators ask about them.
//!
//! [`Platform`] has two routers: mepserver's, which is Mp1, and mepauth's, which turns access keys
//! into tokens. Both are embedded behind the gateway, whose routes to them [`Platform::seed`] puts
//! into the catalog as ordinary entities, and may be served directly as well. All the platform
//! keeps it keeps in the same catalog ([`ENTITIES`]) and changes by the same writer, a service and
//! its gateway entities in one change ([`exposure`]).
//!
//! Deliberately absent: the proxy, plugins, sockets, files.

mod applications;
pub mod auth;
mod auth_api;
mod commit;
pub mod dialect;
pub mod dns;
pub mod entities;
mod etag;
pub mod exposure;
pub mod face;
pub mod guard;
mod life;
mod listed;
mod liveness;
mod metrics;
pub mod migration;
mod mm5;
mod mp1;
mod notification;
mod openapi;
mod peers;
mod platform;
mod problem;
mod rules;
mod seed;
mod services;
mod settings;
mod standard;
mod statistics;
mod subscriptions;
#[cfg(test)]
mod test_kit;
pub mod timing;
pub mod traffic;
mod transports;

pub use entities::ALL as ENTITIES;
pub use openapi::{Documents, Served, Servers};
pub use platform::{Platform, PlatformError, Ports};
pub use problem::{Code, Problem};
pub use seed::{SeedError, Seeded};
pub use settings::{
    Bootstrap, Delivery, Destinations, DnsAgent, PlatformSettings, Published, RateLimits, loopback,
};

/// The host that stands for mepserver in gateway services: requests to it end in
/// [`Platform::mepserver_router`], in this process.
pub const MEPSERVER_HOST: &str = "mepserver.mep.internal";

/// The host that stands for mepauth: see [`Platform::mepauth_router`].
pub const MEPAUTH_HOST: &str = "mepauth.mep.internal";
