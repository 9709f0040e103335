//! `response-transformer`: changes headers and JSON bodies of answers.
//!
//! Steps run in a fixed order (remove, rename, replace, add, append), each on what the one before
//! left. Header steps are prepared in [`headers`], JSON steps in [`body`].

mod body;
mod config;
mod handler;
mod headers;

#[cfg(test)]
mod tests;

pub(crate) use handler::ResponseTransformer;
