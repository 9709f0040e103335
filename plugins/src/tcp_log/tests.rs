#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::test_kit::{Instance, Rig, rig};

const PATIENCE: Duration = Duration::from_secs(10);

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn accepted(listener: &TcpListener) -> tokio::net::TcpStream {
    tokio::time::timeout(PATIENCE, listener.accept()).await.expect("a connection").unwrap().0
}

async fn next(lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>) -> Value {
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("a line in time");
    serde_json::from_str(&line.unwrap().expect("a line")).unwrap()
}

fn log(rig: &Rig, plugin: &Instance, target: &str) {
    rig.get(target).log(plugin, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_lines_of_one_connection() {
    let (listener, port) = listener().await;
    let mut rig = rig();
    let config = json!({
        "host": "127.0.0.1", "port": port, "custom_fields_by_lua": {"my": "return 'v'"},
    });
    let plugin = rig.plugin("tcp-log", config);
    log(&rig, &plugin, "/1");
    let mut lines = BufReader::new(accepted(&listener).await).lines();
    let entry = next(&mut lines).await;
    assert_eq!((&entry["request"]["uri"], &entry["my"]), (&json!("/1"), &json!("v")));
    log(&rig, &plugin, "/2");
    assert_eq!(next(&mut lines).await["request"]["uri"], "/2");

    // A collector that went away is connected to anew.
    drop(lines);
    log(&rig, &plugin, "/3");
    let mut lines = BufReader::new(accepted(&listener).await).lines();
    assert_eq!(next(&mut lines).await["request"]["uri"], "/3");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_not_kept_forever() {
    let (listener, port) = listener().await;
    let mut rig = rig();
    let plugin = rig.plugin("tcp-log", json!({"host": "127.0.0.1", "port": port, "keepalive": 0}));
    for target in ["/1", "/2"] {
        log(&rig, &plugin, target);
        let mut lines = BufReader::new(accepted(&listener).await).lines();
        assert_eq!(next(&mut lines).await["request"]["uri"], target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_nobody_asks_who_it_is() {
    let (listener, port) = listener().await;
    let made = rcgen::generate_simple_self_signed(["somebody.else".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let mut rig = rig();
    let config = json!({"host": "127.0.0.1", "port": port, "tls": true, "tls_sni": "log.test"});
    let plugin = rig.plugin("tcp-log", config);
    log(&rig, &plugin, "/secret");
    let stream = TlsAcceptor::from(Arc::new(server)).accept(accepted(&listener).await);
    let stream = tokio::time::timeout(PATIENCE, stream).await.expect("a handshake").unwrap();
    assert_eq!(stream.get_ref().1.server_name(), Some("log.test"));
    let mut lines = BufReader::new(stream).lines();
    assert_eq!(next(&mut lines).await["request"]["uri"], "/secret");
}
