use gateway_model::schema::Record;
use serde::Deserialize;

/// Counts exchanges, their bytes and their times (kong/plugins/prometheus/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// Whether consumers are told apart.
    #[record(default = false)]
    pub(super) per_consumer: Option<bool>,
    /// Whether exchanges are counted by status.
    #[record(default = false)]
    pub(super) status_code_metrics: Option<bool>,
    /// Whether requests to language models are counted. There are none here.
    #[record(default = false)]
    #[expect(dead_code, reason = "accepted for configurations of Kong")]
    ai_metrics: Option<bool>,
    /// Whether times are measured.
    #[record(default = false)]
    pub(super) latency_metrics: Option<bool>,
    /// Whether bytes are counted.
    #[record(default = false)]
    pub(super) bandwidth_metrics: Option<bool>,
    /// Whether the health of upstream targets is shown; one instance that wants it is enough.
    #[record(default = false)]
    #[expect(dead_code, reason = "read by who shows it")]
    upstream_health_metrics: Option<bool>,
    /// Whether Wasm filters are counted. There are none here.
    #[record(default = false)]
    #[expect(dead_code, reason = "accepted for configurations of Kong")]
    wasm_metrics: Option<bool>,
}
