//! `zipkin`: tells a Zipkin server how long the parts of an exchange took, and upstreams which trace
//! they are part of.
//!
//! What is known while an exchange runs is in [`trace`]; [`report`] makes Zipkin's spans of it.

mod config;
mod handler;
mod report;
mod trace;

#[cfg(test)]
mod tests;

pub(crate) use handler::Zipkin;
