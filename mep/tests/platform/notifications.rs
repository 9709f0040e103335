//! Notifications, to a real receiver: A-57 to A-59, and what happens when it does not listen.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode};
use mep::PlatformSettings;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

use crate::kit::{A, B, Rig, SM, eventually, service, service_at};

/// An app that listens for notifications.
struct Receiver {
    address: SocketAddr,
    got: mpsc::UnboundedReceiver<(HeaderMap, Value)>,
    /// What it answers next; afterwards 204.
    answers: Arc<Mutex<VecDeque<StatusCode>>>,
}

impl Receiver {
    async fn start() -> Self {
        let (send, got) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(VecDeque::new()));
        let receive =
            async |State((send, answers)): State<Shared>, headers: HeaderMap, body: String| {
                send.send((headers, serde_json::from_str(&body).unwrap())).unwrap();
                let next = answers.lock().unwrap().pop_front();
                let status: StatusCode = next.unwrap_or(StatusCode::NO_CONTENT);
                let response: Response = (status, [("location", "/elsewhere")]).into_response();
                response
            };
        let app = Router::new().fallback(receive).with_state((send, Arc::clone(&answers)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, got, answers }
    }

    fn answer(&self, statuses: &[u16]) {
        let statuses = statuses.iter().map(|status| StatusCode::from_u16(*status).unwrap());
        self.answers.lock().unwrap().extend(statuses);
    }

    async fn next(&mut self) -> (HeaderMap, Value) {
        tokio::time::timeout(Duration::from_secs(20), self.got.recv())
            .await
            .expect("a notification in time")
            .unwrap()
    }

    /// `changeType serName state` of the next notification.
    async fn told(&mut self) -> String {
        let (_, body) = self.next().await;
        let reference = &body["serviceReferences"][0];
        let text = |member: &str| reference[member].as_str().unwrap().to_owned();
        format!("{} {} {}", text("changeType"), text("serName"), text("state"))
    }
}

type Shared = (mpsc::UnboundedSender<(HeaderMap, Value)>, Arc<Mutex<VecDeque<StatusCode>>>);

fn loopback_allowed(settings: &mut PlatformSettings) {
    settings.destinations.networks = mep::loopback();
    settings.own_address = Some("192.0.2.1".parse().unwrap());
    settings.delivery.pause = Duration::from_millis(10);
    settings.delivery.longest_pause = Duration::from_millis(20);
    settings.delivery.retries = 3;
}

async fn subscribe(rig: &Rig, app: &str, callback: &str, criteria: Value) -> String {
    let body = json!({
        "subscriptionType": "SerAvailabilityNotificationSubscription",
        "callbackReference": callback,
        "filteringCriteria": criteria,
    });
    let path = format!("{SM}/applications/{app}/subscriptions");
    let answer = rig.mp1(Method::POST, path).of(app).json(&body).send().await;
    answer.expect(201);
    answer.json()["subscriptionId"].as_str().unwrap().to_owned()
}

fn one(rig: &Rig, method: Method, id: &str) -> crate::kit::Ask {
    rig.mp1(method, format!("{SM}/applications/{A}/services/{id}")).of(A)
}

#[tokio::test]
async fn a57_a58_the_life_of_a_service_is_told() {
    let rig = Rig::with(loopback_allowed).await;
    let mut receiver = Receiver::start().await;
    let callback = format!("http://{}/cb", receiver.address);
    let subscription = subscribe(&rig, B, &callback, json!(null)).await;

    let id = rig.register(A, service("x")).await;
    let (headers, body) = receiver.next().await;
    assert_eq!(headers["content-type"], "application/json; charset=utf-8");
    assert_eq!(headers["x-real-ip"], "192.0.2.1");
    let wanted = json!({
        "notificationType": "SerAvailabilityNotification",
        "serviceReferences": [{
            "link": {"href": format!("/mec_service_mgmt/v1/services/{id}")},
            "serName": "x",
            "serInstanceId": id,
            "state": "ACTIVE",
            "changeType": "ADDED",
        }],
        "_links": {"subscription": {
            "href": format!("/mec_service_mgmt/v1/applications/{B}/subscriptions/{subscription}"),
        }},
    });
    assert_eq!(body.to_string(), wanted.to_string(), "members in this order");

    let mut body = service_at("x", &["http://a.test/"]);
    one(&rig, Method::PUT, &id).json(&body).send().await.expect(200);
    assert_eq!(receiver.told().await, "ATTRIBUTES_CHANGED x ACTIVE");
    // The same again is no news.
    one(&rig, Method::PUT, &id).json(&body).send().await.expect(200);
    body["state"] = json!("INACTIVE");
    one(&rig, Method::PUT, &id).json(&body).send().await.expect(200);
    assert_eq!(receiver.told().await, "ATTRIBUTES_CHANGED x INACTIVE");

    one(&rig, Method::DELETE, &id).send().await.expect(204);
    let (_, body) = receiver.next().await;
    let reference = &body["serviceReferences"][0];
    assert_eq!((&reference["changeType"], &reference["link"]), (&json!("REMOVED"), &json!({})));
    eventually("counted", async || rig.metric("mep_notifications_total", Some("delivered")) == 4.0)
        .await;
    assert_eq!(rig.metric("mep_service_instances", None), 0.0);
}

#[tokio::test]
async fn a59_a67_only_what_was_asked_for() {
    let rig = Rig::with(|settings| {
        loopback_allowed(settings);
        settings.delivery.state_changed = true;
    })
    .await;
    let mut other = Receiver::start().await;
    let mut suspended = Receiver::start().await;
    let callback = |receiver: &Receiver| format!("http://{}/cb", receiver.address);
    subscribe(&rig, B, &callback(&other), json!({"serNames": ["other"]})).await;
    subscribe(&rig, B, &callback(&suspended), json!({"states": ["SUSPENDED"]})).await;

    let mut body = service("x");
    body["livenessInterval"] = json!(60);
    let id = rig.register(A, body).await;
    rig.clock.advance_ms(63_000);
    assert_eq!(suspended.told().await, "STATE_CHANGED x SUSPENDED");
    // One notification for one suspension, none for heartbeats or other names.
    let beat = format!("{SM}/applications/{A}/services/{id}/liveness");
    for _ in 0..2 {
        let beat = rig.mp1(Method::PUT, &beat).of(A).json(&json!({"state": "ACTIVE"}));
        beat.send().await.expect(204);
    }
    rig.register(A, service("other")).await;
    assert_eq!(other.told().await, "ADDED other ACTIVE");
    assert!(other.got.try_recv().is_err() && suspended.got.try_recv().is_err());
}

#[tokio::test]
async fn a_receiver_that_fails_is_tried_again_in_order() {
    let rig = Rig::with(loopback_allowed).await;
    let mut receiver = Receiver::start().await;
    receiver.answer(&[503, 429]);
    subscribe(&rig, B, &format!("http://{}/cb", receiver.address), json!(null)).await;
    for name in ["x", "y", "z"] {
        rig.register(A, service(name)).await;
    }
    for name in ["x", "x", "x", "y", "z"] {
        assert_eq!(receiver.told().await, format!("ADDED {name} ACTIVE"));
    }
    // A clear no, and a redirect, are not tried again.
    receiver.answer(&[404, 302]);
    rig.register(A, service("n")).await;
    rig.register(A, service("r")).await;
    assert_eq!(receiver.told().await, "ADDED n ACTIVE");
    assert_eq!(receiver.told().await, "ADDED r ACTIVE");
    let result = |result| rig.metric("mep_notifications_total", Some(result));
    eventually("counted", async || result("refused") == 2.0).await;
    assert_eq!(result("delivered"), 3.0);
    assert!(receiver.got.try_recv().is_err());
}

#[tokio::test]
async fn who_does_not_answer_delays_nobody_and_loses_what_does_not_fit() {
    let rig = Rig::with(|settings| {
        loopback_allowed(settings);
        settings.delivery.queue = 2;
        settings.delivery.timeout = Duration::from_secs(600);
    })
    .await;
    // It accepts connections and never says a word.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut receiver = Receiver::start().await;
    let callback = format!("http://{}/cb", silent.local_addr().unwrap());
    let stuck = subscribe(&rig, B, &callback, json!(null)).await;
    subscribe(&rig, B, &format!("http://{}/cb", receiver.address), json!(null)).await;

    rig.register(A, service("s0")).await;
    assert_eq!(receiver.told().await, "ADDED s0 ACTIVE");
    let _connection = silent.accept().await.unwrap();
    for at in 1..=5 {
        rig.register(A, service(&format!("s{at}"))).await;
        assert_eq!(receiver.told().await, format!("ADDED s{at} ACTIVE"));
    }
    // One in hand, two waiting, three lost.
    let dropped = async || rig.metric("mep_notifications_total", Some("dropped")) == 3.0;
    eventually("three lost", dropped).await;
    let path = format!("{SM}/applications/{B}/subscriptions/{stuck}");
    rig.mp1(Method::DELETE, path).of(B).send().await.expect(204);
}

#[tokio::test]
async fn nobody_is_called_inside() {
    // Allowed when it was subscribed, and not any more.
    let rig = Rig::with(loopback_allowed).await;
    let mut receiver = Receiver::start().await;
    let port = receiver.address.port();
    for callback in [format!("http://127.0.0.1:{port}/"), "/relative".to_owned()] {
        subscribe(&rig, B, &callback, json!(null)).await;
    }
    let control = rig.control.clone();
    drop(rig);
    let settings = PlatformSettings::default();
    let issuer = Arc::clone(&crate::kit::ISSUER);
    let rig = Rig::over(control, settings, issuer, crate::kit::NOW_MS);
    rig.register(A, service("x")).await;
    let refused = async || rig.metric("mep_notifications_total", Some("refused")) == 2.0;
    eventually("refused", refused).await;
    assert!(receiver.got.try_recv().is_err());
}

/// Ten thousand subscriptions and a thousand registrations, one after the other, while no
/// subscriber answers: every registration is answered before anybody is told anything, only those
/// who asked for a service are queued for, and in the end all are told and nothing was lost.
#[tokio::test]
async fn registration_waits_for_no_subscriber() {
    const SUBSCRIPTIONS: usize = 10_000;
    const SERVICES: usize = 1_000;
    /// Names subscribed to, each by two subscriptions.
    const NAMES: usize = SUBSCRIPTIONS / 2;
    let rig = Rig::with(|settings| {
        loopback_allowed(settings);
        settings.delivery.timeout = Duration::from_secs(120);
        settings.delivery.retries = 100_000;
    })
    .await;
    let (told, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let receive = {
        let (told, gate) = (Arc::clone(&told), Arc::clone(&gate));
        async move || {
            drop(gate.acquire().await.unwrap());
            told.fetch_add(1, Ordering::SeqCst);
            StatusCode::NO_CONTENT
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let callback = format!("http://{}/cb", listener.local_addr().unwrap());
    let app = Router::new().fallback(receive);
    tokio::spawn(async move { axum::serve(listener, app).await });

    let id = |number: usize| format!("5abe4782-2c70-4e47-9a4e-{number:012x}");
    for number in 0..SUBSCRIPTIONS {
        let criteria = json!({"serNames": [format!("s{}", number % NAMES)]});
        subscribe(&rig, &id(number / 50), &callback, criteria).await;
    }
    for number in 0..SERVICES {
        rig.register(&id(number / 50), service(&format!("s{number}"))).await;
    }
    assert_eq!(rig.metric("mep_registrations_total", Some("registered")), SERVICES as f64);
    assert_eq!(told.load(Ordering::SeqCst), 0, "nobody was told yet, and nothing waited for it");

    gate.add_permits(1);
    let delivered = || rig.metric("mep_notifications_total", Some("delivered"));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    while delivered() < (2 * SERVICES) as f64 {
        assert!(tokio::time::Instant::now() < deadline, "{} of {}", delivered(), 2 * SERVICES);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(told.load(Ordering::SeqCst), 2 * SERVICES);
    for lost in ["refused", "failed", "dropped"] {
        assert_eq!(rig.metric("mep_notifications_total", Some(lost)), 0.0, "{lost}");
    }
    assert_eq!(rig.metric("mep_missed_commits_total", None), 0.0);
}
