use gateway_model::schema::Record;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Answers requests instead of an upstream (kong/plugins/request-termination/schema.lua).
#[derive(Deserialize, Record)]
#[record(custom = exclusive)]
pub(crate) struct Config {
    /// Status of the answer.
    #[record(default = 503, between(100, 599))]
    pub(super) status_code: u16,
    /// Text of the answer; unset takes the status' own.
    pub(super) message: Option<String>,
    /// Type of `body`; unset means JSON.
    pub(super) content_type: Option<String>,
    /// Body of the answer, in place of a message.
    pub(super) body: Option<String>,
    /// Whether the answer tells the request, its route and its service.
    #[record(default = false)]
    pub(super) echo: bool,
    /// Name of the header or query argument that must be there; unset answers all requests.
    #[record(is("header_name", types::header_name))]
    pub(super) trigger: Option<String>,
}

fn exclusive(config: &Map<String, Value>) -> Result<(), String> {
    let set = |name| config.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    let echo = config.get("echo") == Some(&Value::Bool(true));
    let text = match (set("message"), set("content_type"), set("body")) {
        (true, true, _) | (true, _, true) => "message cannot be used with content_type or body",
        (_, true, false) => "content_type requires a body",
        (_, true, _) | (_, _, true) if echo => "echo cannot be used with content_type and body",
        _ => return Ok(()),
    };
    Err(text.into())
}
