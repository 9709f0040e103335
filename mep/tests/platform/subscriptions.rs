//! Subscriptions of both stores: A-55, A-56, A-60 to A-62.

use http::Method;
use serde_json::{Value, json};

use crate::kit::{A, AS, Ask, B, Rig, SM};

const TYPES: [&str; 2] =
    ["SerAvailabilityNotificationSubscription", "AppTerminationNotificationSubscription"];

fn path(base: &str, app: &str, rest: &str) -> String {
    format!("{base}/applications/{app}/subscriptions{rest}")
}

fn post(rig: &Rig, base: &str, app: &str, body: &Value) -> Ask {
    rig.mp1(Method::POST, path(base, app, "")).of(app).json(body)
}

fn body(kind: usize) -> Value {
    json!({
        "subscriptionType": TYPES[kind],
        "callbackReference": "http://10.1.2.3:80/cb",
        "appInstanceId": A,
        "_links": {"self": {"href": "x"}},
    })
}

#[tokio::test]
async fn a55_a62_the_life_of_a_subscription() {
    for (base, kind) in [(SM, 0), (AS, 1)] {
        let rig = Rig::start().await;
        let answer = post(&rig, base, A, &body(kind)).send().await;
        answer.expect(201);
        let id = answer.json()["subscriptionId"].as_str().unwrap().to_owned();
        let href = format!("{}/{id}", path(base, A, "")).replacen("/mep", "", 1);
        assert_eq!(answer.headers["location"], href);
        assert_eq!(answer.json()["_links"]["self"]["href"], href);
        let shown = answer.text.replace(&id, "<id>");
        insta::assert_snapshot!(format!("subscription_{kind}"), shown);

        let get =
            |app: &'static str, rest: &str| rig.mp1(Method::GET, path(base, app, rest)).of(app);
        let one = format!("/{id}");
        get(A, &one).send().await.is(200, &answer.text);
        let wanted = json!({"_links": {
            "self": {"href": path(base, A, "").replacen("/mep", "", 1)},
            "subscriptions": [
                {"href": href, "rel": TYPES[kind], "subscriptionType": TYPES[kind]},
            ],
        }});
        assert_eq!(get(A, "").send().await.text, format!("{wanted}\n"));

        // Neither another app's nor the other store's.
        get(B, &one).send().await.expect(404);
        let other = if kind == 0 { AS } else { SM };
        rig.mp1(Method::GET, path(other, A, &one)).of(A).send().await.expect(404);
        rig.mp1(Method::DELETE, path(other, A, &one)).of(A).send().await.expect(404);
        rig.mp1(Method::DELETE, path(base, B, &one)).of(B).send().await.expect(404);

        rig.mp1(Method::DELETE, path(base, A, &one)).of(A).send().await.is(204, "");
        get(A, &one).send().await.expect(404);
    }
}

#[tokio::test]
async fn filters_come_back() {
    let rig = Rig::start().await;
    let mut asked = body(0);
    asked["FILTERINGCRITERIA"] =
        json!({"serNames": ["FaceRegService5"], "isLocal": true, "serInstanceIds": []});
    let answer = post(&rig, SM, A, &asked).send().await;
    answer.expect(201);
    let wanted = r#""filteringCriteria":{"serInstanceIds":[],"serNames":["FaceRegService5"],"serCategories":null,"states":null,"isLocal":true}"#;
    assert!(answer.text.contains(wanted), "{}", answer.text);
}

#[tokio::test]
async fn a56_a62_broken_rules() {
    let rig = Rig::start().await;
    let rows = [
        ("callbackReference", json!(null)),
        ("callbackReference", json!("string")),
        ("callbackReference", json!("http://127.0.0.1:8001/")),
        ("callbackReference", json!("http://localhost/")),
        ("callbackReference", json!("gopher://10.1.2.3/")),
        ("subscriptionType", json!("text")),
        ("subscriptionType", json!(null)),
        ("filteringCriteria", json!({"states": ["DEAD"]})),
        ("filteringCriteria", json!({"serNames": ["_x"]})),
        ("filteringCriteria", json!({"serInstanceIds": ["x".repeat(33)]})),
    ];
    let (title, detail) = ("Request parameter error", "request param validation failed");
    for (member, value) in rows {
        let mut asked = body(0);
        asked[member] = value;
        post(&rig, SM, A, &asked).refused(400, 14, title, detail).await;
    }
    for value in [json!(null), json!("x"), json!(A.to_uppercase())] {
        let mut asked = body(1);
        asked["appInstanceId"] = value;
        post(&rig, AS, A, &asked).refused(400, 14, title, detail).await;
    }
    let wrong = json!({"filteringCriteria": {"serNames": "x"}});
    let detail = "unmarshal request body error";
    post(&rig, SM, A, &wrong).refused(400, 4, "Bad Request", detail).await;
    let detail = "check Param failed";
    post(&rig, SM, A, &json!([])).refused(400, 1, "Bad Request", detail).await;
    let denied = "UnAuthorization to access the resource";
    post(&rig, SM, A, &body(0)).of(B).send().await.expect(201);
    rig.mp1(Method::POST, path(SM, A, ""))
        .of(B)
        .json(&body(0))
        .refused(401, 11, "UnAuthorization", denied)
        .await;
}

#[tokio::test]
async fn a60_what_is_not_there() {
    let rig = Rig::start().await;
    let title = "Can not found resource";
    for base in [SM, AS] {
        let ask = |method, rest: &str| rig.mp1(method, path(base, A, rest)).of(A);
        let none = "get subscription failed, subscription not exist";
        ask(Method::GET, "").refused(404, 5, title, none).await;
        let unknown = format!("/{B}");
        ask(Method::GET, &unknown).refused(404, 5, title, "subscription not exist").await;
        ask(Method::DELETE, &unknown).refused(404, 5, title, "subscription not exist").await;
        let invalid = "subscription ID validation failed, invalid uuid";
        ask(Method::GET, "/x").refused(400, 14, "Request parameter error", invalid).await;
        ask(Method::DELETE, "/x").refused(400, 14, "Request parameter error", invalid).await;
    }
}

#[tokio::test]
async fn a61_fifty_in_each_store() {
    let rig = Rig::start().await;
    for (base, kind) in [(SM, 0), (AS, 1)] {
        let all = (0..55).map(|_| post(&rig, base, A, &body(kind)).send());
        let answers = futures::future::join_all(all).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 50);
        let limit = "subscription has over the limit";
        post(&rig, base, A, &body(kind)).refused(400, 15, "App subscription error", limit).await;
    }
    post(&rig, SM, B, &body(0)).send().await.expect(201);
}
