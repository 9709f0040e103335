//! How a language model is reached (kong/llm/schemas/init.lua).

use gateway_model::schema::{Check, Record, Rule};
use gateway_model::{Secret, Violations};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What kind of conversation requests are.
#[derive(Deserialize, Record)]
pub(crate) enum RouteType {
    #[serde(rename = "llm/v1/chat")]
    Chat,
    #[serde(rename = "llm/v1/completions")]
    Completions,
    #[serde(rename = "preserve")]
    Preserve,
}

/// How requests prove themselves to the provider.
#[derive(Deserialize, Record)]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct Auth {
    /// The header that does.
    #[record(referenceable())]
    header_name: Option<String>,
    /// Its value.
    #[record(referenceable(), encrypted())]
    header_value: Option<Secret<String>>,
    /// The parameter that does.
    #[record(referenceable())]
    param_name: Option<String>,
    /// Its value.
    #[record(referenceable(), encrypted())]
    param_value: Option<Secret<String>>,
    /// Where the parameter goes.
    param_location: Option<ParamLocation>,
    /// Whether a service account of Google proves them.
    #[record(default = false)]
    gcp_use_service_account: Option<bool>,
    /// The service account.
    #[record(referenceable())]
    gcp_service_account_json: Option<Secret<String>>,
    /// The id of an access key of AWS.
    #[record(referenceable(), encrypted())]
    aws_access_key_id: Option<Secret<String>>,
    /// The access key.
    #[record(referenceable(), encrypted())]
    aws_secret_access_key: Option<Secret<String>>,
    /// Whether what a client brings goes first.
    #[record(default = false)]
    allow_override: Option<bool>,
}

/// Where a parameter goes.
#[derive(Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ParamLocation {
    Query,
    Body,
}

/// Which model.
#[derive(Deserialize, Record)]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct Model {
    /// Who provides it.
    provider: Provider,
    /// What it is called there.
    name: Option<String>,
    /// How it is asked.
    options: Option<Options>,
}

/// Who provides a model.
#[derive(Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Provider {
    Openai,
    Azure,
    Anthropic,
    Cohere,
    Mistral,
    Llama2,
    Gemini,
    Bedrock,
    Huggingface,
}

/// How a model is asked.
#[derive(Deserialize, Record)]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct Options {
    /// The longest answer, in tokens.
    max_tokens: Option<i64>,
    /// What a million tokens asked cost.
    #[record(gt(0))]
    input_cost: Option<f64>,
    /// What a million tokens answered cost.
    #[record(gt(0))]
    output_cost: Option<f64>,
    /// How much is left to chance.
    #[record(between(0, 5))]
    temperature: Option<f64>,
    /// How much probability the tokens considered have together.
    #[record(between(0, 1))]
    top_p: Option<f64>,
    /// How many tokens are considered.
    #[record(between(0, 500))]
    top_k: Option<i64>,
    /// The version of Anthropic's interface.
    anthropic_version: Option<String>,
    /// The instance at Azure.
    azure_instance: Option<String>,
    /// The version of Azure's interface.
    #[record(default = "2023-05-15")]
    azure_api_version: Option<String>,
    /// The deployment at Azure.
    azure_deployment_id: Option<String>,
    /// The form a Llama 2 model is asked in.
    llama2_format: Option<Llama2Format>,
    /// The form a Mistral model is asked in.
    mistral_format: Option<MistralFormat>,
    /// Where the model is, when not at the usual place.
    #[record(is("url", types::url))]
    upstream_url: Option<String>,
    /// The path there.
    upstream_path: Option<String>,
    /// Of Gemini.
    gemini: Option<Gemini>,
    /// Of Bedrock.
    bedrock: Option<Bedrock>,
    /// Of Hugging Face.
    huggingface: Option<Huggingface>,
}

/// The form a Llama 2 model is asked in.
#[derive(Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Llama2Format {
    Raw,
    Openai,
    Ollama,
}

/// The form a Mistral model is asked in.
#[derive(Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MistralFormat {
    Openai,
    Ollama,
}

/// Where Gemini is.
#[derive(Deserialize, Record)]
#[record(check = Check::MutuallyRequired(&["api_endpoint", "project_id", "location_id"]))]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct Gemini {
    /// The host of Vertex.
    api_endpoint: Option<String>,
    /// The project there.
    project_id: Option<String>,
    /// The region.
    location_id: Option<String>,
}

/// Where Bedrock is.
#[derive(Deserialize, Record)]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct Bedrock {
    /// The region.
    aws_region: Option<String>,
}

/// How Hugging Face is asked.
#[derive(Deserialize, Record)]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct Huggingface {
    /// Whether an earlier answer will do.
    use_cache: Option<bool>,
    /// Whether a model that is not loaded is waited for.
    wait_for_model: Option<bool>,
}

/// What is told in the log.
#[derive(Deserialize, Record)]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct Logging {
    /// Whether tokens and costs are.
    #[record(default = false)]
    log_statistics: bool,
    /// Whether what was said is.
    #[record(default = false)]
    log_payloads: bool,
}

/// A language model, for the plugins that ask one on the side.
#[derive(Deserialize, Record)]
#[record(
    check = no_override(), check = auth_header(), check = auth_parameter(),
    check = needs("llama2", "llama2 provider", &["model.options.llama2_format"]),
    check = needs("mistral", "mistral provider", &["model.options.mistral_format"]),
    check = needs("anthropic", "anthropic provider", &["model.options.anthropic_version"]),
    check = needs("azure", "azure provider", &["model.options.azure_instance"]),
    check = needs("azure", "azure provider", &["model.options.azure_api_version"]),
    check = needs("azure", "azure provider", &["model.options.azure_deployment_id"]),
    check = needs("llama2", "self-hosted providers/models", &["model.options.upstream_url"]),
    check = Check::Custom(statistics_are_told)
)]
#[expect(dead_code, reason = "known, not carried out")]
pub(crate) struct Llm {
    /// What kind of conversation requests are.
    route_type: RouteType,
    /// How they prove themselves.
    auth: Option<Auth>,
    /// Which model.
    model: Model,
    /// What is told in the log.
    logging: Logging,
}

pub(super) fn no_override() -> Check {
    Check::Conditional {
        if_field: "model.provider",
        if_match: Rule::OneOf(vec!["bedrock".into(), "gemini".into()]),
        then_field: "auth.allow_override",
        then_match: Rule::Eq(false.into()),
        error: Some("bedrock and gemini only support auth.allow_override = false"),
    }
}

pub(super) fn auth_header() -> Check {
    Check::MutuallyRequired(&["auth.header_name", "auth.header_value"])
}

pub(super) fn auth_parameter() -> Check {
    Check::MutuallyRequired(&["auth.param_name", "auth.param_value", "auth.param_location"])
}

/// What a provider needs to be told.
pub(super) fn needs(
    provider: &'static str,
    what: &'static str,
    fields: &'static [&'static str],
) -> Check {
    Check::ConditionalAtLeastOneOf {
        if_field: "model.provider",
        if_match: Rule::OneOf(vec![provider.into()]),
        then_fields: fields,
        error: ("must set ", what),
    }
}

/// Requests passed on as they are have no statistics (kong/llm/schemas/init.lua).
pub(super) fn statistics_are_told(llm: &Map<String, Value>, violations: &mut Violations) {
    let text = |path: &str| gateway_model::at_path(llm, path).and_then(Value::as_str);
    let statistics = gateway_model::at_path(llm, "logging.log_statistics");
    let preserved = text("route_type") == Some("preserve");
    if statistics == Some(&Value::Bool(true)) && preserved {
        violations.add_entity("statistics cannot be logged when route_type is preserve".to_owned());
    }
}
