//! Held against what was recorded of Kong: schemas, order, and whole conversations.
//!
//! The recordings are not part of this repository. They are read from `KONG_SPEC_DIR`, or from the
//! folder beside the repository.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use serde_json::Value;

mod allocations;
mod conversations;
mod order;
mod references;
mod refusals;
mod schemas;

fn spec(name: &str) -> String {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/spec/kong");
    let path = std::env::var_os("KONG_SPEC_DIR").map_or_else(beside, PathBuf::from).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

fn spec_json(name: &str) -> Value {
    serde_json::from_str(&spec(name)).unwrap()
}

/// What Kong's loggers sent.
pub(crate) fn log_entries() -> Value {
    spec_json("golden/log-entries.json")
}

/// What Kong's `/metrics` said.
pub(crate) fn metrics() -> String {
    spec("golden/metrics.txt")
}
