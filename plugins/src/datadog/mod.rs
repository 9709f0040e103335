//! `datadog`: tells the figures of every exchange to a Datadog agent, with tags.

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::Datadog;
