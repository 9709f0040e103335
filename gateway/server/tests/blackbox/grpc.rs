//! gRPC through the gateway, with a library's client and server: its health service.

use std::net::SocketAddr;

use serde_json::json;
use tokio::net::TcpListener;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity, Server, ServerTlsConfig};
use tonic::{Code, Request};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus as Told;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::{HealthReporter, health_reporter};

use crate::harness::{Answered as _, Gateway, Options, Upstream, eventually, plain};

/// A gRPC server, and who tells it what to say.
pub(crate) async fn server(tls: Option<Identity>) -> (SocketAddr, HealthReporter) {
    let (reporter, service) = health_reporter();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut builder = Server::builder();
    if let Some(identity) = tls {
        builder = builder.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
    }
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(builder.add_service(service).serve_with_incoming(incoming));
    (addr, reporter)
}

pub(crate) async fn gateway() -> Gateway {
    let both = "127.0.0.1:0 http2, 127.0.0.1:0 ssl http2";
    Options::new().set("proxy_listen", both).start().await
}

pub(crate) async fn post(gateway: &Gateway, path: &str, body: &serde_json::Value) {
    plain().post(gateway.url("admin", path)).json(body).answer().await.expect(201);
}

/// A route for the health service.
async fn publish(gateway: &Gateway, protocol: &str, upstream: SocketAddr, of_route: &[&str]) {
    let url = format!("{protocol}://{upstream}");
    post(gateway, "/services", &json!({"name": "g", "url": url, "read_timeout": 20_000})).await;
    let route = json!({"protocols": of_route, "paths": ["/grpc.health.v1.Health/"]});
    post(gateway, "/services/g/routes", &route).await;
}

async fn client(gateway: &Gateway) -> HealthClient<Channel> {
    let url = gateway.url("proxy", "");
    HealthClient::new(Channel::from_shared(url).unwrap().connect().await.unwrap())
}

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn calls_streams_and_their_status() {
    let (upstream, reporter) = server(None).await;
    let gateway = gateway().await;
    publish(&gateway, "grpc", upstream, &["grpc", "grpcs"]).await;
    let mut client = client(&gateway).await;
    let answer = client.check(about("")).await.unwrap();
    assert_eq!(answer.get_ref().status(), Told::Serving);
    assert!(answer.metadata().contains_key("x-kong-upstream-latency"), "{:?}", answer.metadata());
    // A status without a message, in the place of a head.
    let unknown = client.check(about("unknown")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound, "{unknown:?}");
    // A stream goes through as it comes.
    let mut changes = client.watch(about("")).await.unwrap().into_inner();
    assert_eq!(changes.message().await.unwrap().unwrap().status(), Told::Serving);
    reporter.set_service_status("", ServingStatus::NotServing).await;
    assert_eq!(changes.message().await.unwrap().unwrap().status(), Told::NotServing);
    drop(changes);

    // The same over TLS.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let authority = std::fs::read(gateway.prefix().join("certs/ca.crt")).unwrap();
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
    let url = gateway.tls_url("proxy", "");
    let channel = Channel::from_shared(url).unwrap().tls_config(tls.domain_name("localhost"));
    let mut client = HealthClient::new(channel.unwrap().connect().await.unwrap());
    let answer = client.check(about("")).await.unwrap();
    assert_eq!(answer.get_ref().status(), Told::NotServing);
}

#[tokio::test]
async fn an_upstream_under_tls() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let gateway = gateway().await;
    let certs = gateway.prefix().join("certs");
    let read = |name: &str| std::fs::read(certs.join(name)).unwrap();
    let identity = Identity::from_pem(read("server.crt"), read("server.key"));
    let (upstream, _reporter) = server(Some(identity)).await;
    publish(&gateway, "grpcs", upstream, &["grpc", "grpcs"]).await;
    let answer = client(&gateway).await.check(about("")).await.unwrap();
    assert_eq!(answer.get_ref().status(), Told::Serving);
}

/// What the gateway itself has to say is said as a gRPC status.
#[tokio::test]
async fn refusals_are_statuses() {
    let (upstream, _reporter) = server(None).await;
    let gateway = gateway().await;
    let mut client = client(&gateway).await;
    assert_eq!(client.check(about("")).await.unwrap_err().code(), Code::NotFound);
    publish(&gateway, "grpc", upstream, &["grpc", "grpcs"]).await;
    assert!(client.check(about("")).await.is_ok());
    post(&gateway, "/services/g/plugins", &json!({"name": "key-auth"})).await;
    post(&gateway, "/consumers", &json!({"username": "c"})).await;
    post(&gateway, "/consumers/c/key-auth", &json!({"key": "k"})).await;
    let refused = client.check(about("")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    let mut with_key = Request::new(about(""));
    with_key.metadata_mut().insert("apikey", "k".parse().unwrap());
    assert!(client.check(with_key).await.is_ok());

    gateway.forget_everything().await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    publish(&gateway, "grpc", dead, &["grpc", "grpcs"]).await;
    let broken = client.check(about("")).await.unwrap_err();
    assert_eq!(broken.code(), Code::Internal, "{broken:?}");

    gateway.forget_everything().await;
    publish(&gateway, "grpc", upstream, &["grpcs"]).await;
    let plain = client.check(about("")).await.unwrap_err();
    assert_eq!(plain.code(), Code::Cancelled);
    assert_eq!(plain.message(), "gRPC request matched gRPCs route");
}

#[tokio::test]
async fn only_grpc_over_http2_matches() {
    let upstream = Upstream::start().await;
    let gateway = gateway().await;
    publish(&gateway, "grpc", upstream.addr(), &["grpc", "grpcs"]).await;
    let url = gateway.url("proxy", "/grpc.health.v1.Health/Check");
    let answer = plain().post(&url).answer().await.expect(415);
    assert!(answer.text().contains("Non-gRPC request matched gRPC route"), "{}", answer.text());
    let answer = plain().post(&url).header("Content-Type", "application/grpc").answer().await;
    assert_eq!(answer.status, 426);
    assert_eq!(answer.header("Upgrade"), Some("HTTP/2"));
    assert!(upstream.take().is_empty());
}

/// Probes ask the health service, and believe it.
#[tokio::test]
async fn health_checks() {
    let (upstream, reporter) = server(None).await;
    let (other, _other) = server(None).await;
    let gateway = gateway().await;
    let checks = json!({"active": {
        "type": "grpc",
        "healthy": {"interval": 0.05, "successes": 1},
        "unhealthy": {"interval": 0.05, "http_failures": 1},
    }});
    post(&gateway, "/upstreams", &json!({"name": "up", "healthchecks": checks})).await;
    for target in [upstream, other] {
        let target = json!({"target": target.to_string()});
        post(&gateway, "/upstreams/up/targets", &target).await;
    }
    let health = async || {
        let url = gateway.url("admin", "/upstreams/up/health");
        let told = plain().get(url).answer().await.expect(200).json();
        let rows = told["data"].as_array().unwrap().clone();
        let row = rows.into_iter().find(|row| row["target"] == upstream.to_string()).unwrap();
        row["health"].as_str().unwrap().to_owned()
    };
    let becomes = async |wanted: &str| {
        eventually(wanted, async || (health().await == wanted).then_some(())).await;
    };
    becomes("HEALTHY").await;
    reporter.set_service_status("", ServingStatus::NotServing).await;
    becomes("UNHEALTHY").await;
    reporter.set_service_status("", ServingStatus::Serving).await;
    becomes("HEALTHY").await;
}
