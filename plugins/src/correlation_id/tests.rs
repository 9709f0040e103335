#![allow(clippy::unwrap_used, reason = "tests")]

use gateway_model::Id;
use pingora_http::ResponseHeader;
use serde_json::{Value, json};

use crate::test_kit::{Exchange, Instance, Rig, rig};

/// The id the upstream and the log get.
fn id(rig: &Rig, plugin: &Instance, header: &str) -> (String, Exchange) {
    let mut exchange = rig.get("/");
    assert_eq!(exchange.access(plugin), None);
    let sent = exchange.sent(header).join(",");
    assert_eq!(exchange.summary(200).entry()["correlation_id"], sent);
    (sent, exchange)
}

#[test]
fn what_ids_are_like() {
    let mut rig = rig();
    let config = |generator: &str| json!({"generator": generator, "header_name": "X-C"});
    let plugin = rig.plugin("correlation-id", config("uuid"));
    let (one, _) = id(&rig, &plugin, "x-c");
    let (two, _) = id(&rig, &plugin, "x-c");
    assert!(Id::parse(&one).is_some() && Id::parse(&two).is_some() && one != two);
    rig.delete("plugins", plugin.id);

    let plugin = rig.plugin("correlation-id", config("tracker"));
    let (one, _) = id(&rig, &plugin, "x-c");
    let wanted = format!("127.0.0.1-28000-{}-40000-1-1767225630.000", std::process::id());
    assert_eq!(one, wanted);
}

#[test]
fn ids_are_counted_over_all_instances() {
    let mut rig = rig();
    let service = rig.insert("services", json!({"host": "h"})).id();
    let one = rig.plugin("correlation-id", json!({}));
    let scoped = json!({"name": "correlation-id", "service": {"id": service}});
    let two = rig.try_instance(scoped).unwrap();
    let header = "kong-request-id";
    let ids = [&one, &two, &one].map(|plugin| id(&rig, plugin, header).0);
    let process = ids[0].strip_suffix("#1").unwrap();
    assert!(Id::parse(process).is_some(), "{process}");
    assert_eq!(ids[1..], [format!("{process}#2"), format!("{process}#3")]);
}

#[test]
fn a_clients_id_is_kept_and_told() {
    let check = |config: Value, sent: &str, told: Option<&str>| {
        let mut rig = rig();
        let plugin = rig.plugin("correlation-id", config);
        let mut exchange = rig.get("/").header("Kong-Request-ID", sent);
        assert_eq!(exchange.access(&plugin), None);
        assert_eq!(exchange.sent("kong-request-id"), [sent]);
        let head = ResponseHeader::build(200, None).unwrap();
        let (head, _) = exchange.respond(&plugin, head, &[]);
        let got = head.headers.get("kong-request-id").map(|value| value.to_str().unwrap());
        assert_eq!(got, told);
    };
    check(json!({}), "mine", None);
    check(json!({"echo_downstream": true}), "mine", Some("mine"));
}
