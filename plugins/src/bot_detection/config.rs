use gateway_model::schema::Record;
use regex::bytes::Regex;
use serde::Deserialize;
use serde_json::Value;

/// Refuses user agents that are robots (kong/plugins/bot-detection/schema.lua).
#[derive(Deserialize, Record)]
#[record(alias("whitelist", "allow"), alias("blacklist", "deny"))]
pub(crate) struct Config {
    /// Regular expressions of user agents that are let through, whatever they are.
    #[record(default([""; 0]), elements(|e| e.is("is_regex", is_regex)))]
    pub(super) allow: Option<Vec<String>>,
    /// Regular expressions of user agents that are refused beside the known robots.
    #[record(default([""; 0]), elements(|e| e.is("is_regex", is_regex)))]
    pub(super) deny: Option<Vec<String>>,
}

fn is_regex(value: &Value) -> Result<(), String> {
    let pattern = value.as_str().unwrap_or_default();
    Regex::new(pattern).map(drop).map_err(|_| format!("not a valid regex: {pattern}"))
}
