//! `loggly`: sends an entry about every exchange to Loggly, in a datagram.

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::Loggly;
