//! `ip-restriction`: lets in or refuses by client address.

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::IpRestriction;
