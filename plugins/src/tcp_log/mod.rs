//! `tcp-log`: sends an entry about every exchange as a line over TCP, or over TLS.

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::TcpLog;
