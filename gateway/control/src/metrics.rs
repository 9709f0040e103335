//! [`Metrics`]: what the write path counts.

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

/// The families of the control plane. Clones share their values.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// `gateway_config_revision`
    pub(crate) revision: IntGauge,
    /// `gateway_config_compile_seconds`
    pub(crate) compile_seconds: Histogram,
    /// `gateway_config_commits_total{result}`
    pub(crate) commits: IntCounterVec,
    /// `gateway_config_commit_requests`
    pub(crate) requests: Histogram,
}

/// How a commit ended; the values of the label `result`.
pub(crate) mod result {
    /// Durable and published.
    pub(crate) const COMMITTED: &str = "committed";
    /// A data plane cannot serve it.
    pub(crate) const REFUSED: &str = "refused";
    /// Another node was faster; tried again.
    pub(crate) const CONFLICT: &str = "conflict";
    /// The store failed.
    pub(crate) const FAILED: &str = "failed";

    pub(super) const ALL: [&str; 4] = [COMMITTED, REFUSED, CONFLICT, FAILED];
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let compile = HistogramOpts::new(
            "gateway_config_compile_seconds",
            "Time to check a set of writes and compile the configuration that follows",
        );
        let requests = HistogramOpts::new(
            "gateway_config_commit_requests",
            "Write requests that shared one commit",
        );
        let commits = IntCounterVec::new(
            Opts::new("gateway_config_commits_total", "Commits tried, by how they ended"),
            &["result"],
        )?;
        // From the start, at 0: a rate cannot see the step of a series that begins with it.
        for result in result::ALL {
            commits.with_label_values(&[result]);
        }
        Ok(Self {
            revision: IntGauge::new(
                "gateway_config_revision",
                "Number of the configuration being served",
            )?,
            compile_seconds: Histogram::with_opts(
                compile.buckets(prometheus::exponential_buckets(0.0005, 2.0, 14)?),
            )?,
            commits,
            requests: Histogram::with_opts(
                requests.buckets(prometheus::exponential_buckets(1.0, 2.0, 11)?),
            )?,
        })
    }

    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.revision.clone()))?;
        registry.register(Box::new(self.compile_seconds.clone()))?;
        registry.register(Box::new(self.commits.clone()))?;
        registry.register(Box::new(self.requests.clone()))
    }
}
