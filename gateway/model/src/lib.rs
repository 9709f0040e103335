//! The vocabulary of the gateway: what can be configured, and what makes it consistent.
//!
//! [`Catalog`] is everything configured, at one [`Revision`]; a [`Change`] is the only way it
//! moves. [`schema`] is the language fields are declared in, [`entities`] are the gateway's own
//! kinds, and [`Registry`] is the set of kinds and plugins one process knows.
//!
//! Deliberately absent: async, I/O, HTTP types. Everything here is a pure function of its input,
//! which is what lets the data plane, the control plane and the MEC platform share it without
//! knowing each other.

pub mod catalog;
mod change;
mod clock;
mod document;
pub mod entities;
mod entity;
pub mod expression;
mod id;
pub mod pem;
pub mod ports;
pub mod reference;
mod registry;
pub mod rejection;
pub mod schema;
mod secret;
mod violation;

pub use catalog::{Catalog, Item, Stored};
pub use change::{Change, Condition, Write};
pub use clock::{Clock, Moment};
pub use document::{Document, at_path, merge};
pub use entity::{Entity, EntityType, Guard, Listing, Ref, Transform, Variant, Variants};
pub use id::{Id, Revision, random_text};
pub use registry::{PluginSchema, Registry, Scopes};
pub use rejection::{Key, Rejection};
pub use secret::Secret;
pub use violation::Violations;
