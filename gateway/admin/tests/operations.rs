//! What the node shows and steers beside entities: health of targets, the level of logs.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[expect(dead_code, reason = "of the replay driver only requests are used here")]
mod replay;
mod subject;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway_admin::{LogLevel, Writes};
use gateway_model::Id;
use gateway_model::ports::{AddressState, Health, MarkError, TargetHealth, TargetState};
use replay::Sent;
use serde_json::{Value, json};
use subject::Subject;

fn ask(subject: &Subject, method: &str, path: &str, body: Value) -> (u16, Value) {
    let json = (!body.is_null()).then_some(body);
    let headers = json.iter().map(|_| ("Content-Type".to_owned(), "application/json".into()));
    let headers = BTreeMap::from_iter(headers);
    let sent = Sent { method: method.into(), path: path.into(), headers, json, body: None };
    let reply = subject.send(&sent);
    (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
}

/// One target with one healthy address and one that an operator may mark.
struct Checked(Mutex<bool>);

const SECOND: &str = "10.0.0.2:80";

impl TargetHealth for Checked {
    fn target(&self, _: Id, _: Id) -> Option<TargetState> {
        let second = if *self.0.lock().unwrap() { Health::Healthy } else { Health::Unhealthy };
        let address = |text: &str, health| AddressState {
            address: text.parse().unwrap(),
            weight: 50,
            health,
        };
        let addresses = vec![address("10.0.0.1:80", Health::Healthy), address(SECOND, second)];
        Some(TargetState { health: Health::Healthy, addresses })
    }

    fn mark(
        &self,
        _: Id,
        _: Id,
        address: Option<SocketAddr>,
        healthy: bool,
    ) -> Result<(), MarkError> {
        if address.is_some_and(|address| address.to_string() != SECOND) {
            return Err(MarkError::Unknown);
        }
        *self.0.lock().unwrap() = healthy;
        Ok(())
    }
}

#[test]
fn health_is_what_the_balancer_says() {
    let mut subject = Subject::start();
    subject.ports.targets = Some(Arc::new(Checked(Mutex::new(true))));
    let checks = json!({"active": {"healthy": {"interval": 5}}, "threshold": 60});
    ask(&subject, "POST", "/upstreams", json!({"name": "up", "healthchecks": checks}));
    let target = json!({"target": "two.test:80", "weight": 50});
    assert_eq!(ask(&subject, "POST", "/upstreams/up/targets", target).0, 201);

    let unhealthy = format!("/upstreams/up/targets/two.test:80/{SECOND}/unhealthy");
    for (path, status) in [
        ("/upstreams/none/targets/two.test:80/unhealthy", 404),
        ("/upstreams/up/targets/other.test:80/unhealthy", 404),
        ("/upstreams/up/targets/two.test:80/10.0.0.9:80/unhealthy", 404),
        ("/upstreams/up/targets/two.test:80/nonsense/unhealthy", 404),
        (unhealthy.as_str(), 204),
    ] {
        assert_eq!(ask(&subject, "PUT", path, Value::Null).0, status, "{path}");
    }
    let check = |available: u64, second: &str, whole: &str| {
        let (_, rows) = ask(&subject, "GET", "/upstreams/up/health", Value::Null);
        assert_eq!(rows["data"][0]["health"], "HEALTHY");
        let weight = json!({"total": 100, "available": available, "unavailable": 100 - available});
        assert_eq!(rows["data"][0]["data"]["weight"], weight);
        assert_eq!(rows["data"][0]["data"]["addresses"][1]["health"], second);
        let path = "/upstreams/up/health?balancer_health=1";
        let (_, answer) = ask(&subject, "GET", path, Value::Null);
        assert_eq!(answer["data"]["balancer_health"], whole);
        assert_eq!(answer["data"]["health"], whole);
        assert_eq!(answer["data"]["details"]["weight"], weight);
    };
    check(50, "UNHEALTHY", "UNHEALTHY");
    let healthy = "/upstreams/up/targets/two.test:80/healthy";
    assert_eq!(ask(&subject, "PUT", healthy, Value::Null).0, 204);
    check(100, "HEALTHY", "HEALTHY");
}

#[test]
fn without_a_balancer_only_addresses_have_a_state() {
    let mut subject = Subject::start();
    subject.ports.targets = None;
    ask(&subject, "POST", "/upstreams", json!({"name": "up"}));
    for target in ["10.0.0.1", "name.test"] {
        ask(&subject, "POST", "/upstreams/up/targets", json!({"target": target}));
    }
    let (_, rows) = ask(&subject, "GET", "/upstreams/up/health", Value::Null);
    for row in rows["data"].as_array().unwrap() {
        let known = row["target"] == "10.0.0.1:8000";
        let health = if known { json!("HEALTHCHECKS_OFF") } else { Value::Null };
        assert_eq!(row["health"], health, "{row}");
    }
    let (status, answer) =
        ask(&subject, "PUT", "/upstreams/up/targets/10.0.0.1:8000/healthy", Value::Null);
    assert_eq!((status, &answer["message"]), (400, &json!("no healthchecker found for up")));
}

#[derive(Default)]
struct Level(Mutex<Option<(String, Option<Duration>)>>);

impl LogLevel for Level {
    fn level(&self) -> String {
        self.0.lock().unwrap().as_ref().map_or("notice".into(), |(level, _)| level.clone())
    }

    fn set(&self, level: &str, back_in: Option<Duration>) {
        *self.0.lock().unwrap() = Some((level.to_owned(), back_in));
    }
}

#[test]
fn the_log_level_is_changed_for_a_while() {
    let mut subject = Subject::start();
    let put = |subject: &Subject, path: &str| {
        let (status, answer) = ask(subject, "PUT", path, Value::Null);
        (status, answer["message"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(put(&subject, "/debug/node/log-level/debug").0, 501, "no port, no change");

    let level = Arc::new(Level::default());
    subject.ports.log_level = Some(Arc::clone(&level) as Arc<dyn LogLevel>);
    let bad = "timeout must be greater than or equal to 0".to_owned();
    for (path, wanted, lasts) in [
        ("/debug/node/log-level/loud", (400, "unknown log level: loud".to_owned()), None),
        ("/debug/node/log-level/debug?timeout=-1", (400, bad), None),
        ("/debug/node/log-level/notice", (200, "log level is already notice".to_owned()), None),
        ("/debug/node/log-level/debug", (200, "log level changed".to_owned()), Some(Some(60))),
        (
            "/debug/cluster/log-level/warn?timeout=0",
            (200, "log level changed".to_owned()),
            Some(None),
        ),
    ] {
        level.0.lock().unwrap().take();
        assert_eq!(put(&subject, path), wanted, "{path}");
        let set = level.0.lock().unwrap().clone().map(|(_, lasts)| lasts);
        assert_eq!(set, lasts.map(|lasts| lasts.map(Duration::from_secs)), "{path}");
    }
    let (_, shown) = ask(&subject, "GET", "/debug/node/log-level", Value::Null);
    assert_eq!(shown["message"], "log level: warn");

    subject.admin.writes = Writes::Declarative;
    assert_eq!(put(&subject, "/debug/node/log-level/debug").0, 405);
}

/// Tools ask for what other editions have; anything but 404 stops them.
#[test]
fn what_is_not_there_is_not_found() {
    let subject = Subject::start();
    for path in [
        "/consumer_groups",
        "/mtls-auths",
        "/licenses",
        "/partials",
        "/workspaces",
        "/services/00000000-0000-4000-8000-000000000000/degraphql/routes",
        "/targets",
        "/upstreams/none/health",
        "/upstreams/none/targets/all",
    ] {
        assert_eq!(
            ask(&subject, "GET", &format!("{path}?size=1000"), Value::Null).0,
            404,
            "{path}"
        );
    }
}
