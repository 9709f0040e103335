use std::time::Duration;

use gateway_model::schema::Record;
use serde::Deserialize;

use super::Parameters;

/// How entries wait and are delivered (kong/tools/queue_schema.lua). Times are in seconds.
#[derive(Deserialize, Record)]
pub(crate) struct QueueConfig {
    /// Entries delivered together, at most.
    #[record(default = 1, between(1, 1_000_000))]
    pub(crate) max_batch_size: Option<usize>,
    /// How long a batch waits for more entries after its first.
    #[record(default = 1, between(0, 3600))]
    pub(crate) max_coalescing_delay: Option<f64>,
    /// Entries waiting, at most; the oldest are lost first.
    #[record(default = 10_000, between(1, 1_000_000))]
    pub(crate) max_entries: Option<usize>,
    /// Bytes waiting, at most; the oldest entries are lost first.
    pub(crate) max_bytes: Option<usize>,
    /// How long a batch is tried again.
    #[record(default = 60)]
    pub(crate) max_retry_time: Option<f64>,
    /// Before the second attempt; doubles with each.
    #[record(default = 0.01, between(0.001, 1_000_000))]
    pub(crate) initial_retry_delay: Option<f64>,
    /// Between two attempts, at most.
    #[record(default = 60, between(0.001, 1_000_000))]
    pub(crate) max_retry_delay: Option<f64>,
    /// Batches on their way at once: 1, or -1 for any number.
    #[record(default = 1, one_of([-1, 1]))]
    pub(crate) concurrency_limit: Option<i64>,
}

impl QueueConfig {
    pub(crate) fn parameters(&self) -> Parameters {
        Parameters {
            max_batch_size: self.max_batch_size.unwrap_or(1),
            max_coalescing_delay: seconds(self.max_coalescing_delay, 1.0),
            max_entries: self.max_entries.unwrap_or(10_000),
            max_bytes: self.max_bytes.unwrap_or(usize::MAX),
            max_retry_time: seconds(self.max_retry_time, 60.0),
            initial_retry_delay: seconds(self.initial_retry_delay, 0.01),
            max_retry_delay: seconds(self.max_retry_delay, 60.0),
            concurrent: self.concurrency_limit == Some(-1),
        }
    }
}

impl Parameters {
    /// Takes the names of Kong 2 in, where they say something else than their old defaults
    /// (kong/tools/queue.lua, get_plugin_params).
    pub(crate) fn deprecated(&mut self, queue_size: Option<usize>, flush_timeout: Option<f64>) {
        if let Some(size) = queue_size.filter(|size| *size != 1) {
            self.max_batch_size = size.max(1);
        }
        if let Some(delay) = flush_timeout.filter(|delay| *delay != 2.0) {
            self.max_coalescing_delay = seconds(Some(delay), 2.0);
        }
    }
}

/// Less than nothing is nothing.
fn seconds(value: Option<f64>, default: f64) -> Duration {
    let value = value.unwrap_or(default).clamp(0.0, 1e9);
    Duration::try_from_secs_f64(value).unwrap_or_default()
}

/// Milliseconds of a configuration.
pub(crate) fn milliseconds(value: Option<f64>, default: f64) -> Duration {
    seconds(Some(value.unwrap_or(default) / 1000.0), 0.0)
}
