//! The direct listeners: who gets in by address, who by certificate.

use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{
    Answered as _, App, Authority, Gateway, Issued, Options, any_certificate, handshake, plain,
};

/// Nobody's address.
const NOBODY: &str = "192.0.2.1";

/// A listener without TLS and one with, nobody trusted by address, and authorities.
fn options(demand: &str, ours: &Authority) -> Options {
    let both = "127.0.0.1:0, 127.0.0.1:0 ssl";
    let options = Options::new()
        .set("mep_listen", both)
        .set("mep_auth_listen", both)
        .set("mep_dns_admin_listen", "127.0.0.1:0 ssl")
        .set("mep_direct_trusted", NOBODY)
        .set("mep_confs_trusted", NOBODY)
        .set("mep_trusted_peers", NOBODY);
    let file = options.file("clients.pem", &ours.cert);
    options
        .set("mep_ssl_verify_client", demand)
        .set("mep_ssl_client_certificate", file.to_str().unwrap())
}

/// Status and whole answer of a request over TLS.
async fn ask(
    gateway: &Gateway,
    listener: &str,
    own: Option<&Issued>,
    request: &str,
) -> (u16, String) {
    let stream = TcpStream::connect(gateway.tls_addr(listener)).await.unwrap();
    let mut stream = handshake(stream, "mep.test", any_certificate(own)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer: {answer:?}")), answer)
}

fn request(method: &str, path: &str, app: &App, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: mep.test\r\nX-AppinstanceID: {}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        app.id,
        body.len()
    )
}

#[tokio::test]
async fn a_certificate_opens_the_direct_listeners() {
    let (ours, theirs) = (Authority::root("ours"), Authority::root("theirs"));
    let known = ours.issue("lcmcontroller", &["lcm.test"]);
    let stranger = theirs.issue("lcmcontroller", &["lcm.test"]);
    // What is told to whom: without a certificate, with a good one, with a stranger's.
    for (demand, none) in [("on", 400), ("optional", 403)] {
        let gateway = options(demand, &ours).start().await;
        let app = App::random();
        let services = request("GET", &app.path("/services"), &app, "");
        let capabilities = request("GET", "/mepcfg/mec_platform_config/v1/capabilities", &app, "");
        let confs = format!("/mep/appMng/v1/applications/{}/confs", app.id);
        let confs = request("DELETE", &confs, &app, "");
        for (listener, text) in [("mep", &services), ("mep", &capabilities), ("mep-auth", &confs)] {
            let (status, answer) = ask(&gateway, listener, None, text).await;
            assert_eq!(status, none, "{demand} {listener}: {answer}");
            let told = match none {
                400 => r#"{"message":"No required SSL certificate was sent"}"#,
                _ => r#"{"message":"Your IP address is not allowed"}"#,
            };
            assert!(answer.trim_end().ends_with(told), "{answer}");
            let (status, answer) = ask(&gateway, listener, Some(&known), text).await;
            assert_eq!(status, 200, "{demand} {listener}: {answer}");
            let (status, answer) = ask(&gateway, listener, Some(&stranger), text).await;
            assert_eq!(status, 400, "{demand} {listener}: {answer}");
            assert!(answer.contains("The SSL certificate error"), "{answer}");
        }
        // Everybody may ask whether we are well, who may come in at all.
        let (status, _) = ask(&gateway, "mep", None, &request("GET", "/health", &app, "")).await;
        assert_eq!(status, if demand == "on" { 400 } else { 200 });
        // So it is with the records of the name server.
        let record = request("DELETE", "/mep/dns_server_mgmt/v1/rrecord/x.test./A", &app, "");
        let (status, answer) = ask(&gateway, "mep-dns-admin", None, &record).await;
        assert_eq!(status, none, "{demand}: {answer}");
        let (status, answer) = ask(&gateway, "mep-dns-admin", Some(&known), &record).await;
        assert_eq!(status, 500, "there is no such record: {answer}");
        assert!(answer.ends_with("Error in retrieving the data."), "{answer}");
        // Where nothing can be shown the list decides.
        let plainly = plain().get(gateway.url("mep", &app.path("/services")));
        plainly.header("X-AppinstanceID", &app.id).answer().await.expect(403);
    }
}

/// A certificate says who may come in, not for whom an application speaks.
#[tokio::test]
async fn a_certificate_is_no_identity() {
    let ours = Authority::root("ours");
    let known = ours.issue("agent", &["agent.test"]);
    let gateway = options("on", &ours).start().await;
    let (app, other) = (App::random(), App::random());
    let text = request("GET", &other.path("/services"), &app, "");
    let (status, answer) = ask(&gateway, "mep", Some(&known), &text).await;
    assert_eq!(status, 401, "{answer}");
}

/// A demand without anybody who could vouch is refused before the start.
#[tokio::test]
async fn a_demand_names_its_authorities() {
    let options = Options::new().set("mep_ssl_verify_client", "on");
    let (code, _, told) = options.run(&["run"]).await;
    assert_eq!(code, Some(1), "{told}");
    let why = "mep_ssl_verify_client: mep_ssl_client_certificate must be specified";
    assert!(told.contains(why), "{told}");
}

/// The default: this machine alone, by its address, and nothing that a header says changes it.
#[tokio::test]
async fn strangers_are_refused_by_address() {
    let gateway = Options::new().set("mep_direct_trusted", NOBODY).start().await;
    let app = App::random();
    for method in [Method::GET, Method::POST] {
        let request = plain().request(method, gateway.url("mep", &app.path("/services")));
        let request = request.header("X-AppinstanceID", &app.id).header("X-Real-Ip", NOBODY);
        let answer = request.header("X-Forwarded-For", NOBODY).answer().await.expect(403);
        assert_eq!(answer.json(), json!({"message": "Your IP address is not allowed"}));
    }
}
