use gateway_model::schema::{Check, Record, Rule};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kit::queue::QueueConfig;
use crate::kit::statsd::StatType;

/// Tells figures of every exchange to a StatsD server (kong/plugins/statsd/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// Where to: a name or an address.
    #[record(default = "localhost", is("host", types::host))]
    pub(super) host: Option<String>,
    /// The port there.
    #[record(default = 8125, between(0, 65535))]
    pub(super) port: Option<u16>,
    /// What every name begins with.
    #[record(default = "kong")]
    pub(super) prefix: Option<String>,
    /// The figures told.
    #[record(default = default_metrics())]
    pub(super) metrics: Option<Vec<Metric>>,
    /// Ranges of statuses that are told, as `200-299`; unset means all.
    #[record(elements(|e| e.matches("^[0-9]+-[0-9]+$")))]
    pub(super) allow_status_codes: Option<Vec<String>>,
    /// Bytes of a datagram that lines are joined in; 0 gives each line its own.
    #[record(default = 0, between(0, 65507))]
    pub(super) udp_packet_size: Option<f64>,
    /// Whether lines go over TCP.
    #[record(default = false)]
    pub(super) use_tcp: Option<bool>,
    /// Whether names tell this machine.
    #[record(default = false)]
    pub(super) hostname_in_prefix: Option<bool>,
    /// What tells consumers apart, where a figure does not say.
    #[record(default = "custom_id")]
    pub(super) consumer_identifier_default: ConsumerIdentifier,
    /// What tells services apart, where a figure does not say.
    #[record(default = "service_name_or_host")]
    pub(super) service_identifier_default: ServiceIdentifier,
    /// What tells workspaces apart, where a figure does not say.
    #[record(default = "workspace_id")]
    pub(super) workspace_identifier_default: WorkspaceIdentifier,
    /// Has no effect any more.
    #[expect(dead_code, reason = "accepted for old configurations")]
    retry_count: Option<i64>,
    /// Deprecated: `queue.max_batch_size`.
    pub(super) queue_size: Option<usize>,
    /// Deprecated: `queue.max_coalescing_delay`.
    pub(super) flush_timeout: Option<f64>,
    /// How tags are written; unset tells everything in names.
    pub(super) tag_style: Option<TagStyle>,
    /// How entries wait and are delivered.
    pub(super) queue: QueueConfig,
}

/// One figure.
#[derive(Clone, Debug, Deserialize, Record)]
#[record(check = sample_rate_needed())]
pub(crate) struct Metric {
    /// Which.
    pub(super) name: Name,
    /// What kind of figure it is told as.
    pub(super) stat_type: StatType,
    /// The share of exchanges it says to be made of.
    #[record(gt(0))]
    pub(super) sample_rate: Option<f64>,
    /// What tells consumers apart.
    pub(super) consumer_identifier: Option<ConsumerIdentifier>,
    /// What tells services apart.
    pub(super) service_identifier: Option<ServiceIdentifier>,
    /// What tells workspaces apart.
    pub(super) workspace_identifier: Option<WorkspaceIdentifier>,
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
    RequestPerUser,
    RequestSize,
    ResponseSize,
    StatusCount,
    StatusCountPerUser,
    UniqueUsers,
    UpstreamLatency,
    StatusCountPerWorkspace,
    StatusCountPerUserPerRoute,
    ShdictUsage,
}

/// What tells consumers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConsumerIdentifier {
    ConsumerId,
    CustomId,
    Username,
}

/// What tells services apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "Kong's words")]
pub(crate) enum ServiceIdentifier {
    ServiceId,
    ServiceName,
    ServiceHost,
    ServiceNameOrHost,
}

/// What tells workspaces apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WorkspaceIdentifier {
    WorkspaceId,
    WorkspaceName,
}

/// A way to write tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TagStyle {
    Dogstatsd,
    Influxdb,
    Librato,
    Signalfx,
}

fn default_metrics() -> Value {
    let counted =
        |name: &str, kind: &str| json!({"name": name, "stat_type": kind, "sample_rate": 1});
    let told = |name: &str, kind: &str| json!({"name": name, "stat_type": kind});
    json!([
        counted("request_count", "counter"),
        told("latency", "timer"),
        counted("request_size", "counter"),
        counted("status_count", "counter"),
        counted("response_size", "counter"),
        told("unique_users", "set"),
        counted("request_per_user", "counter"),
        told("upstream_latency", "timer"),
        told("kong_latency", "timer"),
        counted("status_count_per_user", "counter"),
        counted("status_count_per_workspace", "counter"),
        counted("status_count_per_user_per_route", "counter"),
        counted("shdict_usage", "gauge"),
    ])
}
