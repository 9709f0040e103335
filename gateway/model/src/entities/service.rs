//! [`Service`]: a backend API and how to reach it.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Certificate, PROTOCOLS};
use crate::schema::{Check, Record, Rule};
use crate::{Entity, Id, Ref};

/// A backend API and how to reach it (kong/db/schema/entities/services.lua).
#[derive(Clone, Debug, Deserialize, Record)]
#[record(computed("url", from_url))]
#[record(check(only_without_path()), check(only_tls("client_certificate")))]
#[record(check(only_tls("tls_verify")), check(only_tls("tls_verify_depth")))]
#[record(check(only_tls("ca_certificates")))]
pub struct Service {
    /// Primary key.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    pub created_at: u64,
    /// Unix seconds of the last write.
    #[record(auto = Auto::UpdatedAt)]
    pub updated_at: u64,
    /// A name to address it by.
    #[record(unique, is("utf8_name", types::utf8_name))]
    pub name: Option<String>,
    /// How many more tries a failed request gets.
    #[record(default = 5, between(0, 32767))]
    pub retries: Option<u16>,
    /// How to speak to it.
    #[record(default = "http", one_of(PROTOCOLS))]
    pub protocol: String,
    /// Host name, address, or the name of an upstream.
    #[record(is("host", types::host))]
    pub host: String,
    /// TCP port.
    #[record(default = 80, between(0, 65535))]
    pub port: u16,
    /// What stands before the path of every request.
    #[record(rule = Rule::match_none(&[("//", "must not have empty segments")]))]
    #[record(starts_with("/"), is("path", types::path))]
    pub path: Option<String>,
    /// Milliseconds to connect.
    #[record(default = 60_000, between(1, 2_147_483_646))]
    pub connect_timeout: Option<u64>,
    /// Milliseconds between two writes.
    #[record(default = 60_000, between(1, 2_147_483_646))]
    pub write_timeout: Option<u64>,
    /// Milliseconds between two reads.
    #[record(default = 60_000, between(1, 2_147_483_646))]
    pub read_timeout: Option<u64>,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    pub tags: Option<Vec<String>>,
    /// The client certificate shown to it.
    pub client_certificate: Option<Ref<Certificate>>,
    /// Whether its certificate is verified; unset means the node's default.
    pub tls_verify: Option<bool>,
    /// How long a chain may be.
    #[record(between(0, 64))]
    pub tls_verify_depth: Option<u8>,
    /// Ids of the CA certificates its chain may end in.
    #[record(elements(|e| e.rule(Rule::Uuid)))]
    pub ca_certificates: Option<Vec<Id>>,
    /// Whether its routes are served.
    #[record(default = true)]
    pub enabled: bool,
}

impl Entity for Service {
    const KIND: &'static str = "services";
}

fn one_of(names: &[&str]) -> Rule {
    Rule::OneOf(names.iter().map(|name| (*name).into()).collect())
}

fn only_without_path() -> Check {
    let protocols = one_of(&["tcp", "tls", "udp", "grpc", "grpcs"]);
    Check::conditional("protocol", protocols, "path", Rule::Eq(Value::Null))
}

fn only_tls(field: &'static str) -> Check {
    let others = Rule::NotOneOf(vec!["https".into(), "tls".into()]);
    Check::conditional("protocol", others, field, Rule::Eq(Value::Null))
}

/// The `url` shorthand: protocol, host, port and path of a URL.
///
/// A missing scheme is guessed from the port, a missing port from the scheme; host and path that
/// are missing become null and fail their own rules (kong/db/schema/entities/services.lua).
fn from_url(value: &Value) -> Result<Map<String, Value>, String> {
    let text = value.as_str().unwrap_or_default();
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
        None => (None, text),
    };
    let (authority, path) = match (&scheme, rest.find('/')) {
        // Without a scheme the text is a path, as Kong's parser has it.
        (None, _) => ("", (!rest.is_empty()).then_some(rest)),
        (Some(_), Some(at)) => (&rest[..at], Some(&rest[at..])),
        (Some(_), None) => (rest, None),
    };
    let path = path.map(|path| path.split(['?', '#']).next().unwrap_or(path));
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    let (host, port) = crate::schema::types::split_port(authority);
    let port: Option<u16> = match port {
        Some(port) => {
            Some(port.parse().map_err(|_| "could not parse url. invalid port".to_owned())?)
        }
        None => None,
    };
    let protocol = match (&scheme, port) {
        (Some(scheme), _) => Value::String(scheme.clone()),
        (None, Some(443)) => "https".into(),
        (None, _) => "http".into(),
    };
    let port = port.unwrap_or(if protocol == "https" { 443 } else { 80 });
    let text_or_null = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
    Ok(Map::from_iter([
        ("protocol".to_owned(), protocol),
        ("host".to_owned(), text_or_null(host)),
        ("port".to_owned(), port.into()),
        ("path".to_owned(), path.map_or(Value::Null, text_or_null)),
    ]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::from_url;

    #[test]
    fn url_shorthand() {
        for (url, wanted) in [
            (
                "http://up.test:8080/base",
                json!({"protocol":"http","host":"up.test","port":8080,"path":"/base"}),
            ),
            (
                "https://up.test",
                json!({"protocol":"https","host":"up.test","port":443,"path":null}),
            ),
            ("http://[::1]:81/", json!({"protocol":"http","host":"::1","port":81,"path":"/"})),
            ("nonsense", json!({"protocol":"http","host":null,"port":80,"path":"nonsense"})),
        ] {
            let members = from_url(&json!(url)).expect("parses");
            assert_eq!(serde_json::Value::Object(members), wanted, "for {url}");
        }
    }
}
