#![allow(clippy::unwrap_used, reason = "tests")]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gateway_model::Id;
use serde_json::json;

use crate::test_kit::{Rig, rig};

const BOB: &str = "5f3b6f35-1ca0-4aa4-8c49-b4b1a1f6e2a1";

/// A consumer `bob` whose user name is `u` and whose password is `p:w`.
fn bobs_rig() -> (Rig, Id) {
    let mut rig = rig();
    rig.insert("consumers", json!({"username": "bob", "id": BOB}));
    let document = json!({"username": "u", "password": "p:w", "consumer": {"id": BOB}});
    let credential = rig.insert("basicauth_credentials", document).id();
    (rig, credential)
}

fn basic(text: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(text))
}

#[test]
fn who_is_let_in() {
    let check = |headers: &[(&str, &str)], lets_in: bool| {
        let (mut rig, _) = bobs_rig();
        let plugin = rig.plugin("basic-auth", json!({"hide_credentials": true}));
        let mut exchange = rig.get("/");
        for (name, value) in headers {
            exchange = exchange.header(name, value);
        }
        let answer = exchange.access(&plugin);
        assert_eq!(answer.is_none(), lets_in, "{headers:?}");
        if let Some(answer) = answer {
            assert_eq!(answer.status, 401);
            assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"service\""));
        } else {
            assert_eq!(exchange.sent("x-credential-identifier"), ["u"]);
            assert_eq!(exchange.sent("authorization"), [""; 0]);
            assert_eq!(exchange.sent("proxy-authorization"), [""; 0]);
        }
    };
    let (good, bad) = (basic("u:p:w"), basic("u:p:x"));
    check(&[("Authorization", &good)], true);
    check(&[("Authorization", &good.replace("Basic", "bASIC  "))], true);
    check(&[("Proxy-Authorization", &good)], true);
    check(&[("Proxy-Authorization", "Bearer x"), ("Authorization", &good)], true);
    check(&[("Proxy-Authorization", &bad), ("Authorization", &good)], false);
    check(&[("Authorization", &bad)], false);
    check(&[("Authorization", &basic("U:p:w"))], false);
    check(&[("Authorization", &basic(":p:w"))], false);
    check(&[("Authorization", &basic("u"))], false);
    check(&[("Authorization", "Basic")], false);
    check(&[("Authorization", "Basic \u{e9}")], false);
    check(&[], false);
}

#[test]
fn a_password_is_kept_as_a_digest_until_another_is_given() {
    let (mut rig, id) = bobs_rig();
    let shown = |rig: &Rig| {
        let stored = rig.catalog.collection("basicauth_credentials").unwrap().get(id).unwrap();
        stored.document()["password"].as_str().unwrap().to_owned()
    };
    // printf 'p:w5f3b6f35-1ca0-4aa4-8c49-b4b1a1f6e2a1' | sha1sum
    let digest = shown(&rig);
    assert_eq!(digest, "ddf81250d58586f5db57836b3fa34738d53709a4");
    rig.patch("basicauth_credentials", id, json!({"username": "u2"}));
    assert_eq!(shown(&rig), digest);
    rig.patch("basicauth_credentials", id, json!({"password": digest}));
    assert_ne!(shown(&rig), digest, "a digest sent is a password like any other");
    let empty = json!({"username": "x", "password": "", "consumer": {"id": BOB}});
    let serde_json::Value::Object(document) = empty else { unreachable!() };
    let change = gateway_model::Change::Insert { kind: "basicauth_credentials", document };
    let refused = rig.try_apply(change).err().unwrap();
    assert!(refused.contains("password"), "{refused}");
}
