//! `correlation-id`: gives every request an id that upstreams, logs and, if wanted, clients see.

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::CorrelationId;
