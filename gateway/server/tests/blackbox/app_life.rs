//! Applications from their first key to their end, as EdgeGallery's own clients drive them: contract
//! sections 8.1 to 8.5, cases A-86 and A-87, and Q-59.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::harness::{
    Answer, Answered as _, App, Gateway, Mec, Options, Upstream, eventually, mp1, plain, svc,
};

async fn by_gateway(
    gateway: &Gateway,
    token: &str,
    method: Method,
    path: &str,
    body: &str,
) -> Answer {
    let request = plain().request(method, gateway.url("proxy", path)).bearer_auth(token);
    request.body(body.to_owned()).answer().await
}

fn support(app: &App, rest: &str) -> String {
    format!("/mep/mec_app_support/v1/applications/{}{rest}", app.id)
}

/// What lcmcontroller sends when it ends an application.
async fn end(gateway: &Gateway, app: &App) -> Answer {
    let request = mp1(gateway, &app.id, Method::DELETE, &support(app, "/AppInstanceTermination"));
    request.header("X-Real-Ip", "10.1.2.3").answer().await
}

/// The subscription of an example app: contract 8.4.
fn wants_its_end(app: &App, callback: &str) -> String {
    json!({
        "subscriptionType": "AppTerminationNotificationSubscription",
        "callbackReference": callback,
        "appInstanceId": app.id,
    })
    .to_string()
}

/// 8.5: keys, configuration, token, service, heartbeat, discovery, readiness, and the end of it all.
#[tokio::test]
async fn the_whole_life_of_an_application() {
    let (upstream, listener) = (Upstream::start().await, Upstream::start().await);
    let gateway = Options::new().set("mep_ssrf_allow", "127.0.0.1").start().await;
    // lcmcontroller announces it, apprulemgr configures it.
    let app = App::announced(&gateway, &["sampleapp"]).await;
    let configuration = format!("/mepcfg/app_lcm/v1/applications/{}/appd_configuration", app.id);
    let rules = json!({
        "appName": "life", "appDnsRule": [{
            "dnsRuleId": "d1", "domainName": "life.example.com", "ipAddressType": "IP_V4",
            "ipAddress": "10.0.0.1", "ttl": 30,
        }],
    });
    let url = gateway.url("mep", &configuration);
    plain().post(&url).body(rules.to_string()).answer().await.expect(200);

    // mep-agent gets a token, registers, and keeps alive what it registered.
    let token = app.token(&gateway).await;
    let body = App::service("sampleapp", &upstream.url());
    let made = app.register(&gateway, &token, &body).await.expect(201).json();
    let id = made["serInstanceId"].as_str().unwrap().to_owned();
    assert_eq!(made["livenessInterval"], 60);
    let liveness = made["_links"]["self"]["liveness"].as_str().unwrap();
    let beat = by_gateway(&gateway, &token, Method::PUT, liveness, r#"{"state":"ACTIVE"}"#).await;
    beat.expect(204);
    let named = "/mep/mec_service_mgmt/v1/services?ser_name=sampleapp";
    let found = by_gateway(&gateway, &token, Method::GET, named, "").await.expect(200).json();
    let uri = found[0]["transportInfo"]["endpoint"]["uris"][0].as_str().unwrap();
    let published = format!("/{}", uri.splitn(4, '/').nth(3).unwrap());

    // The example app waits until it may be ready, and asks to be told of its end.
    let ready = support(&app, "/confirm_ready");
    eventually("the app is ready", async || {
        let answer =
            by_gateway(&gateway, &token, Method::POST, &ready, r#"{"indication":"READY"}"#).await;
        assert!(matches!(answer.status, 204 | 409), "{answer:?}");
        (answer.status == 204).then_some(())
    })
    .await;
    let subscriptions = support(&app, "/subscriptions");
    let wish = wants_its_end(&app, &format!("{}/callback", listener.url()));
    by_gateway(&gateway, &token, Method::POST, &subscriptions, &wish).await.expect(201);
    let other = Mec::start(&gateway).await;
    let watching = Upstream::start().await;
    let watch = json!({
        "subscriptionType": "SerAvailabilityNotificationSubscription",
        "callbackReference": format!("{}/cb", watching.url()),
        "filteringCriteria": {"serNames": ["sampleapp"]},
    });
    other.post(&other.sm("/subscriptions"), &watch).await.expect(201);
    by_gateway(&gateway, &token, Method::GET, &published, "").await.expect(200);

    // The end: asked for, told, confirmed.
    let asked = end(&gateway, &app).await;
    assert_eq!((asked.status, asked.text()), (200, "\"\"\n"), "A-86");
    let told = listener.next().await;
    assert!(told.all("content-type").is_empty(), "5.3: without a type");
    let told = told.json();
    let href = told["_links"]["subscription"].as_str().unwrap();
    assert!(href.starts_with(&subscriptions), "{href}");
    let expected = json!({
        "notificationType": "AppTerminationNotification",
        "operationAction": "TERMINATING",
        "maxGracefulTimeout": 5,
        "_links": {
            "subscription": href,
            "confirmTermination": support(&app, "/confirm_termination"),
        },
    });
    assert_eq!(told, expected, "A-86");
    let removed = watching.next().await.json();
    assert_eq!(removed["serviceReferences"][0]["changeType"], "REMOVED");
    // Services are gone at once, new ones are not taken, and the token is still good.
    by_gateway(&gateway, &other.token, Method::GET, &published, "").await.expect(404);
    app.register(&gateway, &token, &body).await.expect(409);
    let confirm = support(&app, "/confirm_termination");
    let stopping = r#"{"operationAction":"STOPPING"}"#;
    let answer = by_gateway(&gateway, &token, Method::POST, &confirm, stopping).await;
    let mismatch = json!({
        "title": "Request parameter error", "status": 14,
        "detail": "operation action is not matching",
    });
    assert_eq!((answer.status, answer.json()), (400, mismatch), "A-87");
    let done = r#"{"operationAction":"TERMINATING"}"#;
    by_gateway(&gateway, &token, Method::POST, &confirm, done).await.expect(204);

    // Everything is gone, and its token with it, everywhere.
    for path in [app.path("/services"), subscriptions.clone(), published.clone()] {
        let answer = by_gateway(&gateway, &token, Method::GET, &path, "").await;
        assert!(matches!(answer.status, 401 | 404), "{path}: {answer:?}");
    }
    by_gateway(&gateway, &token, Method::GET, &app.path("/services"), "").await.expect(401);
    let agent = other.get(&other.sm("/services")).await;
    agent.expect(200);
    plain().get(&url).answer().await.expect(404);
    let url = gateway.url("proxy", "/mep/token");
    app.token_request(&plain(), &url).answer().await.expect(401);
    mp1(&gateway, &app.id, Method::GET, &subscriptions).answer().await.expect(404);
    let one = format!("/mep/mec_service_mgmt/v1/services/{id}");
    by_gateway(&gateway, &other.token, Method::GET, &one, "").await.expect(404);

    // It may come back: old tokens stay refused, new ones are good.
    app.announce(&gateway, &["sampleapp"]).await.expect(200);
    let fresh = app.token(&gateway).await;
    by_gateway(&gateway, &fresh, Method::GET, &app.path("/services"), "").await.expect(200);
    by_gateway(&gateway, &token, Method::GET, &app.path("/services"), "").await.expect(401);
    assert!(listener.take().is_empty(), "told twice");
}

/// An end that nobody waits for is one change: when it is answered, services, routes, rules,
/// subscriptions and keys are gone, and the application's tokens are refused.
#[tokio::test]
async fn an_end_is_one_change() {
    let (upstream, listener) = (Upstream::start().await, Upstream::start().await);
    let options = Options::new().set("mep_ssrf_allow", "127.0.0.1");
    let gateway = options.set("mep_dns_listen", "127.0.0.1:0").start().await;
    let other = Mec::start(&gateway).await;
    let app = App::announced(&gateway, &["ending"]).await;
    let token = app.token(&gateway).await;
    let configuration = format!("/mepcfg/app_lcm/v1/applications/{}/appd_configuration", app.id);
    let rules = json!({
        "appName": "ending",
        "appDnsRule": [{
            "dnsRuleId": "d1", "domainName": "ending.example.com", "ipAddressType": "IP_V4",
            "ipAddress": "192.0.2.10", "ttl": 30,
        }],
        "appTrafficRule": [{
            "trafficRuleId": "r1", "filterType": "FLOW", "priority": 1, "action": "DROP",
            "trafficFilter": [],
        }],
    });
    let configured = gateway.url("mep", &configuration);
    plain().post(&configured).json(&rules).answer().await.expect(200);
    eventually("it is configured", async || {
        (plain().get(&configured).answer().await.status == 200).then_some(())
    })
    .await;
    let mut published = Vec::new();
    for _ in 0..3 {
        let body = App::service("ending", &upstream.url());
        let made = app.register(&gateway, &token, &body).await.expect(201).json();
        let id = made["serInstanceId"].as_str().unwrap();
        published.push(app.published(&gateway, &token, id).await);
    }
    let wish = json!({
        "subscriptionType": "SerAvailabilityNotificationSubscription",
        "callbackReference": listener.url(), "filteringCriteria": {"serNames": ["rni"]},
    });
    let subscriptions = app.path("/subscriptions");
    let body = wish.to_string();
    by_gateway(&gateway, &token, Method::POST, &subscriptions, &body).await.expect(201);
    let names = async || {
        let resolver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        resolver.connect(gateway.dns_addr()).await.unwrap();
        let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        question.extend(b"\x06ending\x07example\x03com\x00\x00\x01\x00\x01");
        resolver.send(&question).await.unwrap();
        let mut answer = [0; 512];
        let length = tokio::time::timeout(Duration::from_secs(20), resolver.recv(&mut answer));
        let length = length.await.unwrap().unwrap();
        answer[..length].ends_with(&[192, 0, 2, 10])
    };
    assert!(names().await);
    let revision = async || {
        let metrics = plain().get(gateway.url("status", "/metrics")).answer().await;
        let text = metrics.text();
        let line = text.lines().find_map(|line| line.strip_prefix("gateway_config_revision "));
        line.unwrap().parse::<u64>().unwrap()
    };

    let before = revision().await;
    end(&gateway, &app).await.expect(200);
    // Numbers of calls may have been stored meanwhile.
    let changes = revision().await - before;
    assert!((1..=2).contains(&changes), "{changes} changes");
    assert!(!names().await, "the name is answered no more");
    for path in &published {
        by_gateway(&gateway, &other.token, Method::GET, path, "").await.expect(404);
    }
    for path in [app.path("/services"), subscriptions, "/mec_service_mgmt/v1/services".to_owned()] {
        by_gateway(&gateway, &token, Method::GET, &path, "").await.expect(401);
    }
    plain().get(&configured).answer().await.expect(404);
    let request = app.token_request(&plain(), &gateway.url("proxy", "/mep/token"));
    request.answer().await.expect(401);
    let left = plain().get(gateway.url("admin", "/services?size=1000")).answer().await.json();
    assert_eq!(left["data"].as_array().unwrap().len(), 2, "the platform's own: {left}");
    // Nobody is told for it: the next one to be told would have been told after it.
    let watching = Upstream::start().await;
    let mut watch = wish.clone();
    watch["callbackReference"] = json!(watching.url());
    other.post(&other.sm("/subscriptions"), &watch).await.expect(201);
    other.register(&svc(json!({}))).await;
    watching.next().await;
    assert!(listener.take().is_empty(), "its subscription is gone");
}

/// Q-59: a token of an application that is gone is refused on the routes of others as well.
#[tokio::test]
async fn tokens_of_the_gone_are_refused_at_services_of_others() {
    let upstream = Upstream::start().await;
    let gateway = Options::new().set("mep_ssrf_allow", "127.0.0.1").start().await;
    let provider = Mec::start(&gateway).await;
    let mut body = svc(json!({}));
    body["transportInfo"]["endpoint"] = json!({"uris": [upstream.url()]});
    let id = provider.register(&body).await;
    let consumer = App::announced(&gateway, &["rni"]).await;
    let token = consumer.token(&gateway).await;
    let published = provider.app.published(&gateway, &provider.token, &id).await;
    by_gateway(&gateway, &token, Method::GET, &published, "").await.expect(200);
    // Nobody subscribed: it is gone at once.
    end(&gateway, &consumer).await.expect(200);
    by_gateway(&gateway, &token, Method::GET, &published, "").await.expect(401);
    by_gateway(&gateway, &provider.token, Method::GET, &published, "").await.expect(200);
}

/// An application that does not confirm is gone when its time is over; one whose callback fails, at
/// once.
#[tokio::test]
async fn who_does_not_confirm_is_gone_all_the_same() {
    let listener = Upstream::start().await;
    let options = Options::new().set("mep_ssrf_allow", "127.0.0.1");
    let gateway = options.set("mep_graceful_timeout", "2s").start().await;
    let forget = async |path: &str| {
        let app = App::announced(&gateway, &[]).await;
        let wish = wants_its_end(&app, &format!("{}{path}", listener.url()));
        let subscriptions = support(&app, "/subscriptions");
        let ask = || mp1(&gateway, &app.id, Method::GET, &subscriptions);
        mp1(&gateway, &app.id, Method::POST, &subscriptions).body(wish).answer().await.expect(201);
        end(&gateway, &app).await.expect(200);
        assert_eq!(listener.next().await.json()["maxGracefulTimeout"], 2);
        eventually("it is gone", async || (ask().answer().await.status == 404).then_some(())).await;
    };
    forget("/cb").await;
    forget("/status/500").await;
}

/// S-56 to S-58, in the standard's own form: confirmed from inside the callback.
#[tokio::test]
async fn an_end_is_confirmed_from_inside_the_callback() {
    let gateway = Options::new().set("mep_ssrf_allow", "127.0.0.1").start().await;
    let mec = Mec::start(&gateway).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let callback = format!("http://{}/cb", listener.local_addr().unwrap());
    let (send, mut told) = tokio::sync::mpsc::unbounded_channel();
    let confirm = {
        let (url, token) = (gateway.url("proxy", ""), mec.token.clone());
        async move |body: String| {
            let body: Value = serde_json::from_str(&body).unwrap();
            let href = body["_links"]["confirmTermination"]["href"].as_str().unwrap().to_owned();
            let answer = plain()
                .post(format!("{url}{href}"))
                .bearer_auth(&token)
                .json(&json!({"operationAction": "TERMINATING"}))
                .answer()
                .await;
            send.send((body, answer)).unwrap();
            http::StatusCode::NO_CONTENT
        }
    };
    let receiver = axum::Router::new().fallback(confirm);
    tokio::spawn(async move { axum::serve(listener, receiver).await });
    let wish = json!({
        "subscriptionType": "AppTerminationNotificationSubscription",
        "callbackReference": callback, "appInstanceId": mec.app.id,
    });
    let path = mec.support("/subscriptions");
    let made = mec.post(&path, &wish).await.expect(201).json();
    mec.register(&svc(json!({}))).await;
    let pending = json!({"operationAction": "TERMINATING"});
    let done = mec.support("/confirm_termination");
    mec.post(&done, &pending).await.problem(409);
    end(&gateway, &mec.app).await.expect(200);
    let (body, answer) =
        tokio::time::timeout(Duration::from_secs(20), told.recv()).await.unwrap().unwrap();
    let expected = json!({
        "notificationType": "AppTerminationNotification",
        "operationAction": "TERMINATING",
        "maxGracefulTimeout": 5,
        "_links": {
            "subscription": {"href": made["_links"]["self"]["href"]},
            "confirmTermination": {"href": done},
        },
    });
    assert_eq!(body, expected, "S-56");
    assert_eq!((answer.status, answer.text()), (204, ""), "S-56");
    mec.post(&done, &pending).await.problem(401);
    let direct = mp1(&gateway, &mec.app.id, Method::GET, &path).answer().await;
    direct.problem(404);
}
