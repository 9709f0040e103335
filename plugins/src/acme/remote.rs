//! [`Remote`]: values by name in a Consul or a Vault, over their HTTP APIs, each laid out as
//! lua-resty-acme does (storage/consul.lua, storage/vault.lua). What the names are is the callers' matter.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::Value;

use super::consul::Consul;
use super::vault::Vault;
use crate::contract::Tools;

/// Values by name, elsewhere.
pub(super) enum Remote {
    Consul(Consul),
    Vault(Vault),
}

/// A value, and what the place knows about it.
#[derive(Debug)]
pub(super) struct Held {
    /// Nothing where it is gone.
    pub(super) value: Option<String>,
    /// What a write that expects it has to name; 0 where there never was one.
    pub(super) version: u64,
}

impl Remote {
    /// A value that is there and not over.
    pub(super) async fn get(&self, name: &str) -> Result<Option<String>, String> {
        Ok(self.held(name).await?.value)
    }

    async fn held(&self, name: &str) -> Result<Held, String> {
        match self {
            Self::Consul(consul) => consul.held(name).await,
            Self::Vault(vault) => vault.held(name).await,
        }
    }

    /// Keeps a value; only where it is still of `version`, if that is told. False where it is not.
    pub(super) async fn put(
        &self,
        name: &str,
        value: &str,
        ttl: Option<u64>,
        version: Option<u64>,
    ) -> Result<bool, String> {
        match self {
            Self::Consul(consul) => consul.put(name, value, ttl, version).await,
            Self::Vault(vault) => vault.put(name, value, ttl, version).await,
        }
    }

    /// Forgets a value.
    pub(super) async fn remove(&self, name: &str) -> Result<(), String> {
        match self {
            Self::Consul(consul) => consul.remove(name).await,
            Self::Vault(vault) => vault.remove(name).await,
        }
    }

    /// Takes a name where nobody has it.
    pub(super) async fn claim(&self, name: &str, ttl: u64) -> Result<bool, String> {
        let held = self.held(name).await?;
        if held.value.is_some() {
            return Ok(false);
        }
        self.put(name, "placeholder", Some(ttl), Some(held.version)).await
    }
}

/// A server that keeps values, as it is reached.
pub(super) struct Server {
    client: reqwest::Client,
    base: String,
    timeout: Duration,
}

/// Where a server is.
pub(super) struct Address<'a> {
    pub(super) https: bool,
    pub(super) host: &'a str,
    pub(super) port: u16,
    /// Milliseconds.
    pub(super) timeout: Option<f64>,
    /// Whether its certificate is looked at.
    pub(super) verify: bool,
    /// The name that must be for, where it is not the host.
    pub(super) server_name: Option<&'a str>,
}

impl Address<'_> {
    /// The name the certificate must be for, where it is not the host.
    fn named(&self) -> Option<&str> {
        self.server_name.filter(|_| self.https)
    }

    /// The client of all calls out, or one of its own where it must look at certificates otherwise.
    fn client(&self, tools: &Tools) -> Result<reqwest::Client, String> {
        if !self.https || (self.verify && self.named().is_none()) {
            return Ok(tools.client.clone());
        }
        let config = match self.verify {
            true => crate::kit::tls::verified(tools.trusted.as_ref()),
            false => crate::kit::tls::unverified(),
        };
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(Arc::unwrap_or_clone(config?))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        let builder = match self.named() {
            Some(_) => {
                let names = tools.names.clone();
                builder.dns_resolver(Arc::new(Elsewhere { host: self.host.to_owned(), names }))
            }
            None => tools.resolving(builder),
        };
        builder.build().map_err(|why| why.to_string())
    }
}

impl Server {
    /// # Errors
    ///
    /// When it needs a client of its own and the TLS library cannot be set up for it.
    pub(super) fn new(address: &Address<'_>, tools: &Tools) -> Result<Self, String> {
        let scheme = if address.https { "https" } else { "http" };
        let host = address.named().unwrap_or(address.host);
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let timeout = Duration::from_millis(address.timeout.unwrap_or(2000.0).max(1.0) as u64);
        let base = format!("{scheme}://{host}:{}", address.port);
        Ok(Self { client: address.client(tools)?, base, timeout })
    }

    /// Asks for a path; gives the status and the JSON of the answer, null where it has none.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        secret: (&'static str, Option<&str>),
        body: Vec<u8>,
    ) -> Result<(StatusCode, Value), String> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let (name, Some(secret)) = secret {
            let mut value = HeaderValue::try_from(secret).map_err(|why| why.to_string())?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let told = |why: reqwest::Error| crate::kit::http::reason(&why.without_url());
        let answer = request.timeout(self.timeout).body(body).send().await.map_err(told)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(told)?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }
}

/// A name as one part of a path.
pub(super) fn escaped(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// Finds a server where its host is, whatever name its certificate has to be for.
struct Elsewhere {
    host: String,
    names: Option<Arc<dyn Resolve>>,
}

impl Resolve for Elsewhere {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.host.clone();
        if let Ok(ip) = host.parse::<IpAddr>() {
            let here = std::iter::once(std::net::SocketAddr::new(ip, 0));
            return Box::pin(std::future::ready(Ok(Box::new(here) as Addrs)));
        }
        match (&self.names, host.parse::<Name>()) {
            (Some(names), Ok(name)) => names.resolve(name),
            _ => Box::pin(async move {
                let found: Vec<_> = tokio::net::lookup_host((host, 0)).await?.collect();
                Ok(Box::new(found.into_iter()) as Addrs)
            }),
        }
    }
}
