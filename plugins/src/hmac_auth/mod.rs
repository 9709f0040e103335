//! `hmac-auth`: lets in who signs a request with a secret of the catalog.
//!
//! The client names the headers it signed; a date among what it sends keeps old requests from being
//! sent again. The secret itself never travels.

mod config;
mod credential;
mod handler;
mod signature;

#[cfg(test)]
mod tests;

pub(crate) use handler::HmacAuth;
