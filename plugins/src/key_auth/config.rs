use gateway_model::schema::Record;
use serde::Deserialize;

/// Lets in who brings a key (kong/plugins/key-auth/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// Names of the headers and query arguments a key is looked for in, in order. In header names
    /// `_` and `-` are the same.
    #[record(default(["apikey"]), elements(|e| e.is("header_name", types::header_name)))]
    pub(super) key_names: Vec<String>,
    /// Whether the upstream does not get the key.
    #[record(default = false)]
    pub(super) hide_credentials: bool,
    /// Consumer (id or user name) of requests that are not authenticated; unset refuses them.
    pub(super) anonymous: Option<String>,
    /// Whether headers are looked at.
    #[record(default = true)]
    pub(super) key_in_header: bool,
    /// Whether the query is looked at.
    #[record(default = true)]
    pub(super) key_in_query: bool,
    /// Whether the body is looked at: a form, a JSON object or a multipart form.
    #[record(default = false)]
    pub(super) key_in_body: bool,
    /// Whether OPTIONS requests need a key too.
    #[record(default = true)]
    pub(super) run_on_preflight: bool,
    /// The realm named in `WWW-Authenticate`.
    pub(super) realm: Option<String>,
}
