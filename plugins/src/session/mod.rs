//! `session`: keeps who logged in logged in, by a cookie.
//!
//! Another plugin finds out who calls; this one gives the browser a sealed cookie that says so, and
//! believes that cookie afterwards. With `storage` `kong` the cookie only names the session, which
//! is an entity: it can be ended from our side.
//!
//! Less than Kong's: a session that does not fit into one cookie is not kept, where Kong spreads it
//! over several.

mod config;
mod cookie;
mod entity;
mod handler;
mod seal;
mod state;

#[cfg(test)]
mod tests;

pub(crate) use handler::SessionPlugin;
