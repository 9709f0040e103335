//! What the tests share: a gateway process, an upstream that tells what it saw, clients, an
//! application with its access key, and golden files.
//!
//! Everything listens on port 0 of loopback and every wait has a deadline.

pub(crate) mod acme;
mod app;
mod client;
mod dig;
mod dns;
mod gateway;
pub(crate) mod http1;
pub(crate) mod kv;
mod load;
mod mec;
mod nginx;
mod openssl;
mod pki;
mod redis;
/// The plugin's own tests start a directory too.
#[path = "../../../../../plugins/src/ldap_auth/slapd.rs"]
pub(crate) mod slapd;
mod upstream;

use std::time::Duration;

pub(crate) use app::{App, mp1};
pub(crate) use client::{Answer, Answered, plain, plain_from, raw, trusting};
pub(crate) use dig::{Dug, dig, dig_is_here};
pub(crate) use dns::NameServer;
pub(crate) use gateway::{Gateway, Options};
pub(crate) use load::Load;
pub(crate) use mec::{AS, Mec, SM, svc};
pub(crate) use nginx::Nginx;
pub(crate) use openssl::{openssl, s_client};
pub(crate) use pki::{Authority, Issued, any_certificate, go_client, handshake, shown};
pub(crate) use redis::Redis;
pub(crate) use upstream::{Received, Upstream};

/// The longest wait for anything that should happen soon, on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Repeats `look` until it gives a value; panics naming `what` after [`DEADLINE`].
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let found = tokio::time::timeout(DEADLINE, wait).await;
    found.unwrap_or_else(|_| panic!("{what} did not happen within {DEADLINE:?}"))
}

/// Says that a test, or a part of it, is left out for want of a program; in CI that is a failure.
pub(crate) fn missing(program: &str) {
    assert!(std::env::var_os("CI").is_none(), "{program} is not installed");
    eprintln!("left out: {program} is not installed");
}

/// Says that a test, or a part of it, is left out because this user or this sandbox may not do it. CI
/// runs in such places too.
pub(crate) fn not_allowed(what: &str) {
    eprintln!("left out: {what} is not allowed here");
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Holds an answer to its golden file: status, content type and body, with ids, times and ports
/// replaced by their kind.
pub(crate) fn golden(name: &str, answer: &Answer) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, stable(answer)));
}

/// An answer as text that is the same on every run.
fn stable(answer: &Answer) -> String {
    let kinds = [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>"),
        (r"[0-9a-f]{32}", "<32 hex>"),
        (r"(/[A-Za-z]+)[0-9a-f]{20}\b", "$1<20 hex>"),
        (r"127\.0\.0\.1:[0-9]+", "127.0.0.1:<port>"),
        (r"mep-api-gw\.mep:[0-9]+", "mep-api-gw.mep:<port>"),
        (r#""((?:created|updated)_at|seconds|nanoSeconds)":[0-9]+"#, "\"$1\":<int>"),
        (r#""access_token":"[^"]+""#, "\"access_token\":\"<jwt>\""),
    ];
    let kind = answer.header("content-type").unwrap_or("-");
    let text = format!("{} {kind}\n{}", answer.status, answer.text());
    kinds.iter().fold(text, |text, (pattern, kind)| {
        let pattern = regex::Regex::new(pattern).expect("a pattern of this table");
        pattern.replace_all(&text, *kind).into_owned()
    })
}
