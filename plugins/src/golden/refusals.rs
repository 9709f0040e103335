//! Configurations Kong refused, refused here in the same words.

#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::test_kit::rig;

/// Members of configurations that Kong 3 does not know any more and this gateway accepts.
const ALIASES: &[&str] = &["whitelist", "functions"];

#[test]
fn refusals_are_kongs() {
    let text = super::spec("golden/admin.jsonl");
    let mut compared = 0;
    for line in text.lines() {
        let scenario: Value = serde_json::from_str(line).unwrap();
        for step in scenario["steps"].as_array().unwrap() {
            let request = &step["request"];
            let document = &request["json"];
            let ours = crate::ALL.iter().any(|plugin| document["name"] == plugin.name);
            let config = document["config"].as_object();
            let alias =
                config.is_some_and(|config| ALIASES.iter().any(|name| config.contains_key(*name)));
            let schema = step["response"]["json"]["name"] == "schema violation";
            if request["method"] != "POST" || request["path"] != "/plugins" {
                continue;
            }
            if !ours || alias || !schema {
                continue;
            }
            let mut rig = rig();
            let service = rig.insert("services", json!({"host": "h"})).id().to_string();
            let consumer = rig.insert("consumers", json!({"username": "c"})).id().to_string();
            let sent = document.to_string();
            let sent = sent.replace("{{svc}}", &service).replace("{{bob}}", &consumer);
            let refused = rig.try_instance(serde_json::from_str(&sent).unwrap()).err();
            let wanted = step["response"]["json"]["message"].as_str();
            assert_eq!(refused.as_deref(), wanted, "{sent}");
            compared += 1;
        }
    }
    assert!(compared >= 12, "only {compared} refusals found");
}
