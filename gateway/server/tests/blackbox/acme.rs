//! Certificates from an authority: ordered, shown, renewed.

use serde_json::{Value, json};

use crate::harness::acme::Authority;
use crate::harness::{Answered as _, Gateway, Options, eventually, plain};

async fn read(gateway: &Gateway, path: &str) -> Value {
    plain().get(gateway.url("admin", path)).answer().await.expect(200).json()
}

/// The certificate shown for a name: its id and what it says.
async fn shown(gateway: &Gateway, name: &str) -> Option<(String, Value)> {
    let sni = plain().get(gateway.url("admin", &format!("/snis/{name}"))).answer().await;
    if sni.status != 200 {
        return None;
    }
    let id = sni.json()["certificate"]["id"].as_str().expect("an id").to_owned();
    let certificate = read(gateway, &format!("/certificates/{id}")).await;
    Some((id, certificate))
}

async fn configure(gateway: &Gateway, authority: &Authority, more: Value) {
    let mut config = json!({
        "account_email": "ops@example.test", "api_uri": authority.directory(),
        "tos_accepted": true, "storage": "kong",
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let body = json!({"name": "acme", "config": config});
    plain().post(gateway.url("admin", "/plugins")).json(&body).answer().await.expect(201);
}

#[tokio::test]
async fn certificates_are_got_and_renewed() {
    // The same address before and after a restart, as names have it.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = format!("{free}, 127.0.0.1:0 ssl");
    let options = Options::new().set("proxy_listen", listen).set("log_level", "debug");
    let mut gateway = options.start().await;
    let authority = Authority::start(free).await;
    // Good for less than the threshold: it is due again at once.
    authority.good_for(5);
    let config = json!({"domains": ["a.example.test"], "cert_type": "ecc"});
    configure(&gateway, &authority, config).await;
    let got = eventually("a certificate", async || shown(&gateway, "a.example.test").await);
    let (first, certificate) = got.await;
    assert_eq!(certificate["tags"], json!(["managed-by-acme"]));
    let chain = certificate["cert"].as_str().expect("a chain");
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2, "with its issuer");
    assert!(chain.ends_with(&authority.root()));
    let (_, pem) = x509_parser::pem::parse_x509_pem(chain.as_bytes()).expect("PEM");
    let leaf = pem.parse_x509().expect("a certificate");
    assert!(leaf.public_key().algorithm.algorithm.to_string().contains("1.2.840.10045"), "ECDSA");
    assert_eq!(authority.contacts(), [json!(["mailto:ops@example.test"])]);
    // Nothing is left lying about but the account.
    let left = async || {
        let kept = read(&gateway, "/acme_storage").await;
        let kept = kept["data"].as_array().cloned().unwrap_or_default();
        (kept.len() == 1).then(|| kept[0]["key"].as_str().unwrap_or_default().to_owned())
    };
    let kept = eventually("an empty storage", left).await;
    assert!(kept.starts_with("kong_acme:account:"), "{kept}");
    let log = gateway.log_file();
    assert!(log.contains("got a certificate for a.example.test"), "{log}");
    assert!(!log.contains("BEGIN"), "keys are not logged");

    // After a restart it is due, and renewed with the account there is.
    authority.good_for(90);
    gateway.kill().await;
    gateway.start_again().await;
    let renewed = eventually("another certificate", async || {
        shown(&gateway, "a.example.test").await.filter(|(id, _)| *id != first)
    });
    renewed.await;
    let url = gateway.url("admin", &format!("/certificates/{first}"));
    plain().get(url).answer().await.expect(404);
    assert_eq!(authority.issued(), ["a.example.test", "a.example.test"]);
    assert_eq!(authority.contacts().len(), 1, "one account");
}

#[tokio::test]
async fn names_clients_ask_for_and_names_that_are_not_ours() {
    let gateway = Gateway::start().await;
    let authority = Authority::start(gateway.addr("proxy")).await;
    let config = json!({"domains": ["*.w.test"], "rsa_key_size": 2048, "fail_backoff_minutes": 5});
    configure(&gateway, &authority, config).await;
    let proxy = gateway.tls_addr("proxy");
    // Clients that believe the authority and nobody else: a name without a certificate is refused
    // by them, and asked for all the same.
    let root = reqwest::Certificate::from_pem(authority.root().as_bytes()).expect("a certificate");
    let ask = async |name: &str| {
        let client = reqwest::Client::builder().tls_certs_only([root.clone()]).no_proxy();
        let client = client.resolve(name, proxy).build().expect("a client");
        client.get(format!("https://{name}:{}/", proxy.port())).send().await
    };
    ask("other.test").await.expect_err("the default certificate");
    ask("X.w.test").await.expect_err("the default certificate");
    let got = eventually("a certificate", async || shown(&gateway, "x.w.test").await).await;
    let (_, pem) =
        x509_parser::pem::parse_x509_pem(got.1["cert"].as_str().unwrap().as_bytes()).unwrap();
    let leaf = pem.parse_x509().unwrap();
    assert_eq!(leaf.public_key().parsed().map(|key| key.key_size()).ok(), Some(2048));
    assert_eq!(authority.issued(), ["x.w.test"]);
    let answer = ask("x.w.test").await.expect("a connection with its own certificate");
    assert_eq!(answer.status(), 404, "there is no route");

    // A name that leads elsewhere: it is tried once, and not again for a while.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    authority.move_names(nowhere.local_addr().unwrap());
    drop(nowhere);
    ask("y.w.test").await.expect_err("the default certificate");
    let failed = async || {
        let kept = read(&gateway, "/acme_storage").await;
        let kept = kept["data"].as_array().cloned().unwrap_or_default();
        let marked = kept.iter().any(|one| one["key"] == "kong_acme:fail_backoff:y.w.test");
        marked.then_some(())
    };
    eventually("a failure", failed).await;
    let orders = authority.orders();
    ask("y.w.test").await.expect_err("the default certificate");
    assert_eq!(shown(&gateway, "y.w.test").await, None);
    assert_eq!(authority.orders(), orders);
    assert!(gateway.log_file().contains("got no certificate for y.w.test"));

    // A challenge nobody knows of.
    let url = gateway.url("proxy", "/.well-known/acme-challenge/x");
    let missing = plain().get(url).header("Host", "x.w.test").answer().await.expect(404);
    assert_eq!(missing.text(), "Not found\n");
}
