use gateway_model::schema::Record;
use serde::Deserialize;

/// Tells an upstream which app instance calls. The original takes an empty record.
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// Whether a token may be used only from the address named in its claim `clientip`. Turn it off
    /// where addresses are translated between the token's issuer and this gateway.
    #[record(default = true)]
    pub(super) clientip_check: bool,
    /// The key of the one `jwt` credential whose tokens may name an app: the platform's own. Null
    /// trusts every credential, as the original did: then any consumer may speak for any app.
    #[record(default = "mepauth")]
    pub(super) issuer: Option<String>,
}
