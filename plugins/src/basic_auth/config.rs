use gateway_model::schema::Record;
use serde::Deserialize;

/// Lets in who brings a user name and password (kong/plugins/basic-auth/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// Consumer (id or user name) of requests that are not authenticated; unset refuses them.
    pub(super) anonymous: Option<String>,
    /// Whether the upstream does not get the credentials.
    #[record(default = false)]
    pub(super) hide_credentials: bool,
    /// The realm named in `WWW-Authenticate`.
    #[record(default = "service")]
    pub(super) realm: String,
}
