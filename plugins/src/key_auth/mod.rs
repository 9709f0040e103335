//! `key-auth`: lets in who brings a key of the catalog, in a header, the query or the body.
//!
//! Keys in bodies are seen in those small enough to be read ahead.

mod config;
mod credential;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::KeyAuth;
