//! The authorization endpoint: an end user agreed, says who knows the provision key (RFC 6749,
//! sections 4.1.1 and 4.2.1).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::FutureExt as _;
use gateway_model::{Change, Entity, Id, Item};
use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::OAuth2;
use super::credential::OAuth2Credential;
use super::issue::{Grant, redirect};
use super::refusal::{Members, Refusal, failed, not_stored};
use super::token::Code;
use crate::contract::{Flow, Reply, Request};
use crate::kit::parameters::Parameters;

/// Seconds a code can be turned into a token.
const CODE_TTL: u64 = 300;

/// What was agreed to.
struct Agreed {
    client: Item<OAuth2Credential>,
    service: Option<Id>,
    user: String,
    scope: Option<String>,
    challenge: Option<String>,
    /// A code, not a token.
    code: bool,
}

impl OAuth2 {
    pub(super) fn authorize<'a>(&'a self, request: &mut Request<'_>) -> Flow<'a> {
        let parameters = Parameters::of(request);
        let state = parameters.text("state").map(str::to_owned);
        let early = self.check_https(request).and_then(|()| self.check_user(&parameters));
        let user = match early {
            Ok(user) => user,
            Err(refusal) => return Flow::reply(refusal.reply(state.as_deref())),
        };
        let service = match self.binding(request) {
            Ok(service) => service,
            Err(reply) => return Flow::reply(reply),
        };
        let client = parameters.text("client_id").filter(|id| !id.is_empty());
        let client =
            client.and_then(|id| request.facts.catalog.by::<OAuth2Credential>("client_id", id));
        let Some(place) = redirect(&parameters, client.as_deref()) else {
            let refusal = self.check_challenge(&parameters, client.as_deref()).err();
            let refusal = refusal.unwrap_or_else(|| Refusal::client(false));
            return Flow::reply(refusal.reply(state.as_deref()));
        };
        // Where the user goes with a refusal: an application is never told by another's address.
        let first = client.as_ref().and_then(|client| client.redirect_uris.as_ref()?.first());
        let uri = place.as_ref().ok().or(first).cloned().unwrap_or_default();
        let agreed = self.check(&parameters, client, place, user, service);
        let agreed = match agreed {
            Ok(agreed) => agreed,
            Err(refusal) => {
                let members = with_state(refusal.members(), state);
                return Flow::reply(sent_to(StatusCode::BAD_REQUEST, &uri, members, false));
            }
        };
        Flow::Wait(
            async move {
                let implicit = !agreed.code;
                let given = if agreed.code {
                    self.give_code(agreed).await
                } else {
                    self.give(agreed.into(), Vec::new()).await
                };
                Flow::reply(match given {
                    Ok(members) => {
                        sent_to(StatusCode::OK, &uri, with_state(members, state), implicit)
                    }
                    Err(why) => failed(&why),
                })
            }
            .boxed(),
        )
    }

    fn check_user(&self, parameters: &Parameters) -> Result<String, Refusal> {
        if !self.is_provisioned(parameters) {
            return Err(Refusal::provision_key());
        }
        let user = parameters.text("authenticated_userid").unwrap_or_default();
        if user.trim().is_empty() {
            return Err(Refusal::user());
        }
        Ok(user.to_owned())
    }

    /// Checks come in Kong's order; of several wrongs the last one is told.
    fn check(
        &self,
        parameters: &Parameters,
        client: Option<Item<OAuth2Credential>>,
        place: Result<String, Refusal>,
        user: String,
        service: Option<Id>,
    ) -> Result<Agreed, Refusal> {
        let kind = parameters.text("response_type").unwrap_or_default();
        let code = kind == "code" && self.config.enable_authorization_code;
        let token = kind == "token" && self.config.enable_implicit_grant;
        let wrong = (!code && !token)
            .then(|| Refusal::new("unsupported_response_type", "Invalid response_type"));
        let scope = self.scope(parameters);
        let challenge = self.check_challenge(parameters, client.as_deref());
        let wrong =
            [challenge.as_ref().err().cloned(), place.err(), scope.as_ref().err().cloned(), wrong];
        if let Some(wrong) = wrong.into_iter().flatten().next() {
            return Err(wrong);
        }
        let client = client.ok_or_else(|| Refusal::client(false))?;
        Ok(Agreed { client, service, user, scope: scope?, challenge: challenge?, code })
    }

    /// The challenge a code is bound to, in the form it is compared in.
    fn check_challenge(
        &self,
        parameters: &Parameters,
        client: Option<&OAuth2Credential>,
    ) -> Result<Option<String>, Refusal> {
        let method = parameters.get("code_challenge_method");
        let Some(challenge) = parameters.text("code_challenge") else {
            if method.is_some() {
                let text = "code_challenge is required when code_method is present";
                return Err(Refusal::request(text));
            }
            let required = client.map(|client| client.client_type);
            return match required.filter(|kind| self.requires_challenge(*kind)) {
                None => Ok(None),
                Some(kind) => Err(Refusal::request(format!(
                    "code_challenge is required for {} clients",
                    kind.name()
                ))),
            };
        };
        let known = |method: &Value| {
            method.as_str().is_some_and(|method| method.eq_ignore_ascii_case("S256"))
        };
        if !method.is_none_or(known) {
            let text = "code_challenge_method is not supported, must be S256";
            return Err(Refusal::request(text));
        }
        let decoded = LENIENT.decode(challenge.replace('+', "-").replace('/', "_"));
        Ok(Some(match decoded {
            Ok(bytes) => BASE64_URL_SAFE_NO_PAD.encode(bytes),
            Err(_) => challenge.to_owned(),
        }))
    }

    async fn give_code(&self, agreed: Agreed) -> Result<Members, gateway_model::Rejection> {
        let reference = |id: Option<Id>| id.map_or(Value::Null, |id| json!({ "id": id }));
        let document = json!({
            "service": reference(agreed.service),
            "credential": reference(Some(agreed.client.id())),
            "plugin": reference(Some(self.id)),
            "authenticated_userid": agreed.user,
            "scope": agreed.scope,
            "challenge_method": agreed.challenge.as_ref().map(|_| "S256"),
            "challenge": agreed.challenge,
            "ttl": CODE_TTL,
        });
        let Value::Object(document) = document else { unreachable!("made two lines above") };
        let change = Change::Insert { kind: Code::KIND, document };
        let written = self.tools.entities.apply(vec![change]).await?;
        let code = written.entities.first().cloned().flatten();
        let code = code.and_then(|code| code.text("code")).unwrap_or_default();
        Ok(Members::from_iter([("code".to_owned(), code.into())]))
    }
}

impl From<Agreed> for Grant {
    fn from(agreed: Agreed) -> Self {
        Self {
            service: agreed.service,
            credential: agreed.client.id(),
            user: Some(agreed.user),
            scope: agreed.scope,
            renewable: false,
        }
    }
}

/// Padded or not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn with_state(mut members: Members, state: Option<String>) -> Members {
    members.extend(state.map(|state| ("state".to_owned(), state.into())));
    members
}

/// Tells the page where to send the user: these members are in the query of the address, or in its
/// fragment, which only the user's browser sees.
fn sent_to(status: StatusCode, uri: &str, members: Members, fragment: bool) -> Reply {
    let (place, query) = uri.split_once('?').map_or((uri, None), |(a, b)| (a, Some(b)));
    let added = members.into_iter().map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name, value)
    });
    let uri = if fragment {
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        format!("{place}{query}#{}", encode(added.collect()))
    } else {
        let query = query.unwrap_or_default();
        let mut all: BTreeMap<String, String> =
            url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        all.extend(added);
        format!("{place}?{}", encode(all))
    };
    not_stored(status, &json!({ "redirect_uri": uri }))
}

/// Arguments by name, as Kong orders and spells them.
fn encode(arguments: BTreeMap<String, String>) -> String {
    const ESCAPED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let escape = |text: &str| utf8_percent_encode(text, ESCAPED).to_string();
    let pairs = arguments.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value)));
    pairs.collect::<Vec<_>>().join("&")
}
