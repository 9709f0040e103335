//! Load: closed loops over keep-alive connections, and what came of them.

mod closed_loop;
mod wrk;

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Certificate, Client};
use serde::{Serialize, Serializer};

pub(crate) use closed_loop::{Bound, drive};

use crate::gateway::client;
use crate::machine::is_installed;

/// Connections of the load, each with one request at a time.
pub(crate) const CONNECTIONS: usize = 32;

/// GET requests that are sent in turn, all of which are answered with 200.
pub(crate) struct Traffic {
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// Who signed the certificates.
    pub(crate) authority: Option<Certificate>,
    pub(crate) requests: Vec<Get>,
}

/// One request.
pub(crate) struct Get {
    pub(crate) path: String,
    pub(crate) token: Option<String>,
}

impl Traffic {
    /// Over HTTP without TLS.
    pub(crate) fn plain(requests: Vec<Get>) -> Self {
        Self { scheme: "http", authority: None, requests }
    }

    /// A client for this traffic; over TLS it speaks 1.3 only.
    ///
    /// # Errors
    ///
    /// When the library refuses.
    pub(crate) fn client(&self) -> Result<Client> {
        let mut client = client();
        if let Some(authority) = &self.authority {
            client = client
                .tls_certs_only([authority.clone()])
                .min_tls_version(reqwest::tls::Version::TLS_1_3);
        }
        Ok(client.build()?)
    }
}

/// What a load measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// Answered requests.
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Half of the requests took no longer than this, in microseconds.
    pub(crate) p50_us: f64,
    /// 99 of 100 took no longer than this, in microseconds.
    pub(crate) p99_us: f64,
}

/// Where load comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generator {
    /// The program of that name: cheap enough to fill a proxy from one core.
    Wrk,
    /// [`drive`], where wrk is not installed.
    BuiltIn,
}

impl Generator {
    /// The best there is here.
    pub(crate) fn found() -> Self {
        if is_installed("wrk") { Self::Wrk } else { Self::BuiltIn }
    }

    /// Sends traffic to `origin` for that long.
    ///
    /// # Errors
    ///
    /// Any answer that is an error, and any that does not come.
    pub(crate) async fn send(
        self,
        traffic: &Traffic,
        origin: &str,
        length: Duration,
    ) -> Result<Outcome> {
        match self {
            Self::Wrk => wrk::send(traffic, origin, length).await,
            Self::BuiltIn => {
                let client = traffic.client()?;
                let request = |number: u64| {
                    let at = usize::try_from(number).unwrap_or(0) % traffic.requests.len();
                    let Get { path, token } = &traffic.requests[at];
                    let request = client.get(format!("{origin}{path}"));
                    Ok(token.iter().fold(request, |request, token| request.bearer_auth(token)))
                };
                drive(CONNECTIONS, Bound::Time(length), 200, request).await
            }
        }
        .with_context(|| format!("load on {origin}"))
    }
}

impl fmt::Display for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wrk => "wrk",
            Self::BuiltIn => "the built-in loop",
        })
    }
}

impl Serialize for Generator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
