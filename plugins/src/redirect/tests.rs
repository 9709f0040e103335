#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::test_kit::rig;

#[test]
fn where_clients_are_sent() {
    let check = |config: Value, target: &str, status: u16, location: &str| {
        let mut rig = rig();
        let plugin = rig.plugin("redirect", config.clone());
        let answer = rig.get(target).access(&plugin).unwrap();
        assert_eq!(answer.body, "redirecting");
        let got = (answer.status, answer.header("location"));
        assert_eq!(got, (status, Some(location)), "{config}");
    };
    let to = "https://new.test:8443/p?z=1";
    check(json!({"location": to}), "/x?a=1", 301, to);
    check(json!({"location": to, "status_code": 307}), "/x", 307, to);
    let keep = |location: &str| json!({"location": location, "keep_incoming_path": true});
    check(keep(to), "/x?a=1", 301, "https://new.test:8443/x?a=1");
    check(keep("http://new.test?z"), "/", 301, "http://new.test/");
}

#[test]
fn a_place_without_host_is_refused() {
    let refused = rig().try_plugin("redirect", json!({"location": "/p"})).err().unwrap();
    assert_eq!(refused, "schema violation (config.location: missing host in url)");
}
