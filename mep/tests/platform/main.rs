//! The platform through its routers, over a real control plane with the memory store.

#![allow(clippy::unwrap_used, reason = "tests")]

mod auth;
mod discovery;
mod kit;
mod liveness;
mod management;
mod notifications;
mod seed;
mod services;
mod subscriptions;
mod timing;
