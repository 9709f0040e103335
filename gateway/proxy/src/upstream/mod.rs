//! Where a request goes: the addresses behind a service's host, and the connection to one.
//!
//! A host that names an upstream entity has targets (`compiled.rs`), of which each try is given one
//! (`balance.rs`) by the upstream's algorithm (`ring.rs`, `stick.rs`). What traffic and probes
//! (`probe.rs`) tell of their addresses outlives publishes (`live.rs`, `health.rs`). Names of
//! targets, and any other host, are resolved (`../resolve/`).

mod balance;
mod called;
mod compiled;
mod health;
mod live;
mod peer;
mod probe;
mod probe_grpc;
mod report;
mod ring;
mod stick;
#[cfg(test)]
mod tests;
mod uses;

pub(crate) use balance::Balance;
pub(crate) use called::Called;
pub(crate) use compiled::CompiledUpstream;
pub(crate) use peer::{hurry, peer, takes_tls};
pub(crate) use probe::Prober;
pub(crate) use ring::turns;
pub(crate) use uses::ConnectionUses;
