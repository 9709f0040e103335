use std::collections::BTreeMap;

use gateway_model::Secret;
use gateway_model::schema::{Field, Record, Rule, types};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::kit::queue::QueueConfig;

/// Sends an entry about every exchange to an HTTP collector (kong/plugins/http-log/schema.lua).
#[derive(Deserialize, Record)]
#[record(custom = no_double_authorization)]
pub(crate) struct Config {
    /// The collector. User name and password in it become an Authorization header; a query is
    /// left out.
    #[record(is("url", types::url), referenceable, encrypted)]
    pub(super) http_endpoint: Secret<String>,
    /// Request method.
    #[record(default = "POST", one_of(["POST", "PUT", "PATCH"]))]
    pub(super) method: Option<String>,
    /// Content type of the requests.
    #[record(default = "application/json")]
    #[record(one_of(["application/json", "application/json; charset=utf-8"]))]
    pub(super) content_type: Option<String>,
    /// Milliseconds a request may take.
    #[record(default = 10_000)]
    pub(super) timeout: Option<f64>,
    /// Milliseconds an idle connection is kept.
    #[record(default = 60_000)]
    pub(super) keepalive: Option<f64>,
    /// Has no effect any more.
    #[expect(dead_code, reason = "accepted for old configurations")]
    retry_count: Option<i64>,
    /// Deprecated: `queue.max_batch_size`.
    pub(super) queue_size: Option<usize>,
    /// Deprecated: `queue.max_coalescing_delay`.
    pub(super) flush_timeout: Option<f64>,
    /// Headers added to the requests.
    #[record(keys(header_rules), values(|v| v.referenceable()))]
    pub(super) headers: Option<BTreeMap<String, Secret<String>>>,
    /// How entries wait and are delivered.
    pub(super) queue: QueueConfig,
    /// Members by dotted path, of Lua code. Of that there are constants only: `return 'v'`.
    #[record(keys(|k| k.len_min(1)), values(|v| v.len_min(1)))]
    pub(super) custom_fields_by_lua: Option<BTreeMap<String, String>>,
}

fn header_rules(key: Field) -> Field {
    // The second pattern is Kong's, its slip ([nn]) included.
    key.rule(Rule::match_none(&[
        ("^[Hh][Oo][Ss][Tt]$", "cannot contain 'Host' header"),
        (
            "^[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[Ll][Ee][nn][Gg][Tt][Hh]$",
            "cannot contain 'Content-Length' header",
        ),
        ("^[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-[Tt][Yy][Pp][Ee]$", "cannot contain 'Content-Type' header"),
    ]))
    .is("header_name", types::header_name)
}

fn no_double_authorization(config: &Map<String, Value>) -> Result<(), String> {
    let endpoint = config.get("http_endpoint").and_then(Value::as_str).unwrap_or_default();
    let user_info = url::Url::parse(endpoint)
        .is_ok_and(|url| !url.username().is_empty() || url.password().is_some());
    let headers = config.get("headers").and_then(Value::as_object);
    let named = headers.is_some_and(|headers| {
        headers.keys().any(|name| name.eq_ignore_ascii_case("authorization"))
    });
    if user_info && named {
        return Err(
            "specifying both an 'Authorization' header and user info in 'http_endpoint' is \
                    not allowed"
                .into(),
        );
    }
    Ok(())
}
