//! `response-ratelimiting`: limits what upstreams say a request has used up.
//!
//! An upstream tells uses of named objects in a header of its answer. They are counted when the
//! exchange is over; what is left is told upstreams and clients.

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::ResponseRateLimiting;
