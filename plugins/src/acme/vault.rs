//! [`Vault`]: secrets of a Vault, in the engine `secret`, of version 2.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use gateway_model::{Clock, Secret};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::config::{self, AuthMethod};
use super::remote::{Address, Held, Server, escaped};
use crate::contract::Tools;

/// Secrets of a Vault.
pub(super) struct Vault {
    server: Server,
    path: String,
    entry: Entry,
    clock: Clock,
}

/// How we get in.
enum Entry {
    Token(Option<Secret<String>>),
    Kubernetes {
        /// `/v1/auth/…/login`.
        login: String,
        role: Option<String>,
        jwt: PathBuf,
        /// The token given last, and when it ends, Unix seconds.
        given: ArcSwapOption<(Secret<String>, u64)>,
    },
}

const TOKEN: &str = "X-Vault-Token";
/// Where Kubernetes puts the token of a pod.
const JWT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

impl Vault {
    /// # Errors
    ///
    /// As [`Server::new`].
    pub(super) fn new(config: &config::Vault, tools: &Tools) -> Result<Self, String> {
        let address = Address {
            https: config.https.unwrap_or_default(),
            host: config.host.as_deref().unwrap_or("127.0.0.1"),
            port: config.port.unwrap_or(8200),
            timeout: config.timeout,
            verify: config.tls_verify.unwrap_or(true),
            server_name: config.tls_server_name.as_deref(),
        };
        let entry = match config.auth_method {
            Some(AuthMethod::Kubernetes) => {
                let path = config.auth_path.as_deref().unwrap_or("kubernetes").trim_matches('/');
                Entry::Kubernetes {
                    login: format!("/v1/auth/{path}/login"),
                    role: config.auth_role.clone(),
                    jwt: config.jwt_path.as_deref().unwrap_or(JWT).into(),
                    given: ArcSwapOption::empty(),
                }
            }
            _ => Entry::Token(config.token.clone()),
        };
        let path = config.kv_path.as_deref().unwrap_or("acme").trim_matches('/').to_owned();
        Ok(Self { server: Server::new(&address, tools)?, path, entry, clock: tools.clock.clone() })
    }

    async fn token(&self) -> Result<Option<Secret<String>>, String> {
        let (login, role, jwt, given) = match &self.entry {
            Entry::Token(token) => return Ok(token.clone()),
            Entry::Kubernetes { login, role, jwt, given } => (login, role, jwt, given),
        };
        let now = self.clock.unix_seconds();
        if let Some(given) = &*given.load()
            && given.1 > now
        {
            return Ok(Some(given.0.clone()));
        }
        let jwt = tokio::fs::read_to_string(jwt).await;
        let jwt = jwt.map_err(|why| format!("jwt_path: {why}"))?;
        let body = json!({"jwt": jwt.trim(), "role": role}).to_string().into_bytes();
        let (status, answer) = self.server.ask(Method::POST, login, (TOKEN, None), body).await?;
        let token = answer["auth"]["client_token"].as_str().filter(|_| status.is_success());
        let token = token.ok_or_else(|| format!("Vault does not let us in: {status}"))?;
        let lasts = answer["auth"]["lease_duration"].as_u64().unwrap_or_default();
        let token = Secret::from(token.to_owned());
        // A token near its end is not begun with.
        let ends = now.saturating_add(lasts.saturating_sub(10));
        given.store(Some(Arc::new((token.clone(), ends))));
        Ok(Some(token))
    }

    /// Forgets the token Kubernetes got us; false where there is no such.
    fn forget_token(&self) -> bool {
        match &self.entry {
            Entry::Token(_) => false,
            Entry::Kubernetes { given, .. } => given.swap(None).is_some(),
        }
    }

    async fn ask(
        &self,
        method: Method,
        kind: &str,
        name: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), String> {
        let path = format!("/v1/secret/{kind}/{}/{}", self.path, escaped(name));
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let ask = async || {
            let token = self.token().await?;
            let token = token.as_ref().map(|token| token.expose().as_str());
            self.server.ask(method.clone(), &path, (TOKEN, token), body.clone()).await
        };
        let (status, answer) = ask().await?;
        // A token may be revoked before its end, and is unknown once a Vault begins anew.
        if status == StatusCode::FORBIDDEN && self.forget_token() {
            return ask().await;
        }
        Ok((status, answer))
    }

    pub(super) async fn held(&self, name: &str) -> Result<Held, String> {
        let (status, answer) = self.ask(Method::GET, "data", name, None).await?;
        if !status.is_success() && status != StatusCode::NOT_FOUND {
            return Err(told(status, &answer));
        }
        // One that was deleted is not found, and still has a version.
        let about = &answer["data"]["metadata"];
        let version = about["version"].as_u64().unwrap_or_default();
        let ends = about["deletion_time"].as_str().filter(|time| !time.is_empty());
        let ends = ends.and_then(|time| time.parse::<jiff::Timestamp>().ok());
        let now = i64::try_from(self.clock.unix_ms()).unwrap_or(i64::MAX);
        let value = answer["data"]["data"]["value"].as_str();
        let value = value.filter(|_| ends.is_none_or(|ends| ends.as_millisecond() > now));
        Ok(Held { value: value.map(str::to_owned), version })
    }

    pub(super) async fn put(
        &self,
        name: &str,
        value: &str,
        ttl: Option<u64>,
        version: Option<u64>,
    ) -> Result<bool, String> {
        // Of the versions that come: one that is to stay follows one that was not.
        let after = json!({"delete_version_after": format!("{}s", ttl.unwrap_or_default())});
        let (status, answer) = self.ask(Method::POST, "metadata", name, Some(after)).await?;
        if !status.is_success() {
            return Err(told(status, &answer));
        }
        let data = json!({"value": value, "note": "managed by lua-resty-acme"});
        let mut body = json!({ "data": data });
        if let Some(version) = version {
            body["options"] = json!({ "cas": version });
        }
        let (status, answer) = self.ask(Method::POST, "data", name, Some(body)).await?;
        match status {
            status if status.is_success() => Ok(true),
            StatusCode::BAD_REQUEST if version.is_some() && is_outrun(&answer) => Ok(false),
            status => Err(told(status, &answer)),
        }
    }

    pub(super) async fn remove(&self, name: &str) -> Result<(), String> {
        let (status, answer) = self.ask(Method::DELETE, "metadata", name, None).await?;
        if status.is_success() || status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        Err(told(status, &answer))
    }
}

/// Whether a write was refused because another was first, and not for what it says.
fn is_outrun(answer: &Value) -> bool {
    answer["errors"][0].as_str().is_some_and(|why| why.contains("check-and-set"))
}

fn told(status: StatusCode, answer: &Value) -> String {
    match answer["errors"][0].as_str() {
        Some(why) => format!("Vault says {status}: {why}"),
        None => format!("Vault says {status}"),
    }
}
