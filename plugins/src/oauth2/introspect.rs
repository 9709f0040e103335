//! The introspection endpoint (RFC 7662): what a token is good for, told to applications that prove
//! who they are. It is ours: Kong's open-source plugin has none.

use std::sync::Arc;

use futures::FutureExt as _;
use gateway_model::{Catalog, Id, Item};
use http::StatusCode;
use serde_json::{Value, json};

use super::OAuth2;
use super::credential::{ClientType, OAuth2Credential};
use super::issue::Given;
use super::refusal::{Refusal, not_stored};
use super::token::Token;
use crate::contract::{Flow, Request};
use crate::kit::parameters::Parameters;

impl OAuth2 {
    /// Answers 200 with `active`, and more of a token that is; 400 or 401 as the token endpoint does.
    pub(super) fn introspect<'a>(&'a self, request: &mut Request<'_>) -> Flow<'a> {
        if let Err(refusal) = self.check_https(request) {
            return Flow::reply(refusal.reply(None));
        }
        let service = request.facts.service.as_ref().map(Item::id);
        let parameters = Parameters::of(request);
        let client = Given::read(&parameters, request.header(self.token_header.as_str()));
        let token = parameters.text("token").map(str::to_owned);
        let catalog = Arc::clone(&request.facts.catalog);
        Flow::Wait(
            async move {
                Flow::reply(match self.prove_asker(&catalog, &client).await {
                    Err(refusal) => refusal.reply(None),
                    Ok(()) => match token.filter(|token| !token.is_empty()) {
                        None => Refusal::request("Missing token parameter").reply(None),
                        Some(token) => {
                            let told = self.told(&catalog, service, &token);
                            not_stored(
                                StatusCode::OK,
                                &told.unwrap_or_else(|| json!({"active": false})),
                            )
                        }
                    },
                })
            }
            .boxed(),
        )
    }

    /// Only who has a secret is told of others' tokens (RFC 7662, section 4).
    async fn prove_asker(&self, catalog: &Catalog, given: &Given) -> Result<(), Refusal> {
        let client = given.id.as_deref().filter(|id| !id.is_empty());
        let client = client.and_then(|id| catalog.by::<OAuth2Credential>("client_id", id));
        match client.filter(|client| client.client_type == ClientType::Confidential) {
            Some(client) => self.authenticate(&client, given).await,
            None => Err(Refusal::client(given.by_basic)),
        }
    }

    /// What an access or refresh token is good for here; `None` when it is for nothing.
    fn told(&self, catalog: &Catalog, service: Option<Id>, text: &str) -> Option<Value> {
        let now = self.tools.clock.unix_ms();
        let access = catalog
            .by::<Token>("access_token", text)
            .filter(|token| !token.is_gone(now) && !token.is_expired(now));
        let (token, end) = match access {
            Some(token) => (token.clone(), token.expires_at()),
            None => {
                let token = catalog.by::<Token>("refresh_token", text);
                let token = token.filter(|token| !token.is_gone(now))?;
                (token.clone(), token.known_until())
            }
        };
        let token = Some(token).filter(|token| self.is_here(token, service))?;
        let client = catalog.get::<OAuth2Credential>(token.credential.id)?;
        let mut told = json!({
            "active": true,
            "client_id": client.client_id,
            "token_type": "bearer",
            "iat": token.created_at(),
        });
        for (name, value) in [
            ("scope", token.scope.clone().map(Value::from)),
            ("sub", token.authenticated_userid.clone().map(Value::from)),
            ("exp", end.map(Value::from)),
        ] {
            if let Some(value) = value {
                told[name] = value;
            }
        }
        Some(told)
    }
}
