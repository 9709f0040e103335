//! `prometheus`: counts exchanges, their bytes and their times, in Kong's families.
//!
//! An instance only decides what is counted; the families are the process' own and stay when the
//! instance goes. What the process as a whole reports is in [`NodeMetrics`], which needs no
//! instance. The text of `/metrics` is made by the server, from the registry of
//! [`Tools`](crate::contract::Tools).
//!
//! Absent from here: families of what this gateway does not have (streams, AI, Wasm, Lua's shared
//! memory).

mod config;
mod families;
mod handler;
mod node;

#[cfg(test)]
mod tests;

pub(crate) use handler::Prometheus;
pub use node::{Connections, NodeMetrics, Target, Timers};
