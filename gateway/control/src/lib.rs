//! How configuration changes: one writer, one store, one catalog that everybody reads.
//!
//! [`Control`] is the handle. [`Control::apply`] queues changes to the writer, which checks them
//! against the catalog, has every data plane compile what follows, makes it durable in the
//! [`Store`] and only then lets it be seen. [`declarative`] turns a whole file into changes.
//!
//! Deliberately absent: HTTP, and anything a plugin or a data plane does with the catalog. Data
//! planes are reached by [`gateway_model::ports::DataPlane`] only.

mod compiler;
mod control;
pub mod declarative;
mod metrics;
pub mod peers;
pub mod store;
mod writer;

pub use control::{Applied, Committed, Control, StartError};
pub use peers::{News, Peers};
pub use store::sealed::{SealError, Sealed, Sealer};
pub use store::{Delta, Loaded, Row, Store, StoreError};
