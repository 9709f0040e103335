#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::contract::Credential;
use crate::kit::jws::Algorithm;
use crate::test_kit::{Exchange, Instance, Rig, Signer, rig};

fn check(rig: &Rig, instance: &Instance, claims: Option<Value>, ip: &str, wanted: Option<&str>) {
    let mut exchange = rig
        .get("/")
        .from(ip)
        .header("X-AppinstanceID", "spoof")
        .header("x-appinstanceid", "again")
        .header("X-APPINSTANCEID", "and again");
    let shown = format!("{claims:?} from {ip}");
    exchange.facts.identity.claims =
        claims.map(|claims| std::sync::Arc::new(claims.as_object().unwrap().clone()));
    exchange.facts.identity.credential =
        Some(Credential { id: gateway_model::Id::random(), identifier: "mepauth".into() });
    let answer = exchange.access(instance);
    let sent = exchange.sent("x-appinstanceid");
    match wanted {
        Some(subject) => {
            assert_eq!(answer, None, "{shown}");
            assert_eq!(sent, [subject], "{shown}");
            assert_eq!(exchange.facts.identity.subject.as_deref(), Some(subject), "{shown}");
        }
        None => {
            let answer = answer.unwrap_or_else(|| panic!("let in: {shown}"));
            assert_eq!(answer.status, 401, "{shown}");
            assert_eq!(answer.body, json!({"message": "Unauthorized"}), "{shown}");
            assert!(sent.is_empty(), "the client's own header is dropped: {shown}");
            assert_eq!(exchange.facts.identity.subject, None, "{shown}");
        }
    }
}

#[test]
fn the_token_says_who_calls_and_from_where() {
    let mut rig = rig();
    let plugin = rig.plugin("appid-header", json!({}));
    let check = |claims, ip, wanted| check(&rig, &plugin, claims, ip, wanted);
    let claims = |ip: &str| Some(json!({"sub": "app-1", "clientip": ip}));
    check(claims("10.0.0.1"), "10.0.0.1", Some("app-1"));
    check(claims("::ffff:10.0.0.1"), "10.0.0.1", Some("app-1"));
    check(claims("10.0.0.1"), "::ffff:10.0.0.1", Some("app-1"));
    check(claims("2001:DB8:0:0::1"), "2001:db8::1", Some("app-1"));
    check(claims("10.0.0.1"), "10.0.0.2", None);
    check(claims("UNKNOWN_IP"), "10.0.0.1", None);
    check(claims("10.0.0.1 "), "10.0.0.1", None);
    check(claims(""), "10.0.0.1", None);
    check(None, "10.0.0.1", None);
    check(Some(json!({"sub": "app-1"})), "10.0.0.1", None);
    check(Some(json!({"sub": "app-1", "clientip": 7})), "10.0.0.1", None);
    check(Some(json!({"clientip": "10.0.0.1"})), "10.0.0.1", None);
    check(Some(json!({"sub": "", "clientip": "10.0.0.1"})), "10.0.0.1", None);
    check(Some(json!({"sub": 5, "clientip": "10.0.0.1"})), "10.0.0.1", None);
    check(Some(json!({"sub": "a\r\nX-Evil: 1", "clientip": "10.0.0.1"})), "10.0.0.1", None);
}

#[test]
fn the_address_check_can_be_turned_off() {
    let mut rig = rig();
    let plugin = rig.plugin("appid-header", json!({"clientip_check": false}));
    let check = |claims, wanted| check(&rig, &plugin, Some(claims), "10.0.0.1", wanted);
    check(json!({"sub": "app-1", "clientip": "192.168.7.7"}), Some("app-1"));
    check(json!({"sub": "app-1", "clientip": "UNKNOWN_IP"}), Some("app-1"));
    check(json!({"sub": "app-1"}), Some("app-1"));
    check(json!({"clientip": "10.0.0.1"}), None);
}

/// Two tokens with one request, a verified one of one's own and a forged one: the original passed
/// the forged one on.
#[test]
fn a_forged_header_beside_a_verified_query_token_gains_nothing() {
    let mut rig = rig();
    let consumer = rig.insert("consumers", json!({"username": "mepauth.jwt"})).id();
    rig.insert(
        "jwt_secrets",
        json!({"consumer": {"id": consumer}, "key": "mepauth", "secret": "s"}),
    );
    let jwt = rig.plugin("jwt", json!({}));
    let app_id = rig.plugin("appid-header", json!({}));
    let token = |secret: &str, subject: &str| {
        Signer::new(Algorithm::HS256, secret).token(
            Algorithm::HS256,
            &json!({"iss": "mepauth", "sub": subject, "clientip": "127.0.0.1"}),
        )
    };
    let (own, forged) = (token("s", "mine"), token("guess", "another's"));
    let run = |mut exchange: Exchange| {
        let answer = exchange.access(&jwt).or_else(|| exchange.access(&app_id));
        (answer.map(|answer| answer.status), exchange.sent("x-appinstanceid").join(","))
    };
    let target = format!("/?jwt={own}");
    assert_eq!(run(rig.get(&target)), (None, "mine".into()));
    assert_eq!(run(rig.get(&target).bearer(&forged)).0, Some(401));
    assert_eq!(run(rig.get(&target).header("Authorization", "Basic x")), (None, "mine".into()));
    assert_eq!(run(rig.get("/").bearer(&forged)).0, Some(401));
}

/// A consumer with a key of its own can sign any subject; that names no app.
#[test]
fn only_the_platforms_own_tokens_name_apps() {
    let mut rig = rig();
    let consumer = rig.insert("consumers", json!({"username": "other"})).id();
    rig.insert("jwt_secrets", json!({"consumer": {"id": consumer}, "key": "other", "secret": "s"}));
    let jwt = rig.plugin("jwt", json!({}));
    let strict = rig.plugin("appid-header", json!({}));
    let open = rig.try_instance(json!({"name": "appid-header", "config": {"issuer": null}}));
    assert!(open.is_err(), "one instance of a plugin at a scope");
    let token = Signer::new(Algorithm::HS256, "s").token(
        Algorithm::HS256,
        &json!({"iss": "other", "sub": "victim", "clientip": "127.0.0.1"}),
    );
    let mut exchange = rig.get("/").bearer(&token);
    assert_eq!(exchange.access(&jwt), None, "a good token of its consumer");
    let answer = exchange.access(&strict).unwrap();
    assert_eq!((answer.status, answer.body), (401, json!({"message": "Unauthorized"})));
    assert!(exchange.sent("x-appinstanceid").is_empty());
}

#[test]
fn a_consumer_scope_is_refused() {
    let mut rig = rig();
    let consumer = rig.insert("consumers", json!({"username": "c"})).id();
    let refused = rig.try_instance(json!({"name": "appid-header", "consumer": {"id": consumer}}));
    assert_eq!(refused.err().unwrap(), "schema violation (consumer: value must be null)");
    assert!(rig.try_instance(json!({"name": "appid-header"})).is_ok(), "as EdgeGallery sends it");
}
