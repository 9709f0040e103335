//! `syslog`: hands an entry about every exchange to the machine's system log.

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::Syslog;
