//! `bot-detection`: refuses user agents that are robots.
//!
//! What is a robot is told by lists: the ones configured, then the one in `patterns.txt`.

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::BotDetection;
