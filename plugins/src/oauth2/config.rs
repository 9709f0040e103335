use gateway_model::Secret;
use gateway_model::schema::{Check, Record, Rule};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Gives tokens to applications and lets in who brings one (kong/plugins/oauth2/schema.lua).
#[derive(Deserialize, Record)]
#[record(check = mandatory_needs_scopes(), custom(a_flow_is_enabled))]
pub(crate) struct Config {
    /// Scopes an application may ask for.
    pub(super) scopes: Option<Vec<String>>,
    /// Whether an application must ask for a scope.
    #[record(default = false)]
    pub(super) mandatory_scope: bool,
    /// Shared with the page where end users agree; random when it is not given.
    #[record(auto = Auto::RandomText, required(), unique(), encrypted())]
    pub(super) provision_key: Secret<String>,
    /// Seconds a token is good for; 0 for ever.
    #[record(default = 7200)]
    pub(super) token_expiration: f64,
    /// Whether codes are given that an application turns into tokens (three-legged).
    #[record(default = false)]
    pub(super) enable_authorization_code: bool,
    /// Whether tokens are given to the end user's browser at once.
    #[record(default = false)]
    pub(super) enable_implicit_grant: bool,
    /// Whether an application gets tokens of its own.
    #[record(default = false)]
    pub(super) enable_client_credentials: bool,
    /// Whether an application gets tokens for end users whose password it was told.
    #[record(default = false)]
    pub(super) enable_password_grant: bool,
    /// Whether the upstream does not get the token.
    #[record(default = false)]
    pub(super) hide_credentials: bool,
    /// Whether a trusted proxy's word (`X-Forwarded-Proto: https`) stands for TLS.
    #[record(default = false)]
    pub(super) accept_http_if_already_terminated: bool,
    /// Consumer (id or user name) of requests that are not authenticated; unset refuses them.
    pub(super) anonymous: Option<String>,
    /// Whether tokens are good for every service guarded by such an instance.
    #[record(default = false)]
    pub(super) global_credentials: bool,
    /// The header a token is looked for in.
    #[record(default = "authorization")]
    pub(super) auth_header_name: Option<String>,
    /// Seconds a refresh token is good for; 0 for ever.
    #[record(default = 1_209_600, between(0, 100_000_000))]
    pub(super) refresh_token_ttl: f64,
    /// Whether a refresh token stays when a token was got for it.
    #[record(default = false)]
    pub(super) reuse_refresh_token: bool,
    /// Whether codes are bound to a secret of who asked for them (RFC 7636).
    #[record(default = "lax")]
    pub(super) pkce: Option<Pkce>,
    /// The realm named in `WWW-Authenticate`.
    pub(super) realm: Option<String>,
}

/// Who has to use a code challenge. Who did is always held to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pkce {
    /// Nobody.
    None,
    /// Public clients.
    #[default]
    Lax,
    /// Every client.
    Strict,
}

fn mandatory_needs_scopes() -> Check {
    Check::conditional("mandatory_scope", Rule::Eq(true.into()), "scopes", Rule::Required)
}

fn a_flow_is_enabled(config: &Map<String, Value>) -> Result<(), String> {
    const FLOWS: [&str; 4] = [
        "enable_authorization_code",
        "enable_implicit_grant",
        "enable_client_credentials",
        "enable_password_grant",
    ];
    if FLOWS.iter().any(|flow| config.get(*flow) == Some(&Value::Bool(true))) {
        return Ok(());
    }
    Err(format!("at least one of these fields must be true: {}", FLOWS.join(", ")))
}
