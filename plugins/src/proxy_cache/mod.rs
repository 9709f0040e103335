//! `proxy-cache`: keeps answers in memory and gives them again.
//!
//! What is asked decides whether an answer may be looked for ([`handler`]), what it is looked for by
//! ([`key`]); what is answered decides whether it may be kept ([`rules`]). All instances keep answers
//! in one cache of the process, bounded in bytes ([`cache`]), as Kong's do in one shared memory.

mod cache;
mod config;
mod handler;
mod key;
mod pages;
mod purge;
mod rules;

#[cfg(test)]
mod tests;

pub(crate) use handler::ProxyCache;
