//! `request-transformer`: changes what an upstream gets of a request.
//!
//! Steps run in a fixed order (path, method, headers, body, query; in each: remove, rename, replace,
//! add, append). Values may be [`Template`](crate::kit::template::Template)s; all are rendered before
//! anything is changed, so each sees the request as it came.

mod body;
mod config;
mod handler;
mod headers;
mod query;
mod scope;
mod steps;

#[cfg(test)]
mod tests;

pub(crate) use handler::RequestTransformer;
