//! Certificates from an authority: ordered, shown, renewed.

use serde_json::{Value, json};

use crate::harness::acme::Authority;
use crate::harness::kv::{JWT, KeyValues, TOKEN};
use crate::harness::{Answered as _, Gateway, Options, Redis, eventually, plain};

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
    // It may have been replaced since.
    let url = gateway.url("admin", &format!("/certificates/{id}"));
    let certificate = plain().get(url).answer().await;
    (certificate.status == 200).then(|| (id, certificate.json()))
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

/// What the Admin API's pages do, with all that nodes share in a Redis, and a key of the catalog.
#[tokio::test]
async fn pages_order_renew_and_show() {
    let Some(redis) = Redis::start().await else { return };
    let gateway = Gateway::start().await;
    let authority = Authority::start(gateway.addr("proxy")).await;
    let admin = |path: &str| gateway.url("admin", path);
    plain().post(admin("/acme")).json(&json!({"host": "x"})).answer().await.expect(404);
    let pair = rcgen::KeyPair::generate().unwrap();
    let key = json!({"kid": "account", "pem": {"private_key": pair.serialize_pem()}});
    plain().post(admin("/keys")).json(&key).answer().await.expect(201);
    let config = json!({
        "domains": ["*.r.test"], "cert_type": "ecc", "storage": "redis",
        "account_key": {"key_id": "account"},
        "storage_config": {"redis": {
            "host": "127.0.0.1", "port": redis.port, "password": "pass", "database": 3,
            "extra_options": {"namespace": "ours:"},
        }},
    });
    configure(&gateway, &authority, config).await;

    let order = async |body: Value| plain().post(admin("/acme")).json(&body).answer().await;
    let made = order(json!({"host": "a.r.test"})).await.expect(201);
    assert_eq!(made.json()["message"], "certificate for host a.r.test is created");
    assert_eq!(authority.issued(), ["a.r.test"]);
    assert_eq!(authority.contacts(), [json!(["mailto:ops@example.test"])]);
    let public = pair.public_key_raw();
    let x = base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, &public[1..33]);
    assert_eq!(authority.keys()[0]["x"], x, "the account has the key of the catalog");
    // Everything nodes share is there, and nothing is here; what is over is gone.
    let kept = redis.ask("KEYS *", 3).await;
    let mut kept: Vec<&str> = kept.lines().collect();
    kept.sort_unstable();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept[0].starts_with("ours:kong_acme:account:"), "{kept:?}");
    assert_eq!(kept[1], "ours:kong_acme:cert_key:a.r.test");
    assert_eq!(read(&gateway, "/acme_storage").await["data"], json!([]));

    let shown = read(&gateway, "/acme/certificates").await;
    let [one] = shown["data"].as_array().unwrap().as_slice() else { panic!("{shown}") };
    assert_eq!((&one["host"], &one["pubkey_type"]), (&json!("a.r.test"), &json!("id-ecPublicKey")));
    let date = regex::Regex::new(r"^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d$").unwrap();
    for name in ["not_before", "not_after"] {
        assert!(date.is_match(one[name].as_str().unwrap()), "{one}");
    }
    assert_eq!(one["digest"].as_str().unwrap().len(), 32 * 3 - 1);
    assert_eq!(read(&gateway, "/acme/certificates/a.r.test").await["data"], *one);
    plain().get(admin("/acme/certificates/b.r.test")).answer().await.expect(404);

    let refused = order(json!({})).await.expect(400).json();
    assert_eq!(refused["message"], "host must be provided and containing a single domain");
    let refused = order(json!({"host": "a.r.test:80"})).await.expect(400).json();
    assert_eq!(refused["message"], "port is not allowed in host");
    let probe = json!({"host": "nobody.invalid", "test_http_challenge_flow": true});
    let refused = order(probe).await.expect(400).json();
    let text = refused["message"].as_str().unwrap();
    let wanted = "problem found running sanity check for nobody.invalid: ";
    assert!(text.starts_with(wanted), "{text}");

    let started = plain().patch(admin("/acme")).answer().await.expect(202).json();
    assert_eq!(started["message"], "Renewal process started successfully");
    authority.move_names(std::net::SocketAddr::from(([127, 0, 0, 1], 9)));
    let failed = order(json!({"host": "c.r.test"})).await.expect(500).json();
    let text = failed["message"].as_str().unwrap();
    assert!(text.starts_with("failed to update certificate: "), "{text}");
}

/// Accounts and challenges in a Consul and in a Vault, which nodes that know nothing of each other
/// share: the second one has the account of the first.
#[tokio::test]
async fn what_nodes_share_may_be_in_a_consul_or_a_vault() {
    let consul = KeyValues::consul().await;
    let (vault, pods) = (KeyValues::vault().await, KeyValues::vault().await);
    let jwt = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(jwt.path(), format!("{JWT}\n")).unwrap();
    let at = |port: u16| json!({"host": "127.0.0.1", "port": port, "kv_path": "some/acme"});
    let with = |port: u16, more: Value| {
        let mut place = at(port);
        place.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        place
    };
    let rows = [
        ("consul", &consul, with(consul.port(), json!({ "token": TOKEN }))),
        ("vault", &vault, with(vault.port(), json!({ "token": TOKEN }))),
        (
            "vault",
            &pods,
            with(
                pods.port(),
                json!({"auth_method": "kubernetes", "auth_role": "gateway", "jwt_path": jwt.path()}),
            ),
        ),
    ];
    for (storage, values, place) in rows {
        let gateways = [Gateway::start().await, Gateway::start().await];
        let authority = Authority::start(gateways[0].addr("proxy")).await;
        for (gateway, name) in gateways.iter().zip(["a.c.test", "b.c.test"]) {
            authority.move_names(gateway.addr("proxy"));
            let places = json!({ storage: place.clone() });
            let config = json!({
                "domains": ["*.c.test"], "cert_type": "ecc", "storage": storage,
                "storage_config": places,
            });
            configure(gateway, &authority, config).await;
            let url = gateway.url("admin", "/acme");
            let order = plain().post(url).json(&json!({ "host": name })).answer().await;
            order.expect(201);
            assert_eq!(read(gateway, "/acme_storage").await["data"], json!([]));
        }
        assert_eq!(authority.issued(), ["a.c.test", "b.c.test"], "{storage}");
        assert_eq!(authority.contacts().len(), 1, "one account");
        let kept = values.values();
        let account =
            format!("some/acme/kong_acme:account:{}:ops@example.test", authority.directory());
        let account: Vec<&String> = kept.keys().filter(|name| **name == account).collect();
        assert_eq!(account.len(), 1, "{kept:?}");
        assert!(!kept.keys().any(|name| name.contains("#http-01")), "{kept:?}");

        // A name the other is at work on, and a name that failed lately, are left alone.
        let gateway = &gateways[1];
        let orders = authority.orders();
        let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        authority.move_names(nowhere.local_addr().unwrap());
        drop(nowhere);
        let proxy = gateway.tls_addr("proxy");
        let ask = async || crate::harness::shown(proxy, "c.c.test").await;
        ask().await;
        let marked = "some/acme/kong_acme:fail_backoff:c.c.test";
        eventually("a failure", async || values.values().contains_key(marked).then_some(())).await;
        assert_eq!(authority.orders(), orders + 1);
        ask().await;
        assert_eq!(authority.orders(), orders + 1);
        let claim = "some/acme/kong_acme:update_lock:acme:c.c.test";
        assert!(!values.values().contains_key(claim), "nobody is at work");
    }
    // A server that lets nobody in is told of, without what was shown to it.
    let options = Options::new().set("proxy_error_log", "/dev/stderr");
    let gateway = options.start().await;
    let authority = Authority::start(gateway.addr("proxy")).await;
    let place = with(consul.port(), json!({ "token": "wr0ng" }));
    let config = json!({"domains": ["a.c.test"], "storage": "consul",
                        "storage_config": { "consul": place }});
    configure(&gateway, &authority, config).await;
    eventually("a line of the log", async || {
        gateway.log().contains("Consul says 403 Forbidden").then_some(())
    })
    .await;
    assert!(!gateway.log().contains("wr0ng"));
}

/// Of several chains the one under the root that is wanted is shown, and the authority's own where
/// it offers no such.
#[tokio::test]
async fn the_chain_that_is_wanted() {
    for (preferred, crossed) in [("first root", false), ("other root", true), ("no root", false)] {
        let gateway = Gateway::start().await;
        let authority = Authority::start(gateway.addr("proxy")).await;
        let config = json!({"domains": ["a.p.test"], "cert_type": "ecc",
                            "preferred_chain": preferred});
        configure(&gateway, &authority, config).await;
        let got = eventually("a certificate", async || shown(&gateway, "a.p.test").await).await;
        let chain = got.1["cert"].as_str().unwrap();
        assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
        assert_eq!(chain.ends_with(&authority.root()), !crossed, "{preferred}");
    }
}

/// Without a database, what was obtained is still there after another configuration was loaded; and a
/// node that has just begun takes what another put into the storage they share.
#[tokio::test]
async fn without_a_database_certificates_stay() {
    let consul = KeyValues::consul().await;
    let nodes = async || Options::new().set("database", "off").start().await;
    let gateway = nodes().await;
    let authority = Authority::start(gateway.addr("proxy")).await;
    let declare = async |gateway: &Gateway, storage: &str, more: Value| {
        let place = json!({"host": "127.0.0.1", "port": consul.port(), "token": TOKEN});
        let config = json!({
            "account_email": "ops@example.test", "api_uri": authority.directory(),
            "tos_accepted": true, "domains": ["a.d.test"], "cert_type": "ecc",
            "storage": storage, "storage_config": {"consul": place},
        });
        let mut text = json!({"_format_version": "3.0",
                              "plugins": [{"name": "acme", "config": config}]});
        text.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let url = gateway.url("admin", "/config");
        plain().post(url).json(&text).answer().await.expect(201);
    };
    let kept = async |gateway: &Gateway| read(gateway, "/acme_storage").await["data"].clone();
    declare(&gateway, "kong", json!({})).await;
    let got = eventually("a certificate", async || shown(&gateway, "a.d.test").await).await;
    let account = eventually("an empty storage", async || {
        Some(kept(&gateway).await).filter(|all| all.as_array().unwrap().len() == 1)
    })
    .await;
    declare(&gateway, "kong", json!({"services": [{"name": "s", "host": "h"}]})).await;
    assert_eq!(shown(&gateway, "a.d.test").await, Some(got.clone()));
    assert_eq!(kept(&gateway).await, account);
    // A configuration that holds the name itself has its way.
    let certificate = json!({"cert": got.1["cert"], "key": got.1["key"],
                             "snis": [{"name": "a.d.test"}]});
    declare(&gateway, "kong", json!({"certificates": [certificate]})).await;
    let declared = shown(&gateway, "a.d.test").await.unwrap();
    assert!(declared.0 != got.0 && declared.1["tags"].is_null(), "{declared:?}");
    assert_eq!(authority.issued(), ["a.d.test"]);

    let [first, second] = [nodes().await, nodes().await];
    authority.move_names(first.addr("proxy"));
    declare(&first, "consul", json!({})).await;
    let got = eventually("a certificate", async || shown(&first, "a.d.test").await).await;
    let name = "acme/kong_acme:cert_key:a.d.test";
    let put = eventually("a shared one", async || consul.values().get(name).cloned()).await;
    let put: Value = serde_json::from_str(&put).unwrap();
    assert_eq!((&put["cert"], &put["key"]), (&got.1["cert"], &got.1["key"]));
    declare(&second, "consul", json!({})).await;
    let taken = eventually("the same", async || shown(&second, "a.d.test").await).await;
    assert_eq!(taken.1["cert"], got.1["cert"]);
    assert_eq!(authority.issued(), ["a.d.test", "a.d.test"], "none for the second node");
}
