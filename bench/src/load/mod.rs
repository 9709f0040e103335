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

impl Outcome {
    /// What a load measured that took these times, in microseconds.
    ///
    /// # Errors
    ///
    /// When nothing was sent.
    pub(crate) fn of(mut times: Vec<u64>, length: Duration) -> Result<Self> {
        times.sort_unstable();
        // Exact far beyond the longest deadline.
        let percentile = |part: usize| times.get(times.len() * part / 100).map(|time| *time as f64);
        let (p50_us, p99_us) = percentile(50).zip(percentile(99)).context("nothing was sent")?;
        let requests = times.len().try_into()?;
        Ok(Self { requests, seconds: length.as_secs_f64(), p50_us, p99_us })
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::net::TcpListener;

    use super::*;
    use crate::upstream::Upstream;

    fn traffic() -> Traffic {
        let token = Some("token".to_owned());
        Traffic::plain(vec![
            Get { path: "/one".to_owned(), token: None },
            Get { path: "/seen".to_owned(), token },
        ])
    }

    #[tokio::test]
    async fn load_is_counted_and_its_absence_is_a_failure() {
        let upstream = Upstream::start().unwrap();
        let origin = format!("http://{}", upstream.address);
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let length = Duration::from_secs(1);
        for generator in [Generator::BuiltIn, Generator::found()] {
            let outcome = generator.send(&traffic(), &origin, length).await.unwrap();
            assert!(outcome.requests > 0 && outcome.seconds > 0.5, "{generator}: {outcome:?}");
            let (p50, p99) = (outcome.p50_us, outcome.p99_us);
            assert!(0.0 < p50 && p50 <= p99, "{generator}: {outcome:?}");
            let refused = generator.send(&traffic(), &format!("http://{closed}"), length).await;
            assert!(refused.is_err(), "{generator}: {refused:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_of_another_status_ends_a_loop() {
        let upstream = Upstream::start().unwrap();
        let client = client().build().unwrap();
        let url = format!("http://{}/one", upstream.address);
        let get = |_| Ok(client.get(&url));
        let done = drive(4, Bound::Count(100), 200, get).await.unwrap();
        assert_eq!(done.requests, 100);
        let failed = drive(4, Bound::Count(100), 201, get).await.unwrap_err();
        assert!(failed.to_string().contains("200 OK"), "{failed}");
    }

    #[tokio::test]
    async fn the_upstream_tells_what_it_saw() {
        let upstream = Upstream::start().unwrap();
        let client = client().build().unwrap();
        let url = format!("http://{}", upstream.address);
        let usual = client.get(format!("{url}/other")).send().await.unwrap();
        assert_eq!(usual.bytes().await.unwrap().len(), crate::upstream::BODY);
        let seen = client.get(format!("{url}/a/seen")).header("X-One", "1").send().await.unwrap();
        let seen = seen.text().await.unwrap();
        assert!(
            seen.starts_with("GET /a/seen HTTP/1.1\r\n") && seen.contains("x-one: 1"),
            "{seen}"
        );
    }
}
