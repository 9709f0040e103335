use gateway_model::schema::{Field, Record};
use serde::Deserialize;
use serde_json::Value;

/// Tells browsers which pages may read answers (kong/plugins/cors/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// Pages allowed, by origin or by a regular expression that ends where the origin does; unset
    /// and `*` allow all.
    #[record(elements(asterisk_or_regex))]
    pub(super) origins: Option<Vec<String>>,
    /// Request headers pages may set; unset allows those they ask for.
    pub(super) headers: Option<Vec<String>>,
    /// Headers of answers that pages may read.
    pub(super) exposed_headers: Option<Vec<String>>,
    /// Methods pages may use.
    #[record(default(METHODS), elements(|e| e.one_of(METHODS)))]
    pub(super) methods: Option<Vec<String>>,
    /// Seconds a browser may remember what it was told.
    pub(super) max_age: Option<f64>,
    /// Whether pages may send cookies and the like.
    #[record(default = false)]
    pub(super) credentials: bool,
    /// Whether pages of public networks may ask, although this is a private one.
    #[record(default = false)]
    pub(super) private_network: bool,
    /// Whether the upstream answers questions before requests.
    #[record(default = false)]
    pub(super) preflight_continue: bool,
    /// Whether answers to requests without an origin get the headers too.
    #[record(default = true)]
    pub(super) allow_origin_absent: bool,
}

const METHODS: [&str; 9] =
    ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

fn asterisk_or_regex(element: Field) -> Field {
    element.is("asterisk_or_regex", |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        match text == "*" || regex::Regex::new(text).is_ok() {
            true => Ok(()),
            false => Err(format!("'{text}' is not a valid regex")),
        }
    })
}
