//! [`Consul`]: keys in the store of a Consul.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gateway_model::{Clock, Secret};
use http::{Method, StatusCode};
use serde_json::Value;

use super::config;
use super::remote::{Address, Held, Server, escaped};
use crate::contract::Tools;

/// Keys in the store of a Consul. The flags of one are when it ends, Unix milliseconds.
pub(super) struct Consul {
    server: Server,
    path: String,
    token: Option<Secret<String>>,
    clock: Clock,
}

const TOKEN: &str = "X-Consul-Token";

impl Consul {
    /// # Errors
    ///
    /// As [`Server::new`].
    pub(super) fn new(config: &config::Consul, tools: &Tools) -> Result<Self, String> {
        let address = Address {
            https: config.https.unwrap_or_default(),
            host: config.host.as_deref().unwrap_or("127.0.0.1"),
            port: config.port.unwrap_or(8500),
            timeout: config.timeout,
            verify: true,
            server_name: None,
        };
        let path = config.kv_path.as_deref().unwrap_or("acme").trim_matches('/');
        Ok(Self {
            server: Server::new(&address, tools)?,
            path: format!("/v1/kv/{path}"),
            token: config.token.clone(),
            clock: tools.clock.clone(),
        })
    }

    async fn ask(
        &self,
        method: Method,
        rest: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Value), String> {
        let token = self.token.as_ref().map(|token| token.expose().as_str());
        let path = format!("{}/{rest}", self.path);
        let (status, answer) = self.server.ask(method, &path, (TOKEN, token), body).await?;
        match status {
            StatusCode::NOT_FOUND => Ok((status, answer)),
            status if status.is_success() => Ok((status, answer)),
            status => Err(format!("Consul says {status}")),
        }
    }

    pub(super) async fn held(&self, name: &str) -> Result<Held, String> {
        let (status, answer) = self.ask(Method::GET, &escaped(name), Vec::new()).await?;
        let found = &answer[0];
        if status == StatusCode::NOT_FOUND || found.is_null() {
            return Ok(Held { value: None, version: 0 });
        }
        let version = found["ModifyIndex"].as_u64().unwrap_or_default();
        let ends = found["Flags"].as_u64().unwrap_or_default();
        if ends > 0 && ends <= self.clock.unix_ms() {
            return Ok(Held { value: None, version });
        }
        let text = found["Value"].as_str().unwrap_or_default();
        let bytes = BASE64_STANDARD.decode(text).map_err(|why| why.to_string())?;
        let value = String::from_utf8(bytes).map_err(|why| why.to_string())?;
        Ok(Held { value: Some(value), version })
    }

    pub(super) async fn put(
        &self,
        name: &str,
        value: &str,
        ttl: Option<u64>,
        version: Option<u64>,
    ) -> Result<bool, String> {
        let ends = ttl.map(|ttl| self.clock.unix_ms().saturating_add(ttl.saturating_mul(1000)));
        let words = [("flags", ends), ("cas", version)];
        let words = words.into_iter().filter_map(|(name, number)| Some((name, number?)));
        let words: Vec<String> = words.map(|(name, number)| format!("{name}={number}")).collect();
        let mut rest = escaped(name);
        if !words.is_empty() {
            rest.push('?');
            rest.push_str(&words.join("&"));
        }
        let (_, answer) = self.ask(Method::PUT, &rest, value.as_bytes().to_vec()).await?;
        Ok(answer == Value::Bool(true))
    }

    pub(super) async fn remove(&self, name: &str) -> Result<(), String> {
        self.ask(Method::DELETE, &escaped(name), Vec::new()).await.map(drop)
    }
}
