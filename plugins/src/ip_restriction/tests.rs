#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::test_kit::rig;

fn check(config: Value, ip: &str, wanted: Option<(u16, &str)>) {
    let mut rig = rig();
    let plugin = rig.plugin("ip-restriction", config.clone());
    let answer = rig.get("/").from(ip).access(&plugin);
    let got = answer.map(|answer| (answer.status, answer.body));
    assert_eq!(got, wanted.map(|(s, m)| (s, json!({"message": m}))), "{config} from {ip}");
}

#[test]
fn who_is_let_in() {
    let refused = Some((403, "IP address not allowed: 127.0.0.1"));
    check(json!({"deny": ["127.0.0.0/8"]}), "127.0.0.1", refused);
    check(json!({"deny": ["127.0.0.0/8"]}), "128.0.0.1", None);
    check(json!({"allow": ["127.0.0.1"]}), "127.0.0.1", None);
    check(json!({"allow": ["10.0.0.0/8"]}), "127.0.0.1", refused);
    check(json!({"allow": ["127.0.0.1"], "deny": ["127.0.0.1"]}), "127.0.0.1", refused);
    check(json!({"allow": ["127.0.0.1"]}), "::ffff:127.0.0.1", None);
    check(json!({"deny": ["127.0.0.1"]}), "::ffff:127.0.0.1", refused);
    check(json!({"deny": ["::1"]}), "::1", Some((403, "IP address not allowed: ::1")));
    check(
        json!({"allow": ["10.0.0.0/8"], "status": 451, "message": "no"}),
        "127.0.0.1",
        Some((451, "no")),
    );
}

#[test]
fn the_names_of_kong_1_are_accepted_and_not_shown() {
    let mut rig = rig();
    for (config, shown) in [
        (
            json!({"whitelist": ["10.0.0.0/8"]}),
            json!({"allow": ["10.0.0.0/8"], "deny": null, "status": null, "message": null}),
        ),
        (
            json!({"blacklist": ["::1"], "deny": ["::2"]}),
            json!({"allow": null, "deny": ["::2"], "status": null, "message": null}),
        ),
    ] {
        let plugin = rig.plugin("ip-restriction", config);
        let stored = rig.catalog.collection("plugins").unwrap().get(plugin.id).unwrap().clone();
        assert_eq!(stored.document()["config"], shown);
        rig.delete("plugins", plugin.id);
    }
}

#[test]
fn what_is_refused() {
    let mut rig = rig();
    let mut check = |config: Value, wanted: &str| {
        assert_eq!(rig.try_plugin("ip-restriction", config).err().unwrap(), wanted);
    };
    check(
        json!({}),
        "schema violation (at least one of these fields must be non-empty: 'config.allow', \
         'config.deny')",
    );
    check(
        json!({"allow": ["1.2.3.4", "nope"]}),
        "schema violation (config.allow: {\n  [2] = \"invalid ip or cidr range: 'nope'\"\n})",
    );
    check(
        json!({"allow": ["1.2.3.4"], "status": 42}),
        "schema violation (config.status: value should be between 100 and 599)",
    );
    let plugin = rig.plugin("ip-restriction", json!({"allow": ["1.2.3.4"]}));
    let stored = rig.catalog.collection("plugins").unwrap().get(plugin.id).unwrap();
    let wanted = json!(["http", "https", "tcp", "tls", "grpc", "grpcs"]);
    assert_eq!(stored.document()["protocols"], wanted);
}
