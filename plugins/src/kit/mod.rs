//! Tools several plugins need. Each knows its own trade and no plugin.

pub(crate) mod addresses;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod counter;
pub(crate) mod counting;
pub(crate) mod datagrams;
pub(crate) mod entries;
pub(crate) mod expression;
pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod jws;
pub(crate) mod lines;
pub(crate) mod parameters;
pub(crate) mod pattern;
pub(crate) mod query;
pub(crate) mod queue;
pub(crate) mod redis;
pub(crate) mod severity;
pub(crate) mod statsd;
pub(crate) mod stream;
pub(crate) mod template;
pub(crate) mod tls;
pub(crate) mod trace;
