#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::contract::ForwardedFor;
use crate::test_kit::rig;

#[test]
fn what_upstreams_are_told_of_the_client() {
    let nothing = "ngx.var.upstream_x_forwarded_for=UNKNOWN";
    let text = "ngx.var.upstream_x_forwarded_for='1.2.3.4'";
    for (config, wanted) in [
        (json!({"access": [nothing]}), None),
        (json!({"functions": [nothing]}), None),
        (json!({"access": [text]}), Some("1.2.3.4")),
        (json!({"access": [text, nothing]}), None),
        (json!({"access": [nothing, text]}), Some("1.2.3.4")),
        (json!({"access": ["ngx.var.upstream_x_forwarded_for=''"]}), None),
    ] {
        let mut rig = rig();
        let plugin = rig.plugin("pre-function", config.clone());
        let mut exchange = rig.get("/").header("X-Forwarded-For", "9.9.9.9");
        assert_eq!(exchange.access(&plugin), None);
        let told = exchange.facts.notes.get::<ForwardedFor>();
        let told = told.map(|value| value.0.to_str().unwrap());
        assert_eq!(
            (exchange.facts.send_forwarded_for, told),
            (wanted.is_some(), wanted),
            "{config}"
        );
    }
}

#[test]
fn other_code_is_refused_while_it_is_configured() {
    let mut rig = rig();
    let mut check = |config: Value, wanted: &[&str]| {
        let refused = rig.try_plugin("pre-function", config.clone()).err().unwrap();
        for part in wanted {
            assert!(refused.contains(part), "{config}: {refused}");
        }
    };
    let good = "ngx.var.upstream_x_forwarded_for=UNKNOWN";
    check(
        json!({"access": [good, "os.execute('true')"]}),
        &["config.access", "[2]", "Lua is not available yet", "ngx.var.upstream_x_forwarded_for"],
    );
    check(json!({"functions": ["return 1"]}), &["config.access", "Lua is not available yet"]);
    check(json!({"log": [good]}), &["config.log", "no code is accepted in this phase"]);
    check(json!({}), &["at least one of these fields must be non-empty: 'config.certificate'"]);
}

#[test]
fn the_answer_shows_the_new_name_only() {
    let mut rig = rig();
    let chunk = "ngx.var.upstream_x_forwarded_for=UNKNOWN";
    let plugin = rig.plugin("pre-function", json!({"functions": [chunk]}));
    let stored = rig.catalog.collection("plugins").unwrap().get(plugin.id).unwrap();
    assert_eq!(
        stored.document()["config"],
        json!({
            "certificate": [], "rewrite": [], "access": [chunk], "header_filter": [],
            "body_filter": [], "log": [],
        })
    );
}
