//! Recorded conversations with Kong, had again with our plugins.
//!
//! What was configured then is configured here, through the same schemas. Each recorded request
//! then goes through the handlers of its route, in order; status, body, the headers plugins add and
//! the identity an upstream is told must be the recorded ones. Routing and forwarding are the
//! proxy's: a request's route is found here by the longest path, and headers are compared in both
//! directions only where a plugin sets them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use gateway_model::entities::{PluginInstance, Route};
use gateway_model::{Change, Document, Id, Item};
use pingora_http::ResponseHeader;
use serde_json::{Value, json};

use crate::contract::Phases;
use crate::test_kit::{Exchange, Instance, Rig, rig};

/// Steps that cannot come out as recorded.
const DIFFERENT: &[(&str, usize, &str)] = &[
    ("jwt", 21, "Kong fails (500) on a key that is a number; here it names no credential"),
    ("key-auth variants", 16, "keys in bodies are refused when an instance is built"),
    ("key-auth variants", 17, "keys in bodies are refused when an instance is built"),
    ("acl", 15, "Kong tells groups in the order of random ids; here they are sorted"),
    ("cors", 31, "the recording leaves Access-Control-Allow-Private-Network out"),
    ("cors", 34, "the recording leaves Access-Control-Allow-Private-Network out"),
    ("request-termination", 18, "the echo tells names and ids of machine and process"),
    ("jwt", 39, "two Authorization lines are refused by the proxy, before any plugin"),
];

#[test]
fn jwt() {
    assert_eq!(replay("jwt"), 29);
    assert_eq!(replay("jwt variants"), 12);
}

#[test]
fn key_auth() {
    assert_eq!(replay("key-auth"), 8);
    assert_eq!(replay("key-auth variants"), 8);
}

#[test]
fn basic_auth() {
    assert_eq!(replay("basic-auth"), 8);
    assert_eq!(replay("two authentication plugins"), 4);
}

#[test]
fn acl() {
    assert_eq!(replay("acl"), 5);
    assert_eq!(replay("acl without authentication"), 1);
}

#[test]
fn cors() {
    assert_eq!(replay("cors"), 27);
}

#[test]
fn request_termination() {
    assert_eq!(replay("request-termination"), 9);
}

#[test]
fn ip_restriction() {
    assert_eq!(replay("ip-restriction"), 4);
}

#[test]
fn rate_limiting() {
    assert_eq!(replay("rate-limiting"), 11);
}

#[test]
fn response_transformer() {
    assert_eq!(replay("response-transformer"), 12);
}

#[test]
fn edgegallery() {
    assert_eq!(replay("edgegallery snippets"), 2);
}

/// Has a conversation again; gives the number of requests compared.
fn replay(scenario: &str) -> usize {
    let text = super::spec("golden/plugins.jsonl");
    let scenarios = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let recorded = scenarios.into_iter().find(|one| one["scenario"] == scenario).unwrap();
    let mut rig = rig();
    let mut names = BTreeMap::new();
    let mut compared = 0;
    for (at, step) in recorded["steps"].as_array().unwrap().iter().enumerate() {
        if step["to"] != "proxy" {
            configure(&mut rig, step, &mut names);
        } else if !DIFFERENT.iter().any(|(known, step, _)| (*known, *step) == (scenario, at)) {
            request(&rig, step, &format!("{scenario}, step {at}: {}", step["note"]));
            compared += 1;
        }
    }
    compared
}

/// Does what an Admin API does with a recorded POST; ids are the recorded ones by name.
fn configure(rig: &mut Rig, step: &Value, names: &mut BTreeMap<String, String>) {
    let path = step["request"]["path"].as_str().unwrap();
    let mut sent = step["request"]["json"].to_string();
    for (name, value) in &*names {
        sent = sent.replace(&format!("{{{{{name}}}}}"), value);
    }
    let mut document: Document = serde_json::from_str(&sent).unwrap();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let kind: &'static str = match parts.last().copied().unwrap() {
        "jwt" => "jwt_secrets",
        "key-auth" => "keyauth_credentials",
        "basic-auth" => "basicauth_credentials",
        "acls" => "acls",
        "services" => "services",
        "routes" => "routes",
        "consumers" => "consumers",
        "plugins" => "plugins",
        other => panic!("{other}"),
    };
    if let [parent, name, _] = parts[..] {
        let (parents, key) = match parent {
            "consumers" => ("consumers", "username"),
            "services" => ("services", "name"),
            _ => ("routes", "name"),
        };
        let id = rig.catalog.collection(parents).unwrap().by(key, name).unwrap().id();
        document.insert(parent.trim_end_matches('s').to_owned(), json!({ "id": id }));
    }
    let stored = rig.try_apply(Change::Insert { kind, document }).unwrap().unwrap();
    for (name, member) in step["save"].as_object().into_iter().flatten() {
        if let Some(text) = stored.document()[member.as_str().unwrap()].as_str() {
            names.insert(name.clone(), text.to_owned());
        }
    }
}

/// One instance of each plugin: the most specific for the route, in the order they run.
fn chain(rig: &Rig, route: &Item<Route>) -> Vec<Instance> {
    let service = route.service.map(|service| service.id);
    let instances: Vec<Item<PluginInstance>> = rig.catalog.all().collect();
    let applies = |instance: &&Item<PluginInstance>, route: Option<Id>, service: Option<Id>| {
        instance.route.map(|to| to.id) == route && instance.service.map(|to| to.id) == service
    };
    crate::ALL
        .iter()
        .filter_map(|plugin| {
            let named = || instances.iter().filter(|instance| instance.name == plugin.name);
            named()
                .find(|one| applies(one, Some(route.id()), None))
                .or_else(|| named().find(|one| applies(one, None, service)))
                .or_else(|| named().find(|one| applies(one, None, None)))
        })
        .map(|instance| rig.compile(instance.stored()).unwrap())
        .collect()
}

fn request(rig: &Rig, step: &Value, at: &str) {
    let recorded = &step["request"];
    let target = recorded["path"].as_str().unwrap();
    let path = target.split('?').next().unwrap();
    let routes = rig.catalog.all::<Route>();
    let route = routes
        .filter_map(|route| {
            let prefix = route.paths.as_ref()?.first()?.clone();
            path.starts_with(&prefix).then_some((prefix.len(), route))
        })
        .max_by_key(|(length, _)| *length)
        .unwrap()
        .1;
    let mut exchange = rig.get(target).method(recorded["method"].as_str().unwrap()).on(route.id());
    for (name, values) in recorded["headers"].as_object().unwrap() {
        let values = values.as_array().map_or(std::slice::from_ref(values), Vec::as_slice);
        for value in values.iter().filter(|_| name != "Host") {
            exchange = exchange.header(name, value.as_str().unwrap());
        }
    }
    let chain = chain(rig, &route);
    let has = |phase| chain.iter().filter(move |instance| instance.plugin.phases.has(phase));
    let refused = has(Phases::ACCESS).find_map(|instance| exchange.access(instance));
    let wanted = &step["response"];
    let status = refused.as_ref().map_or(200, |answer| answer.status);
    assert_eq!(wanted["status"], status, "{at}");

    let upstream = step["upstream"].as_array().unwrap();
    assert_eq!(upstream.is_empty(), refused.is_some(), "{at}");
    match &refused {
        Some(answer) => {
            let mut body = wanted.get("json").or(wanted.get("body")).cloned().unwrap_or_default();
            if let Some(object) = body.as_object_mut() {
                object.shift_remove("request_id");
            }
            if body == "" {
                body = Value::Null;
            }
            mask_ids(&mut body);
            let mut got = answer.body.clone();
            mask_ids(&mut got);
            assert_eq!(got, body, "{at}");
            compare_headers(&answer.headers, &wanted["headers"], at);
        }
        None => {
            compare_upstream(&exchange, &upstream[0], at);
            answer(&mut exchange, &chain, target, wanted, at);
        }
    }
}

fn mask_ids(body: &mut Value) {
    if let Some(Value::String(text)) = body.get_mut("message") {
        let words = text.split(' ').map(|word| Id::parse(word).map_or(word, |_| "<uuid>"));
        *text = words.collect::<Vec<_>>().join(" ");
    }
}

/// Headers plugins set on answers, less what is the gateway's own or depends on the time.
fn compare_headers(ours: &[(String, String)], recorded: &Value, at: &str) {
    let ours: BTreeMap<String, String> = ours.iter().cloned().collect();
    let time = ["ratelimit-reset", "retry-after"];
    let mut wanted = BTreeMap::new();
    for (name, value) in recorded.as_object().unwrap() {
        let name = name.to_ascii_lowercase();
        if name.starts_with("x-kong-") || ["content-type", "server", "via"].contains(&&*name) {
            continue;
        }
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        wanted.insert(name, value);
    }
    assert_eq!(ours.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{at}");
    for (name, value) in wanted.iter().filter(|(name, _)| !time.contains(&&***name)) {
        assert_eq!(ours[name], *value, "{at}: {name}");
    }
}

/// What an upstream is told of the caller.
fn compare_upstream(exchange: &Exchange, recorded: &Value, at: &str) {
    let told = |name: &str| -> Option<&str> {
        recorded["headers"].as_array().unwrap().iter().find_map(|pair| {
            pair[0].as_str().unwrap().eq_ignore_ascii_case(name).then(|| pair[1].as_str().unwrap())
        })
    };
    for name in [
        "x-consumer-id",
        "x-consumer-username",
        "x-consumer-custom-id",
        "x-credential-identifier",
        "x-anonymous-consumer",
        "authorization",
        "apikey",
        "x-consumer-groups",
    ] {
        let sent = exchange.sent(name).first().copied();
        // Ids are made anew.
        let made_anew = name == "x-consumer-id"
            || name == "x-credential-identifier" && told(name) == Some("<uuid>");
        let (sent, told) =
            if made_anew { (sent.map(|_| ""), told(name).map(|_| "")) } else { (sent, told(name)) };
        assert_eq!(sent, told, "{at}: {name}");
    }
    let query = recorded["uri"].as_str().unwrap().split_once('?').map(|(_, query)| query);
    assert_eq!(exchange.head.uri.query(), query, "{at}: query");
    let told = told("x-forwarded-for").is_some();
    assert_eq!(exchange.facts.send_forwarded_for, told, "{at}: x-forwarded-for");
}

/// Has the recorded upstream answer, and compares what becomes of it.
fn answer(exchange: &mut Exchange, chain: &[Instance], target: &str, wanted: &Value, at: &str) {
    let mut head = ResponseHeader::build(200, None).unwrap();
    head.insert_header("Content-Type", "application/json").unwrap();
    if target.ends_with("/reshdr") {
        for (name, value) in [
            ("X-Up", "1"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("Cache-Control", "max-age=60"),
        ] {
            head.append_header(name, value).unwrap();
        }
    }
    let echo = json!({"echo": "of the request"});
    let json = json!({"p1": "v1", "p2": 2, "p3": [1, 2], "p4": "a.b"});
    let upstream = if target.ends_with("/json/") { json } else { echo };
    let mut body = upstream.to_string();
    for instance in chain {
        (head, body) = exchange.respond(instance, head, &[&body.clone()]);
    }
    let body: Value = serde_json::from_str(&body).unwrap();
    if wanted["json"].is_object() {
        assert_eq!(body, wanted["json"], "{at}");
    }
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &head.headers {
        let value = value.to_str().unwrap().to_owned();
        headers.entry(name.to_string()).or_default().push(value);
    }
    let one = |(name, mut values): (String, Vec<String>)| {
        let value = if values.len() == 1 { values.remove(0) } else { json!(values).to_string() };
        (name, value)
    };
    let mut ours: Vec<(String, String)> =
        headers.into_iter().filter(|(name, _)| name != "content-type").map(one).collect();
    ours.extend(exchange.added());
    compare_headers(&ours, &wanted["headers"], at);
}
