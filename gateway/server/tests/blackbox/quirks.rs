//! Quirks of the original that are set right (contract section 9), where no other module comes by.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{
    Answered as _, App, Gateway, NameServer, Options, Upstream, eventually, mp1, plain,
};

async fn made(gateway: &Gateway, app: &App, body: &Value) -> Value {
    let request = mp1(gateway, &app.id, Method::POST, &app.path("/services"));
    let made = request.json(body).answer().await.expect(201).json();
    let id = made["serInstanceId"].as_str().unwrap();
    let path = app.path(&format!("/services/{id}"));
    mp1(gateway, &app.id, Method::GET, &path).answer().await.expect(200).json()
}

/// several grant types, none, and an endpoint without a URI come back as they were sent.
#[tokio::test]
async fn what_was_registered_comes_back() {
    let gateway = Gateway::start().await;
    let app = App::random();
    let grants = json!(["OAUTH2_CLIENT_CREDENTIALS", "OAUTH2_IMPLICIT_GRANT"]);
    for sent in [grants, Value::Null] {
        let mut body = App::service("granting", "http://192.0.2.10:8080/");
        body["transportInfo"]["security"]["oAuth2Info"]["grantTypes"] = sent.clone();
        let shown = made(&gateway, &app, &body).await;
        let oauth = &shown["transportInfo"]["security"]["oAuth2Info"];
        assert_eq!(oauth["grantTypes"], sent, "Q-13");
    }
    let mut body = App::service("queue", "http://192.0.2.10:8080/");
    let alternative = json!({"topic": "x", "many": [1, null]});
    body["transportInfo"]["endpoint"] = json!({ "alternative": alternative });
    let shown = made(&gateway, &app, &body).await;
    let endpoint = json!({"uris": null, "addresses": null, "alternative": alternative});
    assert_eq!(shown["transportInfo"]["endpoint"], endpoint, "Q-14");
}

/// calls of a service count for it alone, whatever the names of others begin with.
#[tokio::test]
async fn calls_count_for_one_service() {
    let upstream = Upstream::start().await;
    let gateway = Options::new().set("mep_ssrf_allow", "127.0.0.1").start().await;
    let app = App::bootstrap(&gateway);
    let token = app.token(&gateway).await;
    for (name, calls) in [("face", 1), ("face2", 2)] {
        let body = App::service(name, &upstream.url());
        let id = app.register(&gateway, &token, &body).await.expect(201).json();
        let id = id["serInstanceId"].as_str().unwrap().to_owned();
        let path = app.published(&gateway, &token, &id).await;
        for _ in 0..calls {
            let call = plain().get(gateway.url("proxy", &path)).bearer_auth(&token);
            call.answer().await.expect(200);
        }
    }
    let log = gateway.url("mep", "/mep/service_govern/v1/kong_log");
    eventually("each has its own calls", async || {
        let data = plain().get(&log).answer().await.expect(200).json()["data"].clone();
        let rows = data["appServices"].as_array().unwrap().iter();
        let mut rows: Vec<_> =
            rows.map(|row| (row["name"].as_str().unwrap(), &row["callTimes"][0])).collect();
        rows.sort_by_key(|(name, _)| *name);
        (rows == [("face", &json!(1)), ("face2", &json!(2))]).then_some(())
    })
    .await;
}

/// A name an app chose leads nowhere an address of its choice would not (contract, A-99).
#[tokio::test]
async fn a_published_name_does_not_lead_inside() {
    let server = NameServer::start().await;
    server.knows(&["inside.test 60 A 127.0.0.1".to_owned(), "app.test 60 A 127.0.0.1".to_owned()]);
    let upstream = Upstream::start().await;
    let port = upstream.addr().port();
    let options = Options::new()
        .set("dns_resolver", server.addr().to_string())
        .set("mep_ssrf_allow", "app.test");
    let gateway = options.start().await;
    let app = App::bootstrap(&gateway);
    let token = app.token(&gateway).await;
    let admin = async |path: &str, body: Value| {
        plain().post(gateway.url("admin", path)).json(&body).answer().await.expect(201);
    };
    let target = json!({ "target": format!("127.0.0.1:{port}") });
    admin("/upstreams", json!({"name": "theirs"})).await;
    admin("/upstreams/theirs/targets", target).await;
    for (name, wanted) in [("inside.test", 503), ("theirs", 503), ("app.test", 200)] {
        let body = App::service("face", &format!("http://{name}:{port}/"));
        let id = app.register(&gateway, &token, &body).await.expect(201).json();
        let id = id["serInstanceId"].as_str().unwrap().to_owned();
        let path = app.published(&gateway, &token, &id).await;
        let call = plain().get(gateway.url("proxy", &path)).bearer_auth(&token);
        assert_eq!(call.answer().await.status, wanted, "{name}");
    }
    // An operator's own service goes where the operator says.
    let url = format!("http://inside.test:{port}");
    admin("/services", json!({"name": "ops", "url": url})).await;
    admin("/services/ops/routes", json!({"paths": ["/ops"]})).await;
    plain().get(gateway.url("proxy", "/ops")).answer().await.expect(200);
}

/// nothing of the original's registry is there, by any way in.
#[tokio::test]
async fn there_is_no_registry() {
    let gateway = Gateway::start().await;
    for path in ["/v4/default/registry/microservices", "/registry/v3/microservices", "/version"] {
        for listener in ["mep", "proxy"] {
            plain().get(gateway.url(listener, path)).answer().await.expect(404);
        }
    }
    plain().get(gateway.url("mep", "/metrics")).answer().await.expect(404);
}
