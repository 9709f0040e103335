//! Liveness and subscriptions of services in the form of ETSI GS MEC 011, and what subscribers are told.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answered as _, Gateway, Mec, SM, Upstream, svc};

const UNKNOWN: &str = "0123456789abcdef0123456789abcdef";
const NOBODY: &str = "0f0f0f0f-0f0f-4f0f-8f0f-0f0f0f0f0f0f";

/// S-30 to S-33: heartbeats.
#[tokio::test]
async fn heartbeats() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let path = mec.sm("/services");
    let rows = [
        (json!(0), json!(60)),
        (json!(2), json!(5)),
        (json!(30), json!(30)),
        (Value::Null, Value::Null),
    ];
    for (wanted, told) in rows {
        let made = mec.post(&path, &svc(json!({"livenessInterval": wanted}))).await.expect(201);
        let body = made.json();
        assert_eq!(body["livenessInterval"], told, "S-30 {wanted}");
        assert_eq!(body["_links"].get("liveness").is_some(), !told.is_null(), "S-30 {wanted}");
        let own = body["_links"]["self"]["href"].as_str().unwrap();
        let liveness = format!("{own}/liveness");
        let patch = async |body: Value, kind: &str| {
            let request = mec.request(Method::PATCH, &liveness).header("Content-Type", kind);
            request.body(body.to_string()).answer().await
        };
        let (json, merge) = ("application/json", "application/merge-patch+json");
        if told.is_null() {
            mec.get(&liveness).await.problem(404);
            patch(json!({"state": "ACTIVE"}), json).await.problem(404);
            continue;
        }
        let before = mec.get(&liveness).await.expect(200).json();
        assert_eq!((&before["state"], &before["interval"]), (&json!("ACTIVE"), &told), "S-31");
        assert_eq!(patch(json!({"state": "ACTIVE"}), json).await.expect(204).text(), "");
        let moment = |body: &Value| {
            let part = |name: &str| body["timeStamp"][name].as_u64().unwrap();
            (part("seconds"), part("nanoSeconds"))
        };
        let after = mec.get(&liveness).await.json();
        assert!(moment(&after) > moment(&before), "S-31 {before} {after}");
        assert_eq!(mec.get(own).await.header("etag"), made.header("etag"), "S-31");
        patch(json!({}), json).await.problem(400);
        patch(json!({"state": "INACTIVE"}), json).await.problem(400);
        patch(json!({"state": "ACTIVE"}), merge).await.expect(204);
        patch(json!({"state": "ACTIVE"}), "text/plain").await.problem(415);
        let idle = svc(json!({"state": "INACTIVE", "livenessInterval": wanted}));
        mec.put(own, &idle).await.expect(200);
        patch(json!({"state": "ACTIVE"}), json).await.problem(409);
    }
    mec.get(&mec.sm(&format!("/services/{UNKNOWN}/liveness"))).await.problem(404);
}

/// S-34: silence suspends, a heartbeat brings back, and subscribers are told of both.
#[tokio::test]
async fn silence_suspends() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let upstream = Upstream::start().await;
    let callback = json!({
        "subscriptionType": "SerAvailabilityNotificationSubscription",
        "callbackReference": format!("{}/cb", upstream.url()),
    });
    mec.post(&mec.sm("/subscriptions"), &callback).await.expect(201);
    // Five seconds are the least there is, and one of tolerance.
    let id = mec.register(&svc(json!({"livenessInterval": 1}))).await;
    let told = async || {
        let body = upstream.next().await.json();
        let reference = &body["serviceReferences"][0];
        format!(
            "{} {}",
            reference["changeType"].as_str().unwrap(),
            reference["state"].as_str().unwrap()
        )
    };
    assert_eq!(told().await, "ADDED ACTIVE");
    assert_eq!(told().await, "STATE_CHANGED SUSPENDED", "S-34");
    let path = mec.sm(&format!("/services/{id}"));
    let suspended = mec.get(&path).await.expect(200).json();
    assert_eq!(suspended["state"], "SUSPENDED");
    // What was read may come back, and does not wake it.
    assert_eq!(mec.put(&path, &suspended).await.expect(200).json()["state"], "SUSPENDED");
    let beat = mec.request(Method::PATCH, &format!("{path}/liveness"));
    beat.json(&json!({"state": "ACTIVE"})).answer().await.expect(204);
    assert_eq!(told().await, "STATE_CHANGED ACTIVE", "S-34");
}

/// S-36 to S-41: subscriptions.
#[tokio::test]
async fn subscriptions() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let services = "SerAvailabilityNotificationSubscription";
    let ends = "AppTerminationNotificationSubscription";
    let callback = "http://192.0.2.7:9000/cb?x=1";
    let wanted = |kind: &str| json!({"subscriptionType": kind, "callbackReference": callback});
    let (sm, support) = (mec.sm("/subscriptions"), mec.support("/subscriptions"));
    for path in [&sm, &support] {
        let none = mec.get(path).await.expect(200).json();
        assert_eq!(none["_links"]["self"]["href"], path.as_str(), "S-39");
        assert_eq!(none["_links"]["subscriptions"], json!([]), "S-39");
    }
    let mut end = wanted(ends);
    end["appInstanceId"] = json!(mec.app.id);
    for (path, kind, body) in [(&sm, services, wanted(services)), (&support, ends, end.clone())] {
        let made = mec.post(path, &body).await.expect(201);
        let href = made.json()["_links"]["self"]["href"].as_str().unwrap().to_owned();
        assert_eq!(made.header("location"), Some(href.as_str()), "S-36");
        assert!(href.starts_with(path.as_str()), "S-36 {href}");
        assert_eq!(made.json()["callbackReference"], callback, "S-36");
        assert_eq!(mec.get(&href).await.expect(200).json(), made.json(), "S-36");
        let list = mec.get(path).await.expect(200).json();
        let element = json!({"href": href, "subscriptionType": kind, "rel": kind});
        assert_eq!(list["_links"]["subscriptions"], json!([element]), "S-39");
        // S-40: the other API knows nothing of it.
        let id = href.rsplit('/').next().unwrap();
        let other = if path == &sm { &support } else { &sm };
        mec.get(&format!("{other}/{id}")).await.problem(404);
        mec.put(&href, &body).await.problem(405);
        assert_eq!(mec.delete(&href).await.expect(204).text(), "");
        mec.delete(&href).await.problem(404);
    }
    let with = |name: &str, value: Value| {
        let mut body = wanted(services);
        body[name] = value;
        body
    };
    let category = json!({"href": "x", "id": "x", "name": "x", "version": "x"});
    let two = json!({"serNames": ["a"], "serCategories": [category]});
    let rows = [
        ("S-37", wanted(ends)),
        ("S-37", with("subscriptionType", Value::Null)),
        ("S-37", with("callbackReference", Value::Null)),
        ("S-37", with("callbackReference", json!("/x"))),
        ("S-37", with("callbackReference", json!("not a uri"))),
        ("S-37", with("callbackReference", json!("ftp://192.0.2.1/"))),
        ("S-37", with("callbackReference", json!("http://192.0.2.1/#x"))),
        ("Q-58", with("callbackReference", json!("http://169.254.169.254/"))),
        ("S-38", with("filteringCriteria", two)),
        ("S-38", with("filteringCriteria", json!({"serInstanceIds": ["a"], "serNames": ["b"]}))),
        ("S-38", with("filteringCriteria", json!({"states": ["X"]}))),
    ];
    for (case, body) in rows {
        let answer = mec.post(&sm, &body).await;
        assert!(!answer.problem(400).is_empty(), "{case} {body}");
    }
    let empty = with("filteringCriteria", json!({"serNames": [], "serInstanceIds": []}));
    mec.post(&sm, &empty).await.expect(201);
    // S-41
    let mut other = end.clone();
    other["appInstanceId"] = json!(NOBODY);
    mec.post(&support, &other).await.problem(400);
    for _ in 1..50 {
        mec.post(&sm, &wanted(services)).await.expect(201);
    }
    mec.post(&sm, &wanted(services)).await.problem(403);
}

/// S-42, S-43, S-45: what subscribers are told.
#[tokio::test]
async fn subscribers_are_told_what_they_asked_for() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let (all, by_name, by_state, by_category) = (
        Upstream::start().await,
        Upstream::start().await,
        Upstream::start().await,
        Upstream::start().await,
    );
    let subscribe = async |to: &Upstream, criteria: Value| {
        let body = json!({
            "subscriptionType": "SerAvailabilityNotificationSubscription",
            "callbackReference": format!("{}/cb", to.url()),
            "filteringCriteria": criteria,
        });
        let made = mec.post(&mec.sm("/subscriptions"), &body).await.expect(201);
        made.json()["_links"]["self"]["href"].as_str().unwrap().to_owned()
    };
    let href = subscribe(&all, json!({})).await;
    subscribe(&by_name, json!({"serNames": ["last"]})).await;
    subscribe(&by_state, json!({"serNames": ["rni", "last"], "states": ["INACTIVE"]})).await;
    let category = json!({"href": "/catalogue/1", "id": "cat-1", "name": "RNI", "version": "v2"});
    subscribe(&by_category, json!({ "serCategories": [category] })).await;

    let id = mec.register(&svc(json!({}))).await;
    let path = mec.sm(&format!("/services/{id}"));
    mec.put(&path, &svc(json!({"state": "INACTIVE"}))).await.expect(200);
    mec.put(&path, &svc(json!({"state": "INACTIVE", "version": "2"}))).await.expect(200);
    mec.put(&path, &svc(json!({"state": "ACTIVE", "version": "3"}))).await.expect(200);
    mec.delete(&path).await.expect(204);
    let link = json!({"href": format!("{SM}/services/{id}")});
    let rows = [
        ("ADDED", "ACTIVE", Some(&link)),
        ("STATE_CHANGED", "INACTIVE", Some(&link)),
        ("ATTRIBUTES_CHANGED", "INACTIVE", Some(&link)),
        ("ATTRIBUTES_CHANGED", "ACTIVE", Some(&link)),
        ("REMOVED", "ACTIVE", None),
    ];
    for (change, state, link) in rows {
        let told = all.next().await;
        assert_eq!(told.all("content-type"), ["application/json"], "S-42");
        assert!(told.all("x-real-ip").is_empty(), "S-42: the dialect's header");
        let mut reference = json!({
            "serName": "rni", "serInstanceId": id, "state": state, "changeType": change,
        });
        if let Some(link) = link {
            reference["link"] = link.clone();
        }
        let expected = json!({
            "notificationType": "SerAvailabilityNotification",
            "serviceReferences": [reference],
            "_links": {"subscription": {"href": href}},
        });
        assert_eq!(told.json(), expected, "S-42");
    }
    let change = |told: Value| told["serviceReferences"][0]["changeType"].clone();
    for wanted in ["STATE_CHANGED", "ATTRIBUTES_CHANGED"] {
        assert_eq!(change(by_state.next().await.json()), wanted, "S-43");
    }
    // S-45, and whoever asked for something else: had they been told before, they would have been
    // by the time they are told of the last one.
    mec.delete(&href).await.expect(204);
    let category = json!({"href": "/catalogue/1", "id": "cat-1", "name": "RNI", "version": "v2"});
    mec.register(&svc(json!({"serName": "last", "state": "INACTIVE", "serCategory": category})))
        .await;
    for one in [&by_name, &by_state, &by_category] {
        let told = one.next().await.json();
        assert_eq!(told["serviceReferences"][0]["serName"], "last", "S-43");
        assert!(one.take().is_empty(), "S-43");
    }
    assert!(all.take().is_empty(), "S-45");
}

/// S-44: two subscribers that fail delay neither the request nor the one that does not.
#[tokio::test]
async fn bad_subscribers_delay_nobody() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let (well, sick) = (Upstream::start().await, Upstream::start().await);
    let down = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for to in [format!("http://{down}/"), format!("{}/status/500", sick.url()), well.url()] {
        let body = json!({
            "subscriptionType": "SerAvailabilityNotificationSubscription",
            "callbackReference": to,
        });
        mec.post(&mec.sm("/subscriptions"), &body).await.expect(201);
    }
    mec.register(&svc(json!({}))).await;
    well.next().await;
    // The one that answers 500 is asked again after a second.
    sick.next().await;
    let again = tokio::time::timeout(Duration::from_secs(15), sick.next()).await;
    assert!(again.is_ok(), "S-44: tried again");
}
