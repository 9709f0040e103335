//! The data plane: how traffic flows.
//!
//! [`Proxy`] is a pingora application over the current [`snapshot::Snapshot`]; its module doc is
//! the walk of a request. [`snapshot::ProxyPlane`] compiles the catalog into the next snapshot.
//!
//! Out of reach from here, by dependency: the control plane, the store, the Admin API.

mod access_log;
#[doc(hidden)]
pub mod attack;
#[doc(hidden)]
pub mod bare;
mod body;
pub mod chain;
pub mod chunks;
mod client;
mod embed;
mod error_body;
mod exchange;
mod failure;
mod forward;
mod given_body;
pub mod head;
mod held;
mod options;
mod proxy;
pub mod proxy_protocol;
mod refuse;
mod reply;
mod resolve;
pub mod router;
pub mod snapshot;
pub mod stream;
mod template;
pub mod tls;
mod traffic;
mod upstream;

pub use access_log::{AccessLog, Line, version};
pub use client::{ConnectionFacts, Quota, RealIp, Trust};
pub use embed::{Embedded, EmbeddedBody, EmbeddedServices};
pub use exchange::Exchange;
pub use given_body::Lent;
pub use options::{ErrorType, Options, OwnHeaders};
pub use proxy::Proxy;
pub use refuse::Refuser;
pub use resolve::{Kind, NameOptions, Resolver, Step};
pub use template::{ErrorTemplate, ErrorTemplates};
pub use traffic::Traffic;
