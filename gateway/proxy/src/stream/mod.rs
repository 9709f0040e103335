//! Streams: connections and datagrams that are passed on as they are (`stream_listen`).
//!
//! [`StreamProxy`] finds the route of a connection by its ends and the server name of its
//! handshake (`route.rs`), runs the plugins that work on connections, chooses a target as HTTP
//! requests do, and copies bytes both ways (`pump.rs`) until one side is done or silent for too
//! long; then log handlers are told (`session.rs`). Datagrams of one client are a session of their
//! own kind (`udp.rs`).
//!
//! Absent from here: sockets and TLS towards clients, which are the listener's.

mod proxy;
mod pump;
mod route;
mod session;
mod udp;

pub use proxy::StreamProxy;
pub(crate) use route::STREAM;
pub use route::{Asked, Carrier, StreamRoute, StreamRouter};
pub use session::StreamSession;
