//! Certificates: which one a client is shown, what a client showed, and what is asked of upstreams.
//!
//! [`Keyring`] is what the catalog holds of certificates, server names and authorities, compiled
//! into each snapshot. [`SniResolver`] picks from the current one in every handshake, so a publish
//! takes effect without a restart and without dropping a connection. [`ClientAuth`] judges the
//! certificates clients show. [`Handshakes`] asks handlers that have a say before any of it.
//! `upstream.rs` says how a connection to an upstream is secured.
//!
//! Absent from here: certificate files (the server reads those) and the accept loop.

mod chain;
mod client_auth;
mod dial;
mod given;
mod handshakes;
mod kept;
mod keyring;
mod pair;
mod resolver;
mod upstream;

pub use client_auth::{ClientAuth, Demand, Judged};
pub(crate) use given::Given;
pub use handshakes::{Handshakes, Refused};
pub(crate) use kept::{Kept, Lease};
pub use keyring::{Keyring, Shown};
pub use pair::{PairError, certificates, certified_key};
pub use resolver::SniResolver;
pub(crate) use upstream::UpstreamTls;
pub use upstream::{ClientPair, Defaults, client_pair};
