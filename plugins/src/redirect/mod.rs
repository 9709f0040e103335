//! `redirect`: sends clients elsewhere.

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::Redirect;
