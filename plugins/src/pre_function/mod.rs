//! `pre-function`: code that runs before every other plugin.
//!
//! The one chunk EdgeGallery installs is understood for what it does ([`assignment`]) and needs no
//! Lua; everything else is Lua's.

mod assignment;
mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use config::Config;
pub(crate) use handler::PreFunction;
