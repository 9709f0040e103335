//! The name server of the edge: the second data plane.
//!
//! DNS rules and the records of the management API ([`admin`]) are compiled to a [`Zone`] with
//! every commit that touches them, and swapped in like the proxy's snapshot ([`ZonePlane`]). What
//! answers questions ([`NameServer`]) reads that zone and nothing else; names it does not hold are
//! asked of the configured resolvers ([`Forwarder`]). Reading and writing DNS messages, sockets
//! included, is hickory's.

pub mod admin;
mod answer;
mod forward;
mod limit;
mod metrics;
mod plane;
mod server;
#[cfg(test)]
mod tests;
mod zone;

pub use answer::{NameServer, Options, Unknown};
pub use forward::{ForwardError, Forwarder};
pub use limit::RateLimit;
pub use metrics::Metrics;
pub use plane::{CurrentZone, ZonePlane};
pub use server::{Sockets, serve};
pub use zone::Zone;
pub(crate) use zone::{is_host, is_name};
