//! Every HTTP socket: bound here, accepted here, handed to a pingora application or an axum
//! router.
//!
//! One accept loop of our own serves both, so TLS, shutdown and connection accounting exist once.
//! The proxy runs on worker threads of its own with one socket each (`SO_REUSEPORT`); everything
//! else shares the control runtime, so that administration cannot take the proxy's threads.

mod accept;
mod connection;
mod socket;

pub(crate) use accept::{Accept, Application, Connections};
pub(crate) use socket::Bound;
