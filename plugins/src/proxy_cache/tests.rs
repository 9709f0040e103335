#![allow(clippy::unwrap_used, reason = "tests")]

use gateway_model::Id;
use http::Method;
use pingora_http::ResponseHeader;
use serde_json::{Value, json};

use crate::contract::{PageAnswer, PageCall};
use crate::test_kit::{Instance, Rig, rig};

/// One request, answered by an upstream unless the cache does: what became of it, and the body.
struct Ask<'r> {
    rig: &'r Rig,
    plugin: &'r Instance,
    method: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    answer: Vec<(&'static str, &'static str)>,
    status: u16,
}

impl Ask<'_> {
    fn of(&self, target: &str) -> String {
        let mut exchange = self.rig.get(target).method(self.method);
        for (name, value) in &self.headers {
            exchange = exchange.header(name, value);
        }
        let (mut head, body) = match exchange.access(self.plugin) {
            Some(answer) => {
                let mut head = ResponseHeader::build(answer.status, None).unwrap();
                for (name, value) in answer.headers {
                    head.append_header(name, value).unwrap();
                }
                (head, answer.body.to_string())
            }
            None => {
                let mut head = ResponseHeader::build(self.status, None).unwrap();
                for (name, value) in &self.answer {
                    head.append_header(*name, *value).unwrap();
                }
                (head, format!("\"fresh {target}\""))
            }
        };
        let halves = body.split_at(body.len() / 2);
        (head, _) = exchange.respond(self.plugin, head, &[halves.0, halves.1]);
        let text = |name: &str| {
            head.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned()
        };
        format!("{} {} {} {body}", head.status.as_u16(), text("x-cache-status"), text("age"))
    }
}

fn ask<'r>(rig: &'r Rig, plugin: &'r Instance) -> Ask<'r> {
    Ask {
        rig,
        plugin,
        method: "GET",
        headers: Vec::new(),
        answer: vec![("Content-Type", "application/json"), ("Connection", "keep-alive")],
        status: 200,
    }
}

fn config(more: Value) -> Value {
    let mut config = json!({"strategy": "memory"});
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

#[test]
fn an_answer_is_given_again_while_it_is_good() {
    let mut rig = rig();
    let plugin = rig.plugin("proxy-cache", config(json!({"cache_ttl": 10, "storage_ttl": 60})));
    assert_eq!(ask(&rig, &plugin).of("/c?b=1&a=2"), "200 Miss - \"fresh /c?b=1&a=2\"");
    rig.clock.advance_ms(3000);
    // The order of arguments means nothing.
    assert_eq!(ask(&rig, &plugin).of("/c?a=2&b=1"), "200 Hit 3 \"fresh /c?b=1&a=2\"");
    assert_eq!(ask(&rig, &plugin).of("/c?a=2"), "200 Miss - \"fresh /c?a=2\"");
    let mut post = ask(&rig, &plugin);
    post.method = "POST";
    assert_eq!(post.of("/c?b=1&a=2"), "200 Bypass - \"fresh /c?b=1&a=2\"");
    rig.clock.advance_ms(8000);
    assert_eq!(ask(&rig, &plugin).of("/c?b=1&a=2"), "200 Refresh - \"fresh /c?b=1&a=2\"");
    assert_eq!(ask(&rig, &plugin).of("/c?b=1&a=2"), "200 Hit 0 \"fresh /c?b=1&a=2\"");
    rig.clock.advance_ms(61_000);
    assert_eq!(ask(&rig, &plugin).of("/c?b=1&a=2"), "200 Miss - \"fresh /c?b=1&a=2\"");
}

#[test]
fn only_some_answers_are_kept() {
    let mut rig = rig();
    let plugin = rig.plugin("proxy-cache", config(json!({"content_type": ["text/plain"]})));
    let mut other = ask(&rig, &plugin);
    other.answer = vec![("Content-Type", "text/plain; charset=utf-8")];
    assert_eq!(other.of("/t"), "200 Bypass - \"fresh /t\"");
    other.answer = Vec::new();
    assert_eq!(other.of("/t"), "200 Bypass - \"fresh /t\"");
    other.answer = vec![("Content-Type", "text/plain")];
    other.status = 500;
    assert_eq!(other.of("/t"), "500 Bypass - \"fresh /t\"");
    other.status = 404;
    assert_eq!(other.of("/t"), "404 Miss - \"fresh /t\"");
    assert_eq!(other.of("/t"), "404 Hit 0 \"fresh /t\"");
    let mut head = ask(&rig, &plugin);
    head.method = "HEAD";
    head.answer = vec![("Content-Type", "text/plain")];
    assert!(head.of("/t").starts_with("200 Miss"));
    assert!(head.of("/t").starts_with("200 Hit"));
}

#[test]
fn cache_control_is_heeded_when_told() {
    let mut rig = rig();
    let plugin = rig.plugin("proxy-cache", config(json!({"cache_control": true})));
    let answered = |control: &'static str, target: &str| {
        let mut one = ask(&rig, &plugin);
        one.answer.push(("Cache-Control", control));
        one.of(target).split(' ').nth(1).unwrap().to_owned()
    };
    let asked = |control: &'static str, target: &str| {
        let mut one = ask(&rig, &plugin);
        one.answer.push(("Cache-Control", "max-age=100"));
        one.headers.push(("Cache-Control", control));
        one.of(target).split(' ').take(2).collect::<Vec<_>>().join(" ")
    };
    for control in ["", "no-store", "private, max-age=9", "no-cache", "max-age=0"] {
        assert_eq!(answered(control, "/no"), "Bypass", "{control}");
    }
    assert_eq!(answered("public, s-maxage=100, max-age=0", "/yes"), "Miss");
    assert_eq!(asked("only-if-cached", "/none"), "504 -");
    assert_eq!(asked("only-if-cached", "/yes"), "200 Hit");
    assert_eq!(asked("no-cache", "/yes"), "200 Bypass");
    rig.clock.advance_ms(20_000);
    assert_eq!(asked("max-age=20", "/yes"), "200 Hit");
    assert_eq!(asked("min-fresh=90", "/yes"), "200 Refresh");
    rig.clock.advance_ms(5000);
    assert_eq!(asked("max-age=4", "/yes"), "200 Refresh");
    let mut secret = ask(&rig, &plugin);
    secret.headers.push(("Authorization", "x"));
    assert!(secret.of("/yes").starts_with("200 Bypass"));
    let mut expires = ask(&rig, &plugin);
    expires.answer.push(("Expires", "Thu, 01 Jan 2026 00:05:00 GMT"));
    assert!(expires.of("/e").starts_with("200 Miss"));
    assert!(expires.of("/e").starts_with("200 Hit"));
    expires.answer[2].1 = "Wed, 31 Dec 2025 00:00:00 GMT";
    assert!(expires.of("/e2").starts_with("200 Bypass"));
}

#[test]
fn keys_tell_apart_what_answers_depend_on() {
    let mut rig = rig();
    let told = json!({
        "vary_query_params": ["a"], "vary_headers": ["X-V"], "ignore_uri_case": true,
        "response_headers": {"age": false, "X-Cache-Key": false},
    });
    let plugin = rig.plugin("proxy-cache", config(told));
    assert!(ask(&rig, &plugin).of("/K?a=1&b=1").starts_with("200 Miss"));
    assert_eq!(ask(&rig, &plugin).of("/k?a=1&b=2"), "200 Hit - \"fresh /K?a=1&b=1\"");
    assert!(ask(&rig, &plugin).of("/k?a=2&b=1").starts_with("200 Miss"));
    let mut other = ask(&rig, &plugin);
    other.headers.push(("X-V", "1"));
    assert!(other.of("/k?a=1").starts_with("200 Miss"));
}

#[test]
fn what_is_kept_can_be_seen_and_forgotten() {
    let mut rig = rig();
    let plugin = rig.plugin("proxy-cache", config(json!({})));
    let mut exchange = rig.get("/seen");
    assert_eq!(exchange.access(&plugin), None);
    let mut head = ResponseHeader::build(200, None).unwrap();
    head.insert_header("Content-Type", "application/json").unwrap();
    let (head, _) = exchange.respond(&plugin, head, &["{}"]);
    let key = head.headers["x-cache-key"].to_str().unwrap().to_owned();
    assert_eq!(key.len(), 64);
    let call = |path: &str, method: Method, parameters: &[&str]| {
        let page = plugin.plugin.pages.iter().find(|page| page.path == path).unwrap();
        let parameters: Vec<String> = parameters.iter().map(|one| (*one).to_owned()).collect();
        let answer = (page.serve)(&PageCall {
            tools: &rig.tools,
            catalog: &rig.catalog,
            method: &method,
            parameters: &parameters,
            member: &|_| None,
        });
        match answer {
            PageAnswer::Wait(wait) => futures::executor::block_on(wait),
            answer => answer,
        }
    };
    let (anywhere, of_one) =
        ("/proxy-cache/{cache_key}", "/proxy-cache/{plugin_id}/caches/{cache_key}");
    let id = plugin.id.to_string();
    let PageAnswer::Json(shown) = call(anywhere, Method::GET, &[&key]) else { panic!() };
    assert_eq!((&shown["status"], &shown["body"]), (&json!(200), &json!("{}")));
    assert_eq!(shown["headers"]["content-type"], "application/json");
    assert!(matches!(call(of_one, Method::GET, &[&id, &key]), PageAnswer::Json(_)));
    let other = Id::random().to_string();
    assert!(matches!(call(of_one, Method::GET, &[&other, &key]), PageAnswer::NotFound));
    assert!(matches!(call(anywhere, Method::GET, &["nokey"]), PageAnswer::NotFound));
    assert!(matches!(call(of_one, Method::DELETE, &[&id, &key]), PageAnswer::NoContent));
    assert!(matches!(call(of_one, Method::DELETE, &[&id, &key]), PageAnswer::NotFound));
    assert!(ask(&rig, &plugin).of("/seen").starts_with("200 Miss"));
    assert!(matches!(call("/proxy-cache", Method::DELETE, &[]), PageAnswer::NoContent));
    assert!(ask(&rig, &plugin).of("/seen").starts_with("200 Miss"));
}
