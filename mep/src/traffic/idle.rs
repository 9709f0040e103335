//! [`Idle`]: no data plane.

use async_trait::async_trait;

use super::{DriverError, TrafficDriver, Unsupported};
use crate::entities::TrafficRule;

/// The driver `none`: rules are kept and shown, and nothing is done about packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Idle;

#[async_trait]
impl TrafficDriver for Idle {
    fn name(&self) -> &'static str {
        "none"
    }

    fn check(&self, _rule: &TrafficRule) -> Result<(), Unsupported> {
        Ok(())
    }

    async fn apply(&self, rule: &TrafficRule) -> Result<(), DriverError> {
        tracing::debug!(app.id = %rule.app.id, rule.id = rule.rule_id, "no data plane: rule kept");
        Ok(())
    }

    async fn withdraw(&self, rule: &TrafficRule) -> Result<(), DriverError> {
        tracing::debug!(app.id = %rule.app.id, rule.id = rule.rule_id, "no data plane: rule gone");
        Ok(())
    }

    async fn reconcile(&self, _rules: &[TrafficRule]) -> Result<(), DriverError> {
        Ok(())
    }
}
