//! `problem-details`: writes the gateway's own refusals as problem bodies (ours; ETSI GS MEC 009,
//! clause 6.15).
//!
//! Routes of the standard MEC APIs have it, so that a client meets one form of error whoever
//! refused: a plugin, the proxy or the platform. What an upstream or an embedded service says in
//! that form already passes as it is.

mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::ProblemDetails;
