//! Load: requests sent in turn, in one of several ways, and what came of them.

mod closed_loop;
mod paced;
mod wrk;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use reqwest::{Certificate, Client, Method, RequestBuilder};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde::{Serialize, Serializer};

pub(crate) use closed_loop::{Bound, drive};
pub(crate) use paced::answer;

use crate::gateway::client;
use crate::machine::is_installed;

/// Connections of the load, each with one request at a time.
pub(crate) const CONNECTIONS: usize = 32;
/// Connections of HTTP/2.
const MULTIPLEXED: usize = 4;
/// Requests under way on each of these.
const STREAMS: usize = 32;
/// Stands in a token for twelve hexadecimal digits that differ in each request.
pub(crate) const DISTINCT: char = '%';
/// Requests whose digits differ from those of all other loads.
const APART: u64 = 1 << 32;

/// Requests that are sent in turn, all of which are answered alike.
pub(crate) struct Traffic {
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// The PEM of who vouches for the certificates.
    pub(crate) authority: Option<String>,
    pub(crate) requests: Vec<Get>,
    /// Bytes each request brings along; with any it is a POST.
    pub(crate) upload: usize,
    /// The status of the answers.
    pub(crate) wanted: u16,
}

/// One request.
pub(crate) struct Get {
    pub(crate) path: String,
    /// With [`DISTINCT`] in it no two requests bear the same.
    pub(crate) token: Option<String>,
}

/// How requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// On [`CONNECTIONS`] kept connections of HTTP/1.1, each as soon as the one before is answered.
    Kept,
    /// As streams of a few connections of HTTP/2.
    Streams,
    /// Each on a connection of its own, with a whole handshake of TLS 1.3.
    Handshakes,
    /// So many a second, however slow the answers are; times begin when a request is due.
    Paced(u32),
}

impl Traffic {
    /// Over HTTP without TLS, answered with 200.
    pub(crate) fn plain(requests: Vec<Get>) -> Self {
        Self { scheme: "http", authority: None, requests, upload: 0, wanted: 200 }
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
                .tls_certs_only([Certificate::from_pem(authority.as_bytes())?])
                .min_tls_version(reqwest::tls::Version::TLS_1_3);
        }
        Ok(client.build()?)
    }

    /// A client that keeps neither connections nor what could shorten the next handshake.
    fn forgetful(&self) -> Result<Client> {
        let mut authorities = RootCertStore::empty();
        let authority = self.authority.as_deref().context("handshakes are for TLS")?;
        authorities.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(authorities)
            .with_no_client_auth();
        tls.resumption = Resumption::disabled();
        let client = client().tls_backend_preconfigured(tls).pool_max_idle_per_host(0);
        Ok(client.build()?)
    }

    /// A client that has one connection of HTTP/2.
    fn multiplexed(&self) -> Result<Client> {
        let authority = self.authority.as_deref().context("streams are for TLS")?;
        let authority = Certificate::from_pem(authority.as_bytes())?;
        let client = Client::builder().no_proxy().tls_certs_only([authority]);
        Ok(client.http2_prior_knowledge().timeout(Duration::from_secs(60)).build()?)
    }

    /// The request of that number.
    fn request(&self, client: &Client, origin: &str, number: u64, body: &Bytes) -> RequestBuilder {
        let at = usize::try_from(number).unwrap_or(0) % self.requests.len();
        let Get { path, token } = &self.requests[at];
        let method = if body.is_empty() { Method::GET } else { Method::POST };
        let mut request = client.request(method, format!("{origin}{path}"));
        if let Some(token) = token {
            request = request.bearer_auth(token.replacen(DISTINCT, &format!("{number:012x}"), 1));
        }
        if body.is_empty() { request } else { request.body(body.clone()) }
    }

    /// Has clients of ours send it.
    async fn drive(
        &self,
        clients: &[Client],
        together: usize,
        origin: &str,
        bound: Bound,
    ) -> Result<Outcome> {
        let body = Bytes::from(vec![b'x'; self.upload]);
        let apart = apart();
        drive(together, bound, self.wanted, |number| {
            let client = &clients[usize::try_from(number)? % clients.len()];
            Ok(self.request(client, origin, apart + number, &body))
        })
        .await
    }
}

/// The first number of a load, of whose numbers no other has any.
fn apart() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(APART, Ordering::Relaxed)
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
    /// 999 of 1,000 took no longer than this, in microseconds.
    pub(crate) p999_us: f64,
    /// Answers of another status, and answers that did not come.
    pub(crate) errors: u64,
}

impl Outcome {
    /// What a load measured that took these times, in microseconds.
    ///
    /// # Errors
    ///
    /// When nothing was sent.
    pub(crate) fn of(mut times: Vec<u64>, length: Duration) -> Result<Self> {
        times.sort_unstable();
        // Exact far beyond the longest deadline.
        let part = |part: usize| {
            let time = times.get(times.len() * part / 1000).context("nothing was sent")?;
            anyhow::Ok(*time as f64)
        };
        Ok(Self {
            requests: times.len().try_into()?,
            seconds: length.as_secs_f64(),
            p50_us: part(500)?,
            p99_us: part(990)?,
            p999_us: part(999)?,
            errors: 0,
        })
    }
}

/// What kept connections are loaded by.
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

    /// Sends traffic to `origin` until the bound. So many requests and no more are sent by
    /// [`drive`], since wrk only knows time.
    ///
    /// # Errors
    ///
    /// Any answer of another status and any that does not come, of wrk's at the latest: those are
    /// counted.
    pub(crate) async fn send(
        self,
        load: Load,
        traffic: &Traffic,
        origin: &str,
        bound: Bound,
    ) -> Result<Outcome> {
        let clients = |count, make: &dyn Fn() -> Result<Client>| -> Result<Vec<_>> {
            (0..count).map(|_| make()).collect()
        };
        match (load, self, bound) {
            (Load::Kept, Self::Wrk, Bound::Time(length)) => {
                wrk::send(traffic, origin, length).await
            }
            (Load::Kept, ..) => {
                let client = clients(1, &|| traffic.client())?;
                traffic.drive(&client, CONNECTIONS, origin, bound).await
            }
            (Load::Streams, ..) => {
                let clients = clients(MULTIPLEXED, &|| traffic.multiplexed())?;
                traffic.drive(&clients, MULTIPLEXED * STREAMS, origin, bound).await
            }
            (Load::Handshakes, ..) => {
                let client = clients(1, &|| traffic.forgetful())?;
                traffic.drive(&client, CONNECTIONS, origin, bound).await
            }
            (Load::Paced(rate), ..) => paced::send(traffic, origin, rate, bound).await,
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

#[cfg(test)]
mod tests;
