//! Every socket: bound here, accepted here, handed to a pingora application, an axum router or the
//! proxy of streams.
//!
//! One accept loop of our own serves both, so TLS, shutdown and connection accounting exist once.
//! The proxy runs on worker threads of its own with one socket each (`SO_REUSEPORT`); everything
//! else shares the control runtime, so that administration cannot take the proxy's threads.

mod accept;
mod connection;
mod guard;
mod handshake;
mod names;
mod preamble;
mod socket;
mod stream;
pub(crate) mod tls;

pub(crate) use accept::{Accept, Application, Connections, Proxied, SHORTEST_REST};
pub(crate) use guard::Limits;
pub(crate) use names::BoundNames;
pub(crate) use socket::{Bound, Datagrams};
pub(crate) use stream::AcceptStreams;
