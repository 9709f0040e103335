//! [`Upstream`]: a virtual host with targets, and how load is spread over them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Certificate;
use crate::schema::{Check, Record, Rule, defaults_of};
use crate::{Document, Entity, Id, Ref};

/// A virtual host with targets (kong/db/schema/entities/upstreams.lua).
///
/// A service whose `host` is the name of one gets its targets.
#[derive(Clone, Debug, Deserialize, Record)]
#[record(check(needs("hash_on", "^header$", "hash_on_header")))]
#[record(check(needs("hash_fallback", "^header$", "hash_fallback_header")))]
#[record(check(needs("hash_on", "^cookie$", "hash_on_cookie")))]
#[record(check(needs("hash_fallback", "^cookie$", "hash_on_cookie")))]
#[record(check(falls_back("^none$", &["none"])), check(falls_back("^cookie$", &["none"])))]
#[record(check(falls_back("^consumer$", &["none", "ip", "header", "cookie", "path", "query_arg", "uri_capture"])))]
#[record(check(falls_back("^ip$", &["none", "consumer", "header", "cookie", "path", "query_arg", "uri_capture"])))]
#[record(check(falls_back("^path$", &["none", "consumer", "header", "cookie", "query_arg", "ip", "uri_capture"])))]
#[record(check = Check::Distinct(&["hash_on_header", "hash_fallback_header"]))]
#[record(check(needs("hash_on", "^query_arg$", "hash_on_query_arg")))]
#[record(check(needs("hash_fallback", "^query_arg$", "hash_fallback_query_arg")))]
#[record(check = Check::Distinct(&["hash_on_query_arg", "hash_fallback_query_arg"]))]
#[record(check(needs("hash_on", "^uri_capture$", "hash_on_uri_capture")))]
#[record(check(needs("hash_fallback", "^uri_capture$", "hash_fallback_uri_capture")))]
#[record(check = Check::Distinct(&["hash_on_uri_capture", "hash_fallback_uri_capture"]))]
pub struct Upstream {
    /// Primary key.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    pub created_at: u64,
    /// The virtual host.
    #[record(unique, is("upstream_name", types::upstream_name))]
    pub name: String,
    /// Unix seconds of the last write.
    #[record(auto = Auto::UpdatedAt)]
    pub updated_at: u64,
    /// How a target is chosen.
    #[record(default = "round-robin")]
    pub algorithm: Option<Algorithm>,
    /// What a consistent hash is made of.
    #[record(default = "none")]
    pub hash_on: Option<HashOn>,
    /// What it is made of when the first has no value.
    #[record(default = "none")]
    pub hash_fallback: Option<HashOn>,
    /// The header hashed.
    #[record(is("header_name", types::header_name))]
    pub hash_on_header: Option<String>,
    /// The header hashed as fallback.
    #[record(is("header_name", types::header_name))]
    pub hash_fallback_header: Option<String>,
    /// The cookie hashed; set when a client sends none.
    #[record(is("http_token", types::http_token))]
    pub hash_on_cookie: Option<String>,
    /// The path such a cookie is set for.
    #[record(default = "/", rule = no_empty_segments(), starts_with("/"), is("path", types::path))]
    pub hash_on_cookie_path: Option<String>,
    /// The query argument hashed.
    #[record(len_min(1))]
    pub hash_on_query_arg: Option<String>,
    /// The query argument hashed as fallback.
    #[record(len_min(1))]
    pub hash_fallback_query_arg: Option<String>,
    /// The captured part of the path hashed.
    #[record(len_min(1))]
    pub hash_on_uri_capture: Option<String>,
    /// The captured part of the path hashed as fallback.
    #[record(len_min(1))]
    pub hash_fallback_uri_capture: Option<String>,
    /// Places on the ring of a consistent hash.
    #[record(default = 10_000, between(10, 65536))]
    pub slots: Option<u32>,
    /// How targets are found dead and alive.
    #[record(default = probes())]
    pub healthchecks: Healthchecks,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    pub tags: Option<Vec<String>>,
    /// The Host header targets get.
    #[record(is("host_with_optional_port", types::host_with_optional_port))]
    pub host_header: Option<String>,
    /// The client certificate shown to targets.
    pub client_certificate: Option<Ref<Certificate>>,
    /// Whether SRV records give ports and weights.
    #[record(default = false)]
    pub use_srv_name: Option<bool>,
}

impl Entity for Upstream {
    const KIND: &'static str = "upstreams";
}

/// How a target is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// By a hash of something the client keeps.
    ConsistentHashing,
    /// The one with the fewest exchanges for its weight.
    LeastConnections,
    /// In turns, by weight.
    #[default]
    RoundRobin,
    /// The one that answers fastest of late.
    Latency,
}

/// What a consistent hash is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "snake_case")]
pub enum HashOn {
    /// Nothing.
    #[default]
    None,
    /// The consumer's id.
    Consumer,
    /// The client's address.
    Ip,
    /// A header.
    Header,
    /// A cookie.
    Cookie,
    /// The path.
    Path,
    /// A query argument.
    QueryArg,
    /// A captured part of the path.
    UriCapture,
}

/// How targets are found dead and alive.
#[derive(Clone, Debug, PartialEq, Deserialize, Record)]
pub struct Healthchecks {
    /// By requests of our own.
    #[record(default = defaults_of::<ActiveCheck>())]
    pub active: ActiveCheck,
    /// By watching the exchanges of clients.
    #[record(default = defaults_of::<PassiveCheck>())]
    pub passive: PassiveCheck,
    /// Percent of the weight that must be available for the upstream to count as healthy.
    #[record(default = 0, between(0, 100))]
    pub threshold: Option<f64>,
}

impl Healthchecks {
    /// Whether anything is probed or watched at all.
    pub fn are_on(&self) -> bool {
        let Self { active, passive, .. } = self;
        let seconds = [active.healthy.interval, active.unhealthy.interval];
        let counts = [
            passive.healthy.successes,
            passive.unhealthy.http_failures,
            passive.unhealthy.tcp_failures,
            passive.unhealthy.timeouts,
        ];
        seconds.iter().flatten().any(|seconds| *seconds > 0.0)
            || counts.iter().flatten().any(|count| *count > 0)
    }
}

/// What kind of probe, or of exchange, is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub enum CheckType {
    /// Whether a connection is accepted.
    Tcp,
    /// The status of an answer.
    #[default]
    Http,
    /// The status of an answer over TLS.
    Https,
    /// The health service of gRPC.
    Grpc,
    /// The same over TLS.
    Grpcs,
}

/// Probes of our own.
#[derive(Clone, Debug, PartialEq, Deserialize, Record)]
pub struct ActiveCheck {
    /// Seconds a probe may take.
    #[record(default = 1, between(0, 65535))]
    pub timeout: Option<f64>,
    /// What makes a target healthy.
    #[record(default = defaults_of::<ActiveHealthy>())]
    pub healthy: ActiveHealthy,
    /// What is probed.
    #[record(default = "http")]
    pub r#type: Option<CheckType>,
    /// What makes a target unhealthy.
    #[record(default = defaults_of::<ActiveUnhealthy>())]
    pub unhealthy: ActiveUnhealthy,
    /// The path of the probe.
    #[record(default = "/", rule = no_empty_segments(), starts_with("/"), is("path", types::path))]
    pub http_path: Option<String>,
    /// The TLS server name of the probe.
    #[record(is("sni", types::sni))]
    pub https_sni: Option<String>,
    /// Whether the target's certificate is verified.
    #[record(default = true)]
    pub https_verify_certificate: bool,
    /// Probes in flight at once.
    #[record(default = 10, between(1, 2_147_483_648_u32))]
    pub concurrency: Option<u32>,
    /// Headers of the probe.
    #[record(keys(|k| k.is("header_name", types::header_name)))]
    pub headers: Option<BTreeMap<String, Vec<String>>>,
}

/// When a probe makes a target healthy.
#[derive(Clone, Debug, PartialEq, Deserialize, Record)]
pub struct ActiveHealthy {
    /// Seconds between probes of healthy targets; 0 probes none.
    #[record(default = 0, between(0, 65535))]
    pub interval: Option<f64>,
    /// Statuses that count as success.
    #[record(default([200, 302]), elements(|e| e.between(100, 999)))]
    pub http_statuses: Option<Vec<u16>>,
    /// Successes in a row that it takes; 0 never.
    #[record(default = 0, between(0, 255))]
    pub successes: Option<u8>,
}

/// When a probe makes a target unhealthy.
#[derive(Clone, Debug, PartialEq, Deserialize, Record)]
pub struct ActiveUnhealthy {
    /// Seconds between probes of unhealthy targets; 0 probes none.
    #[record(default = 0, between(0, 65535))]
    pub interval: Option<f64>,
    /// Refused connections that it takes; 0 never.
    #[record(default = 0, between(0, 255))]
    pub tcp_failures: Option<u8>,
    /// Timeouts that it takes; 0 never.
    #[record(default = 0, between(0, 255))]
    pub timeouts: Option<u8>,
    /// Bad statuses that it takes; 0 never.
    #[record(default = 0, between(0, 255))]
    pub http_failures: Option<u8>,
    /// Statuses that count as failure.
    #[record(default([429, 404, 500, 501, 502, 503, 504, 505]), elements(|e| e.between(100, 999)))]
    pub http_statuses: Option<Vec<u16>>,
}

/// Watching the exchanges of clients.
#[derive(Clone, Debug, PartialEq, Deserialize, Record)]
pub struct PassiveCheck {
    /// What is judged.
    #[record(default = "http")]
    pub r#type: Option<CheckType>,
    /// What makes a target unhealthy.
    #[record(default = defaults_of::<PassiveUnhealthy>())]
    pub unhealthy: PassiveUnhealthy,
    /// What makes a target healthy.
    #[record(default = defaults_of::<PassiveHealthy>())]
    pub healthy: PassiveHealthy,
}

/// When an exchange makes a target unhealthy.
#[derive(Clone, Debug, PartialEq, Deserialize, Record)]
pub struct PassiveUnhealthy {
    /// Bad statuses that it takes; 0 never.
    #[record(default = 0, between(0, 255))]
    pub http_failures: Option<u8>,
    /// Refused connections that it takes; 0 never.
    #[record(default = 0, between(0, 255))]
    pub tcp_failures: Option<u8>,
    /// Statuses that count as failure.
    #[record(default([429, 500, 503]), elements(|e| e.between(100, 999)))]
    pub http_statuses: Option<Vec<u16>>,
    /// Timeouts that it takes; 0 never.
    #[record(default = 0, between(0, 255))]
    pub timeouts: Option<u8>,
}

/// When an exchange makes a target healthy.
#[derive(Clone, Debug, PartialEq, Deserialize, Record)]
pub struct PassiveHealthy {
    /// Statuses that count as success.
    #[record(default(SUCCESSES), elements(|e| e.between(100, 999)))]
    pub http_statuses: Option<Vec<u16>>,
    /// Successes that it takes; 0 never.
    #[record(default = 0, between(0, 255))]
    pub successes: Option<u8>,
}

const SUCCESSES: [u16; 19] =
    [200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308];

/// The threshold has a default of its own.
fn probes() -> Value {
    json!({ "active": defaults_of::<ActiveCheck>(), "passive": defaults_of::<PassiveCheck>() })
}

fn no_empty_segments() -> Rule {
    Rule::match_none(&[("//", "must not have empty segments")])
}

/// A hash that needs to know of what; `choice` is an anchored pattern, as Kong shows it.
fn needs(chosen: &'static str, choice: &'static str, then: &'static str) -> Check {
    Check::conditional(chosen, Rule::matching(choice), then, Rule::Required)
}

fn falls_back(choice: &'static str, to: &[&str]) -> Check {
    let to = Rule::OneOf(to.iter().map(|name| (*name).into()).collect());
    Check::conditional("hash_on", Rule::matching(choice), "hash_fallback", to)
}

/// What an algorithm says about the hash, and a hash about the algorithm, when a client sends
/// them. An algorithm that does not hash wins over a hash sent beside it.
pub(super) fn input(sent: &mut Document) {
    let unhashed = |value: &Value| value == "least-connections" || value == "latency";
    if sent.get("algorithm").is_some_and(unhashed) {
        sent.insert("hash_on".to_owned(), "none".into());
        return;
    }
    let algorithm = match sent.get("hash_on").and_then(Value::as_str) {
        None => return,
        Some("none") => "round-robin",
        Some(_) => "consistent-hashing",
    };
    sent.insert("algorithm".to_owned(), algorithm.into());
}
