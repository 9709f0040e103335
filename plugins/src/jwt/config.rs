use gateway_model::schema::{Check, Record, Rule};
use serde::Deserialize;

/// Lets in who brings a token signed with a known key (kong/plugins/jwt/schema.lua).
#[derive(Deserialize, Record)]
#[record(check = maximum_needs_exp())]
pub(crate) struct Config {
    /// Query parameters a token is looked for in.
    #[record(default(["jwt"]), set)]
    pub(super) uri_param_names: Option<Vec<String>>,
    /// Cookies a token is looked for in.
    #[record(default([""; 0]), set)]
    pub(super) cookie_names: Option<Vec<String>>,
    /// The claim that names the key; looked for in the payload, then in the JOSE header.
    #[record(default = "iss")]
    pub(super) key_claim_name: Option<String>,
    /// Whether shared secrets are stored in base64.
    #[record(default = false)]
    pub(super) secret_is_base64: bool,
    /// Registered claims that must be there and hold now.
    #[record(set)]
    pub(super) claims_to_verify: Option<Vec<Claim>>,
    /// Consumer (id or user name) of requests that are not authenticated; unset refuses them.
    pub(super) anonymous: Option<String>,
    /// Whether OPTIONS requests need a token too.
    #[record(default = true)]
    pub(super) run_on_preflight: bool,
    /// Seconds a token may still be valid for; 0 sets no limit.
    #[record(default = 0, between(0, 31_536_000))]
    pub(super) maximum_expiration: Option<f64>,
    /// Headers a bearer token is looked for in.
    #[record(default(["authorization"]), set)]
    pub(super) header_names: Option<Vec<String>>,
    /// The realm named in `WWW-Authenticate`.
    pub(super) realm: Option<String>,
}

/// A registered claim that limits when a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Claim {
    Exp,
    Nbf,
}

fn maximum_needs_exp() -> Check {
    Check::conditional(
        "maximum_expiration",
        Rule::Gt(0.0),
        "claims_to_verify",
        Rule::Contains("exp".into()),
    )
}
