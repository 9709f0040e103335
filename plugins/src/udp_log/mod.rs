//! `udp-log`: sends an entry about every exchange in a datagram.

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::UdpLog;
