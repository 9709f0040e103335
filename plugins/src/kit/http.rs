//! HTTP odds and ends: the client that log plugins send with, what they do with answers, statuses of
//! configurations.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use reqwest::Url;
use reqwest::redirect::Policy;

use crate::contract::Tools;

/// A client that keeps idle connections this long.
///
/// As Kong's loggers do, it does not verify certificates (collectors are often inside the same
/// host with one of their own making), follows no redirect and heeds no proxy of the environment.
///
/// # Errors
///
/// When the TLS library cannot be set up.
pub(crate) fn client(tools: &Tools, keep_alive: Duration) -> reqwest::Result<reqwest::Client> {
    tools
        .resolving(reqwest::Client::builder())
        .tls_danger_accept_invalid_certs(true)
        .redirect(Policy::none())
        .no_proxy()
        .pool_idle_timeout(keep_alive)
        .build()
}

/// Where collectors of traces take their entries.
pub(crate) struct Collector {
    pub(crate) client: reqwest::Client,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    /// For a request, its answer included.
    pub(crate) timeout: Duration,
}

impl Collector {
    /// Posts a body.
    ///
    /// # Errors
    ///
    /// What went wrong; a status that is no success is.
    pub(crate) async fn post(&self, body: Bytes) -> Result<(), String> {
        let request = self.client.post(self.url.clone()).headers(self.headers.clone());
        let answer = request.timeout(self.timeout).body(body).send().await;
        // The address may hold a password.
        let answer = answer.map_err(|why| reason(&why.without_url()))?;
        let status = answer.status();
        finish(answer).await;
        if status.is_success() { Ok(()) } else { Err(format!("the collector says {status}")) }
    }
}

/// An address of a configuration.
///
/// # Errors
///
/// A text that says what is wrong with it.
pub(crate) fn endpoint(text: &str) -> Result<Url, &'static str> {
    let url: Url = text.parse().map_err(|_| "could not parse url")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http and https are supported");
    }
    Ok(url)
}

/// Reads an answer to its end, so that its connection can be used again; a long one is not worth
/// that and is cut off. What it says does not matter.
pub(crate) async fn finish(mut answer: reqwest::Response) {
    const LONGEST: usize = 64 * 1024;
    let mut left = LONGEST;
    while let Ok(Some(piece)) = answer.chunk().await {
        match left.checked_sub(piece.len()) {
            Some(fewer) => left = fewer,
            None => return,
        }
    }
}

/// What went wrong, down to the cause: `error sending request: connection refused`.
pub(crate) fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(why) = cause {
        text = format!("{text}: {why}");
        cause = why.source();
    }
    text
}

/// The status a configuration asks for.
///
/// # Errors
///
/// A text that names the range, when it is none.
pub(crate) fn status(number: f64) -> Result<StatusCode, String> {
    let whole = number.fract() == 0.0 && (100.0..600.0).contains(&number);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    let code = whole.then_some(number as u16).and_then(|code| StatusCode::from_u16(code).ok());
    code.ok_or_else(|| "value should be between 100 and 599".to_owned())
}
