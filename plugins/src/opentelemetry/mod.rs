//! `opentelemetry`: sends spans to a collector by OTLP over HTTP, and tells upstreams which trace they
//! are part of.
//!
//! Which spans there are is the process' to say (`tracing_instrumentations`): the exchange, routing,
//! tries, and each plugin by phase. Without any, trace context is passed on and marked as not sampled.
//! Lines of the node's log go to `logs_endpoint`, with the trace of the request they are about.

mod config;
mod handler;
mod logs;
mod spans;

#[cfg(test)]
mod tests;

pub(crate) use handler::OpenTelemetry;
