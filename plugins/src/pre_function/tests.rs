#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use crate::contract::{ForwardedFor, Phases};
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
fn code_that_cannot_be_read_is_refused_in_kongs_words() {
    let mut rig = rig();
    let good = "ngx.var.upstream_x_forwarded_for=UNKNOWN";
    let refused = rig.try_plugin("pre-function", json!({"access": [good, "print("]}));
    let told =
        r#"error parsing pre-function: [string \"print(\"]:1: unexpected symbol near '<eof>'"#;
    let wanted = format!("schema violation (config.access: {{\n  [2] = \"{told}\"\n}})");
    assert_eq!(refused.err().unwrap(), wanted);
    let refused = rig.try_plugin("pre-function", json!({"log": ["x ="]})).err().unwrap();
    assert!(refused.contains("config.log"), "{refused}");
    let refused = rig.try_plugin("pre-function", json!({"certificate": ["x ="]})).err().unwrap();
    assert!(refused.contains("config.certificate"), "{refused}");
    let refused = rig.try_plugin("pre-function", json!({})).err().unwrap();
    let wanted = "at least one of these fields must be non-empty: 'config.certificate'";
    assert!(refused.contains(wanted), "{refused}");
}

#[test]
fn one_assignment_needs_no_lua() {
    let mut rig = rig();
    let assignment = json!({"functions": ["ngx.var.upstream_x_forwarded_for=UNKNOWN"]});
    let native = rig.plugin("pre-function", assignment);
    assert_eq!(native.handler.phases(), Phases::ACCESS);
    let other = json!({"name": "post-function", "config": {"log": ["return"]}});
    let lua = rig.try_instance(other).unwrap();
    assert_eq!(lua.handler.phases(), Phases::LOG);
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
