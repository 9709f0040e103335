//! `ai-proxy`: sends requests to a language model, whoever provides it.

use gateway_model::schema::{Check, Record, Rule};
use serde::Deserialize;

use super::super::Known;
use super::llm::{self, Auth, Logging, Model, RouteType};

/// `ai-proxy` in the list of plugins.
pub(crate) struct Proxy;

impl Known for Proxy {
    const NAME: &'static str = "ai-proxy";
    const PRIORITY: i32 = 770;
    const MISSING: &'static str = super::NO_MODEL;
    type Config = Config;
}

/// Sends requests to a language model, whoever provides it; known, and refused at use
/// (kong/plugins/ai-proxy/schema.lua).
#[derive(Deserialize, Record)]
#[record(
    check = chat_only(), check = same_provider("bedrock"), check = same_provider("gemini"),
    check = llm::no_override(), check = llm::auth_header(), check = llm::auth_parameter(),
    check = llm::needs("llama2", "llama2 provider", &["model.options.llama2_format"]),
    check = llm::needs("mistral", "mistral provider", &["model.options.mistral_format"]),
    check = llm::needs("anthropic", "anthropic provider", &["model.options.anthropic_version"]),
    check = llm::needs("azure", "azure provider", &["model.options.azure_instance"]),
    check = llm::needs("azure", "azure provider", &["model.options.azure_api_version"]),
    check = llm::needs("azure", "azure provider", &["model.options.azure_deployment_id"]),
    check = llm::needs("llama2", "self-hosted providers/models", &["model.options.upstream_url"]),
    check = Check::Custom(llm::statistics_are_told)
)]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct Config {
    /// What kind of conversation requests are.
    route_type: RouteType,
    /// How they prove themselves to the provider.
    auth: Option<Auth>,
    /// Which model.
    model: Model,
    /// What is told in the log.
    logging: Logging,
    /// Whether answers may come word by word.
    #[record(default = "allow")]
    response_streaming: Option<Streaming>,
    /// The largest body looked at, bytes.
    #[record(default = 8192, gt(0))]
    max_request_body_size: Option<i64>,
    /// Whether the client is told which model answered.
    #[record(default = true)]
    model_name_header: Option<bool>,
    /// The form requests come in.
    #[record(default = "openai")]
    llm_format: Option<Format>,
}

/// Whether answers may come word by word.
#[derive(Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Streaming {
    Allow,
    Deny,
    Always,
}

/// The form requests come in.
#[derive(Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Openai,
    Bedrock,
    Gemini,
}

fn chat_only() -> Check {
    Check::Conditional {
        if_field: "llm_format",
        if_match: Rule::OneOf(vec!["bedrock".into(), "gemini".into()]),
        then_field: "route_type",
        then_match: Rule::Eq("llm/v1/chat".into()),
        error: Some(
            "native provider options in llm_format can only be used with the 'llm/v1/chat' \
             route_type",
        ),
    }
}

fn same_provider(name: &'static str) -> Check {
    Check::Conditional {
        if_field: "llm_format",
        if_match: Rule::Eq(name.into()),
        then_field: "model.provider",
        then_match: Rule::Eq(name.into()),
        error: Some(match name {
            "bedrock" => {
                "native llm_format 'bedrock' can only be used with the 'bedrock' model.provider"
            }
            _ => "native llm_format 'gemini' can only be used with the 'gemini' model.provider",
        }),
    }
}
