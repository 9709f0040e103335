//! What a data plane that is slow or broken does to management and to applications: a program in
//! the place of `nft` that waits, fails or succeeds as the test wants. What `nft` itself makes of
//! rules is tested elsewhere.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use http::Method;
use serde_json::{Value, json};

use crate::cluster::Pair;
use crate::harness::{Answer, Answered as _, App, Gateway, Options, eventually, mp1, plain};

struct Plane {
    folder: tempfile::TempDir,
}

impl Plane {
    fn new() -> Self {
        let plane = Self { folder: tempfile::tempdir().unwrap() };
        let path = plane.folder.path().display();
        let script = format!(
            "#!/bin/sh\nexport PATH=/usr/bin:/bin\ncd {path}\n\
             tr -d '\\n' > call.$$ && echo >> call.$$ && cat call.$$ >> calls && rm call.$$\n\
             while [ -e held ]; do sleep 0.02; done\n\
             if [ -e broken ]; then echo out of order >&2; exit 1; fi\n"
        );
        std::fs::write(plane.at("nft"), script).unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(plane.at("nft"), executable).unwrap();
        plane
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// From now on the program is `held` or `broken`.
    fn set(&self, state: &str) {
        std::fs::write(self.at(state), "").unwrap();
    }

    fn clear(&self, state: &str) {
        std::fs::remove_file(self.at(state)).unwrap();
    }

    /// What it was given since the last call.
    fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.at("calls")).unwrap_or_default();
        let _ = std::fs::remove_file(self.at("calls"));
        calls.lines().map(str::to_owned).collect()
    }

    async fn gateway(&self) -> Gateway {
        let options = Options::new()
            .set("mep_traffic_driver", "nftables")
            .set("mep_traffic_nft", self.at("nft").to_str().unwrap());
        options.start().await
    }
}

fn problem(code: u16, title: &str, detail: &str) -> Value {
    json!({"title": title, "status": code, "detail": detail})
}

fn configuration(app: &App) -> String {
    format!("/mepcfg/app_lcm/v1/applications/{}/appd_configuration", app.id)
}

fn support(app: &App, rest: &str) -> String {
    format!("/mep/mec_app_support/v1/applications/{}{rest}", app.id)
}

fn rules(name: &str) -> Value {
    json!({
        "appName": name,
        "appTrafficRule": [{
            "trafficRuleId": "r1", "filterType": "FLOW", "priority": 1, "action": "DROP",
            "trafficFilter": [{"srcAddress": ["192.0.2.0/24"]}],
        }],
        "appDnsRule": [{
            "dnsRuleId": "d1", "domainName": format!("{name}.example.com"),
            "ipAddressType": "IP_V4", "ipAddress": "10.0.0.1", "ttl": 30,
        }],
    })
}

async fn manage(gateway: &Gateway, method: Method, path: &str, body: &Value) -> Answer {
    let request = plain().request(method, gateway.url("mep", path));
    if body.is_null() { request } else { request.json(body) }.answer().await
}

async fn of(gateway: &Gateway, app: &App, method: Method, path: &str, body: &Value) -> Answer {
    let request = mp1(gateway, &app.id, method, path);
    if body.is_null() { request } else { request.json(body) }.answer().await
}

/// How the task an answer tells of ended.
async fn ended(gateway: &Gateway, began: Answer) -> Value {
    let task = began.expect(200).json()["taskId"].as_str().unwrap().to_owned();
    let path = format!("/mepcfg/app_lcm/v1/tasks/{task}/appd_configuration");
    eventually("the task ends", async || {
        let now = manage(gateway, Method::GET, &path, &Value::Null).await.expect(200).json();
        (now["configResult"] != "PROCESSING").then_some(now)
    })
    .await
}

const NULL: Value = Value::Null;

/// one operation of an application at a time; readiness and termination wait for it.
/// the end of another application is no end of it.
#[tokio::test]
async fn an_operation_under_way_keeps_others_out() {
    let plane = Plane::new();
    let gateway = plane.gateway().await;
    let (app, other) = (App::random(), App::random());
    let path = configuration(&app);
    plane.set("held");
    let began = manage(&gateway, Method::POST, &path, &rules("app1")).await.expect(200);
    let progress = json!({
        "taskId": began.json()["taskId"], "appInstanceId": app.id,
        "configResult": "PROCESSING", "configPhase": "0", "Detailed": "Operation In progress",
    });
    assert_eq!(began.json(), progress, "A-69");

    let busy = problem(20, "Operation Not Allowed", "app instance has other operation in progress");
    let end = |app: &App| support(app, "/AppInstanceTermination");
    let ready = json!({"indication": "READY"});
    let readiness = support(&app, "/confirm_ready");
    of(&gateway, &other, Method::DELETE, &end(&other), &NULL).await.expect(200);
    for _ in 0..2 {
        let again = manage(&gateway, Method::POST, &path, &rules("app1")).await;
        assert_eq!((again.status, again.json()), (403, busy.clone()), "A-71, Q-35");
        let ended = of(&gateway, &app, Method::DELETE, &end(&app), &NULL).await;
        assert_eq!((ended.status, ended.json()), (403, busy.clone()), "5.3");
        let waiting = of(&gateway, &app, Method::POST, &readiness, &ready).await;
        let syncing = "configuration sync for application is in progress on confirm ready";
        let syncing = problem(18, "Service is in INACTIVE state", syncing);
        assert_eq!((waiting.status, waiting.json()), (409, syncing), "A-84");
    }
    plane.clear("held");
    assert_eq!(ended(&gateway, began).await["configResult"], "SUCCESS");
    of(&gateway, &app, Method::POST, &readiness, &ready).await.expect(204);
    of(&gateway, &app, Method::DELETE, &end(&app), &NULL).await.expect(200);
    manage(&gateway, Method::GET, &path, &NULL).await.expect(404);
}

/// and 4.11's 503: what the data plane does not do is not stored, and nothing stays
/// locked.
#[tokio::test]
async fn a_data_plane_that_fails_changes_nothing() {
    let plane = Plane::new();
    let gateway = plane.gateway().await;
    let app = App::random();
    let path = configuration(&app);
    plane.set("broken");
    let failed = manage(&gateway, Method::POST, &path, &rules("app1")).await;
    let failed = ended(&gateway, failed).await;
    let told = "Failed in configuring traffic rule on remote data-plane.";
    assert_eq!(
        (&failed["configResult"], &failed["configPhase"], &failed["Detailed"]),
        (&json!("FAILURE"), &json!("0"), &json!(told)),
        "5.2"
    );
    manage(&gateway, Method::GET, &path, &NULL).await.expect(404);
    plane.clear("broken");
    let done = manage(&gateway, Method::POST, &path, &rules("app1")).await;
    assert_eq!(ended(&gateway, done).await["configResult"], "SUCCESS", "Q-41");

    let one = support(&app, "/traffic_rules/r1");
    let rule = of(&gateway, &app, Method::GET, &one, &NULL).await.expect(200).json();
    let mut next = rule.clone();
    next["priority"] = json!(9);
    next["action"] = json!("PASSTHROUGH");
    plane.calls();
    plane.set("broken");
    let refused = of(&gateway, &app, Method::PUT, &one, &next).await;
    let told = problem(9, "Remote server error", "failed to apply configuration on data-plane");
    assert_eq!((refused.status, refused.json()), (503, told));
    assert_eq!(of(&gateway, &app, Method::GET, &one, &NULL).await.json(), rule, "rolled back");
    plane.clear("broken");
    plane.calls();
    of(&gateway, &app, Method::PUT, &one, &next).await.expect(200);
    let calls = plane.calls();
    assert_eq!(calls.len(), 1, "A-82: {calls:?}");
    assert!(calls[0].contains("accept") && !calls[0].contains("drop"), "A-82: {calls:?}");
}

/// as many rules as a body holds, with ids of up to 63 characters.
#[tokio::test]
async fn many_rules_with_long_ids() {
    let gateway = Gateway::start().await;
    let app = App::random();
    let id = |n: usize| format!("{n:063}");
    let traffic = |n: usize| {
        json!({
            "trafficRuleId": id(n), "filterType": "FLOW", "priority": 1, "action": "DROP",
            "trafficFilter": [],
        })
    };
    let dns = |n: usize| {
        json!({
            "dnsRuleId": id(n), "domainName": format!("d{n}.example.com"),
            "ipAddressType": "IPv4", "ipAddress": "10.0.0.1", "ttl": 0,
        })
    };
    let body = json!({
        "appName": "many", "appTrafficRule": (0..40).map(traffic).collect::<Vec<_>>(),
        "appDnsRule": (0..40).map(dns).collect::<Vec<_>>(),
    });
    let began = manage(&gateway, Method::POST, &configuration(&app), &body).await;
    assert_eq!(ended(&gateway, began).await["configResult"], "SUCCESS", "Q-12");
    for kind in ["/dns_rules", "/traffic_rules"] {
        let all = of(&gateway, &app, Method::GET, &support(&app, kind), &NULL).await.expect(200);
        assert_eq!(all.json().as_array().unwrap().len(), 40, "Q-12");
        let one = support(&app, &format!("{kind}/{}", id(39)));
        let rule = of(&gateway, &app, Method::GET, &one, &NULL).await.expect(200);
        of(&gateway, &app, Method::PUT, &one, &rule.json()).await.expect(200);
        let long = support(&app, &format!("{kind}/{}", "x".repeat(64)));
        of(&gateway, &app, Method::GET, &long, &NULL).await.expect(400);
    }
}

/// a rule that cannot be brought to the name server stays as it was, and a registration
/// that fails leaves nothing at the gateway. The name server follows the store: that is what is out
/// of reach.
#[tokio::test]
async fn what_cannot_be_stored_has_no_effect() {
    let Some(mut pair) = Pair::start().await else { return };
    let gateway = &pair.nodes[0];
    let app = App::random();
    let began = manage(gateway, Method::POST, &configuration(&app), &rules("app1")).await;
    assert_eq!(ended(gateway, began).await["configResult"], "SUCCESS");
    let one = support(&app, "/dns_rules/d1");
    let rule = of(gateway, &app, Method::GET, &one, &NULL).await.expect(200).json();
    let mut asleep = rule.clone();
    asleep["state"] = json!("INACTIVE");
    pair.server.kill();
    let refused = of(gateway, &app, Method::PUT, &one, &asleep).await;
    let told = problem(9, "Remote server error", "failed to apply the dns modification");
    assert_eq!((refused.status, refused.json()), (503, told), "A-81");
    assert_eq!(of(gateway, &app, Method::GET, &one, &NULL).await.json(), rule, "A-81");
    let service = App::service("orphan", "http://192.0.2.1/");
    let refused = of(gateway, &app, Method::POST, &app.path("/services"), &service).await;
    assert_eq!((refused.status, &refused.json()["status"]), (400, &json!(12)), "Q-17");

    pair.server.restart().await;
    eventually("changes are taken again", async || {
        let answer = of(gateway, &app, Method::PUT, &one, &asleep).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let services = plain().get(gateway.url("admin", "/services?size=1000")).answer().await.json();
    let names = services["data"].as_array().unwrap().iter();
    let mut names = names.map(|service| service["name"].as_str().unwrap_or_default());
    assert!(!names.any(|name| name.starts_with("orphan")), "Q-17: {services}");
}
