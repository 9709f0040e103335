#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use gateway_model::{Id, Item};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::config::{AccountKey, Config};
use super::keeper::{Keeper, TAG};
use super::names::Names;
use super::order::Authority;
use super::storage::{Place, Storage};
use super::vault::Vault;
use crate::contract::{Setup, Tools};
use crate::test_kit::{Rig, rig};

fn storage(rig: &Rig) -> Storage {
    Storage { tools: rig.tools.clone(), place: Place::Store }
}

fn names(config: Value) -> Names {
    let mut whole = json!({"account_email": "a@b.test", "storage_config": {
        "shm": {}, "kong": {}, "redis": {"extra_options": {"namespace": ""}}, "consul": {}, "vault": {},
    }});
    whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    Names::new(&serde_json::from_value::<Config>(whole).unwrap())
}

#[test]
fn names_there_may_be_certificates_for() {
    let check = |config: Value, allowed: &[&str], refused: &[&str]| {
        let names = names(config.clone());
        for name in allowed {
            assert!(names.allow(name), "{name} of {config}");
        }
        for name in refused {
            assert!(!names.allow(name), "{name} of {config}");
        }
    };
    check(json!({}), &[], &["a.test", ""]);
    check(json!({"domains": ["A.test"]}), &["a.test"], &["b.a.test", "a.test.x", ""]);
    let wild = json!({"domains": ["*.a.test", "b.*"]});
    check(
        wild.clone(),
        &["x.a.test", "x.y.a.test", "b.test"],
        &["a.test", ".a.test", "b.", "xa.test"],
    );
    assert_eq!(names(wild).in_full().count(), 0);
    check(json!({"allow_any_domain": true}), &["x.test", "10.0.0.1"], &[""]);
    let none = json!({"allow_any_domain": true, "enable_ipv4_common_name": false});
    check(none, &["x.test"], &["10.0.0.1"]);
}

/// A plugin that orders nothing by itself, since its authority is nowhere.
fn configured(rig: &mut Rig, more: Value) -> crate::test_kit::Instance {
    let mut config = json!({
        "account_email": "a@b.test", "api_uri": "http://127.0.0.1:1/", "domains": ["a.test", "*.w.test"],
        "fail_backoff_minutes": 0,
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rig.plugin("acme", config)
}

#[test]
fn challenges_are_answered() {
    let mut rig = rig();
    let plugin = configured(&mut rig, json!({}));
    let stored = json!({"key": "tok#http-01", "value": "tok.thumb", "ttl": 60});
    rig.insert("acme_storage", stored);
    let ask = |rig: &Rig, path: &str, host: &str, tls: bool| {
        let mut exchange = rig.get(path);
        exchange.head.insert_header("Host", host).unwrap();
        let mut exchange = if tls { exchange.tls() } else { exchange };
        let answer = exchange.rewrite(&plugin);
        answer.map(|answer| (answer.status, answer.body))
    };
    let path = "/.well-known/acme-challenge/tok";
    assert_eq!(ask(&rig, path, "A.test:80", false), Some((200, json!("tok.thumb\n"))));
    assert_eq!(ask(&rig, path, "x.w.test", false), Some((200, json!("tok.thumb\n"))));
    let missing = Some((404, json!("Not found\n")));
    assert_eq!(ask(&rig, "/.well-known/acme-challenge/x", "a.test", false), missing);
    assert_eq!(ask(&rig, path, "b.test", false), None, "not ours");
    assert_eq!(ask(&rig, path, "a.test", true), None, "authorities come without TLS");
    assert_eq!(ask(&rig, "/.well-known/acme-challenge/", "a.test", false), None);
    assert_eq!(ask(&rig, "/", "a.test", false), None);
    rig.clock.advance_ms(60_000);
    assert_eq!(ask(&rig, path, "a.test", false), missing);
}

fn keeper(rig: &Rig, plugin: Id) -> Keeper {
    let stored = rig.catalog.collection("plugins").unwrap().get(plugin).unwrap();
    let instance: Item<gateway_model::entities::PluginInstance> = Item::new(stored).unwrap();
    let config: Config = serde_json::from_value(Value::Object(instance.config.clone())).unwrap();
    Keeper {
        names: Names::new(&config),
        authority: Authority::new(&config, storage(rig)),
        instance,
        threshold: 14 * 86_400,
        backoff: 0,
        tools: rig.tools.clone(),
    }
}

/// A certificate that ends so many days after the rig's time, and its key.
fn certificate(rig: &Rig, name: &str, days: i64) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    let now = i64::try_from(rig.clock.unix_seconds()).unwrap();
    params.not_before = time::OffsetDateTime::from_unix_timestamp(now - 86_400).unwrap();
    params.not_after = time::OffsetDateTime::from_unix_timestamp(now + days * 86_400).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn certificates_are_due_in_time() {
    let mut rig = rig();
    let plugin = configured(&mut rig, json!({}));
    assert_eq!(keeper(&rig, plugin.id).due(), ["a.test"], "none yet");
    let serve = |rig: &mut Rig, name: &str, days: i64, tags: Value| {
        let (cert, key) = certificate(rig, name, days);
        let made = rig.insert("certificates", json!({"cert": cert, "key": key, "tags": tags})).id();
        rig.insert("snis", json!({"name": name, "certificate": {"id": made}}));
    };
    serve(&mut rig, "a.test", 15, json!([TAG]));
    serve(&mut rig, "x.w.test", 13, json!([TAG]));
    serve(&mut rig, "y.w.test", 13, json!(["theirs"]));
    serve(&mut rig, "b.test", 13, json!([TAG]));
    assert_eq!(keeper(&rig, plugin.id).due(), ["x.w.test"]);
    rig.clock.advance_ms(86_400_000);
    let mut due = keeper(&rig, plugin.id).due();
    due.sort();
    assert_eq!(due, ["a.test", "x.w.test"]);
}

#[tokio::test]
async fn one_at_a_time() {
    let rig = rig();
    let storage = storage(&rig);
    assert!(storage.claim("c", 10).await.unwrap());
    assert!(!storage.claim("c", 10).await.unwrap());
    rig.clock.advance_ms(10_000);
    assert!(storage.claim("c", 10).await.unwrap(), "who had it is thought dead");
    storage.remove("c").await.unwrap();
    assert!(storage.claim("c", 10).await.unwrap());
    assert_eq!(storage.get("none").await.unwrap(), None);
}

#[test]
fn what_is_not_here_is_refused() {
    let refused = |more: Value| {
        let mut config = json!({"account_email": "a@b.test"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rig().try_plugin("acme", config).err().unwrap_or_default()
    };
    for (more, wanted) in [
        (
            json!({"account_key": {"key_id": "k"}, "eab_kid": "k", "eab_hmac_key": "k"}),
            "account_key and eab_kid are not available together",
        ),
        (json!({"domains": ["a.*.test"]}), "invalid wildcard: must be placed at leftmost"),
        (json!({"storage": "redis"}), "host = \"required field missing\""),
        (
            json!({"api_uri": "https://acme-v02.api.letsencrypt.org"}),
            "terms of service must be accepted",
        ),
    ] {
        let text = refused(more);
        assert!(text.contains(wanted), "{text}");
    }
}

#[test]
fn a_key_of_the_catalog_is_the_accounts() {
    let mut rig = rig();
    let set = rig.insert("key_sets", json!({"name": "s"})).id().to_string();
    let pair = rcgen::KeyPair::generate().unwrap();
    let pem = json!({"private_key": pair.serialize_pem(), "public_key": pair.public_key_pem()});
    rig.insert("keys", json!({"kid": "pem", "set": {"id": set}, "pem": pem}));
    // The key of RFC 7517, appendix A.2, and one that is of RSA.
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "kid": "jwk",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
    });
    rig.insert("keys", json!({"kid": "jwk", "jwk": jwk.to_string()}));
    let rsa = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
    let pem = json!({"private_key": rsa.unwrap().serialize_pem()});
    rig.insert("keys", json!({"kid": "rsa", "pem": pem}));
    let find = |id: &str, set: Option<&str>| {
        let named = AccountKey { key_id: id.into(), key_set: set.map(str::to_owned) };
        super::account_key::find(&rig.catalog, &named)
            .map(|(_, der)| der.secret_der().to_vec())
            .map_err(|why| why.to_string())
    };
    assert_eq!(find("pem", Some("s")), Ok(pair.serialize_der()));
    assert!(find("jwk", None).is_ok());
    assert_eq!(find("pem", None), Err("no key pem".to_owned()));
    assert_eq!(find("pem", Some("t")), Err("no key set t".to_owned()));
    let refused = "the key rsa is not of the curve P-256, the only kind account keys may have here";
    assert_eq!(find("rsa", None), Err(refused.to_owned()));
    // It is refused at once; one that is not there may come.
    let with = |id: &str| json!({"account_email": "a@b.test", "account_key": {"key_id": id}});
    let told = rig.try_plugin("acme", with("rsa")).err().unwrap();
    assert!(told.contains("config.account_key") && told.contains(refused), "{told}");
    assert!(rig.try_plugin("acme", with("later")).is_ok());
}

/// Rounds come by the gateway's clock, whatever time passes elsewhere.
#[tokio::test(start_paused = true)]
async fn rounds_go_by_the_clock() {
    let mut rig = rig();
    let plugin = configured(&mut rig, json!({}));
    let mut keeper = keeper(&rig, plugin.id);
    // What shows that a round was: nobody can be reached, and that is kept for a while.
    keeper.backoff = 1;
    let storage = keeper.authority.storage.clone();
    let failed = async || storage.get("kong_acme:fail_backoff:a.test").await.unwrap().is_some();
    drop(plugin);
    let (_asked, queue) = tokio::sync::mpsc::channel(1);
    let run = tokio::spawn(std::sync::Arc::new(keeper).run(queue));
    let until = async |wanted: bool| {
        for _ in 0..10_000 {
            if failed().await == wanted {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("no round came");
    };
    until(true).await;
    rig.clock.advance_ms(1000);
    assert!(!failed().await);
    tokio::time::sleep(std::time::Duration::from_secs(7200)).await;
    assert!(!failed().await, "hours passed, but not by the clock");
    rig.clock.advance_ms(900_000);
    until(true).await;
    // A clock set back by a day, once the next round is set: nobody waits until it has caught up.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    storage.remove("kong_acme:fail_backoff:a.test").await.unwrap();
    rig.clock.set_unix_ms(rig.clock.unix_ms() - 86_400_000);
    until(true).await;
    run.abort();
}

/// The key of the catalog that is compiled counts, not that of the one being served; at a start
/// nothing is refused.
#[test]
fn the_account_key_of_the_catalog_to_come_counts() {
    let with_key = |pair: rcgen::KeyPair| {
        let mut rig = rig();
        let pem = json!({"private_key": pair.serialize_pem()});
        rig.insert("keys", json!({"kid": "k", "pem": pem}));
        rig
    };
    let rsa = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
    let (mut good, bad) = (with_key(rcgen::KeyPair::generate().unwrap()), with_key(rsa.unwrap()));
    let instance = configured(&mut good, json!({"account_key": {"key_id": "k"}}));
    let stored = good.catalog.collection("plugins").unwrap().get(instance.id).unwrap();
    let stored: Item<gateway_model::entities::PluginInstance> = Item::new(stored).unwrap();
    let is_taken = |tools: &Arc<Tools>, compiled: &Rig| {
        let setup = Setup { instance: &stored, catalog: &compiled.catalog, tools };
        instance.plugin.build(&stored.config, &setup).is_ok()
    };
    assert!(is_taken(&bad.tools, &good));
    assert!(!is_taken(&good.tools, &bad));
    let Tools { clock, runtime, client, .. } = &*bad.tools;
    let metrics = prometheus::Registry::new();
    let starting = Tools::new(clock.clone(), runtime.clone(), client.clone(), metrics);
    assert!(is_taken(&Arc::new(starting), &bad));
}

/// A Vault that answers requests in turn, and what it was asked: method, path and token.
async fn vault(answers: Vec<(u16, Value)>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (noted, answers) = (asked.clone(), Arc::new(Mutex::new(answers.into_iter())));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (noted, answers) = (noted.clone(), answers.clone());
            let service = service_fn(move |request: http::Request<Incoming>| {
                let token = request.headers().get("x-vault-token");
                let token = token.map_or("none", |token| token.to_str().unwrap());
                let line = format!("{} {} {token}", request.method(), request.uri());
                noted.lock().unwrap().push(line);
                let (status, body) = answers.lock().unwrap().next().unwrap();
                let answer = http::Response::builder().status(status);
                let answer = answer.body(Full::new(Bytes::from(body.to_string()))).unwrap();
                std::future::ready(Ok::<_, std::convert::Infallible>(answer))
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    (port, asked)
}

#[tokio::test]
async fn a_vault_that_forgot_a_token_is_entered_again() {
    let entered =
        |token: &str| (200, json!({"auth": {"client_token": token, "lease_duration": u64::MAX}}));
    let denied = || (403, json!({"errors": ["permission denied"]}));
    let value = (200, json!({"data": {"data": {"value": "v"}, "metadata": {"version": 1}}}));
    let answers =
        vec![entered("a"), denied(), entered("b"), value, denied(), entered("c"), denied()];
    let (port, asked) = vault(answers).await;
    let jwt = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(jwt.path(), "jwt").unwrap();
    let config = json!({"host": "127.0.0.1", "port": port, "auth_method": "kubernetes",
                        "jwt_path": jwt.path()});
    let vault = Vault::new(&serde_json::from_value(config).unwrap(), &rig().tools).unwrap();
    assert_eq!(vault.held("n").await.unwrap().value.as_deref(), Some("v"));
    // Once more, and not for ever.
    assert!(vault.held("n").await.unwrap_err().contains("permission denied"));
    let login = "POST /v1/auth/kubernetes/login none";
    let get = |token: &str| format!("GET /v1/secret/data/acme/n {token}");
    let wanted = [
        login.to_owned(),
        get("a"),
        login.to_owned(),
        get("b"),
        get("b"),
        login.to_owned(),
        get("c"),
    ];
    assert_eq!(*asked.lock().unwrap(), wanted);
}

#[tokio::test]
async fn only_a_write_that_came_second_is_a_race() {
    let refused = |why: &str| vec![(204, Value::Null), (400, json!({ "errors": [why] }))];
    let put = async |why: &str| {
        let (port, _) = vault(refused(why)).await;
        let config = json!({"host": "127.0.0.1", "port": port, "token": "t"});
        let vault = Vault::new(&serde_json::from_value(config).unwrap(), &rig().tools).unwrap();
        vault.put("n", "v", Some(1), Some(0)).await
    };
    let second = "check-and-set parameter did not match the current version";
    assert_eq!(put(second).await, Ok(false));
    let why = "Vault says 400 Bad Request: no data provided";
    assert_eq!(put("no data provided").await, Err(why.to_owned()));
}
