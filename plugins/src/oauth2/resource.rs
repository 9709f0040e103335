//! Letting in who brings a token (RFC 6750).

use gateway_model::entities::Consumer;
use gateway_model::{Id, Item};
use http::{HeaderName, HeaderValue, StatusCode};

use super::OAuth2;
use super::credential::OAuth2Credential;
use super::token::Token;
use crate::contract::{Credential, Flow, Reply, Request};
use crate::kit::body::Arguments;
use crate::kit::parameters::Parameters;
use crate::kit::{auth, query};

const SCOPE: HeaderName = HeaderName::from_static("x-authenticated-scope");
const USER: HeaderName = HeaderName::from_static("x-authenticated-userid");

const INVALID: &str = "The access token is invalid or has expired";
const GLOBAL: &str = "The access token is global, but the current plugin is configured without \
                      'global_credentials'";

impl OAuth2 {
    pub(super) fn let_in<'a>(&self, request: &mut Request<'_>) -> Flow<'a> {
        let anonymous = self.config.anonymous.as_deref();
        if auth::settled(anonymous, request) {
            tell(request, None);
            return Flow::Continue;
        }
        match (self.prove(request), anonymous) {
            (Ok((consumer, credential, token)), _) => {
                let identifier = credential.client_id.as_str().into();
                let credential = Credential { id: credential.id(), identifier };
                let identity = &mut request.facts.identity;
                identity.authenticate(request.head, Some(consumer), Some(credential));
                tell(request, Some(&token));
                Flow::Continue
            }
            (Err(_), Some(name)) => {
                tell(request, None);
                auth::go_on_as(name, request)
            }
            (Err(reply), None) => Flow::reply(reply),
        }
    }

    #[expect(clippy::type_complexity, reason = "who, by what, with what")]
    fn prove(
        &self,
        request: &mut Request<'_>,
    ) -> Result<(Item<Consumer>, Item<OAuth2Credential>, Item<Token>), Reply> {
        let invalid =
            |text: &str| self.challenged(StatusCode::UNAUTHORIZED, Some("invalid_token"), text);
        let text = self.find(request).filter(|text| !text.is_empty()).ok_or_else(|| {
            self.challenged(StatusCode::UNAUTHORIZED, None, "The access token is missing")
        })?;
        let now = self.tools.clock.unix_ms();
        let catalog = &request.facts.catalog;
        let token = catalog.by::<Token>("access_token", &text);
        let token = token.filter(|token| !token.is_gone(now)).ok_or_else(|| invalid(INVALID))?;
        let here = request.facts.service.as_ref().map(Item::id);
        if !self.is_here(&token, here) {
            return Err(invalid(if token.service.is_some() { INVALID } else { GLOBAL }));
        }
        if token.is_expired(now) {
            return Err(invalid(INVALID));
        }
        let credential = catalog.get::<OAuth2Credential>(token.credential.id);
        let credential = credential.ok_or_else(|| invalid(INVALID))?;
        let consumer = catalog.get::<Consumer>(credential.consumer.id);
        Ok((consumer.ok_or_else(|| invalid(INVALID))?, credential, token))
    }

    /// Whether a token is for requests to this service: bound to it, or to none where that is enough.
    pub(super) fn is_here(&self, token: &Token, service: Option<Id>) -> bool {
        match &token.service {
            Some(bound) => service == Some(bound.id),
            None => self.config.global_credentials,
        }
    }

    /// The token of the header, else the parameter; taken away when it is to be hidden.
    fn find(&self, request: &mut Request<'_>) -> Option<String> {
        if let Some(value) = request.header(self.token_header.as_str()) {
            let words: Vec<&str> = value.split_ascii_whitespace().collect();
            if let [scheme, token] = words[..]
                && ["token", "bearer"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
            {
                let token = token.to_owned();
                if self.config.hide_credentials {
                    request.head.remove_header(&self.token_header);
                }
                return Some(token);
            }
            return Some(value.to_owned());
        }
        let token = Parameters::of(request).text(PARAMETER).map(str::to_owned)?;
        if self.config.hide_credentials {
            hide(request);
        }
        Some(token)
    }
}

const PARAMETER: &str = "access_token";

fn hide(request: &mut Request<'_>) {
    query::remove(request.head, PARAMETER);
    if let Some(mut arguments @ Arguments::Form(_)) = Arguments::of(request)
        && arguments.remove(PARAMETER)
    {
        arguments.replace(request);
    }
}

/// Tells the upstream what a token says, and nothing a client says.
fn tell(request: &mut Request<'_>, token: Option<&Token>) {
    let values = [
        (SCOPE, token.and_then(|token| token.scope.as_deref())),
        (USER, token.and_then(|token| token.authenticated_userid.as_deref())),
    ];
    for (name, value) in values {
        request.head.remove_header(&name);
        if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok())
        {
            // Inserting a valid name and value cannot fail; pingora's signature says it may.
            let _ = request.head.insert_header(name, value);
        }
    }
}
