//! `http-log`: sends an entry about every exchange to an HTTP collector.

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::HttpLog;
