//! The MEC platform: what applications on this host ask for, and what operators ask about them.
//!
//! All the platform keeps it keeps in the gateway's catalog ([`ENTITIES`]) and changes by the same
//! writer, a service and its gateway entities in one change ([`exposure`]).
//!
//! Deliberately absent: the proxy, plugins, sockets, files.

pub mod auth;
pub mod dialect;
pub mod entities;
pub mod exposure;
pub mod guard;
mod settings;

pub use entities::ALL as ENTITIES;
pub use settings::{
    Bootstrap, Delivery, Destinations, PlatformSettings, Published, RateLimits, loopback,
};
