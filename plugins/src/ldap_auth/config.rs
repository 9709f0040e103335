use gateway_model::schema::{Check, Record, Rule};
use serde::Deserialize;

/// Lets in who has a name and a password in a directory (kong/plugins/ldap-auth/schema.lua).
#[derive(Deserialize, Record)]
#[record(check = one_way_to_tls())]
pub(crate) struct Config {
    /// Where the directory is.
    #[record(is("host", types::host))]
    pub(super) ldap_host: String,
    /// Its port.
    #[record(default = 389, between(0, 65535))]
    pub(super) ldap_port: u16,
    /// Whether it speaks TLS from the start.
    #[record(default = false)]
    pub(super) ldaps: bool,
    /// Whether a plain connection is turned into one with TLS first.
    #[record(default = false)]
    pub(super) start_tls: bool,
    /// Whether its certificate must be one this machine trusts, and for its name.
    #[record(default = false)]
    pub(super) verify_ldap_host: bool,
    /// Below what names are looked for: `dc=example,dc=com`.
    pub(super) base_dn: String,
    /// The attribute that holds names: `cn`.
    pub(super) attribute: String,
    /// Seconds an answer of the directory is remembered; 0 asks every time.
    #[record(default = 60)]
    pub(super) cache_ttl: f64,
    /// Whether the upstream does not get name and password.
    #[record(default = false)]
    pub(super) hide_credentials: bool,
    /// Milliseconds the directory may take.
    #[record(default = 10_000)]
    pub(super) timeout: Option<f64>,
    /// Milliseconds an idle connection to it is kept.
    #[record(default = 60_000)]
    pub(super) keepalive: Option<f64>,
    /// Consumer (id or user name) of requests that are not authenticated; unset refuses them.
    pub(super) anonymous: Option<String>,
    /// The scheme of `Authorization` that name and password stand behind.
    #[record(default = "ldap")]
    pub(super) header_type: Option<String>,
    /// The realm named in `WWW-Authenticate`.
    pub(super) realm: Option<String>,
}

fn one_way_to_tls() -> Check {
    Check::Conditional {
        if_field: "ldaps",
        if_match: Rule::Eq(true.into()),
        then_field: "start_tls",
        then_match: Rule::Eq(false.into()),
        error: Some("'ldaps' and 'start_tls' cannot be enabled simultaneously"),
    }
}
