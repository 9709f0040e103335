#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::contract::AuthenticatedGroups;
use crate::test_kit::{Exchange, Rig, rig};

/// Consumers `a` (groups g1 and g3), `b` (g2), `c` (none) with their names as keys, and `n` (g2)
/// for requests that are not authenticated.
fn groups_rig() -> Rig {
    let mut rig = rig();
    for (name, groups) in
        [("a", vec!["g3", "g1"]), ("b", vec!["g2"]), ("c", vec![]), ("n", vec!["g2"])]
    {
        let consumer = rig.insert("consumers", json!({"username": name})).id();
        rig.insert("keyauth_credentials", json!({"key": name, "consumer": {"id": consumer}}));
        for group in groups {
            rig.insert("acls", json!({"group": group, "consumer": {"id": consumer}}));
        }
    }
    rig
}

/// Runs a request with key `key`; gives the status of a refusal or the groups told.
fn run(config: &Value, key: &str, prepare: fn(Exchange) -> Exchange) -> Result<String, u16> {
    let mut rig = groups_rig();
    let keys = rig.plugin("key-auth", json!({"anonymous": "n"}));
    let acl = rig.plugin("acl", config.clone());
    let mut exchange = prepare(rig.get("/").header("X-Consumer-Groups", "spoof"));
    if key != "none" {
        exchange = exchange.header("apikey", key);
        assert_eq!(exchange.access(&keys), None);
    }
    match exchange.access(&acl) {
        Some(answer) => Err(answer.status),
        None => {
            let consumer = exchange.sent("x-consumer-groups").join("|");
            let found = exchange.sent("x-authenticated-groups").join("|");
            Ok(format!("{consumer}/{found}"))
        }
    }
}

#[test]
fn groups_decide() {
    let check = |config: Value, wanted: [Result<&str, u16>; 5]| {
        for (key, wanted) in ["a", "b", "c", "bad", "none"].into_iter().zip(wanted) {
            let got = run(&config, key, |exchange| exchange);
            assert_eq!(got.as_deref().map_err(|status| *status), wanted, "{config}, key {key}");
        }
    };
    check(json!({"allow": ["g1"]}), [Ok("g1, g3/"), Err(403), Err(403), Err(403), Err(401)]);
    check(
        json!({"allow": ["g2", "g1"]}),
        [Ok("g1, g3/"), Ok("g2/"), Err(403), Ok("g2/"), Err(401)],
    );
    check(json!({"deny": ["g2"]}), [Ok("g1, g3/"), Err(403), Ok("/"), Err(403), Err(401)]);
    let hidden = json!({"deny": ["g2"], "hide_groups_header": true});
    check(hidden, [Ok("/"), Err(403), Ok("/"), Err(403), Err(401)]);
}

#[test]
fn groups_that_were_found_count_without_a_credential() {
    let found = |mut exchange: Exchange| {
        exchange.facts.notes.insert(AuthenticatedGroups(vec!["g9".into()]));
        exchange
    };
    let check = |config: Value, key: &str, wanted: Result<&str, u16>| {
        let got = run(&config, key, found);
        assert_eq!(got.as_deref().map_err(|status| *status), wanted, "{config}, key {key}");
    };
    check(json!({"allow": ["g9"]}), "none", Ok("/g9"));
    check(json!({"allow": ["g9"]}), "bad", Ok("/g9"));
    check(json!({"allow": ["g9"]}), "a", Err(403));
    check(json!({"deny": ["g9"]}), "none", Err(403));
    let always = json!({"allow": ["g9"], "always_use_authenticated_groups": true});
    check(always, "a", Ok("/g9"));
}

#[test]
fn a_consumer_is_once_in_a_group() {
    let mut rig = rig();
    let consumer = rig.insert("consumers", json!({"username": "a"})).id();
    let document = || {
        let Value::Object(document) = json!({"group": "g", "consumer": {"id": consumer}}) else {
            unreachable!()
        };
        gateway_model::Change::Insert { kind: "acls", document }
    };
    rig.try_apply(document()).unwrap();
    assert!(rig.try_apply(document()).is_err());
}
