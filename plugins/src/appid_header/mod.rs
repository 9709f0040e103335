//! `appid-header`: tells an upstream which app instance calls (EdgeGallery's own plugin).
//!
//! The header carries the subject of the token the `jwt` plugin verified, and nothing a client
//! sends can stand in for it. What services inside this process learn is the same fact, without a
//! header ([`Identity::subject`](crate::contract::Identity::subject)).

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::AppIdHeader;
