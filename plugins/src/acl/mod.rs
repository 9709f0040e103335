//! `acl`: lets in or refuses by the groups of the consumer.

mod config;
mod group;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::Acl;
