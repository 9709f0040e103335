//! mep

pub mod dialect;
