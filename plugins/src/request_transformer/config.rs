use gateway_model::schema::{Field, Record, types};
use serde::Deserialize;
use serde_json::Value;

use crate::kit::template::Template;

/// Changes requests on their way to an upstream (kong/plugins/request-transformer/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// The method upstreams get.
    #[record(matches("^[A-Z]+$"))]
    pub(super) http_method: Option<String>,
    /// Takes members away.
    pub(super) remove: Remove,
    /// Gives members another name.
    pub(super) rename: Rename,
    /// Gives members that are there another value.
    pub(super) replace: Replace,
    /// Adds members that are not there.
    pub(super) add: Values,
    /// Adds a value to members, there or not.
    pub(super) append: Values,
}

/// Lists for the three parts of a request, whose elements are checked by these functions.
macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident($argument:ident, $header:ident) {$($more:tt)*})*) => { $(
        $(#[$doc])*
        #[derive(Deserialize, Record)]
        pub(crate) struct $name {
            /// Arguments of the body.
            #[record(default([""; 0]), elements($argument))]
            pub(super) body: Vec<String>,
            /// Headers.
            #[record(default([""; 0]), elements($header))]
            pub(super) headers: Vec<String>,
            /// Arguments of the query.
            #[record(default([""; 0]), elements($argument))]
            pub(super) querystring: Vec<String>,
            $($more)*
        }
    )* };
}

parts! {
    /// Names.
    Remove(any, header_name) {}
    /// `old:new`.
    Rename(pair, pair_of_headers) {}
    /// `name:value`, and a path.
    Replace(pair, header_pair) {
        /// The path upstreams get, the whole of it.
        pub(super) uri: Option<String>,
    }
    /// `name:value`.
    Values(pair, header_pair) {}
}

/// Name and value: what stands before the first colon, and after all that follow it.
pub(super) fn split(pair: &str) -> (&str, &str) {
    let (name, value) = pair.split_once(':').unwrap_or((pair, ""));
    (name, value.trim_start_matches(':'))
}

const fn any(element: Field) -> Field {
    element
}

fn pair(element: Field) -> Field {
    element.is("colon_pair_with_template", |value| {
        let (name, value) = split(value.as_str().unwrap_or_default());
        if value.is_empty() {
            return Err(format!("key '{name}' has no value"));
        }
        Template::parse(value)
            .map(drop)
            .map_err(|why| format!("value '{value}' is not in supported format, error:{why}"))
    })
}

fn header_name(element: Field) -> Field {
    element.is("colon_pair_header_name", |value| named(split(text(value)).0))
}

fn header_pair(element: Field) -> Field {
    header_name(element.matches("^[^:]+:.*$"))
}

fn pair_of_headers(element: Field) -> Field {
    element.matches("^[^:]+:.*$").is("colon_pair_both_header_names", |value| {
        let (old, new) = split(text(value));
        named(old).and_then(|()| named(new))
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn named(name: &str) -> Result<(), String> {
    types::header_name(&Value::from(name)).map_err(|_| format!("'{name}' is not a valid header"))
}
