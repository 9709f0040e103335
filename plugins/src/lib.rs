//! The gateway plugins: one folder each, one line each in [`ALL`].
//!
//! [`contract`] is what a plugin is, [`kit`] what several of them need. Absent from here: the
//! proxy that runs them and the control plane that configures them.

pub mod contract;

use contract::PluginType;

/// The version of Kong whose behaviour plugins follow.
pub const KONG_VERSION: &str = "3.10.0";

/// Every plugin this process has.
pub static ALL: &[PluginType] = &[];
