//! `ai-request-transformer` and `ai-response-transformer`: have a language model rewrite bodies.

use gateway_model::Scopes;
use gateway_model::schema::{Check, Record, Rule};
use serde::Deserialize;

use super::super::Known;
use super::llm::Llm;

/// `ai-request-transformer` in the list of plugins.
pub(crate) struct RequestTransformer;

impl Known for RequestTransformer {
    const NAME: &'static str = "ai-request-transformer";
    const PRIORITY: i32 = 777;
    const SCOPES: Scopes = Scopes::NO_CONSUMER;
    const MISSING: &'static str = super::NO_MODEL;
    type Config = RequestConfig;
}

/// `ai-response-transformer` in the list of plugins.
pub(crate) struct ResponseTransformer;

impl Known for ResponseTransformer {
    const NAME: &'static str = "ai-response-transformer";
    const PRIORITY: i32 = 768;
    const MISSING: &'static str = super::NO_MODEL;
    type Config = ResponseConfig;
}

/// Has a language model rewrite requests; known, and refused at use
/// (kong/plugins/ai-request-transformer/schema.lua).
#[derive(Deserialize, Record)]
#[record(check = chat_only(), check = http_proxy(), check = https_proxy())]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct RequestConfig {
    /// What the model is told to do.
    prompt: String,
    /// What of its answer is taken.
    transformation_extract_pattern: Option<String>,
    /// Milliseconds the model may take.
    #[record(default = 60_000)]
    http_timeout: i64,
    /// Whether its certificate is looked at.
    #[record(default = true)]
    https_verify: bool,
    /// The largest body looked at, bytes.
    #[record(default = 8192, gt(0))]
    max_request_body_size: Option<i64>,
    /// A proxy on the way to the model, for plain connections.
    #[record(is("host", types::host))]
    http_proxy_host: Option<String>,
    /// Its port.
    #[record(between(0, 65535))]
    http_proxy_port: Option<u16>,
    /// A proxy on the way to the model, for connections over TLS.
    #[record(is("host", types::host))]
    https_proxy_host: Option<String>,
    /// Its port.
    #[record(between(0, 65535))]
    https_proxy_port: Option<u16>,
    /// The model.
    llm: Llm,
}

/// Has a language model rewrite answers; known, and refused at use
/// (kong/plugins/ai-response-transformer/schema.lua).
#[derive(Deserialize, Record)]
#[record(check = chat_only(), check = http_proxy(), check = https_proxy())]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct ResponseConfig {
    /// What the model is told to do.
    prompt: String,
    /// What of its answer is taken.
    transformation_extract_pattern: Option<String>,
    /// Whether its answer may set status and headers.
    #[record(default = false)]
    parse_llm_response_json_instructions: bool,
    /// Milliseconds the model may take.
    #[record(default = 60_000)]
    http_timeout: i64,
    /// Whether its certificate is looked at.
    #[record(default = true)]
    https_verify: bool,
    /// The largest body looked at, bytes.
    #[record(default = 8192, gt(0))]
    max_request_body_size: Option<i64>,
    /// A proxy on the way to the model, for plain connections.
    #[record(is("host", types::host))]
    http_proxy_host: Option<String>,
    /// Its port.
    #[record(between(0, 65535))]
    http_proxy_port: Option<u16>,
    /// A proxy on the way to the model, for connections over TLS.
    #[record(is("host", types::host))]
    https_proxy_host: Option<String>,
    /// Its port.
    #[record(between(0, 65535))]
    https_proxy_port: Option<u16>,
    /// The model.
    llm: Llm,
}

fn chat_only() -> Check {
    Check::Conditional {
        if_field: "llm.route_type",
        if_match: Rule::NotOneOf(vec!["llm/v1/chat".into()]),
        then_field: "llm.route_type",
        then_match: Rule::Eq("llm/v1/chat".into()),
        error: Some("'config.llm.route_type' must be 'llm/v1/chat' for AI transformer plugins"),
    }
}

fn http_proxy() -> Check {
    Check::MutuallyRequired(&["http_proxy_host", "http_proxy_port"])
}

fn https_proxy() -> Check {
    Check::MutuallyRequired(&["https_proxy_host", "https_proxy_port"])
}
