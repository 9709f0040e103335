//! `acme`: gets certificates from a certificate authority and renews them in time (RFC 8555).
//!
//! The authority is shown that a name is ours by an answer under `/.well-known/acme-challenge/`
//! (HTTP-01). What it issues becomes a certificate and a server name of the catalog, tagged
//! `managed-by-acme`, and is shown to clients as any other. Where `storage` is not our store it is put
//! there too, as `kong_acme:cert_key:NAME`: nodes that know nothing of each other, and one that starts
//! without a database, take it from there. What must be known to every node (the
//! account, challenges, who is at work on a name) is kept beside, as `acme_storage`. A declarative
//! configuration that is loaded leaves both ([`obtained()`]).
//!
//! Names that fit a wildcard of `domains` are ordered when the first client asks for them in a
//! handshake, which still fails.
//!
//! Different from Kong's: names listed in full are ordered at once; challenges are answered without a
//! route; `storage` is our store whether it is called `shm` or `kong`; and account keys that are not of
//! the curve P-256 are refused, because the library signs with no others. `/acme` of the Admin API
//! orders, renews and shows ([`pages`]).

mod account_key;
mod client;
mod config;
mod consul;
mod entity;
mod handler;
mod keeper;
mod names;
mod obtained;
mod order;
mod pages;
mod remote;
mod storage;
mod vault;

#[cfg(test)]
mod tests;

pub(crate) use handler::Acme;
pub use obtained::obtained;
