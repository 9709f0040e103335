use std::sync::Arc;

use gateway_model::Violations;

use super::config::Config;
use super::families::Families;
use crate::contract::{ANY, Handler, Phases, Plugin, Setup, Summary};

/// One instance (kong/plugins/prometheus/handler.lua).
pub(crate) struct Prometheus {
    families: Arc<Families>,
    per_consumer: bool,
    status_codes: bool,
    latency: bool,
    bandwidth: bool,
}

impl Plugin for Prometheus {
    const NAME: &'static str = "prometheus";
    const PRIORITY: i32 = 13;
    const PHASES: Phases = Phases::LOG;
    const PROTOCOLS: &'static [&'static str] = ANY;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        Ok(Self {
            families: Families::of(setup.tools),
            per_consumer: config.per_consumer.unwrap_or_default(),
            status_codes: config.status_code_metrics.unwrap_or_default(),
            latency: config.latency_metrics.unwrap_or_default(),
            bandwidth: config.bandwidth_metrics.unwrap_or_default(),
        })
    }
}

impl Handler for Prometheus {
    fn log(&self, summary: &Summary<'_>) {
        if !(self.status_codes || self.latency || self.bandwidth) {
            return;
        }
        let Some(series) = self.families.series(summary, self.per_consumer) else { return };
        if self.status_codes {
            self.families.count_request(&series, summary);
        }
        if self.bandwidth {
            self.families.count_bytes(&series, summary);
        }
        if self.latency {
            self.families.measure(&series, summary);
        }
    }
}
