//! Drives plugins through their phases, without a network.
//!
//! A [`Rig`] is a catalog and the tools of a process; what a test configures goes through the same
//! schema, defaults and checks as a write by the Admin API. An [`Exchange`] is one request and its
//! answer; it calls the phases a plugin lists and no other.

mod exchange;
mod rig;
mod signer;

pub(crate) use exchange::{Answer, Exchange};
pub(crate) use rig::{Instance, Rig, rig, rig_knowing, rig_on, rig_with};
pub(crate) use signer::Signer;
