//! `pre-function`: code that runs before every other plugin.
//!
//! There is no Lua here yet. The one chunk EdgeGallery installs is understood for what it does
//! ([`assignment`]); every other is refused while it is being configured, so that nothing looks as
//! if it ran.

mod assignment;
mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::PreFunction;
