//! `basic-auth`: lets in who brings a user name and password of the catalog.

mod config;
mod credential;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::BasicAuth;
