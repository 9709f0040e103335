//! Tools several plugins need. Each knows its own trade and no plugin.

pub(crate) mod addresses;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod counter;
pub(crate) mod entries;
pub(crate) mod http;
pub(crate) mod jws;
pub(crate) mod parameters;
pub(crate) mod query;
pub(crate) mod queue;
