use gateway_model::Secret;
use gateway_model::schema::{Field, Record};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Keeps who logged in logged in, by a cookie (kong/plugins/session/schema.lua).
#[derive(Deserialize, Record)]
#[record(
    alias("cookie_lifetime", "rolling_timeout"),
    alias("cookie_idletime", "idling_timeout"),
    ignored(Field::of::<Option<f64>>("cookie_renew")),
    alias("cookie_discard", "stale_ttl"),
    computed("cookie_samesite", same_site),
    alias("cookie_httponly", "cookie_http_only"),
    alias("cookie_persistent", "remember")
)]
pub(crate) struct Config {
    /// What cookies are sealed with; random when it is not given.
    #[record(auto = Auto::RandomText, referenceable(), encrypted())]
    pub(super) secret: Option<Secret<String>>,
    /// Where sessions are: in the cookie, or in our store.
    #[record(default = "cookie")]
    pub(super) storage: Option<Storage>,
    /// For whom the session is; cookies of another audience are not believed.
    #[record(default = "default")]
    pub(super) audience: Option<String>,
    /// Seconds without a request after which a session ends; 0 for none.
    #[record(default = 900)]
    pub(super) idling_timeout: Option<f64>,
    /// Seconds a session lasts without being renewed; 0 for ever.
    #[record(default = 3600)]
    pub(super) rolling_timeout: Option<f64>,
    /// Seconds a session lasts, renewed or not; 0 for ever.
    #[record(default = 86_400)]
    pub(super) absolute_timeout: Option<f64>,
    /// Seconds a session in our store outlives its renewal, for requests under way.
    #[record(default = 10)]
    pub(super) stale_ttl: Option<f64>,
    /// The name of the cookie.
    #[record(default = "session")]
    pub(super) cookie_name: Option<String>,
    /// Below which path the browser sends it.
    #[record(default = "/")]
    pub(super) cookie_path: Option<String>,
    /// To which hosts the browser sends it; unset means the one it came from.
    pub(super) cookie_domain: Option<String>,
    /// Whether the browser sends it with requests of other sites.
    #[record(default = "Strict")]
    pub(super) cookie_same_site: Option<SameSite>,
    /// Whether scripts do not see it.
    #[record(default = true)]
    pub(super) cookie_http_only: Option<bool>,
    /// Whether the browser sends it over TLS only.
    #[record(default = true)]
    pub(super) cookie_secure: Option<bool>,
    /// Whether a second cookie, which outlives the browser, brings sessions back.
    #[record(default = false)]
    pub(super) remember: Option<bool>,
    /// The name of the second cookie.
    #[record(default = "remember")]
    pub(super) remember_cookie_name: Option<String>,
    /// Seconds the second cookie lasts without being renewed.
    #[record(default = 604_800)]
    pub(super) remember_rolling_timeout: Option<f64>,
    /// Seconds the second cookie lasts, renewed or not.
    #[record(default = 2_592_000)]
    pub(super) remember_absolute_timeout: Option<f64>,
    /// What clients are told of their session.
    #[record(set)]
    pub(super) response_headers: Option<Vec<Told>>,
    /// What upstreams are told of the session.
    #[record(set)]
    pub(super) request_headers: Option<Vec<Told>>,
    /// Whether the body is looked at for the wish to log out.
    #[record(default = false)]
    pub(super) read_body_for_logout: Option<bool>,
    /// Methods of requests that may log out.
    #[record(default(["POST", "DELETE"]), set)]
    pub(super) logout_methods: Option<Vec<LogoutMethod>>,
    /// The query argument that logs out.
    #[record(default = "session_logout")]
    pub(super) logout_query_arg: Option<String>,
    /// The body argument that logs out.
    #[record(default = "session_logout")]
    pub(super) logout_post_arg: Option<String>,
    /// Whether a digest of who logged in is shown and kept instead of the id.
    #[record(default = false)]
    pub(super) hash_subject: Option<bool>,
    /// Whether sessions in our store can be found by audience and subject.
    #[record(default = false)]
    pub(super) store_metadata: Option<bool>,
}

/// Where sessions are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Storage {
    #[default]
    Cookie,
    Kong,
}

/// Whether browsers send a cookie with requests of other sites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
pub(crate) enum SameSite {
    Strict,
    Lax,
    None,
    /// The attribute is left out.
    Default,
}

/// A fact of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Told {
    Id,
    Audience,
    Subject,
    Timeout,
    IdlingTimeout,
    RollingTimeout,
    AbsoluteTimeout,
}

/// A method that may log out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum LogoutMethod {
    Get,
    Post,
    Delete,
}

/// What older versions called `off` is `Lax` to browsers of today.
fn same_site(value: &Value) -> Result<Map<String, Value>, String> {
    let value = if value == "off" { "Lax".into() } else { value.clone() };
    Ok(Map::from_iter([("cookie_same_site".to_owned(), value)]))
}
