//! Subscriptions and what subscribers are told: contract 4.8, cases.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::cluster::Pair;
use crate::harness::{
    Answer, Answered as _, App, Authority, Gateway, Issued, NameServer, Options, Upstream,
    eventually, golden, http1, mp1, plain,
};

fn problem(code: u16, title: &str, detail: &str) -> Value {
    json!({"title": title, "status": code, "detail": detail})
}

async fn call(gateway: &Gateway, app: &App, method: Method, path: &str, body: &Value) -> Answer {
    let request = mp1(gateway, &app.id, method, path);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    request.body(body).answer().await
}

fn subscription(callback: &str) -> Value {
    json!({
        "subscriptionType": "SerAvailabilityNotificationSubscription",
        "callbackReference": callback,
    })
}

/// a subscriber is told what changes, and only what it asked for.
#[tokio::test]
async fn subscribers_are_told() {
    let (all, other) = (Upstream::start().await, Upstream::start().await);
    let options = Options::new().set("mep_ssrf_allow", "127.0.0.1");
    let gateway = options.start().await;
    let app = App::random();
    let subscriptions = app.path("/subscriptions");
    let callback = format!("{}/cb?a=1", all.url());
    let made = call(&gateway, &app, Method::POST, &subscriptions, &subscription(&callback)).await;
    golden("subscribed", &made.clone().expect(201));
    let href = made.json()["_links"]["self"]["href"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), Some(href.as_str()), "A-55");
    assert!(href.starts_with(subscriptions.strip_prefix("/mep").unwrap()), "A-55 {href}");
    let mut filtered = subscription(&format!("{}/cb", other.url()));
    filtered["filteringCriteria"] = json!({"serNames": ["other"]});
    call(&gateway, &app, Method::POST, &subscriptions, &filtered).await.expect(201);

    // Somebody else registers, changes and withdraws a service.
    let provider = App::random();
    let services = provider.path("/services");
    let mut body = App::service("FaceRegService5", "http://192.0.2.10:8080/");
    let made = call(&gateway, &provider, Method::POST, &services, &body).await.expect(201).json();
    let id = made["serInstanceId"].as_str().unwrap().to_owned();
    let service = format!("{services}/{id}");
    body["version"] = json!("v2");
    call(&gateway, &provider, Method::PUT, &service, &body).await.expect(200);
    call(&gateway, &provider, Method::DELETE, &service, &Value::Null).await.expect(204);

    let link = json!({"href": format!("/mec_service_mgmt/v1/services/{id}")});
    let changes = [
        ("A-57", "ADDED", link.clone()),
        ("4.8", "ATTRIBUTES_CHANGED", link),
        ("A-58", "REMOVED", json!({})),
    ];
    for (case, change, link) in changes {
        let told = all.next().await;
        assert_eq!((told.method.as_str(), told.uri.as_str()), ("POST", "/cb?a=1"), "{case}");
        let kind = told.all("content-type");
        assert!(kind[0].to_lowercase().starts_with("application/json"), "{case} {kind:?}");
        let expected = json!({
            "notificationType": "SerAvailabilityNotification",
            "serviceReferences": [{
                "link": link, "serName": "FaceRegService5", "serInstanceId": id,
                "state": "ACTIVE", "changeType": change,
            }],
            "_links": {"subscription": {"href": href}},
        });
        assert_eq!(told.json(), expected, "{case}");
    }
    // had it been told of these, it would have been by the time it is told of its own.
    let wanted = App::service("other", "http://192.0.2.10:8080/");
    call(&gateway, &provider, Method::POST, &services, &wanted).await.expect(201);
    assert_eq!(other.next().await.json()["serviceReferences"][0]["serName"], "other", "A-59");
    assert_eq!(all.next().await.json()["serviceReferences"][0]["serName"], "other");
    assert!(all.take().is_empty() && other.take().is_empty(), "told twice");
}

/// A subscriber that is down at first is told later; one that never answers delays nobody else.
#[tokio::test]
async fn deliveries_are_tried_again() {
    let well = Upstream::start().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gateway = Options::new().set("mep_ssrf_allow", "127.0.0.1").start().await;
    let app = App::random();
    for to in [silent.local_addr().unwrap(), down, well.addr()] {
        let body = subscription(&format!("http://{to}/cb"));
        let path = app.path("/subscriptions");
        call(&gateway, &app, Method::POST, &path, &body).await.expect(201);
    }
    let body = App::service("a", "http://192.0.2.10:8080/");
    call(&gateway, &app, Method::POST, &app.path("/services"), &body).await.expect(201);
    well.next().await;

    let late = tokio::net::TcpListener::bind(down).await.unwrap();
    let accepted = tokio::time::timeout(Duration::from_secs(20), late.accept()).await;
    assert!(accepted.is_ok(), "the delivery was given up at once");
    assert!(metric(&gateway, "mep_notification_retries_total").await >= 1);
}

/// What a metric without labels says.
async fn metric(gateway: &Gateway, name: &str) -> i64 {
    let metrics = plain().get(gateway.url("status", "/metrics")).answer().await;
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// More subscribers that never answer than there may be attempts under way delay neither requests
/// nor the one that does; what waits for them is counted, and lost with them.
#[tokio::test]
async fn dead_subscribers_delay_nobody() {
    const DEAD: usize = 150;
    const CHANGES: usize = 20;
    let well = Upstream::start().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Options::new().set("mep_ssrf_allow", "127.0.0.1").start().await;
    let dead: Vec<App> = (0..DEAD.div_ceil(50)).map(|_| App::random()).collect();
    let body = subscription(&format!("http://{}/cb", silent.local_addr().unwrap()));
    for number in 0..DEAD {
        let app = &dead[number / 50];
        call(&gateway, app, Method::POST, &app.path("/subscriptions"), &body).await.expect(201);
    }
    let app = App::random();
    let body = subscription(&well.url());
    call(&gateway, &app, Method::POST, &app.path("/subscriptions"), &body).await.expect(201);
    let names: Vec<String> = (0..CHANGES).map(|number| format!("s{number}")).collect();
    for name in &names {
        let body = App::service(name, "http://192.0.2.10:8080/");
        call(&gateway, &app, Method::POST, &app.path("/services"), &body).await.expect(201);
    }
    for name in &names {
        let told = well.next().await.json();
        assert_eq!(told["serviceReferences"][0]["serName"], name.as_str(), "in order");
    }
    let most = i64::try_from(DEAD * CHANGES).unwrap();
    let waiting = metric(&gateway, "mep_notifications_waiting").await;
    assert!((1..most).contains(&waiting), "{waiting} of {most} wait");
    for app in &dead {
        let end = app.path("/AppInstanceTermination");
        let end = end.replace("mec_service_mgmt", "mec_app_support");
        call(&gateway, app, Method::DELETE, &end, &Value::Null).await.expect(200);
    }
    eventually("nothing waits", async || {
        (metric(&gateway, "mep_notifications_waiting").await == 0).then_some(())
    })
    .await;
}

/// Of nodes that share a database the one that was asked tells: once, whichever it is.
#[tokio::test]
async fn nodes_tell_once() {
    let allowed = [("mep_ssrf_allow", "127.0.0.1")];
    let Some(pair) = Pair::start_with(&allowed).await else { return };
    let upstream = Upstream::start().await;
    let app = App::random();
    let body = subscription(&upstream.url());
    let path = app.path("/subscriptions");
    call(&pair.nodes[0], &app, Method::POST, &path, &body).await.expect(201);
    eventually("both know of it", async || {
        let list = call(&pair.nodes[1], &app, Method::GET, &path, &Value::Null).await;
        (list.status == 200).then_some(())
    })
    .await;
    // What a node would tell of the other's it would tell before the last one of its own.
    let mut wanted = Vec::new();
    for number in 0..10 {
        let name = format!("s{number}");
        let body = App::service(&name, "http://192.0.2.10:8080/");
        let node = &pair.nodes[number % 2];
        call(node, &app, Method::POST, &app.path("/services"), &body).await.expect(201);
        wanted.push(name);
    }
    let mut told = Vec::new();
    while !["s8", "s9"].iter().all(|last| told.iter().any(|name| name == last)) {
        let notification = upstream.next().await.json();
        told.push(notification["serviceReferences"][0]["serName"].as_str().unwrap().to_owned());
    }
    told.sort();
    assert_eq!(told, wanted);
    assert!(upstream.take().is_empty(), "told twice");
}

/// what is refused, and what is not there.
#[tokio::test]
async fn what_a_subscription_must_say() {
    let gateway = Gateway::start().await;
    let app = App::random();
    let path = app.path("/subscriptions");
    let invalid = problem(14, "Request parameter error", "request param validation failed");
    let fine = subscription("http://192.0.2.10:8080/cb");
    let change = |key: &str, value: Value| {
        let mut body = fine.clone();
        body[key] = value;
        body
    };
    let refused = [
        ("A-56", change("callbackReference", Value::Null)),
        ("A-56", change("callbackReference", json!("string"))),
        ("A-56", change("subscriptionType", json!("Other"))),
        ("4.8", change("filteringCriteria", json!({"states": ["GONE"]}))),
        ("4.8", change("filteringCriteria", json!({"serNames": ["_x"]}))),
    ];
    for (case, body) in refused {
        let answer = call(&gateway, &app, Method::POST, &path, &body).await;
        assert_eq!((answer.status, &answer.json()), (400, &invalid), "{case} {body}");
    }
    // without an allowance, a callback may not aim at this host.
    for to in ["http://127.0.0.1:8001/", "http://localhost:8001/", "http://[::1]:8001/"] {
        let answer = call(&gateway, &app, Method::POST, &path, &subscription(to)).await;
        assert_eq!(answer.status, 400, "{to} {:?}", answer.body);
    }

    let gone = |text: &str| problem(5, "Can not found resource", text);
    let absent = App::random().id;
    let no_uuid = "subscription ID validation failed, invalid uuid";
    let none = "get subscription failed, subscription not exist";
    let rows = [
        (Method::GET, path.clone(), 404, gone(none)),
        (Method::GET, format!("{path}/{absent}"), 404, gone("subscription not exist")),
        (Method::DELETE, format!("{path}/{absent}"), 404, gone("subscription not exist")),
        (Method::GET, format!("{path}/x"), 400, problem(14, "Request parameter error", no_uuid)),
    ];
    for (method, path, status, expected) in rows {
        let answer = call(&gateway, &app, method.clone(), &path, &Value::Null).await;
        assert_eq!((answer.status, answer.json()), (status, expected), "A-60 {method} {path}");
    }

    let made = call(&gateway, &app, Method::POST, &path, &fine).await.expect(201).json();
    let one = format!("{path}/{}", made["subscriptionId"].as_str().unwrap());
    let list = call(&gateway, &app, Method::GET, &path, &Value::Null).await;
    golden("subscriptions", &list.expect(200));
    let shown = call(&gateway, &app, Method::GET, &one, &Value::Null).await.expect(200).json();
    assert_eq!(shown["callbackReference"], fine["callbackReference"]);
    call(&gateway, &app, Method::DELETE, &one, &Value::Null).await.expect(204);
    call(&gateway, &app, Method::GET, &one, &Value::Null).await.expect(404);
}

/// an app subscribes to its own termination, in a store of its own.
#[tokio::test]
async fn subscriptions_to_termination() {
    let gateway = Gateway::start().await;
    let app = App::random();
    let path = app.path("/subscriptions").replace("mec_service_mgmt", "mec_app_support");
    let mut body = json!({
        "subscriptionType": "AppTerminationNotificationSubscription",
        "callbackReference": "http://192.0.2.10:8080/cb",
    });
    let answer = call(&gateway, &app, Method::POST, &path, &body).await;
    let invalid = problem(14, "Request parameter error", "request param validation failed");
    assert_eq!((answer.status, answer.json()), (400, invalid));

    body["appInstanceId"] = json!(app.id);
    let made = call(&gateway, &app, Method::POST, &path, &body).await.expect(201);
    golden("subscribed_to_termination", &made);
    let href = made.json()["_links"]["self"]["href"].as_str().unwrap().to_owned();
    let one = format!("/mep{href}");
    call(&gateway, &app, Method::GET, &one, &Value::Null).await.expect(200);
    let list = call(&gateway, &app, Method::GET, &path, &Value::Null).await.expect(200).json();
    assert_eq!(list["_links"]["subscriptions"][0]["href"], href.as_str());
    let availability = app.path("/subscriptions");
    call(&gateway, &app, Method::GET, &availability, &Value::Null).await.expect(404);
    call(&gateway, &app, Method::DELETE, &one, &Value::Null).await.expect(204);
    call(&gateway, &app, Method::GET, &path, &Value::Null).await.expect(404);
}

/// fifty of each kind.
#[tokio::test]
async fn an_app_has_fifty_subscriptions() {
    let gateway = Gateway::start().await;
    let app = App::random();
    let path = app.path("/subscriptions");
    let body = subscription("http://192.0.2.10:8080/cb");
    for _ in 0..50 {
        call(&gateway, &app, Method::POST, &path, &body).await.expect(201);
    }
    let answer = call(&gateway, &app, Method::POST, &path, &body).await;
    let full = problem(15, "App subscription error", "subscription has over the limit");
    assert_eq!((answer.status, answer.json()), (400, full));
}

/// One request over TLS, answered with 204: its first line, body, and the name the client asked for.
async fn told_over_tls(listener: TcpListener, shown: Issued) -> (String, String, Option<String>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        // A client that does not believe the certificate leaves.
        let Ok(stream) = shown.acceptor().accept(client).await else { continue };
        let sni = stream.get_ref().1.server_name().map(str::to_owned);
        let mut stream = BufReader::new(stream);
        let Ok(Some(head)) = http1::read_head(&mut stream).await else { continue };
        let body = http1::read_body(&mut stream, &head, false).await.unwrap();
        stream.write_all(b"HTTP/1.1 204 Told\r\n\r\n").await.unwrap();
        stream.flush().await.unwrap();
        return (head.start, String::from_utf8(body).unwrap(), sni);
    }
}

/// Callbacks are found by the gateway's own name server, and believed by its own authorities.
#[tokio::test]
async fn callbacks_have_names_and_certificates() {
    let server = NameServer::start().await;
    server.knows(&["app.test 60 A 127.0.0.1".to_owned(), "inside.test 60 A 127.0.0.1".to_owned()]);
    let authority = Authority::root("ours");
    let options = Options::new()
        .set("dns_resolver", server.addr().to_string())
        .set("mep_ssrf_allow", "app.test");
    let file = options.file("ca.pem", &authority.cert);
    let gateway = options.set("lua_ssl_trusted_certificate", file.to_str().unwrap()).start().await;
    let believed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let doubted = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = |name: &str, listener: &TcpListener| {
        format!("https://{name}:{}/cb", listener.local_addr().unwrap().port())
    };
    let callbacks =
        [to("app.test", &believed), to("app.test", &doubted), to("inside.test", &believed)];
    let good = tokio::spawn(told_over_tls(believed, authority.issue("app", &["app.test"])));
    let stranger = Authority::root("another").issue("app", &["app.test"]);
    let bad = tokio::spawn(told_over_tls(doubted, stranger));

    let app = App::random();
    for callback in &callbacks {
        let path = app.path("/subscriptions");
        call(&gateway, &app, Method::POST, &path, &subscription(callback)).await.expect(201);
    }
    let body = App::service("a", "http://192.0.2.10:8080/");
    call(&gateway, &app, Method::POST, &app.path("/services"), &body).await.expect(201);

    let (start, body, sni) =
        tokio::time::timeout(Duration::from_secs(20), good).await.unwrap().unwrap();
    assert_eq!((start.as_str(), sni.as_deref()), ("POST /cb HTTP/1.1", Some("app.test")));
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["serviceReferences"][0]["serName"], "a");
    assert!(!server.asked("app.test").is_empty(), "the gateway's own name server was asked");
    // A name that leads inside, and one whose certificate somebody else signed, are never told.
    eventually("it is counted", async || {
        let url = gateway.url("status", "/metrics");
        let metrics = plain().get(url).answer().await.text().to_owned();
        metrics.contains("mep_notifications_total{result=\"delivered\"} 1").then_some(())
    })
    .await;
    assert!(!bad.is_finished(), "it believed a stranger");
    bad.abort();
}
