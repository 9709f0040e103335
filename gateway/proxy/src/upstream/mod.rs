//! Where a request goes: the addresses behind a service's host, and the connection to one.

mod peer;
mod resolve;

pub(crate) use peer::peer;
pub use resolve::Resolver;
