//! mep

pub mod auth;
pub mod dialect;
