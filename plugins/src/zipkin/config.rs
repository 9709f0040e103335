use gateway_model::schema::{Record, Rule};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kit::queue::QueueConfig;
use crate::kit::trace::PropagationConfig;

/// Reports spans to a Zipkin server (kong/plugins/zipkin/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// The name of this side in spans.
    #[record(default = "kong")]
    pub(super) local_service_name: String,
    /// The server; unset reports nothing and still tells upstreams.
    #[record(is("url", types::url))]
    pub(super) http_endpoint: Option<String>,
    /// The share of requests without a decision of their own that are reported.
    #[record(default = 0.001, between(0, 1))]
    pub(super) sample_ratio: Option<f64>,
    /// The name of the other side where it has none.
    pub(super) default_service_name: Option<String>,
    /// Whether spans tell the credential.
    #[record(default = true)]
    pub(super) include_credential: bool,
    /// Bytes of new trace ids.
    #[record(default = 16, one_of([8, 16]))]
    pub(super) traceid_byte_count: usize,
    /// Deprecated: `propagation.extract` and `propagation.inject`.
    #[record(default = "preserve", one_of([
        "preserve", "ignore", "b3", "b3-single", "w3c", "jaeger", "ot", "aws", "datadog", "gcp",
        "instana",
    ]))]
    pub(super) header_type: String,
    /// Deprecated: `propagation.default_format`.
    #[record(default = "b3", one_of([
        "b3", "b3-single", "w3c", "jaeger", "ot", "aws", "datadog", "gcp", "instana",
    ]))]
    pub(super) default_header_type: String,
    /// The header by which requests add tags to their span: `a=1; b=2`.
    #[record(default = "Zipkin-Tags")]
    pub(super) tags_header: String,
    /// Tags of every request's span.
    #[record(is("unique_tag_names", unique_tag_names))]
    pub(super) static_tags: Option<Vec<Tag>>,
    /// What spans are called by.
    #[record(default = "method")]
    pub(super) http_span_name: SpanName,
    /// Milliseconds connecting may take.
    #[record(default = 2000, between(0, 2_147_483_646))]
    pub(super) connect_timeout: Option<u64>,
    /// Milliseconds sending may take.
    #[record(default = 5000, between(0, 2_147_483_646))]
    pub(super) send_timeout: Option<u64>,
    /// Milliseconds the answer may take.
    #[record(default = 5000, between(0, 2_147_483_646))]
    pub(super) read_timeout: Option<u64>,
    /// The header that tells clients the trace id; unset tells them nothing.
    pub(super) http_response_header_for_traceid: Option<String>,
    /// How the times of phases are told.
    #[record(default = "annotations")]
    pub(super) phase_duration_flavor: Flavor,
    /// How spans wait and are delivered.
    pub(super) queue: QueueConfig,
    /// Which formats of trace context are read and written.
    #[record(default = json!({"default_format": "b3"}))]
    pub(super) propagation: PropagationConfig,
}

/// A tag of every span.
#[derive(Clone, Debug, Deserialize, Record)]
pub(crate) struct Tag {
    /// Its name.
    #[record(rule = not_ours())]
    pub(super) name: String,
    /// Its value.
    pub(super) value: String,
}

/// What spans are called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SpanName {
    Method,
    MethodPath,
}

/// How the times of phases are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Flavor {
    Annotations,
    Tags,
}

fn not_ours() -> Rule {
    let names = [
        "error",
        "http.method",
        "http.path",
        "http.status_code",
        "kong.balancer.state",
        "kong.balancer.try",
        "kong.consumer",
        "kong.credential",
        "kong.node.id",
        "kong.route",
        "kong.service",
        "lc",
        "peer.hostname",
    ];
    Rule::NotOneOf(names.map(Value::from).to_vec())
}

fn unique_tag_names(tags: &Value) -> Result<(), String> {
    let names = tags.as_array().into_iter().flatten().filter_map(|tag| tag["name"].as_str());
    let mut seen = Vec::new();
    for name in names {
        if seen.contains(&name) {
            return Err(format!("repeated tags are not allowed: {name}"));
        }
        seen.push(name);
    }
    Ok(())
}
