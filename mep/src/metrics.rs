//! The platform's metric families.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// The platform's metric families. Labels are bounded sets.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) service_instances: IntGauge,
    /// By `result`: `registered`, `refused`.
    pub(crate) registrations: IntCounterVec,
    pub(crate) heartbeats: IntCounter,
    pub(crate) suspensions: IntCounter,
    /// By `result`: `issued`, or the status of the refusal.
    pub(crate) tokens: IntCounterVec,
    /// By `result`: `delivered`, `refused`, `failed`, `dropped`.
    pub(crate) notifications: IntCounterVec,
    /// Notifications that wait for their turn, all subscribers together.
    pub(crate) waiting_notifications: IntGauge,
    /// Attempts after the first.
    pub(crate) retried_notifications: IntCounter,
    /// Commits whose notifications were lost because the platform was too slow to follow.
    pub(crate) missed_commits: IntCounter,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let by_result = |name, help, results: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), &["result"])?;
            // Shown from the start, as a rate is only known of what was there before.
            for result in results {
                family.with_label_values(&[result]);
            }
            Ok::<_, prometheus::Error>(family)
        };
        Ok(Self {
            service_instances: IntGauge::new(
                "mep_service_instances",
                "Service instances registered now.",
            )?,
            registrations: by_result(
                "mep_registrations_total",
                "Registrations of services.",
                &["registered", "refused"],
            )?,
            heartbeats: IntCounter::new("mep_heartbeats_total", "Heartbeats accepted.")?,
            suspensions: IntCounter::new(
                "mep_suspensions_total",
                "Service instances suspended because their heartbeats stopped.",
            )?,
            tokens: by_result("mep_token_requests_total", "Token requests.", &["issued"])?,
            notifications: by_result(
                "mep_notifications_total",
                "Notifications to subscribers.",
                &["delivered", "refused", "failed", "dropped"],
            )?,
            waiting_notifications: IntGauge::new(
                "mep_notifications_waiting",
                "Notifications that wait for their turn.",
            )?,
            retried_notifications: IntCounter::new(
                "mep_notification_retries_total",
                "Attempts to notify after the first.",
            )?,
            missed_commits: IntCounter::new(
                "mep_missed_commits_total",
                "Commits that were too many at a time to notify anybody of.",
            )?,
        })
    }

    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.service_instances.clone()))?;
        registry.register(Box::new(self.registrations.clone()))?;
        registry.register(Box::new(self.heartbeats.clone()))?;
        registry.register(Box::new(self.suspensions.clone()))?;
        registry.register(Box::new(self.tokens.clone()))?;
        registry.register(Box::new(self.notifications.clone()))?;
        registry.register(Box::new(self.waiting_notifications.clone()))?;
        registry.register(Box::new(self.retried_notifications.clone()))?;
        registry.register(Box::new(self.missed_commits.clone()))
    }
}
