use std::sync::Arc;

use gateway_model::{EntityType, Id, Scopes, Violations};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use pingora_http::RequestHeader;
use serde_json::json;

use super::config::{Config, Pkce};
use super::credential::OAUTH2_CREDENTIALS;
use super::refusal::Refusal;
use super::token::{OAUTH2_AUTHORIZATION_CODES, OAUTH2_TOKENS};
use crate::contract::{Flow, Handler, Needs, Phases, Plugin, Reply, Request, Setup, Tools};
use crate::kit::parameters;

/// One instance (kong/plugins/oauth2/handler.lua, access.lua).
pub(crate) struct OAuth2 {
    pub(super) config: Config,
    /// Which instance this is: codes are turned into tokens by the one that gave them.
    pub(super) id: Id,
    pub(super) token_header: HeaderName,
    pub(super) tools: Arc<Tools>,
}

impl Plugin for OAuth2 {
    const NAME: &'static str = "oauth2";
    const PRIORITY: i32 = 1400;
    const PHASES: Phases = Phases::ACCESS;
    const SCOPES: Scopes = Scopes::NO_CONSUMER;
    const ENTITIES: &'static [&'static EntityType] =
        &[&OAUTH2_CREDENTIALS, &OAUTH2_AUTHORIZATION_CODES, &OAUTH2_TOKENS];
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let name = config.auth_header_name.as_deref().unwrap_or("authorization");
        let token_header = HeaderName::try_from(name)
            .map_err(|_| Violations::one("auth_header_name", "not the name of a header"))?;
        if challenge(&config, None).is_none() {
            return Err(Violations::one("realm", "not usable in a header"));
        }
        let tools = Arc::clone(setup.tools);
        Ok(Self { config, id: setup.instance.id(), token_header, tools })
    }
}

impl Handler for OAuth2 {
    fn needs(&self) -> Needs {
        Needs::BODY
    }

    /// What is asked of the plugin stands in the body, and a token may where none is in the header.
    fn needs_of(&self, head: &RequestHeader) -> Needs {
        let asks = Endpoint::of(head.uri.path()).is_some();
        let looks = parameters::has_body(&head.method)
            && (asks || !head.headers.contains_key(&self.token_header));
        if looks { Needs::BODY } else { Needs::NOTHING }
    }

    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        match Endpoint::of(request.head.uri.path()) {
            Some(endpoint) if request.head.method != Method::POST => {
                Flow::reply(self.wrong_method(endpoint, &request.head.method))
            }
            Some(Endpoint::Token) => self.issue(request),
            Some(Endpoint::Authorize) => self.authorize(request),
            Some(Endpoint::Introspect) => self.introspect(request),
            None => self.let_in(request),
        }
    }
}

/// The plugin's own paths, whatever stands before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Token,
    Authorize,
    Introspect,
}

impl Endpoint {
    fn of(path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.ends_with("/oauth2/token") {
            return Some(Self::Token);
        }
        if path.ends_with("/oauth2/introspect") {
            return Some(Self::Introspect);
        }
        path.ends_with("/oauth2/authorize").then_some(Self::Authorize)
    }
}

impl OAuth2 {
    fn wrong_method(&self, endpoint: Endpoint, method: &Method) -> Reply {
        let endpoint = match endpoint {
            Endpoint::Token => "token",
            Endpoint::Authorize => "authorization",
            Endpoint::Introspect => "introspection",
        };
        let text = format!("The HTTP method {method} is invalid for the {endpoint} endpoint");
        self.challenged(StatusCode::METHOD_NOT_ALLOWED, Some("invalid_method"), &text)
    }

    /// A refusal that tells in `WWW-Authenticate` what is wrong (RFC 6750, section 3).
    pub(super) fn challenged(
        &self,
        status: StatusCode,
        error: Option<&str>,
        description: &str,
    ) -> Reply {
        let shown = error.unwrap_or("invalid_request");
        let reply = Reply::json(status, &json!({"error": shown, "error_description": description}));
        match challenge(&self.config, error.map(|error| (error, description))) {
            Some(challenge) => reply.header(header::WWW_AUTHENTICATE, challenge),
            None => reply,
        }
    }

    /// Whether the request came over TLS, or a trusted proxy may say and says so.
    pub(super) fn check_https(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let client = &request.facts.client;
        if client.tls.is_some() {
            return Ok(());
        }
        let mut said = request.head.headers.get_all("x-forwarded-proto").iter();
        if self.config.accept_http_if_already_terminated && client.trusted {
            match (said.next(), said.next()) {
                (Some(_), Some(_)) => {
                    let text = "Only one X-Forwarded-Proto header allowed";
                    return Err(Refusal::plain_http(text));
                }
                (Some(scheme), None) if scheme.as_bytes().eq_ignore_ascii_case(b"https") => {
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(Refusal::plain_http("You must use HTTPS"))
    }

    /// The service a token is bound to: none when tokens are good for all.
    ///
    /// # Errors
    ///
    /// The answer where there is none to bind it to.
    pub(super) fn binding(&self, request: &Request<'_>) -> Result<Option<Id>, Reply> {
        if self.config.global_credentials {
            return Ok(None);
        }
        match &request.facts.service {
            Some(service) => Ok(Some(service.id())),
            None => Err(super::refusal::failed(&"the route has no service to bind a token to")),
        }
    }

    /// What a client asks to do, if every part of it may be asked for; none for everything.
    pub(super) fn scope(
        &self,
        parameters: &parameters::Parameters,
    ) -> Result<Option<String>, Refusal> {
        let asked = parameters.get("scope");
        let (Some(allowed), Some(asked)) = (&self.config.scopes, asked) else {
            return match asked {
                None if self.config.mandatory_scope => {
                    Err(Refusal::scope("You must specify a scope"))
                }
                _ => Ok(None),
            };
        };
        let Some(asked) = asked.as_str() else {
            return Err(Refusal::scope("scope must be a string"));
        };
        let words: Vec<&str> = asked.split_ascii_whitespace().collect();
        if let Some(unknown) = words.iter().find(|word| !allowed.iter().any(|one| one == *word)) {
            return Err(Refusal::scope(format!("\"{unknown}\" is an invalid scope")));
        }
        Ok((!words.is_empty()).then(|| words.join(" ")))
    }

    pub(super) fn pkce(&self) -> Pkce {
        self.config.pkce.unwrap_or_default()
    }

    /// Whether a request knows the key that stands for the end user's consent.
    pub(super) fn is_provisioned(&self, parameters: &parameters::Parameters) -> bool {
        let key = self.config.provision_key.expose();
        parameters.text("provision_key").is_some_and(|given| super::secret::same(given, key))
    }
}

/// `Bearer realm="…", error="…", error_description="…"`, of what there is.
fn challenge(config: &Config, told: Option<(&str, &str)>) -> Option<HeaderValue> {
    let mut parts = Vec::new();
    if let Some(realm) = &config.realm {
        parts.push(format!("realm=\"{realm}\""));
    }
    if let Some((error, description)) = told {
        parts.push(format!("error=\"{error}\", error_description=\"{description}\""));
    }
    let text = format!("Bearer {}", parts.join(", "));
    HeaderValue::try_from(text.trim_end()).ok()
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn the_plugins_own_paths() {
        for (path, wanted) in [
            ("/oauth2/token", Some(Endpoint::Token)),
            ("/any/oauth2/token/", Some(Endpoint::Token)),
            ("/oauth2/authorize", Some(Endpoint::Authorize)),
            ("/x/oauth2/introspect", Some(Endpoint::Introspect)),
            ("/oauth2/token/x", None),
            ("/oauth2/token//", None),
            ("/xoauth2/token", None),
            ("/", None),
        ] {
            assert_eq!(Endpoint::of(path), wanted, "{path}");
        }
    }
}
