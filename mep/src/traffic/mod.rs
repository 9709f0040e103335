//! Traffic rules handed to whoever moves the packets (the reference point Mp2).
//!
//! The platform decides when a rule has an effect; a [`TrafficDriver`] makes it so. The catalog is
//! the truth: a rule is applied before it is stored as active, and withdrawn again when it could
//! not be stored. Which driver there is the operator chooses; [`Idle`] does nothing.

mod idle;
pub mod nftables;

use async_trait::async_trait;

pub use self::idle::Idle;
use crate::entities::{DnsRule, TrafficRule};

/// What moves packets. Rules are known to it by their catalog id.
///
/// Calls for one application never overlap; those of different ones may.
#[async_trait]
pub trait TrafficDriver: Send + Sync + 'static {
    /// The word an operator chooses it by.
    fn name(&self) -> &'static str;

    /// Whether the data plane can do what an active rule says. Pure, and fast enough for a request.
    ///
    /// # Errors
    ///
    /// What it cannot do, in words for the client.
    fn check(&self, rule: &TrafficRule) -> Result<(), Unsupported>;

    /// Makes the data plane do what the rule says, in place of what the rule of that id said
    /// before. Applying what is applied already changes nothing.
    ///
    /// # Errors
    ///
    /// When it did not; then what was there before still is.
    async fn apply(&self, rule: &TrafficRule) -> Result<(), DriverError>;

    /// Makes the data plane forget a rule; one it does not know is no error.
    ///
    /// # Errors
    ///
    /// When the rule may still have an effect.
    async fn withdraw(&self, rule: &TrafficRule) -> Result<(), DriverError>;

    /// Tells the data plane of a name it may answer itself.
    ///
    /// # Errors
    ///
    /// When it did not take it.
    async fn apply_dns(&self, _rule: &DnsRule) -> Result<(), DriverError> {
        Ok(())
    }

    /// Makes the data plane forget a name; one it does not know is no error.
    ///
    /// # Errors
    ///
    /// When it may still answer it.
    async fn withdraw_dns(&self, _rule: &DnsRule) -> Result<(), DriverError> {
        Ok(())
    }

    /// Makes the data plane have exactly these rules, all of them active: called once when the
    /// platform starts.
    ///
    /// # Errors
    ///
    /// When it has others.
    async fn reconcile(&self, rules: &[TrafficRule]) -> Result<(), DriverError>;

    /// The platform stops.
    async fn stop(&self) {}
}

/// What the data plane cannot do, in words for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

/// Why the data plane did not do it, in words for the operator.
#[derive(Debug, thiserror::Error)]
#[error("the data plane: {0}")]
pub struct DriverError(pub String);
