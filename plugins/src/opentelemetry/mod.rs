//! `opentelemetry`: sends spans to a collector by OTLP over HTTP, and tells upstreams which trace they
//! are part of.
//!
//! Which spans there are is the process' to say (`tracing_instrumentations`); without any, trace
//! context is passed on and marked as not sampled. Absent from here: spans of single plugins, which a
//! plugin cannot see, and logs over OTLP.

mod config;
mod handler;
mod spans;

#[cfg(test)]
mod tests;

pub(crate) use handler::OpenTelemetry;
