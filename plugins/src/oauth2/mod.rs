//! `oauth2`: gives tokens to applications and lets in who brings one (RFC 6749, RFC 7636, RFC 7662).
//!
//! Three paths below every route it guards are its own: `/oauth2/token`, where tokens are given,
//! `/oauth2/authorize`, where an operator's page, which knows the provision key, says that an end
//! user agreed, and `/oauth2/introspect`, where applications with a secret ask what a token is good
//! for. On every other path a token is asked for.
//!
//! Codes and tokens are entities, written through [`gateway_model::ports::Entities`]: they are
//! known to every node, survive a restart, and go with their application.

mod authorize;
mod config;
mod credential;
mod handler;
mod introspect;
mod issue;
mod refusal;
mod resource;
mod secret;
mod token;

#[cfg(test)]
mod tests;

pub(crate) use handler::OAuth2;
