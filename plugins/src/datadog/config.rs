use gateway_model::schema::{Check, Record, Rule};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kit::queue::QueueConfig;

/// Tells figures of every exchange to a Datadog agent (kong/plugins/datadog/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// Where to: a name or an address.
    #[record(default = "localhost", is("host", types::host), referenceable)]
    pub(super) host: Option<String>,
    /// The port there.
    #[record(default = 8125, between(0, 65535))]
    pub(super) port: Option<u16>,
    /// What every name begins with.
    #[record(default = "kong")]
    pub(super) prefix: Option<String>,
    /// The tag that tells the service.
    #[record(default = "name")]
    pub(super) service_name_tag: Option<String>,
    /// The tag that tells the status.
    #[record(default = "status")]
    pub(super) status_tag: Option<String>,
    /// The tag that tells the consumer.
    #[record(default = "consumer")]
    pub(super) consumer_tag: Option<String>,
    /// Has no effect any more.
    #[expect(dead_code, reason = "accepted for old configurations")]
    retry_count: Option<i64>,
    /// Deprecated: `queue.max_batch_size`.
    pub(super) queue_size: Option<usize>,
    /// Deprecated: `queue.max_coalescing_delay`.
    pub(super) flush_timeout: Option<f64>,
    /// How entries wait and are delivered.
    pub(super) queue: QueueConfig,
    /// The figures told.
    #[record(default = default_metrics())]
    pub(super) metrics: Vec<Metric>,
}

/// One figure.
#[derive(Clone, Debug, Deserialize, Record)]
#[record(check = sample_rate_needed())]
pub(crate) struct Metric {
    /// Which.
    pub(super) name: Name,
    /// What kind of figure it is told as.
    pub(super) stat_type: Kind,
    /// Tags besides those of the exchange.
    #[record(elements(|e| e.matches("^.*[^:]$")))]
    pub(super) tags: Option<Vec<String>>,
    /// The share of exchanges it says to be made of.
    #[record(between(0, 1))]
    pub(super) sample_rate: Option<f64>,
    /// What tells consumers apart; unset leaves them out.
    pub(super) consumer_identifier: Option<ConsumerIdentifier>,
}

fn sample_rate_needed() -> Check {
    let counted = Rule::OneOf(vec!["counter".into(), "gauge".into()]);
    Check::conditional("stat_type", counted, "sample_rate", Rule::Required)
}

/// A figure of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Name {
    KongLatency,
    Latency,
    RequestCount,
    RequestSize,
    ResponseSize,
    UpstreamLatency,
}

/// What kind of figure a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Meter,
    Set,
    Timer,
    Distribution,
}

impl Kind {
    pub(super) const fn letters(self) -> &'static str {
        match self {
            Self::Counter => "c",
            Self::Gauge => "g",
            Self::Histogram => "h",
            Self::Meter => "m",
            Self::Set => "s",
            Self::Timer => "ms",
            Self::Distribution => "d",
        }
    }
}

/// What tells consumers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConsumerIdentifier {
    ConsumerId,
    CustomId,
    Username,
}

fn default_metrics() -> Value {
    let timer = |name: &str| {
        json!({
            "name": name, "stat_type": "timer", "tags": ["app:kong"],
            "consumer_identifier": "custom_id",
        })
    };
    let mut count = timer("request_count");
    count["stat_type"] = "counter".into();
    count["sample_rate"] = 1.into();
    json!([
        count,
        timer("latency"),
        timer("request_size"),
        timer("response_size"),
        timer("upstream_latency"),
        timer("kong_latency"),
    ])
}
