use gateway_model::schema::Record;
use serde::Deserialize;

/// Sends clients elsewhere (kong/plugins/redirect/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// Status of the answer.
    #[record(default = 301, between(100, 599))]
    pub(super) status_code: u16,
    /// Where to.
    #[record(is("url", types::url))]
    pub(super) location: String,
    /// Whether path and query of the request stand in place of those of `location`.
    #[record(default = false)]
    pub(super) keep_incoming_path: Option<bool>,
}
