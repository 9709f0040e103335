//! `statsd`: tells the figures of every exchange in StatsD's protocol.
//!
//! What names a figure has is in [`metrics`]. Absent from here: `shdict_usage`, which tells of shared
//! memory this gateway does not have.

mod config;
mod handler;
mod metrics;

#[cfg(test)]
mod tests;

pub(crate) use handler::Statsd;
