//! The demo's HTTP client: prints what goes out and what comes back.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use mep::auth::credential::{AccessKey, SecretKey};
use mep::auth::signature::{Authorization, DATE_HEADER, SignedRequest};
use reqwest::{Method, Url};
use serde_json::Value;

use super::instance::Instance;

/// Sends requests to one gateway, from one address.
pub(super) struct Client {
    http: reqwest::Client,
    proxy: String,
    admin: String,
    auth: String,
}

/// A reply as it was shown.
pub(super) struct Shown {
    status: u16,
    body: Value,
}

impl Shown {
    /// The body, when the status is the one the step is about.
    pub(super) fn expect(self, status: u16) -> Result<Value> {
        ensure!(self.status == status, "expected {status}, got {}", self.status);
        Ok(self.body)
    }
}

/// Longer texts are cut when shown.
const SHOWN: usize = 300;

impl Client {
    /// A client that connects from `local`, if given. Names of published URIs lead to the proxy.
    pub(super) fn new(gateway: &Instance, local: Option<IpAddr>) -> Result<Self> {
        let proxy: Url = gateway.proxy.parse().context("the URL of the proxy")?;
        let host = proxy.host_str().context("the URL of the proxy has no host")?;
        let port = proxy.port_or_known_default().unwrap_or(443);
        let address: SocketAddr =
            SocketAddr::new(host.parse().context("--proxy takes an address")?, port);
        let mut builder = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            .local_address(local)
            .resolve("mep-api-gw.mep", address)
            .no_proxy();
        builder = match &gateway.ca {
            Some(file) => {
                let pem =
                    std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
                builder.tls_certs_only([reqwest::Certificate::from_pem(&pem)?])
            }
            None => builder.danger_accept_invalid_certs(true),
        };
        Ok(Self {
            http: builder.build()?,
            proxy: gateway.proxy.clone(),
            admin: gateway.admin.clone(),
            auth: gateway.auth.clone(),
        })
    }

    /// A URL on the proxy.
    pub(super) fn proxy(&self, path: &str) -> String {
        format!("{}{path}", self.proxy)
    }

    /// A URL on the Admin API.
    pub(super) fn admin(&self, path: &str) -> String {
        format!("{}{path}", self.admin)
    }

    /// A URL on the AK/SK listener.
    pub(super) fn auth(&self, path: &str) -> String {
        format!("{}{path}", self.auth)
    }

    /// Sends a request and shows both sides.
    pub(super) async fn send(
        &self,
        method: &str,
        url: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Result<Shown> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert("authorization", format!("Bearer {token}").parse()?);
        }
        if url.starts_with(&self.auth) {
            // Callers of the direct listener say whom they act for, as EdgeGallery's do.
            headers.insert("x-real-ip", HeaderValue::from_static("127.0.0.1"));
        }
        self.exchange(method, url, headers, body).await
    }

    /// Sends a request without showing it, for repetitions.
    pub(super) async fn quietly(&self, method: &str, url: &str, token: &str) -> Result<()> {
        self.http.request(method.parse::<Method>()?, url).bearer_auth(token).send().await?;
        Ok(())
    }

    /// Asks for a token, signed with an app's keys.
    pub(super) async fn signed(
        &self,
        path: &str,
        access_key: &AccessKey,
        secret_key: &SecretKey,
    ) -> Result<Shown> {
        let url = self.proxy(path);
        let parsed: Url = url.parse()?;
        let host = match parsed.port() {
            Some(port) => format!("{}:{port}", parsed.host_str().unwrap_or_default()),
            None => parsed.host_str().unwrap_or_default().to_owned(),
        };
        let date = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert(DATE_HEADER, date.parse()?);
        let request =
            SignedRequest { method: "POST", path, query: "", host: &host, headers: &headers };
        let signed = Authorization::sign(access_key.clone(), secret_key, &request);
        headers.insert("authorization", signed.to_string().parse()?);
        self.exchange("POST", &url, headers, None).await
    }

    async fn exchange(
        &self,
        method: &str,
        url: &str,
        headers: HeaderMap,
        body: Option<Value>,
    ) -> Result<Shown> {
        println!("> {method} {url}");
        for (name, value) in &headers {
            println!("> {name}: {}", cut(value.to_str().unwrap_or("(binary)"), 96));
        }
        let mut request = self.http.request(method.parse::<Method>()?, url).headers(headers);
        if let Some(body) = body {
            println!("> {}", cut(&without_secrets(&body).to_string(), SHOWN));
            request = request.json(&body);
        }
        let reply = request.send().await.with_context(|| format!("{method} {url}"))?;
        let status = reply.status().as_u16();
        println!("< {status}");
        let text = reply.text().await?;
        if !text.trim().is_empty() {
            println!("< {}", cut(text.trim_end(), SHOWN));
        }
        Ok(Shown { status, body: serde_json::from_str(&text).unwrap_or(Value::Null) })
    }
}

fn cut(text: &str, most: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= most {
        return text;
    }
    let start: String = text.chars().take(most).collect();
    format!("{start}…")
}

/// What is shown on a screen may be copied from it.
fn without_secrets(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(secret) = body.pointer_mut("/authInfo/credentials/secretKey") {
        *secret = "***".into();
    }
    body
}
