//! `key-auth`: lets in who brings a key of the catalog, in a header or the query.
//!
//! Absent from here: keys in request bodies, which handlers do not see.

mod config;
mod credential;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::KeyAuth;
