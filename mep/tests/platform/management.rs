//! Mm5 where no socket can show it: operations that take long, and a data plane that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use futures::stream;
use gateway_control::store::memory::Memory;
use gateway_model::{Change, Entity, Id, Key, Ref};
use http::Method;
use mep::entities::{
    AppInstance, AppOperation, AppTask, AppTermination, DnsRule, OperationAction, TaskResult,
    TrafficRule,
};
use mep::traffic::{DriverError, TrafficDriver, Unsupported};
use mep::{PlatformSettings, Ports};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;

use crate::kit::{A, AS, Answer, B, NOW_MS, Rig, eventually};

/// A data plane one can hold up and break.
struct Plane {
    gate: Semaphore,
    /// Calls at the gate.
    waiting: AtomicUsize,
    broken: AtomicBool,
    did: Mutex<Vec<String>>,
}

impl Plane {
    fn open() -> Arc<Self> {
        Self::with(Semaphore::MAX_PERMITS)
    }

    fn shut() -> Arc<Self> {
        Self::with(0)
    }

    fn with(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            gate: Semaphore::new(permits),
            waiting: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            did: Mutex::default(),
        })
    }

    async fn note(&self, what: &str, rule: &TrafficRule) -> Result<(), DriverError> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) && rule.rule_id == "bad" {
            return Err(DriverError("broken".to_owned()));
        }
        self.did.lock().await.push(format!("{what} {}", rule.rule_id));
        Ok(())
    }
}

struct Driver(Arc<Plane>);

#[async_trait]
impl TrafficDriver for Driver {
    fn name(&self) -> &'static str {
        "tested"
    }

    fn check(&self, rule: &TrafficRule) -> Result<(), Unsupported> {
        let impossible = rule.rule_id == "impossible";
        if impossible { Err(Unsupported("no such thing".to_owned())) } else { Ok(()) }
    }

    async fn apply(&self, rule: &TrafficRule) -> Result<(), DriverError> {
        self.0.note("apply", rule).await
    }

    async fn withdraw(&self, rule: &TrafficRule) -> Result<(), DriverError> {
        self.0.note("withdraw", rule).await
    }

    async fn apply_dns(&self, rule: &DnsRule) -> Result<(), DriverError> {
        self.0.did.lock().await.push(format!("answer {}", rule.rule_id));
        Ok(())
    }

    async fn withdraw_dns(&self, rule: &DnsRule) -> Result<(), DriverError> {
        self.0.did.lock().await.push(format!("forget {}", rule.rule_id));
        Ok(())
    }

    async fn reconcile(&self, _: &[TrafficRule]) -> Result<(), DriverError> {
        Ok(())
    }
}

async fn rig(plane: &Arc<Plane>) -> Rig {
    let traffic = Arc::new(Driver(Arc::clone(plane)));
    Rig::connected(Ports { traffic, ..Ports::default() }).await
}

fn config(app: &str) -> String {
    format!("/mepcfg/app_lcm/v1/applications/{app}/appd_configuration")
}

fn rule(id: &str) -> Value {
    json!({
        "trafficRuleId": id, "filterType": "FLOW", "priority": 1, "trafficFilter": [],
        "action": "DROP",
    })
}

fn body(name: &str, rules: &[&str]) -> Value {
    let rules: Vec<Value> = rules.iter().map(|id| rule(id)).collect();
    json!({"appName": name, "appTrafficRule": rules})
}

async fn ask(rig: &Rig, method: Method, app: &str, body: &Value) -> Answer {
    rig.mp1(method, config(app)).json(body).send().await
}

/// How the task of an answer ended.
async fn ended(rig: &Rig, began: &Answer) -> Value {
    began.expect(200);
    let task = began.json()["taskId"].as_str().unwrap().to_owned();
    let path = format!("/mepcfg/app_lcm/v1/tasks/{task}/appd_configuration");
    let mut last = Value::Null;
    eventually("the task ends", async || {
        last = rig.mp1(Method::GET, &path).send().await.json();
        last["configResult"] != "PROCESSING"
    })
    .await;
    last
}

const BUSY: &str = "app instance has other operation in progress";

/// A-71, A-84: one operation at a time, and readiness waits for it.
#[tokio::test]
async fn an_operation_under_way_keeps_others_out() {
    let plane = Plane::shut();
    let rig = rig(&plane).await;
    let began = ask(&rig, Method::POST, A, &body("a", &["r1", "r2"])).await;
    assert_eq!(began.json()["configResult"], "PROCESSING");
    assert_eq!(began.json()["Detailed"], "Operation In progress");
    let busy = |ask: crate::kit::Ask| ask.refused(403, 20, "Operation Not Allowed", BUSY);
    busy(rig.mp1(Method::POST, config(A)).json(&body("a", &["r"]))).await;
    let end = format!("{AS}/applications/{A}/AppInstanceTermination");
    busy(rig.mp1(Method::DELETE, &end).of(A)).await;
    let ready = format!("{AS}/applications/{A}/confirm_ready");
    rig.mp1(Method::POST, &ready)
        .json(&json!({"indication": "READY"}))
        .refused(
            409,
            18,
            "Service is in INACTIVE state",
            "configuration sync for application is in progress on confirm ready",
        )
        .await;
    // Names are taken from the first moment.
    let taken = rig.mp1(Method::POST, config(B)).json(&body("a", &["r"]));
    taken.refused(400, 19, "Duplicate request error", "duplicate app name").await;
    plane.gate.add_permits(100);
    let done = ended(&rig, &began).await;
    assert_eq!((&done["configResult"], &done["configPhase"]), (&json!("SUCCESS"), &json!("100")));
    assert_eq!(*plane.did.lock().await, ["apply r1", "apply r2"]);
    rig.mp1(Method::POST, &ready).json(&json!({"indication": "READY"})).send().await.expect(204);
}

/// What was done is taken back, and the stored configuration stays.
#[tokio::test]
async fn a_failure_takes_everything_back() {
    let plane = Plane::open();
    let rig = rig(&plane).await;
    let began = ask(&rig, Method::POST, A, &body("a", &["old"])).await;
    assert_eq!(ended(&rig, &began).await["configResult"], "SUCCESS");
    plane.broken.store(true, Ordering::SeqCst);
    plane.did.lock().await.clear();
    let began = ask(&rig, Method::PUT, A, &body("a", &["new", "bad"])).await;
    let failed = ended(&rig, &began).await;
    let reason = "Failed in configuring traffic rule on remote data-plane.";
    assert_eq!(
        (&failed["configResult"], &failed["configPhase"], &failed["Detailed"]),
        (&json!("FAILURE"), &json!("0"), &json!(reason))
    );
    assert_eq!(*plane.did.lock().await, ["apply new", "withdraw new"]);
    let kept = rig.mp1(Method::GET, config(A)).send().await.json();
    assert_eq!(kept["appTrafficRule"][0]["trafficRuleId"], "old");
    // Nothing is locked afterwards.
    plane.broken.store(false, Ordering::SeqCst);
    let began = ask(&rig, Method::DELETE, A, &Value::Null).await;
    assert_eq!(ended(&rig, &began).await["configResult"], "SUCCESS");
    let gone = rig.mp1(Method::GET, config(A));
    gone.refused(404, 5, "Can not found resource", "appD config retrieval failed").await;
}

/// A-82 and the failures of a change by the application itself.
#[tokio::test]
async fn a_changed_rule_reaches_the_data_plane() {
    let plane = Plane::open();
    let rig = rig(&plane).await;
    let began = ask(&rig, Method::POST, A, &body("a", &["bad"])).await;
    ended(&rig, &began).await;
    let path = format!("{AS}/applications/{A}/traffic_rules/bad");
    let put = |body: Value| rig.mp1(Method::PUT, &path).of(A).json(&body);
    let with = |change: Value| {
        let mut body = rule("bad");
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    let set = put(with(json!({"priority": 9}))).send().await;
    set.expect(200);
    let tag = set.headers["etag"].clone();
    let shown = rig.mp1(Method::GET, &path).of(A).send().await;
    assert_eq!((shown.json()["priority"].as_u64(), &shown.headers["etag"]), (Some(9), &tag));
    plane.broken.store(true, Ordering::SeqCst);
    let failed = "failed to apply configuration on data-plane";
    put(with(json!({"priority": 8}))).refused(503, 9, "Remote server error", failed).await;
    assert_eq!(rig.mp1(Method::GET, &path).of(A).send().await.json()["priority"], 9);
    plane.broken.store(false, Ordering::SeqCst);
    put(with(json!({"priority": 9, "state": "INACTIVE"}))).send().await.expect(200);
    put(with(json!({"priority": 7, "state": "INACTIVE"}))).send().await.expect(200);
    assert_eq!(*plane.did.lock().await, ["apply bad", "apply bad", "withdraw bad"]);
}

/// What is in effect already is no reason to ask the data plane again, at either root.
#[tokio::test]
async fn a_rule_put_back_changes_nothing() {
    let plane = Plane::open();
    let rig = rig(&plane).await;
    let mut configuration = body("a", &["r1"]);
    configuration["appTrafficRule"][0]["trafficFilter"] = json!([{"srcAddress": ["192.0.2.1"]}]);
    ended(&rig, &ask(&rig, Method::POST, A, &configuration).await).await;
    for root in [AS, "/mec_app_support/v1"] {
        let own = format!("{root}/applications/{A}/traffic_rules/r1");
        let shown = rig.mp1(Method::GET, &own).of(A).send().await.json();
        rig.mp1(Method::PUT, &own).of(A).json(&shown).send().await.expect(200);
    }
    assert_eq!(*plane.did.lock().await, ["apply r1"]);
}

#[tokio::test]
async fn what_the_data_plane_cannot_do_is_refused_with_its_words() {
    let rig = rig(&Plane::open()).await;
    let told = "traffic rule impossible: no such thing";
    let post = |body: &Value| rig.mp1(Method::POST, config(A)).json(body);
    post(&body("a", &["impossible"])).refused(400, 1, "Bad Request", told).await;
    let mut asleep = body("a", &["impossible"]);
    asleep["appTrafficRule"][0]["state"] = json!("INACTIVE");
    let began = ask(&rig, Method::POST, A, &asleep).await;
    assert_eq!(ended(&rig, &began).await["configResult"], "SUCCESS");
    let path = format!("{AS}/applications/{A}/traffic_rules/impossible");
    let put = rig.mp1(Method::PUT, path).of(A).json(&rule("impossible"));
    put.refused(400, 1, "Bad Request", "no such thing").await;
}

/// The data plane forgets the rules of an application that is gone.
#[tokio::test]
async fn rules_go_with_their_application() {
    let plane = Plane::open();
    let rig = rig(&plane).await;
    let began = ask(&rig, Method::POST, A, &body("a", &["r1", "r2"])).await;
    ended(&rig, &began).await;
    let end = format!("{AS}/applications/{A}/AppInstanceTermination");
    rig.mp1(Method::DELETE, &end).of(A).send().await.is(200, "\"\"\n");
    let did = plane.did.lock().await.clone();
    assert_eq!(did, ["apply r1", "apply r2", "withdraw r1", "withdraw r2"]);
    rig.mp1(Method::GET, config(A)).send().await.expect(404);
    rig.mp1(Method::DELETE, &end).of(A).send().await.is(200, "\"\"\n");
}

/// Names a data plane answers go with their application too.
#[tokio::test]
async fn names_go_with_their_application() {
    let plane = Plane::open();
    let rig = rig(&plane).await;
    let mut configuration = body("a", &[]);
    configuration["appDNSRule"] = json!([{
        "dnsRuleId": "d1", "domainName": "www.example.com", "ipAddressType": "IP_V4",
        "ipAddress": "192.0.2.10", "ttl": 30,
    }]);
    ended(&rig, &ask(&rig, Method::POST, A, &configuration).await).await;
    let end = format!("{AS}/applications/{A}/AppInstanceTermination");
    rig.mp1(Method::DELETE, &end).of(A).send().await.is(200, "\"\"\n");
    assert_eq!(*plane.did.lock().await, ["answer d1", "forget d1"]);
}

/// A client that stops in the middle of a body is in nobody's way.
#[tokio::test]
async fn rules_change_while_a_body_is_awaited() {
    let rig = rig(&Plane::open()).await;
    let mut configuration = body("a", &["r1"]);
    let dns = json!({
        "dnsRuleId": "d1", "domainName": "www.example.com", "ipAddressType": "IP_V4",
        "ipAddress": "192.0.2.10", "ttl": 30, "state": "ACTIVE",
    });
    configuration["appDNSRule"] = json!([dns]);
    ended(&rig, &ask(&rig, Method::POST, A, &configuration).await).await;
    let roots = ["", "/mep"].map(|root| format!("{root}/mec_app_support/v1/applications/{A}"));
    let stalled: Vec<_> = roots
        .iter()
        .flat_map(|root| [format!("{root}/dns_rules/d1"), format!("{root}/traffic_rules/r1")])
        .map(|path| {
            let nothing = stream::pending::<Result<Vec<u8>, std::io::Error>>();
            let ask = rig.mp1(Method::PUT, path).of(A).body(Body::from_stream(nothing));
            tokio::spawn(async { ask.send().await })
        })
        .collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let mut asleep = dns.clone();
    asleep["state"] = json!("INACTIVE");
    let put = rig.mp1(Method::PUT, format!("{}/dns_rules/d1", roots[1])).of(A).json(&asleep);
    let answer = tokio::time::timeout(Duration::from_secs(20), put.send()).await;
    answer.expect("the rule is held").expect(200);
    assert!(stalled.iter().all(|one| !one.is_finished()));
}

/// What management configured is not the application's to take away.
#[tokio::test]
async fn a_configuration_outlives_the_registration_of_its_application() {
    const REGISTRATIONS: &str = "/mec_app_support/v1/registrations";
    let plane = Plane::shut();
    let rig = rig(&plane).await;
    let registration = json!({
        "appName": "a", "appInstanceId": A, "endpoint": {"uris": ["http://192.0.2.1/"]},
    });
    let register = async || {
        rig.mp1(Method::POST, REGISTRATIONS).of(A).json(&registration).send().await.expect(201);
        let own = format!("{REGISTRATIONS}/{A}");
        rig.mp1(Method::DELETE, own).of(A).send().await.expect(204);
    };
    // While it is being configured, and afterwards.
    let began = ask(&rig, Method::POST, A, &body("a", &["r1"])).await;
    register().await;
    plane.gate.add_permits(100);
    assert_eq!(ended(&rig, &began).await["configResult"], "SUCCESS");
    register().await;
    rig.mp1(Method::GET, config(A)).send().await.expect(200);
    assert_eq!(*plane.did.lock().await, ["apply r1"]);
}

/// A plane that is held up from now on, while rule `r1` of app A, in this state, is switched by its
/// app; the answer to that comes once the plane goes on.
async fn held_up(state: &str, next: &str) -> (Arc<Plane>, Rig, JoinHandle<Answer>) {
    let plane = Plane::open();
    let rig = rig(&plane).await;
    let mut configuration = body("a", &["r1"]);
    configuration["appTrafficRule"][0]["state"] = json!(state);
    ended(&rig, &ask(&rig, Method::POST, A, &configuration).await).await;
    plane.gate.forget_permits(Semaphore::MAX_PERMITS);
    plane.did.lock().await.clear();
    let path = format!("{AS}/applications/{A}/traffic_rules/r1");
    let mut changed = rule("r1");
    changed["state"] = json!(next);
    changed["priority"] = json!(9);
    let switched = tokio::spawn(rig.mp1(Method::PUT, &path).of(A).json(&changed).send());
    eventually("the plane is at it", async || plane.waiting.load(Ordering::SeqCst) == 1).await;
    (plane, rig, switched)
}

/// What an application changed while management's change waited is known to the latter.
#[tokio::test]
async fn a_configuration_is_compared_with_what_is_there_when_its_turn_comes() {
    let (plane, rig, switched) = held_up("INACTIVE", "ACTIVE").await;
    let began = ask(&rig, Method::DELETE, A, &Value::Null).await;
    began.expect(200);
    plane.gate.add_permits(100);
    switched.await.unwrap().expect(200);
    assert_eq!(ended(&rig, &began).await["configResult"], "SUCCESS");
    assert_eq!(*plane.did.lock().await, ["apply r1", "withdraw r1"]);
}

/// A rule that was being changed when its application ended is not put back into effect.
#[tokio::test]
async fn a_change_does_not_outlive_its_application() {
    let (plane, rig, switched) = held_up("ACTIVE", "ACTIVE").await;
    let end = format!("{AS}/applications/{A}/AppInstanceTermination");
    let ending = tokio::spawn(rig.mp1(Method::DELETE, &end).of(A).send());
    let app = Id::parse(A).unwrap();
    eventually("it is gone", async || rig.catalog().get::<AppInstance>(app).is_none()).await;
    // What follows from its end comes as far as it can, then the change that was at the gate first.
    for permits in [0, 1] {
        plane.gate.add_permits(permits);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    plane.gate.add_permits(100);
    switched.await.unwrap().expect(404);
    ending.await.unwrap().is(200, "\"\"\n");
    assert_eq!(plane.did.lock().await.last().unwrap(), "withdraw r1");
}

/// Every node's data plane has what one of them was asked for.
#[tokio::test]
async fn rules_are_in_effect_at_every_node() {
    let store = Arc::new(Memory::new());
    let [here, there] = [Plane::open(), Plane::open()];
    let node = |plane: &Arc<Plane>| {
        let traffic = Arc::new(Driver(Arc::clone(plane)));
        Rig::node(&store, Ports { traffic, ..Ports::default() })
    };
    let (asked, _other) = (node(&here).await, node(&there).await);
    let has = async |wanted: &[&str]| {
        eventually(&wanted.join(", "), async || *there.did.lock().await == wanted).await;
        there.did.lock().await.clear();
    };
    let began = ask(&asked, Method::POST, A, &body("a", &["r1", "r2"])).await;
    ended(&asked, &began).await;
    has(&["apply r1", "apply r2"]).await;
    let path = format!("{AS}/applications/{A}/traffic_rules/r1");
    let mut asleep = rule("r1");
    for (state, wanted) in [("INACTIVE", "withdraw r1"), ("ACTIVE", "apply r1")] {
        asleep["state"] = json!(state);
        asked.mp1(Method::PUT, &path).of(A).json(&asleep).send().await.expect(200);
        has(&[wanted]).await;
    }
    let end = format!("{AS}/applications/{A}/AppInstanceTermination");
    asked.mp1(Method::DELETE, &end).of(A).send().await.is(200, "\"\"\n");
    has(&["withdraw r1", "withdraw r2"]).await;
    let did = ["apply r1", "apply r2", "withdraw r1", "apply r1", "withdraw r1", "withdraw r2"];
    assert_eq!(*here.did.lock().await, did, "once where it was asked");
}

fn put<T: Entity + Serialize>(id: Id, entity: &T) -> Change {
    let Ok(Value::Object(document)) = serde_json::to_value(entity) else { panic!("no document") };
    Change::Upsert { kind: T::KIND, key: Key::Id(id), document }
}

/// Operations of nodes that share the store: this one ends its own at start, and those of others
/// once nobody can be at work on them any more.
#[tokio::test]
async fn operations_of_other_nodes_are_theirs() {
    const FRESH: u64 = NOW_MS + 60_000;
    let control = crate::kit::control().await;
    let own = Id::from_bytes([1; 16]);
    let other = Id::from_bytes([2; 16]);
    let rows = [(own, FRESH, true), (other, FRESH, false), (other, NOW_MS - 1, true)];
    let ids: Vec<_> = rows.iter().map(|_| Id::random()).collect();
    for (id, (node, lease_ms, _)) in ids.iter().zip(rows) {
        let task = AppTask {
            id: Id::random(),
            app_instance: *id,
            result: TaskResult::Processing,
            detail: String::new(),
            began_at_ms: NOW_MS,
        };
        let operation = AppOperation {
            id: *id,
            app: Ref::new(*id),
            task: task.id,
            app_name: id.to_string(),
            names: Vec::new(),
            node: Some(node.to_string()),
            lease_ms,
        };
        let changes =
            vec![put(*id, &AppInstance { id: *id }), put(task.id, &task), put(*id, &operation)];
        control.apply(changes).await.unwrap();
    }
    let settings = PlatformSettings { node: own, ..PlatformSettings::default() };
    let rig = Rig::over(control, settings, Arc::clone(&crate::kit::ISSUER), NOW_MS);
    let left = |rig: &Rig| -> Vec<bool> {
        let catalog = rig.catalog();
        ids.iter().map(|id| catalog.get::<AppOperation>(*id).is_none()).collect()
    };
    let wanted: Vec<bool> = rows.iter().map(|(.., ended)| *ended).collect();
    eventually("what was left behind is ended", async || left(&rig) == wanted).await;
    let catalog = rig.catalog();
    for task in catalog.all::<AppTask>() {
        let ended = wanted[ids.iter().position(|id| *id == task.app_instance).unwrap()];
        let result = if ended { TaskResult::Failure } else { TaskResult::Processing };
        assert_eq!(task.result, result);
    }
}

/// Ends of nodes that share the store: this one goes on with its own at start, and with those of
/// others once their time is over.
#[tokio::test]
async fn ends_of_other_nodes_are_theirs_until_they_are_overdue() {
    const FRESH: Option<u64> = Some(NOW_MS + 60_000);
    let control = crate::kit::control().await;
    let own = Id::from_bytes([1; 16]);
    let other = Id::from_bytes([2; 16]);
    let rows = [
        (Some(own), FRESH, true),
        (None, None, true),
        (Some(other), FRESH, false),
        (Some(other), Some(NOW_MS - 1), true),
    ];
    let ids: Vec<_> = rows.iter().map(|_| Id::random()).collect();
    for (id, (node, deadline_ms, _)) in ids.iter().zip(rows) {
        let marker = AppTermination {
            id: *id,
            app: Ref::new(*id),
            action: OperationAction::Terminating,
            serial: Id::random(),
            node: node.map(|node| node.to_string()),
            deadline_ms,
        };
        let changes = vec![put(*id, &AppInstance { id: *id }), put(*id, &marker)];
        control.apply(changes).await.unwrap();
    }
    let graceful_timeout = Duration::ZERO;
    let settings = PlatformSettings { node: own, graceful_timeout, ..PlatformSettings::default() };
    let rig = Rig::over(control, settings, Arc::clone(&crate::kit::ISSUER), NOW_MS);
    let left = |rig: &Rig| -> Vec<bool> {
        let catalog = rig.catalog();
        ids.iter().map(|id| catalog.get::<AppTermination>(*id).is_none()).collect()
    };
    let wanted: Vec<bool> = rows.iter().map(|(.., ended)| *ended).collect();
    eventually("what is overdue is let go", async || left(&rig) == wanted).await;
}
