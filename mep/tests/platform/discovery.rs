//! Finding services.

use gateway_model::{Change, Entity as _, Key};
use http::Method;
use mep::entities::ServiceName;
use serde_json::json;

use crate::kit::{A, Answer, B, Rig, SM, service};

async fn own(rig: &Rig, app: &str, query: &str) -> Answer {
    rig.mp1(Method::GET, format!("{SM}/applications/{app}/services{query}")).of(app).send().await
}

async fn all(rig: &Rig, app: &str, query: &str) -> Answer {
    rig.mp1(Method::GET, format!("{SM}/services{query}")).of(app).send().await
}

fn names(answer: &Answer) -> Vec<String> {
    answer.expect(200);
    let name = |info: &serde_json::Value| info["serName"].as_str().unwrap().to_owned();
    let mut names: Vec<String> = answer.json().as_array().unwrap().iter().map(name).collect();
    names.sort();
    names
}

/// Gives an app a key pair with this `requiredServices`.
async fn requires(rig: &Rig, app: &str, services: &[&str]) {
    let access_key = format!("{}{}", "a".repeat(12), &app[..8]);
    let body = json!({
        "authInfo": {"credentials": {"accessKeyId": access_key, "secretKey": "s".repeat(64)}},
        "appInfo": {"requiredServices": services},
    });
    let path = format!("/mep/appMng/v1/applications/{app}/confs");
    let put = rig.auth(Method::PUT, path).header("X-Real-Ip", "10.0.0.1").json(&body);
    put.send().await.expect(200);
}

#[tokio::test]
async fn a43_a44_a45_names_known_and_unknown() {
    let rig = Rig::start().await;
    own(&rig, A, "").await.is(200, "[]\n");
    let answer = own(&rig, A, "?ser_name=never").await;
    answer.is(400, "{\"errorCode\":\"400012\",\"errorMessage\":\"Micro-service does not exist\",\"detail\":\"Consumer[][///] find provider[/default/never/latest] failed, provider does not exist.\"}\n");
    assert_eq!(answer.headers["content-type"], "application/json; charset=UTF-8");
    let answer = own(&rig, A, "?ser_name=a%20b").await;
    answer.expect(400);
    assert_eq!(answer.json()["errorCode"], "400001");

    let id = rig.register(A, service("x")).await;
    assert_eq!(names(&own(&rig, A, "?ser_name=x").await), ["x"]);
    own(&rig, B, "?ser_name=x").await.is(200, "[]\n");
    for (query, status, code) in [
        ("&version=latest", 200, None),
        ("&version=0.0.0%2B", 200, None),
        ("&version=2.0.0", 400, Some("400012")),
        ("&version=v1", 400, Some("400001")),
        ("&instance_id=1", 400, Some("400012")),
    ] {
        let answer = own(&rig, A, &format!("?ser_name=x{query}")).await;
        answer.expect(status);
        assert_eq!(answer.json()["errorCode"].as_str(), code, "{query}");
    }
    own(&rig, A, "?ser_name=x&version=2.0.0%2B").await.is(200, "[]\n");
    own(&rig, A, "?ser_name=x&env=production").await.is(200, "[]\n");

    let one = format!("{SM}/applications/{A}/services/{id}");
    rig.mp1(Method::DELETE, one).of(A).send().await.expect(204);
    own(&rig, A, "?ser_name=x").await.is(200, "[]\n");
}

#[tokio::test]
async fn a46_by_id_only_existence_is_asked() {
    let rig = Rig::start().await;
    let unknown = "?instance_id=0123456789abcdef0123456789abcdef";
    own(&rig, A, unknown).await.is(200, "[]\n");
    let id = rig.register(A, service("x")).await;
    rig.register(A, service("y")).await;
    let path = format!("{SM}/applications/{A}/services{unknown}");
    let detail = "instance id not found";
    rig.mp1(Method::GET, path).of(A).refused(400, 2, "Can not found resource", detail).await;
    assert_eq!(names(&own(&rig, A, &format!("?instance_id={id}")).await), ["x", "y"]);
}

#[tokio::test]
async fn a47_to_a50_what_an_app_may_discover() {
    let rig = Rig::start().await;
    let x = rig.register(A, service("x")).await;
    let y = rig.register(B, service("y")).await;
    let one =
        |app: &'static str, id: &str| rig.mp1(Method::GET, format!("{SM}/services/{id}")).of(app);

    // Unknown to mepauth, or without a name at all.
    all(&rig, A, "").await.is(200, "[]\n");
    rig.mp1(Method::GET, format!("{SM}/services")).send().await.is(200, "[]\n");
    let unknown = ("Can not found resource", "service instance id not found");
    one(A, &y).refused(404, 3, unknown.0, unknown.1).await;
    // Its own service an app may always look at.
    one(A, &x).send().await.expect(200);

    requires(&rig, A, &["y", "z"]).await;
    assert_eq!(names(&all(&rig, A, "").await), ["y"]);
    assert_eq!(names(&all(&rig, A, "?ser_name=y").await), ["y"]);
    all(&rig, A, "?ser_name=x").await.is(200, "[]\n");
    one(A, &y).send().await.expect(200);
    // Path parameters do not come from the query.
    assert_eq!(names(&all(&rig, A, &format!("?:appInstanceId={B}")).await), ["y"]);

    requires(&rig, A, &["service-discovery"]).await;
    assert_eq!(names(&all(&rig, A, "").await), ["x", "y"]);
    requires(&rig, A, &["*"]).await;
    all(&rig, A, &format!("?:appInstanceId={B}")).await.is(200, "[]\n");
    assert_eq!(all(&rig, A, "?ser_name=never").await.json()["errorCode"], "400012");

    // By the gateway the header says nothing.
    requires(&rig, B, &["x"]).await;
    let path = format!("{SM}/services");
    let answer = rig.mp1(Method::GET, &path).of(B).by_gateway(Some(A)).send().await;
    answer.is(200, "[]\n");
}

#[tokio::test]
async fn a48_everything_by_the_bootstrap_app_s_star() {
    let rig = Rig::start().await;
    let app = rig.platform.seed().await.unwrap().generated.unwrap().app_instance_id;
    rig.register(A, service("x")).await;
    let path = format!("{SM}/services");
    let answer = rig.mp1(Method::GET, path).by_gateway(Some(&app)).send().await;
    assert_eq!(names(&answer), ["x"]);
}

#[tokio::test]
async fn given_filters_must_all_hold_unless_strict() {
    for (strict, wanted) in [(false, vec!["a"]), (true, vec!["a", "b"])] {
        let rig = Rig::with(|settings| settings.strict_original = strict).await;
        for (name, category, locality) in [("a", "c1", "ZONE"), ("b", "c1", "MEC_HOST")] {
            let mut body = service(name);
            body["serCategory"] = json!({"id": category});
            body["scopeOfLocality"] = json!(locality);
            rig.register(A, body).await;
        }
        let found = own(&rig, A, "?ser_category_id=C1&scope_of_locality=zone").await;
        assert_eq!(names(&found), wanted, "strict: {strict}");
        own(&rig, A, "?ser_category_id=c2").await.is(200, "[]\n");
    }
}

/// Names nobody uses are remembered, but not any number of them.
#[tokio::test]
async fn old_names_are_forgotten_in_the_end() {
    const MANY: u64 = 1000;
    let rig = Rig::start().await;
    rig.register(A, service("used")).await;
    let names: Vec<Change> = (0..MANY)
        .map(|at| {
            let name = format!("old{at}");
            let id = ServiceName::id_of(&name);
            let document = json!({"id": id, "name": name, "known_since_ms": at});
            let document = document.as_object().unwrap().clone();
            Change::Upsert { kind: ServiceName::KIND, key: Key::Id(id), document }
        })
        .collect();
    rig.control.apply(names).await.unwrap();
    let id = rig.register(A, service("new")).await;
    let path = format!("{SM}/applications/{A}/services/{id}");
    rig.mp1(Method::DELETE, path).of(A).send().await.expect(204);
    let catalog = rig.catalog();
    let knows = |name: &str| catalog.get::<ServiceName>(ServiceName::id_of(name)).is_some();
    let known = catalog.all::<ServiceName>().count();
    assert!(known < 600, "{known} names");
    let wanted = [("used", true), ("new", true), ("old999", true), ("old0", false)];
    for (name, wanted) in wanted {
        assert_eq!(knows(name), wanted, "{name}");
    }
}
