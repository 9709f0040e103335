#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::test_kit::{Exchange, Rig, rig};

/// A consumer `bob` with the key `kk`, and one for everybody else.
fn bobs_rig() -> Rig {
    let mut rig = rig();
    let bob = rig.insert("consumers", json!({"username": "bob"})).id();
    rig.insert("consumers", json!({"username": "anyone"}));
    rig.insert("keyauth_credentials", json!({"key": "kk", "consumer": {"id": bob}}));
    rig
}

/// Runs a request; gives the text of a refusal, or the consumer's name.
fn check(config: Value, request: impl FnOnce(&Rig) -> Exchange, wanted: Result<&str, &str>) {
    let mut rig = bobs_rig();
    let plugin = rig.plugin("key-auth", config.clone());
    let mut exchange = request(&rig);
    let got = match exchange.access(&plugin) {
        Some(answer) => {
            assert_eq!(answer.status, 401, "{config}");
            Err(answer.body["message"].as_str().unwrap().to_owned())
        }
        None if exchange.facts.identity.consumer.is_none() => Ok("nobody".to_owned()),
        None => Ok(exchange.sent("x-consumer-username").join(", ")),
    };
    assert_eq!(got.as_deref().map_err(|text| &**text), wanted, "{config}");
}

#[test]
fn where_keys_are_found() {
    let (none, twice) = (Err("No API key found in request"), Err("Duplicate API key found"));
    let names = || json!({"key_names": ["x-a", "x_b"]});
    check(json!({}), |rig| rig.get("/?apikey=kk"), Ok("bob"));
    check(json!({}), |rig| rig.get("/?apikey=k%6B"), Ok("bob"));
    check(json!({}), |rig| rig.get("/?apikey"), none);
    check(json!({}), |rig| rig.get("/?apikey=kk&apikey=kk"), twice);
    check(json!({}), |rig| rig.get("/").header("apikey", "kk").header("apikey", "k"), twice);
    check(json!({}), |rig| rig.get("/").header("apikey", "KK"), Err("Unauthorized"));
    check(json!({}), |rig| rig.get("/?apikey=kk").header("apikey", ""), Ok("bob"));
    check(names(), |rig| rig.get("/").header("X-B", "kk"), Ok("bob"));
    check(names(), |rig| rig.get("/?x-b=kk"), none);
    check(names(), |rig| rig.get("/?x_b=kk").header("x-a", "bad"), Err("Unauthorized"));
    check(json!({"key_in_query": false}), |rig| rig.get("/?apikey=kk"), none);
    check(json!({"key_in_header": false}), |rig| rig.get("/").header("apikey", "kk"), none);
    check(json!({}), |rig| rig.get("/").method("OPTIONS"), none);
    check(json!({"run_on_preflight": false}), |rig| rig.get("/").method("OPTIONS"), Ok("nobody"));
    check(json!({"anonymous": "anyone"}), |rig| rig.get("/?apikey=bad"), Ok("anyone"));
}

#[test]
fn keys_in_bodies() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let none = Err("No API key found in request");
    let config = || json!({"key_in_body": true});
    let post = |kind: &'static str, body: &'static str| {
        move |rig: &Rig| rig.get("/").method("POST").body(kind, body)
    };
    check(config(), post(FORM, "apikey=kk&z=1"), Ok("bob"));
    check(config(), post("application/json", r#"{"apikey":"kk"}"#), Ok("bob"));
    check(config(), post(FORM, "apikey=kk&apikey=k"), Err("Duplicate API key found"));
    check(config(), post("text/plain", "apikey=kk"), none);
    check(config(), |rig| rig.get("/"), none);
    check(json!({}), post(FORM, "apikey=kk"), none);
}

#[test]
fn hidden_keys_do_not_reach_the_upstream() {
    let mut rig = bobs_rig();
    let plugin = rig.plugin("key-auth", json!({"hide_credentials": true, "key_names": ["x_key"]}));
    let mut exchange = rig.get("/a?x_key=no&b=%20").header("X-Key", "kk").header("x-other", "1");
    assert_eq!(exchange.access(&plugin), None);
    assert_eq!(exchange.head.uri, "/a?b=%20");
    assert_eq!(exchange.sent("x-key"), [""; 0]);
    assert_eq!(exchange.sent("x-other"), ["1"]);
}

#[test]
fn a_key_is_unknown_when_its_time_is_over() {
    let mut rig = bobs_rig();
    let plugin = rig.plugin("key-auth", json!({}));
    let bob = rig.catalog.collection("consumers").unwrap().by("username", "bob").unwrap().id();
    let document = json!({"key": "brief", "ttl": 10, "consumer": {"id": bob}});
    let stored = rig.insert("keyauth_credentials", document);
    assert!(stored.ends().is_some());
    for (seconds, refused) in [(0, false), (9, false), (10, true), (1000, true)] {
        let created = stored.document()["created_at"].as_u64().unwrap();
        rig.clock.set_unix_ms((created + seconds) * 1000);
        let answer = rig.get("/?apikey=brief").access(&plugin);
        assert_eq!(answer.is_some(), refused, "{seconds} s later");
    }
}
