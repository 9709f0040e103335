use gateway_model::schema::{Field, Record, types};
use serde::Deserialize;
use serde_json::Value;

/// Changes headers and JSON bodies of answers (kong/plugins/response-transformer/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// Takes members away.
    pub(super) remove: Remove,
    /// Gives members another name.
    pub(super) rename: Rename,
    /// Gives members that are there another value.
    pub(super) replace: Values,
    /// Adds members that are not there.
    pub(super) add: Values,
    /// Adds a value to members, there or not.
    pub(super) append: Values,
}

/// Names of members.
#[derive(Deserialize, Record)]
pub(crate) struct Remove {
    /// Members of the JSON body.
    #[record(default([""; 0]))]
    pub(super) json: Vec<String>,
    /// Headers.
    #[record(default([""; 0]))]
    pub(super) headers: Vec<String>,
}

/// `old:new`.
#[derive(Deserialize, Record)]
pub(crate) struct Rename {
    /// Members of the JSON body.
    #[record(default([""; 0]), elements(pair))]
    pub(super) json: Vec<String>,
    /// Headers.
    #[record(default([""; 0]), elements(pair_of_headers))]
    pub(super) headers: Vec<String>,
}

/// `name:value`.
#[derive(Deserialize, Record)]
pub(crate) struct Values {
    /// Members of the JSON body.
    #[record(default([""; 0]), elements(pair))]
    pub(super) json: Vec<String>,
    /// Types of the values of `json`, by position; text where the list is too short.
    #[record(default([""; 0]))]
    pub(super) json_types: Vec<JsonType>,
    /// Headers.
    #[record(default([""; 0]), elements(pair))]
    pub(super) headers: Vec<String>,
}

/// What a value in JSON is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JsonType {
    Boolean,
    Number,
    String,
}

fn pair(element: Field) -> Field {
    element.matches("^[^:]+:.*$")
}

fn pair_of_headers(element: Field) -> Field {
    pair(element).is("colon_pair_both_header_names", |value| {
        let (old, new) = value.as_str().and_then(|text| text.split_once(':')).unwrap_or_default();
        match [old, new].into_iter().find(|name| types::header_name(&Value::from(*name)).is_err()) {
            Some(name) => Err(format!("'{name}' is not a valid header")),
            None => Ok(()),
        }
    })
}
