//! The token endpoint: codes, secrets, passwords and refresh tokens into tokens (RFC 6749,
//! sections 4.1.3, 4.3.2, 4.4.2 and 6).

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use futures::FutureExt as _;
use gateway_model::entities::Service;
use gateway_model::{
    Catalog, Change, Condition, Entity, Id, Item, Key, Ref, Rejection, random_text,
};
use http::StatusCode;
use serde_json::{Value, json};

use super::OAuth2;
use super::config::Pkce;
use super::credential::{ClientType, OAuth2Credential};
use super::refusal::{Members, Refusal, failed, not_stored};
use super::token::{Code, Token};
use crate::contract::{Flow, Reply, Request};
use crate::kit::parameters::Parameters;

/// What is asked of the token endpoint.
struct Asked {
    parameters: Parameters,
    catalog: Arc<Catalog>,
    /// The service tokens are bound to.
    service: Option<Id>,
    client: Given,
}

/// What a client says to prove who it is.
pub(super) struct Given {
    pub(super) id: Option<String>,
    secret: Option<String>,
    pub(super) by_basic: bool,
}

/// What a token is made of, beside what the configuration says.
pub(super) struct Grant {
    pub(super) service: Option<Id>,
    pub(super) credential: Id,
    pub(super) user: Option<String>,
    pub(super) scope: Option<String>,
    /// Whether a refresh token comes along.
    pub(super) renewable: bool,
}

/// Why no token was given.
pub(super) enum Failure {
    /// The client did something wrong.
    Refused(Refusal),
    /// We could not.
    Broken(Reply),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A set of changes that came to nothing because another request was faster is told apart.
impl Failure {
    fn of(rejection: &Rejection, outrun: Refusal) -> Self {
        match rejection {
            Rejection::Condition(_) => Self::Refused(outrun),
            why => Self::Broken(failed(why)),
        }
    }
}

impl OAuth2 {
    pub(super) fn issue<'a>(&'a self, request: &mut Request<'_>) -> Flow<'a> {
        let parameters = Parameters::of(request);
        let state = parameters.text("state").map(str::to_owned);
        if let Err(refusal) = self.check_https(request) {
            return Flow::reply(refusal.reply(state.as_deref()));
        }
        let service = match self.binding(request) {
            Ok(service) => service,
            Err(reply) => return Flow::reply(reply),
        };
        let header = request.header(self.token_header.as_str());
        let client = Given::read(&parameters, header);
        let catalog = Arc::clone(&request.facts.catalog);
        let asked = Asked { parameters, catalog, service, client };
        Flow::Wait(
            async move {
                Flow::reply(match self.grant(&asked).await {
                    Ok(mut members) => {
                        members.extend(state.map(|state| ("state".to_owned(), state.into())));
                        not_stored(StatusCode::OK, &members.into())
                    }
                    Err(Failure::Refused(refusal)) => refusal.reply(state.as_deref()),
                    Err(Failure::Broken(reply)) => reply,
                })
            }
            .boxed(),
        )
    }

    /// Checks come in Kong's order; of several wrongs the last one is told.
    async fn grant(&self, asked: &Asked) -> Result<Members, Failure> {
        let kind = asked.parameters.text("grant_type").unwrap_or_default();
        let config = &self.config;
        let known = match kind {
            "authorization_code" | "refresh_token" => true,
            "client_credentials" => config.enable_client_credentials,
            "password" => config.enable_password_grant,
            _ => false,
        };
        let mut wrong =
            (!known).then(|| Refusal::new("unsupported_grant_type", "Invalid grant_type"));
        let client = asked.client.id.as_deref().filter(|id| !id.is_empty());
        let client = client.and_then(|id| asked.catalog.by::<OAuth2Credential>("client_id", id));
        if kind != "client_credentials" {
            wrong = redirect(&asked.parameters, client.as_deref())
                .map_or_else(|| Some(Refusal::client(asked.client.by_basic)), Result::err)
                .or(wrong);
        }
        if let Some(client) = &client {
            wrong = self.authenticate(client, &asked.client).await.err().or(wrong);
        }
        if let Some(wrong) = wrong {
            return Err(wrong.into());
        }
        let client = client.ok_or_else(|| Refusal::client(false))?;
        match kind {
            "authorization_code" => self.of_code(asked, &client).await,
            "refresh_token" => self.of_refresh_token(asked, &client).await,
            "password" => self.of_password(asked, &client).await,
            _ => self.of_client(asked, &client).await,
        }
    }

    pub(super) async fn authenticate(
        &self,
        client: &Item<OAuth2Credential>,
        given: &Given,
    ) -> Result<(), Refusal> {
        match client.client_type {
            ClientType::Public => match given.secret.as_deref().map(str::trim) {
                None | Some("") => Ok(()),
                Some(_) => Err(Refusal::request("client_secret is disallowed for public clients")),
            },
            ClientType::Confidential => {
                let secret = given.secret.clone().unwrap_or_default();
                let accepted = if client.hash_secret {
                    // Milliseconds of work: not on a thread that serves requests.
                    let client = client.clone();
                    let work = move || client.accepts(&secret);
                    self.tools.runtime.spawn_blocking(work).await.unwrap_or(false)
                } else {
                    client.accepts(&secret)
                };
                if accepted { Ok(()) } else { Err(Refusal::client(given.by_basic)) }
            }
        }
    }

    async fn of_code(
        &self,
        asked: &Asked,
        client: &Item<OAuth2Credential>,
    ) -> Result<Members, Failure> {
        let invalid = || Refusal::request("Invalid code");
        let code = asked.parameters.text("code");
        let code = code.and_then(|code| asked.catalog.by::<Code>("code", code));
        let now = self.tools.clock.unix_ms();
        let code = code.filter(|code| !code.is_gone(now)).ok_or_else(invalid)?;
        let elsewhere = asked.service.is_some() && same(code.service.as_ref()) != asked.service;
        if elsewhere || code.credential.id != client.id() {
            return Err(invalid().into());
        }
        let used = code.challenge_method.is_some();
        if used || self.requires_challenge(client.client_type) {
            verify(&asked.parameters, &code)?;
        }
        let other = code.plugin.as_ref().is_some_and(|plugin| plugin.id != self.id);
        if self.config.global_credentials && other {
            return Err(invalid().into());
        }
        let grant = Grant {
            service: asked.service,
            credential: client.id(),
            user: code.authenticated_userid.clone(),
            scope: code.scope.clone(),
            renewable: true,
        };
        // Spent in the same step: of two requests with one code, one gets a token.
        self.give(grant, spend::<Code>(code.id())).await.map_err(|why| Failure::of(&why, invalid()))
    }

    async fn of_client(
        &self,
        asked: &Asked,
        client: &Item<OAuth2Credential>,
    ) -> Result<Members, Failure> {
        let user = asked.parameters.text("authenticated_userid");
        if asked.parameters.get("authenticated_userid").is_some()
            && !self.is_provisioned(&asked.parameters)
        {
            return Err(Refusal::provision_key().into());
        }
        let grant = Grant {
            service: asked.service,
            credential: client.id(),
            user: user.map(str::to_owned),
            scope: self.scope(&asked.parameters)?,
            renewable: false,
        };
        self.give(grant, Vec::new()).await.map_err(|why| Failure::Broken(failed(&why)))
    }

    async fn of_password(
        &self,
        asked: &Asked,
        client: &Item<OAuth2Credential>,
    ) -> Result<Members, Failure> {
        if !self.is_provisioned(&asked.parameters) {
            return Err(Refusal::provision_key().into());
        }
        let user = asked.parameters.text("authenticated_userid").unwrap_or_default();
        if user.trim().is_empty() {
            return Err(Refusal::user().into());
        }
        let grant = Grant {
            service: asked.service,
            credential: client.id(),
            user: Some(user.to_owned()),
            scope: self.scope(&asked.parameters)?,
            renewable: true,
        };
        self.give(grant, Vec::new()).await.map_err(|why| Failure::Broken(failed(&why)))
    }

    async fn of_refresh_token(
        &self,
        asked: &Asked,
        client: &Item<OAuth2Credential>,
    ) -> Result<Members, Failure> {
        let invalid = || Refusal::request("Invalid refresh_token");
        let token = asked.parameters.text("refresh_token");
        let token = token.and_then(|token| asked.catalog.by::<Token>("refresh_token", token));
        let now = self.tools.clock.unix_ms();
        let token = token.filter(|token| !token.is_gone(now)).ok_or_else(invalid)?;
        if asked.service.is_some() && same(token.service.as_ref()) != asked.service {
            return Err(invalid().into());
        }
        if token.credential.id != client.id() {
            return Err(Refusal::client(false).into());
        }
        let allowed = self.config.scopes.as_deref().unwrap_or_default();
        let mut scopes = token.scope.iter().flat_map(|scope| scope.split_ascii_whitespace());
        if scopes.any(|scope| !allowed.iter().any(|one| one == scope)) {
            return Err(Refusal::scope("Scope mismatch").into());
        }
        if self.config.reuse_refresh_token {
            return self.renew(&token).await.map_err(|why| Failure::of(&why, invalid()));
        }
        let grant = Grant {
            service: asked.service,
            credential: client.id(),
            user: token.authenticated_userid.clone(),
            scope: token.scope.clone(),
            renewable: true,
        };
        let spent = spend::<Token>(token.id());
        self.give(grant, spent).await.map_err(|why| Failure::of(&why, invalid()))
    }

    /// Writes a token, after the changes that go with it, and tells it.
    pub(super) async fn give(
        &self,
        grant: Grant,
        mut changes: Vec<Change>,
    ) -> Result<Members, Rejection> {
        let seconds = self.lifetime();
        let refresh = (grant.renewable && seconds > 0).then(random_text);
        let reference = |id: Option<Id>| id.map_or(Value::Null, |id| json!({ "id": id }));
        let document = json!({
            "service": reference(grant.service),
            "credential": reference(Some(grant.credential)),
            "authenticated_userid": grant.user,
            "scope": grant.scope,
            "expires_in": seconds,
            "refresh_token": refresh,
            "ttl": self.kept_for(seconds),
        });
        let Value::Object(document) = document else { unreachable!("made two lines above") };
        changes.push(Change::Insert { kind: Token::KIND, document });
        self.written(changes, seconds).await
    }

    /// Gives a token anew in the place of the old one.
    async fn renew(&self, token: &Item<Token>) -> Result<Members, Rejection> {
        let seconds = self.lifetime();
        let now = self.tools.clock.unix_ms();
        // As it is stored: the time of the end, not seconds to live.
        let end = self.kept_for(seconds).map(|ttl| now.saturating_add(ttl * 1000));
        let mut document = token.document();
        for (name, value) in [
            ("access_token", Value::from(random_text())),
            ("expires_in", seconds.into()),
            ("created_at", (now / 1000).into()),
            ("ttl", end.into()),
        ] {
            document.insert(name.to_owned(), value);
        }
        let restored = Change::Restore { kind: Token::KIND, document };
        self.written(vec![still_there::<Token>(token.id()), restored], seconds).await
    }

    /// Writes; the last of the changes is the token.
    async fn written(&self, changes: Vec<Change>, seconds: u64) -> Result<Members, Rejection> {
        let written = self.tools.entities.apply(changes).await?;
        let token = written.entities.last().and_then(Option::as_ref).map(|token| token.document());
        let member = |name: &str| {
            let value = token.as_ref().and_then(|token| token.get(name));
            value.filter(|value| !value.is_null()).map(|value| (name.to_owned(), value.clone()))
        };
        let mut members = Members::from_iter([("token_type".to_owned(), "bearer".into())]);
        members.extend(member("access_token"));
        members.extend(member("refresh_token"));
        if seconds > 0 {
            members.insert("expires_in".to_owned(), seconds.into());
        }
        Ok(members)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    fn lifetime(&self) -> u64 {
        self.config.token_expiration.max(0.0) as u64
    }

    /// Seconds a token and its refresh token are known at all.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    fn kept_for(&self, lifetime: u64) -> Option<u64> {
        let ttl = self.config.refresh_token_ttl.max(0.0) as u64;
        (lifetime > 0 && ttl > 0).then_some(ttl)
    }

    pub(super) fn requires_challenge(&self, client: ClientType) -> bool {
        match client {
            ClientType::Public => self.pkce() != Pkce::None,
            ClientType::Confidential => self.pkce() == Pkce::Strict,
        }
    }
}

impl Given {
    /// Id and secret among the parameters, else of the header, else the id alone.
    pub(super) fn read(parameters: &Parameters, header: Option<&str>) -> Self {
        let of = |name: &str| parameters.text(name).map(str::to_owned);
        let (id, secret) = (of("client_id"), of("client_secret"));
        if id.is_some() && secret.is_some() {
            return Self { id, secret, by_basic: false };
        }
        let Some(header) = header else { return Self { id, secret: None, by_basic: false } };
        let basic = header.trim_start();
        let scheme = basic.get(..5).filter(|scheme| ["Basic", "basic"].contains(scheme));
        let decoded = scheme
            .and_then(|_| BASE64_STANDARD.decode(basic[5..].trim()).ok())
            .and_then(|decoded| String::from_utf8(decoded).ok());
        let (id, secret) = match decoded.as_deref().map(|text| text.split_once(':')) {
            Some(Some((id, secret))) => (Some(id.to_owned()), Some(secret.to_owned())),
            Some(None) => (decoded, None),
            None => (None, None),
        };
        Self { id, secret, by_basic: true }
    }
}

/// Where an application may have its user sent to: the place asked for, else the first one; `None`
/// when it has no such places, or is not known.
pub(super) fn redirect(
    parameters: &Parameters,
    client: Option<&OAuth2Credential>,
) -> Option<Result<String, Refusal>> {
    let allowed = client?.redirect_uris.as_ref()?;
    let asked = match parameters.get("redirect_uri") {
        None => allowed.first().map(String::as_str),
        Some(asked) => asked.as_str(),
    };
    let found = asked.filter(|asked| allowed.iter().any(|one| one == asked));
    Some(found.map(str::to_owned).ok_or_else(|| {
        Refusal::request(
            "Invalid redirect_uri that does not match with any redirect_uri created with the \
             application",
        )
    }))
}

/// Whether who redeems a code is who asked for it (RFC 7636, section 4.6).
fn verify(parameters: &Parameters, code: &Code) -> Result<(), Refusal> {
    let request = |text: &str| Err(Refusal::request(text));
    let Some(verifier) = parameters.get("code_verifier") else {
        return request("code_verifier is required for PKCE authorization requests");
    };
    let Some(verifier) = verifier.as_str() else {
        return request("code_verifier is not a string");
    };
    if !(43..=128).contains(&verifier.len()) {
        return request("code_verifier must be between 43 and 128 characters");
    }
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    if code.challenge.as_deref() == Some(challenge.as_str()) {
        return Ok(());
    }
    Err(Refusal::new("invalid_grant", "Invalid code"))
}

fn same(service: Option<&Ref<Service>>) -> Option<Id> {
    service.map(|service| service.id)
}

/// Refuses the set unless the entity is still there in the writer's turn.
fn still_there<T: Entity>(id: Id) -> Change {
    Change::Require(Condition::new(move |catalog| {
        catalog.get::<T>(id).map(drop).ok_or_else(|| "it is gone".to_owned())
    }))
}

/// Removes an entity that must still be there.
fn spend<T: Entity>(id: Id) -> Vec<Change> {
    vec![still_there::<T>(id), Change::Delete { kind: T::KIND, key: Key::Id(id) }]
}
