//! What one plugin costs: the same request, with it alone before the upstream. A row is read against
//! `plain`.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::turns::Turns;
use crate::Bench;
use crate::gateway::Gateway;
use crate::load::{Get, Traffic};
use crate::report::Row;
use crate::upstream;

/// One plugin, and a request it lets through.
struct Case {
    name: &'static str,
    config: fn() -> Value,
    path: &'static str,
    token: Option<&'static str>,
    /// A plugin before it, without which it would have nothing to do.
    before: Option<&'static str>,
    /// What listens for it, and the field that gets the port.
    listens: Option<(Peer, &'static str)>,
}

/// Who a plugin talks to besides the upstream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// Takes bytes and says nothing.
    Sink,
    /// A directory that lets everybody in (RFC 4511, section 4.2.2).
    Directory,
}

const TOKEN: &str = "one-token-of-one-application";

const fn case(name: &'static str, config: fn() -> Value) -> Case {
    Case { name, config, path: "/one", token: None, before: None, listens: None }
}

fn nothing() -> Value {
    json!({})
}

/// Plugins that do their work with every request. Those of EdgeGallery are measured together, as
/// `jwt`.
const CASES: &[Case] = &[
    Case { path: "/one?apikey=kk", ..case("key-auth", nothing) },
    Case {
        token: Some(TOKEN),
        ..case("oauth2", || json!({"enable_client_credentials": true, "global_credentials": true}))
    },
    // What a request costs once the directory's word is remembered; its scheme is one the load knows.
    Case {
        token: Some("Ym9iOnB3"),
        listens: Some((Peer::Directory, "ldap_port")),
        ..case("ldap-auth", || {
            json!({
                "ldap_host": "127.0.0.1", "base_dn": "dc=x", "attribute": "uid",
                "header_type": "bearer", "cache_ttl": 3600,
            })
        })
    },
    // Read against `key-auth`, which finds the consumer.
    Case {
        path: "/one?apikey=kk",
        before: Some("key-auth"),
        ..case("acl", || json!({"allow": ["crew"]}))
    },
    case("bot-detection", nothing),
    case("cors", nothing),
    case("ip-restriction", || json!({"allow": ["127.0.0.0/8"]})),
    case("request-size-limiting", nothing),
    case("correlation-id", nothing),
    // A limit that is counted and never reached.
    case("rate-limiting", || json!({"minute": 1_000_000_000, "policy": "local"})),
    case("response-ratelimiting", || json!({"limits": {"video": {"minute": 1_000_000_000}}})),
    case("request-transformer", || {
        json!({
            "remove": {"headers": ["x-none"]},
            "add": {"headers": ["X-A:1", "X-B:$(headers.host or 'none')"], "querystring": ["q:1"]},
        })
    }),
    case(
        "proxy-cache",
        || json!({"strategy": "memory", "content_type": ["application/octet-stream"]}),
    ),
    case("zipkin", || json!({"sample_ratio": 0.001})),
    case("opentelemetry", || json!({"traces_endpoint": "http://127.0.0.1:9/"})),
    case("statsd", || json!({"host": "127.0.0.1", "port": 9})),
    case("udp-log", || json!({"host": "127.0.0.1", "port": 9})),
    Case {
        listens: Some((Peer::Sink, "port")),
        ..case("tcp-log", || json!({"host": "127.0.0.1"}))
    },
    case("loggly", || json!({"key": "k", "host": "127.0.0.1", "port": 9})),
    // To the machine's own log, where it has one.
    case("syslog", nothing),
    case("datadog", || json!({"host": "127.0.0.1", "port": 9})),
    case("file-log", || json!({"path": "/dev/null"})),
    case("http-log", || json!({"http_endpoint": "http://127.0.0.1:9/"})),
    case("session", nothing),
    // One line of Lua, which is what a request pays for having any.
    case("pre-function", || json!({"access": ["kong.service.request.set_header('X-A', '1')"]})),
    case("response-transformer", || json!({"remove": {"headers": ["server"]}})),
    case(
        "prometheus",
        || json!({"status_code_metrics": true, "latency_metrics": true, "bandwidth_metrics": true}),
    ),
];

/// A row for each plugin.
pub(super) async fn run(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for case in CASES {
        rows.extend(one(bench, case).await.with_context(|| case.name)?);
    }
    Ok(rows)
}

async fn one(bench: &Bench, case: &Case) -> Result<Vec<Row>> {
    let gateway = Gateway::start(bench).await?;
    let url = format!("http://{}", bench.upstream.address);
    gateway.create("/services", &json!({"name": "one", "url": url})).await?;
    let mut plugin = json!({"name": case.name, "config": (case.config)()});
    if let Some((peer, field)) = case.listens {
        plugin["config"][field] = listen(peer).await?.into();
    }
    gateway.create("/services/one/plugins", &plugin).await?;
    if let Some(before) = case.before {
        gateway.create("/services/one/plugins", &json!({ "name": before })).await?;
    }
    gateway.create("/services/one/routes", &json!({"paths": ["/one"]})).await?;
    gateway.create("/consumers", &json!({"username": "bob"})).await?;
    gateway.create("/consumers/bob/key-auth", &json!({"key": "kk"})).await?;
    gateway.create("/consumers/bob/acls", &json!({"group": "crew"})).await?;
    let application =
        json!({"name": "app", "client_id": "cid", "redirect_uris": ["http://x.test"]});
    gateway.create("/consumers/bob/oauth2", &application).await?;
    let token = json!({
        "credential": {"client_id": "cid"}, "expires_in": 0, "access_token": TOKEN,
    });
    gateway.create("/oauth2_tokens", &token).await?;

    let request = Get { path: case.path.to_owned(), token: case.token.map(str::to_owned) };
    let traffic = Traffic::plain(vec![request]);
    check(&gateway, &traffic, case).await?;
    Turns::beside_nginx(bench, case.name).take(bench, gateway, &[traffic]).await
}

/// Listens on a port of the machine for as long as the program runs.
async fn listen(peer: Peer) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, peer));
        }
    });
    Ok(port)
}

async fn serve(mut stream: TcpStream, peer: Peer) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        // The number of a message stands after the tag and length of the whole; its length is a byte.
        let number = bytes[..count].get(3).zip(bytes[..count].get(4));
        if let (Peer::Directory, Some((1, number))) = (peer, number) {
            let success = [0x30, 12, 2, 1, *number, 0x61, 7, 10, 1, 0, 4, 0, 4, 0];
            if stream.write_all(&success).await.is_err() {
                return;
            }
        }
    }
}

/// Sends one request to see that the plugin lets it through.
async fn check(gateway: &Gateway, traffic: &Traffic, case: &Case) -> Result<()> {
    let origin = gateway.origin("proxy", traffic.scheme)?;
    let request = traffic.client()?.get(format!("{origin}{}", case.path));
    let request = case.token.iter().fold(request, |request, token| request.bearer_auth(token));
    let answer = request.send().await?;
    ensure!(answer.status() == 200, "{}: {}", case.path, answer.status());
    ensure!(answer.bytes().await?.len() == upstream::BODY, "{}: another body", case.path);
    Ok(())
}
