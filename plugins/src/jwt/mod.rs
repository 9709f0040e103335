//! `jwt`: lets in who brings a token signed with a key of the catalog.
//!
//! A token names its key by a claim (`iss`), the key's credential says which algorithm it is for,
//! and the signature decides. Verified tokens are remembered, so that a signature is checked once
//! and not with every request (see `verified.rs`).

mod config;
mod credential;
mod handler;
mod verified;

#[cfg(test)]
mod tests;

pub use credential::JwtSecret;
pub(crate) use handler::Jwt;
