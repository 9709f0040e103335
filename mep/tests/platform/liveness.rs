//! Heartbeats: A-63 to A-68.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use crate::kit::{A, Ask, B, ISSUER, NOW_MS, Rig, SM, eventually, service};

fn beating(name: &str) -> Value {
    let mut body = service(name);
    body["livenessInterval"] = json!(7);
    body
}

fn ask(rig: &Rig, method: Method, id: &str) -> Ask {
    rig.mp1(method, format!("{SM}/applications/{A}/services/{id}/liveness")).of(A)
}

async fn state(rig: &Rig, id: &str) -> String {
    let answer = ask(rig, Method::GET, id).send().await;
    answer.expect(200);
    answer.json()["state"].as_str().unwrap().to_owned()
}

fn active() -> Value {
    json!({"state": "ACTIVE"})
}

#[tokio::test]
async fn a63_a68_a_heartbeat_and_its_time() {
    let rig = Rig::start().await;
    let id = rig.register(A, beating("x")).await;
    let at = |ms: u64| {
        let (seconds, nanos) = (ms / 1000, ms % 1000 * 1_000_000);
        format!(
            "{{\"state\":\"ACTIVE\",\"timeStamp\":{{\"seconds\":{seconds},\"nanoSeconds\":{nanos}}},\"interval\":60}}\n"
        )
    };
    ask(&rig, Method::GET, &id).send().await.is(200, &at(NOW_MS));
    let before = rig.catalog().revision();
    for method in [Method::PUT, Method::PATCH] {
        rig.clock.advance_ms(1234);
        ask(&rig, method, &id).json(&active()).send().await.is(204, "");
    }
    ask(&rig, Method::GET, &id).send().await.is(200, &at(NOW_MS + 2468));
    assert_eq!(rig.catalog().revision(), before, "a heartbeat writes nothing");
    assert_eq!(rig.metric("mep_heartbeats_total", None), 2.0);
}

#[tokio::test]
async fn a64_a65_what_is_no_heartbeat() {
    let rig = Rig::start().await;
    let id = rig.register(A, beating("x")).await;
    let silent = rig.register(A, service("y")).await;
    let title = "Can not found resource";
    let put = |id: &str| ask(&rig, Method::PUT, id).json(&active());
    ask(&rig, Method::GET, &silent).refused(404, 17, title, "Invalid get heartbeat request").await;
    put(&silent).refused(404, 17, title, "Invalid heartbeat update request").await;

    let unknown = "0123456789abcdef0123456789abcdef";
    let detail = "service instance id in heartbeat not found";
    ask(&rig, Method::GET, unknown).refused(404, 3, title, detail).await;
    put(unknown).refused(404, 3, title, "service instance id not found").await;

    let parameter = "Request parameter error";
    ask(&rig, Method::GET, "xyz").refused(400, 14, parameter, "Invalid service ID").await;
    put("xyz").refused(400, 1, "Bad Request", "Invalid service ID").await;
    let foreign = format!("{SM}/applications/{A}/services/xyz/liveness");
    rig.mp1(Method::GET, &foreign).of(B).send().await.expect(400);
    rig.mp1(Method::PUT, &foreign).of(B).send().await.expect(401);

    let body = |body: &'static str| ask(&rig, Method::PUT, &id).body(body);
    body("").refused(400, 14, parameter, "request body is empty").await;
    for text in ["{", "[]", "null", r#"{"state":1}"#] {
        body(text).refused(400, 4, "Bad Request", "unmarshal request body error").await;
    }
    for text in [r#"{"state":"INACTIVE"}"#, "{}", r#"{"state":"active"}"#] {
        body(text).refused(400, 14, parameter, "request param validation failed").await;
    }
}

#[tokio::test]
async fn a66_an_inactive_service_stays_so() {
    let rig = Rig::start().await;
    let id = rig.register(A, beating("x")).await;
    let mut body = beating("x");
    body["state"] = json!("INACTIVE");
    let one = format!("{SM}/applications/{A}/services/{id}");
    rig.mp1(Method::PUT, one).of(A).json(&body).send().await.expect(200);
    let (title, detail) = ("Service is in INACTIVE state", "The service is in INACTIVE state");
    ask(&rig, Method::PUT, &id).json(&active()).refused(409, 18, title, detail).await;
    rig.clock.advance_ms(1_000_000);
    assert_eq!(state(&rig, &id).await, "INACTIVE");
}

#[tokio::test]
async fn a67_silence_suspends_and_a_heartbeat_wakes() {
    let rig = Rig::start().await;
    let id = rig.register(A, beating("x")).await;
    let kept = rig.register(A, beating("kept")).await;
    let silent = rig.register(A, service("silent")).await;

    // A heartbeat at second 40 keeps one of them alive until second 103.
    rig.clock.advance_ms(40_000);
    ask(&rig, Method::PUT, &kept).json(&active()).send().await.expect(204);
    rig.clock.advance_ms(23_001);
    eventually("suspended", async || state(&rig, &id).await == "SUSPENDED").await;
    assert_eq!(state(&rig, &kept).await, "ACTIVE");
    assert_eq!(rig.metric("mep_suspensions_total", None), 1.0);

    // Still discoverable, and so says the list.
    let path = format!("{SM}/applications/{A}/services");
    let list = rig.mp1(Method::GET, &path).of(A).send().await.json();
    let states: Vec<(&str, &str)> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|info| (info["serInstanceId"].as_str().unwrap(), info["state"].as_str().unwrap()))
        .collect();
    for (id, state) in [(&id, "SUSPENDED"), (&kept, "ACTIVE"), (&silent, "ACTIVE")] {
        assert!(states.contains(&(id.as_str(), state)), "{states:?}");
    }

    ask(&rig, Method::PUT, &id).json(&active()).send().await.expect(204);
    assert_eq!(state(&rig, &id).await, "ACTIVE");

    // Both fall silent, and are watched still.
    rig.clock.advance_ms(63_000);
    eventually("both suspended", async || {
        state(&rig, &id).await == "SUSPENDED" && state(&rig, &kept).await == "SUSPENDED"
    })
    .await;
}

#[tokio::test]
async fn a_restart_keeps_states_and_watches_on() {
    let rig = Rig::start().await;
    let suspended = rig.register(A, beating("x")).await;
    rig.clock.advance_ms(63_000);
    eventually("suspended", async || state(&rig, &suspended).await == "SUSPENDED").await;
    let active = rig.register(A, beating("y")).await;
    let control = rig.control.clone();
    drop(rig);

    let settings = mep::PlatformSettings::default();
    let rig = Rig::over(control, settings, Arc::clone(&ISSUER), NOW_MS + 3_600_000);
    assert_eq!(state(&rig, &suspended).await, "SUSPENDED");
    rig.clock.advance_ms(63_000);
    eventually("suspended as well", async || state(&rig, &active).await == "SUSPENDED").await;
}
