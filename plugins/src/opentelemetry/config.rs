use std::collections::BTreeMap;

use gateway_model::Secret;
use gateway_model::schema::{Check, Record};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kit::queue::QueueConfig;
use crate::kit::trace::PropagationConfig;

/// Sends spans to a collector (kong/plugins/opentelemetry/schema.lua).
#[derive(Deserialize, Record)]
#[record(check = Check::AtLeastOneOf(&["traces_endpoint", "logs_endpoint"]))]
#[record(alias("endpoint", "traces_endpoint"))]
pub(crate) struct Config {
    /// Where spans go: `http://collector:4318/v1/traces`.
    #[record(is("url", types::url), referenceable)]
    pub(super) traces_endpoint: Option<String>,
    /// Where lines of the node's log go: `http://collector:4318/v1/logs`.
    #[record(is("url", types::url), referenceable)]
    pub(super) logs_endpoint: Option<String>,
    /// Headers added to the requests.
    #[record(keys(|k| k.is("header_name", types::header_name)), values(|v| v.referenceable()))]
    pub(super) headers: Option<BTreeMap<String, Secret<String>>>,
    /// Attributes of this process besides its own.
    #[record(is("otel_attribute_values", attribute_values))]
    #[record(keys(|k| k.required()), values(|v| v.required()))]
    pub(super) resource_attributes: Option<BTreeMap<String, String>>,
    /// How spans wait and are delivered.
    #[record(default = json!({"max_batch_size": 200}))]
    pub(super) queue: QueueConfig,
    /// Deprecated: `queue.max_batch_size`.
    pub(super) batch_span_count: Option<i64>,
    /// Deprecated: `queue.max_coalescing_delay`.
    pub(super) batch_flush_delay: Option<i64>,
    /// Milliseconds connecting may take.
    #[record(default = 1000, between(0, 2_147_483_646))]
    pub(super) connect_timeout: Option<u64>,
    /// Milliseconds sending may take.
    #[record(default = 5000, between(0, 2_147_483_646))]
    pub(super) send_timeout: Option<u64>,
    /// Milliseconds the answer may take.
    #[record(default = 5000, between(0, 2_147_483_646))]
    pub(super) read_timeout: Option<u64>,
    /// The header that tells clients the trace id; unset tells them nothing.
    pub(super) http_response_header_for_traceid: Option<String>,
    /// Deprecated: `propagation.extract` and `propagation.inject`.
    #[record(default = "preserve", one_of([
        "preserve", "ignore", "b3", "b3-single", "w3c", "jaeger", "ot", "aws", "gcp", "datadog",
        "instana",
    ]))]
    pub(super) header_type: Option<String>,
    /// The share of requests that are traced; unset is that of the process.
    #[record(between(0, 1))]
    pub(super) sampling_rate: Option<f64>,
    /// Which formats of trace context are read and written.
    #[record(default = json!({"default_format": "w3c"}))]
    pub(super) propagation: PropagationConfig,
}

fn attribute_values(attributes: &Value) -> Result<(), String> {
    let empty = |(name, value): (&String, &Value)| {
        (value.as_str() == Some("")).then(|| format!("{name}: required field missing"))
    };
    attributes.as_object().into_iter().flatten().find_map(empty).map_or(Ok(()), Err)
}
