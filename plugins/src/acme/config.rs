use std::time::Duration;

use gateway_model::schema::{Check, Record, Rule};
use gateway_model::{Secret, Violations};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::kit::redis::{Place, Tls};

/// Gets certificates and renews them in time (kong/plugins/acme/schema.lua).
#[derive(Deserialize, Record)]
#[record(
    check = tos_accepted(),
    check = Check::conditional(
        "storage", Rule::Eq("redis".into()), "storage_config.redis.host", Rule::Required
    ),
    check = Check::conditional(
        "storage", Rule::Eq("redis".into()), "storage_config.redis.port", Rule::Required
    ),
    check = Check::Custom(what_is_here)
)]
pub(crate) struct Config {
    /// Whom the authority writes to.
    #[record(
        matches(r"[A-Za-z0-9]*[!-/:-@\[-`{-~]*@+[A-Za-z0-9]*\.?[A-Za-z0-9]*"),
        referenceable(),
        encrypted()
    )]
    pub(super) account_email: Secret<String>,
    /// A key for the account, instead of one made here: P-256, as all keys made here are. A key of
    /// another kind is refused.
    pub(super) account_key: Option<AccountKey>,
    /// The authority's directory.
    #[record(default = "https://acme-v02.api.letsencrypt.org/directory", is("url", types::url))]
    pub(super) api_uri: Option<String>,
    /// Whether the authority's terms of service are accepted.
    #[record(default = false)]
    pub(super) tos_accepted: Option<bool>,
    /// The name of a key the authority gave out of band.
    #[record(referenceable(), encrypted())]
    pub(super) eab_kid: Option<Secret<String>>,
    /// That key, base64url.
    #[record(referenceable(), encrypted())]
    pub(super) eab_hmac_key: Option<Secret<String>>,
    /// The type of the certificates' keys.
    #[record(default = "rsa")]
    pub(super) cert_type: Option<CertType>,
    /// Bits of RSA keys.
    #[record(default = 4096, one_of([2048, 3072, 4096]))]
    pub(super) rsa_key_size: Option<f64>,
    /// Days before its end at which a certificate is renewed.
    #[record(default = 14)]
    pub(super) renew_threshold_days: Option<f64>,
    /// The names there may be certificates for; those without `*` are ordered at once.
    #[record(elements(domain))]
    pub(super) domains: Option<Vec<String>>,
    /// Whether there may be certificates for every name clients ask for.
    #[record(default = false)]
    pub(super) allow_any_domain: Option<bool>,
    /// Minutes nothing is tried again for a name after it failed.
    #[record(default = 5)]
    pub(super) fail_backoff_minutes: Option<f64>,
    /// Where accounts and challenges are kept: `shm` and `kong` are both our store here; `redis`,
    /// `consul` and `vault` are servers.
    #[record(default = "shm")]
    pub(super) storage: Option<Storage>,
    /// How to reach other places.
    pub(super) storage_config: StorageConfig,
    /// The common name of the root's issuer in the chain wanted, where the authority offers several.
    pub(super) preferred_chain: Option<String>,
    /// Whether there may be certificates for IPv4 addresses.
    #[record(default = true)]
    pub(super) enable_ipv4_common_name: Option<bool>,
}

/// The type of a certificate's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CertType {
    #[default]
    Rsa,
    Ecc,
}

/// A key among the catalog's.
#[derive(Clone, Debug, Deserialize, Record)]
pub(crate) struct AccountKey {
    /// Its `kid`.
    pub(super) key_id: String,
    /// The name of the set it is in.
    pub(super) key_set: Option<String>,
}

/// Where accounts and challenges are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Storage {
    Kong,
    Shm,
    Redis,
    Consul,
    Vault,
}

/// How to reach the places.
#[derive(Deserialize, Record)]
pub(crate) struct StorageConfig {
    /// Memory of the process, in Kong.
    #[expect(dead_code, reason = "there is nothing to say")]
    shm: Shm,
    /// The store.
    #[expect(dead_code, reason = "there is nothing to say")]
    kong: Kong,
    /// A Redis.
    pub(super) redis: Redis,
    /// A Consul.
    pub(super) consul: Consul,
    /// A Vault.
    pub(super) vault: Vault,
}

/// Memory of the process.
#[derive(Deserialize, Record)]
#[expect(dead_code, reason = "there is one place")]
pub(crate) struct Shm {
    /// Which piece of it; this gateway has no pieces.
    #[record(default = "kong", is("shm_exists", any))]
    shm_name: Option<String>,
}

/// The store: nothing to say.
#[derive(Deserialize, Record)]
pub(crate) struct Kong {}

/// How to reach a Redis.
#[derive(Deserialize, Record)]
#[record(
    moved("auth", "password"),
    moved("ssl_server_name", "server_name"),
    moved("namespace", "extra_options.namespace"),
    moved("scan_count", "extra_options.scan_count")
)]
pub(crate) struct Redis {
    /// Host name or address.
    #[record(is("host", types::host))]
    host: Option<String>,
    /// TCP port.
    #[record(default = 6379, between(0, 65535))]
    port: Option<u16>,
    /// Milliseconds to connect, send and receive.
    #[record(default = 2000, between(0, 2_147_483_646))]
    timeout: Option<u64>,
    /// User name.
    #[record(referenceable())]
    username: Option<String>,
    /// Password.
    #[record(len_min(0), referenceable(), encrypted())]
    password: Option<Secret<String>>,
    /// Number of the database.
    #[record(default = 0)]
    database: Option<i64>,
    /// Whether to speak TLS.
    #[record(default = false)]
    ssl: Option<bool>,
    /// Whether its certificate is verified.
    #[record(default = false)]
    ssl_verify: Option<bool>,
    /// The server name asked for.
    #[record(is("sni", types::sni))]
    server_name: Option<String>,
    /// How keys are named and looked through.
    extra_options: RedisExtra,
}

impl Redis {
    /// Where it is, and what stands before each key.
    pub(super) fn place(&self) -> Option<(Place, &str)> {
        let tls = Tls {
            verify: self.ssl_verify.unwrap_or_default(),
            server_name: self.server_name.clone(),
        };
        let place = Place {
            host: self.host.clone()?,
            port: self.port.unwrap_or(6379),
            timeout: Duration::from_millis(self.timeout.unwrap_or(2000).max(1)),
            username: self.username.clone(),
            password: self.password.as_ref().map(|password| password.expose().clone()),
            database: self.database.unwrap_or(0),
            tls: self.ssl.unwrap_or_default().then_some(tls),
        };
        Some((place, &self.extra_options.namespace))
    }
}

/// How keys in a Redis are named and looked through.
#[derive(Deserialize, Record)]
pub(crate) struct RedisExtra {
    /// What stands before each key.
    #[record(default = "", len_min(0), is("acme_namespace", namespace))]
    namespace: String,
    /// Keys looked at in one step.
    #[record(default = 10)]
    #[expect(dead_code, reason = "keys are never looked through")]
    scan_count: Option<f64>,
}

/// How to reach a Consul.
#[derive(Deserialize, Record)]
pub(crate) struct Consul {
    /// Whether to speak TLS.
    #[record(default = false)]
    pub(super) https: Option<bool>,
    /// Host name or address.
    #[record(is("host", types::host))]
    pub(super) host: Option<String>,
    /// TCP port.
    #[record(between(0, 65535))]
    pub(super) port: Option<u16>,
    /// What stands before each key.
    pub(super) kv_path: Option<String>,
    /// Milliseconds to connect, send and receive.
    pub(super) timeout: Option<f64>,
    /// What lets in.
    #[record(referenceable())]
    pub(super) token: Option<Secret<String>>,
}

/// How to reach a Vault.
#[derive(Deserialize, Record)]
pub(crate) struct Vault {
    /// Whether to speak TLS.
    #[record(default = false)]
    pub(super) https: Option<bool>,
    /// Host name or address.
    #[record(is("host", types::host))]
    pub(super) host: Option<String>,
    /// TCP port.
    #[record(between(0, 65535))]
    pub(super) port: Option<u16>,
    /// What stands before each key.
    pub(super) kv_path: Option<String>,
    /// Milliseconds to connect, send and receive.
    pub(super) timeout: Option<f64>,
    /// What lets in.
    #[record(referenceable())]
    pub(super) token: Option<Secret<String>>,
    /// Whether its certificate is verified.
    #[record(default = true)]
    pub(super) tls_verify: Option<bool>,
    /// The server name asked for.
    pub(super) tls_server_name: Option<String>,
    /// How to get in.
    #[record(default = "token")]
    pub(super) auth_method: Option<AuthMethod>,
    /// Where Kubernetes lets in.
    pub(super) auth_path: Option<String>,
    /// As whom Kubernetes lets in.
    pub(super) auth_role: Option<String>,
    /// The file of the token Kubernetes gave.
    pub(super) jwt_path: Option<String>,
}

/// How to get into a Vault.
#[derive(Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AuthMethod {
    Token,
    Kubernetes,
}

fn any(_: &Value) -> Result<(), String> {
    Ok(())
}

/// Kong keeps names of its own apart from those of others by them.
fn namespace(value: &Value) -> Result<(), String> {
    const OWN: [&str; 4] = [
        "kong_acme:renew_config:",
        "kong_acme:update_lock:",
        "kong_acme:cert_key:",
        "kong_acme:fail_backoff:",
    ];
    let text = value.as_str().unwrap_or_default();
    match OWN.iter().find(|own| text.starts_with(*own)) {
        Some(own) => Err(format!("namespace can't be prefixed with reserved word: {own}")),
        None => Ok(()),
    }
}

fn domain(field: gateway_model::schema::Field) -> gateway_model::schema::Field {
    const PLACE: &str = "invalid wildcard: must be placed at leftmost or rightmost label";
    const ONE: &str = "invalid wildcard: must have at most one wildcard";
    field
        .rule(Rule::match_any(&[r"^\*\.", r"\.\*$", r"^[^*]*$"], PLACE))
        .rule(Rule::match_all(&[(r"^[^*]*\*?[^*]*$", ONE)]))
        .is("route_host", gateway_model::schema::types::route_host)
}

fn tos_accepted() -> Check {
    Check::Conditional {
        if_field: "api_uri",
        if_match: Rule::OneOf(vec![
            "https://acme-v02.api.letsencrypt.org".into(),
            "https://acme-staging-v02.api.letsencrypt.org".into(),
        ]),
        then_field: "tos_accepted",
        then_match: Rule::Eq(true.into()),
        error: Some("terms of service must be accepted, see https://letsencrypt.org/repository/"),
    }
}

/// Refuses what this gateway does not have rather than do something else.
fn what_is_here(config: &Map<String, Value>, violations: &mut Violations) {
    let set = |name: &str| config.get(name).is_some_and(|value| !value.is_null());
    if set("account_key") && set("eab_kid") {
        violations.add_entity("account_key and eab_kid are not available together");
    }
}
