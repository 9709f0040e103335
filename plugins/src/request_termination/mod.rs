//! `request-termination`: answers requests instead of an upstream.

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::RequestTermination;
