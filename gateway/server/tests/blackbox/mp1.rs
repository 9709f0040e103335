//! Service management as apps use it: contract 4.2 to 4.7 and 4.9, cases A-33 to A-54 and A-62 to
//! A-68, on the direct listener and through the gateway.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Answered as _, App, Gateway, Options, Upstream, eventually, golden, mp1, plain,
};

const UNKNOWN: &str = "0123456789abcdef0123456789abcdef";
const PROVIDER: &str = "http://192.0.2.10:8080/";

/// A refusal in the original's form; its status is not HTTP's.
fn problem(code: u16, title: &str, detail: &str) -> Value {
    json!({"title": title, "status": code, "detail": detail})
}

fn invalid(detail: &str) -> Value {
    problem(14, "Request parameter error", detail)
}

/// One request in an app's name on the direct listener.
async fn call(gateway: &Gateway, app: &App, method: Method, rest: &str, body: &str) -> Answer {
    mp1(gateway, &app.id, method, &app.path(rest)).body(body.to_owned()).answer().await
}

async fn register(gateway: &Gateway, app: &App, body: &Value) -> String {
    let answer = call(gateway, app, Method::POST, "/services", &body.to_string()).await;
    answer.expect(201).json()["serInstanceId"].as_str().unwrap().to_owned()
}

/// The agent's service with some members replaced, or removed where the value is null.
fn service(name: &str, changes: Value) -> Value {
    let mut body = App::service(name, PROVIDER);
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            body.as_object_mut().unwrap().remove(key);
        } else {
            body[key] = value.clone();
        }
    }
    body
}

/// A-33, A-34: the agent's own body, with addresses in place of URIs.
#[tokio::test]
async fn what_the_agent_registers_can_be_found() {
    let gateway = Gateway::start().await;
    let app = App::random();
    let mut body = App::service("sampleapp", PROVIDER);
    body["transportInfo"]["endpoint"] =
        json!({"addresses": [{"host": "sampleapp.default", "port": 32115}]});
    let answer = call(&gateway, &app, Method::POST, "/services", &body.to_string()).await;
    let registered = answer.clone().expect(201).json();
    golden("registered_by_address", &answer);
    let id = registered["serInstanceId"].as_str().unwrap();
    assert!(id.starts_with("d9f72dad154cbd9e") && id.len() == 32, "{id}");
    assert_eq!(registered["livenessInterval"], 60);
    let liveness = app.path(&format!("/services/{id}/liveness"));
    assert_eq!(registered["_links"]["self"]["liveness"], liveness);
    assert_eq!(registered["transportInfo"]["endpoint"]["addresses"][0]["port"], 32115);
    assert!(answer.header("location").is_some());

    let found = call(&gateway, &app, Method::GET, &format!("/services/{id}"), "").await;
    golden("found_by_id", &found.clone().expect(200));
    let found = found.json();
    let endpoint = &found["transportInfo"]["endpoint"];
    let uris = endpoint["uris"].as_array().unwrap();
    let port = gateway.tls_addr("proxy").port();
    let name = uris[0].as_str().unwrap();
    let name = name.strip_prefix(&format!("https://mep-api-gw.mep:{port}/sampleapp")).unwrap();
    assert!(name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    assert_eq!((uris.len(), &endpoint["addresses"]), (1, &Value::Null));
    assert_eq!(found["_links"]["appInstanceId"], app.id.as_str());
    assert_eq!((&found["isLocal"], found.get("consumedLocalOnly")), (&json!(true), None));

    let list = call(&gateway, &app, Method::GET, "/services", "").await.expect(200).json();
    assert_eq!(list, json!([found]));
    for name in ["x-response-status", "content-type"] {
        assert!(answer.header(name).is_some(), "{name} of {:?}", answer.headers);
    }
}

/// A-36 to A-40, A-42: bodies and names that are refused, and those that are not.
#[tokio::test]
async fn what_may_be_registered() {
    let gateway = Gateway::start().await;
    let app = App::random();
    let text = |changes: Value| service("named", changes).to_string();
    let long = "n".repeat(129);
    let padded = |size: usize| {
        let body = text(json!({}));
        let room = size - body.len();
        body.replacen('{', &format!("{{{}", " ".repeat(room)), 1)
    };
    let broken_rule = invalid("request param validation failed");
    let no_object = problem(1, "Bad Request", "check Param failed");
    let wrong_type = problem(4, "Bad Request", "unmarshal request body error");
    let grants = |grants: Value| {
        let mut body = App::service("named", PROVIDER);
        body["transportInfo"]["security"]["oAuth2Info"]["grantTypes"] = grants;
        body.to_string()
    };
    let refused = [
        ("A-36", text(json!({"serName": null})), &broken_rule),
        ("A-36", text(json!({"version": null})), &broken_rule),
        ("A-36", text(json!({"state": "SUSPENDED"})), &broken_rule),
        ("A-36", text(json!({"serializer": "YAML"})), &broken_rule),
        ("A-36", text(json!({"serName": "_x"})), &broken_rule),
        ("A-36", text(json!({"serName": long})), &broken_rule),
        ("A-36", text(json!({"livenessInterval": -1})), &broken_rule),
        ("A-36", grants(json!([])), &broken_rule),
        ("A-37", "[]".to_owned(), &no_object),
        ("A-37", "text".to_owned(), &no_object),
        ("4.2", "null".to_owned(), &no_object),
        ("A-38", text(json!({"isLocal": "yes"})), &wrong_type),
        ("A-38", text(json!({"livenessInterval": "10"})), &wrong_type),
        ("A-39", padded(4097), &invalid("request body too large")),
    ];
    for (case, body, expected) in refused {
        let answer = call(&gateway, &app, Method::POST, "/services", &body).await;
        assert_eq!((answer.status, &answer.json()), (400, expected), "{case} {body}");
        assert!(answer.text().ends_with('\n'), "{case}: bodies end with a line feed");
    }
    let accepted = [
        ("A-39", padded(4096)),
        ("4.2", text(json!({})).replacen("serName", "SERNAME", 1)),
        ("4.2", text(json!({"neverHeardOf": {"a": [1]}}))),
        ("4.4", text(json!({"serName": "n".repeat(128)}))),
        ("4.4", text(json!({"livenessInterval": 0}))),
    ];
    for (case, body) in accepted {
        let answer = call(&gateway, &app, Method::POST, "/services", &body).await;
        assert_eq!(answer.status, 201, "{case} {body} {:?}", answer.body);
    }
    let bare = text(json!({"scopeOfLocality": null, "isLocal": null, "consumedLocalOnly": null}));
    let defaults = call(&gateway, &app, Method::POST, "/services", &bare).await.expect(201).json();
    let told = ["scopeOfLocality", "isLocal", "consumedLocalOnly"].map(|key| &defaults[key]);
    assert_eq!(told, [&json!("MEC_HOST"), &json!(true), &json!(true)], "A-40");

    // A-42: the header is looked at first, then the path.
    let path = app.path("/services");
    let unnamed = plain().post(gateway.url("mep", &path)).body(text(json!({}))).answer().await;
    let stranger = problem(11, "UnAuthorization", "UnAuthorization to access the resource");
    assert_eq!((unnamed.status, unnamed.json()), (401, stranger));
    let odd = App { id: "not-a-uuid".to_owned(), ..app.clone() };
    let answer = call(&gateway, &odd, Method::POST, "/services", &text(json!({}))).await;
    let no_uuid = invalid("app Instance ID validation failed, invalid uuid");
    assert_eq!((answer.status, answer.json()), (400, no_uuid));
}

/// A-41: fifty services are an app's share, however they arrive.
#[tokio::test]
async fn an_app_has_fifty_services() {
    let gateway = Gateway::start().await;
    let app = App::random();
    let body = service("counted", json!({}));
    let requests: Vec<_> = (0..60)
        .map(|_| {
            let request = mp1(&gateway, &app.id, Method::POST, &app.path("/services"));
            tokio::spawn(request.body(body.to_string()).answer())
        })
        .collect();
    let mut statuses = Vec::new();
    let mut refusal = Value::Null;
    for request in requests {
        let answer = request.await.unwrap();
        statuses.push(answer.status);
        if answer.status == 400 {
            refusal = answer.json();
        }
    }
    statuses.sort_unstable();
    let expected = [[201; 50].as_slice(), &[400; 10]].concat();
    assert_eq!(statuses, expected, "ten of sixty parallel requests are too many");
    let full = "registered services have achieve the limit";
    assert_eq!(refusal, problem(12, "Service register failed", full));
    // Another app has its own share.
    register(&gateway, &App::random(), &body).await;
}

/// A-43 to A-46: queries.
#[tokio::test]
async fn discovery_by_query() {
    let gateway = Gateway::start().await;
    let app = App::random();
    let get = async |query: &str| {
        let rest = format!("/services{query}");
        call(&gateway, &app, Method::GET, &rest, "").await
    };
    let none = get("").await;
    assert_eq!((none.status, none.text()), (200, "[]\n"), "A-43");
    let never = get("?ser_name=never").await;
    assert_eq!(never.status, 400, "A-44");
    golden("never_registered", &never);

    let gone = register(&gateway, &app, &service("gone", json!({}))).await;
    call(&gateway, &app, Method::DELETE, &format!("/services/{gone}"), "").await.expect(204);
    let empty = get("?ser_name=gone").await;
    assert_eq!((empty.status, empty.json()), (200, json!([])), "A-45");

    let a = service("a", json!({"isLocal": false, "scopeOfLocality": "MEC_HOST"}));
    let mut b = service("b", json!({"isLocal": true, "scopeOfLocality": "ZONE"}));
    b["serCategory"]["id"] = json!("other");
    let a = register(&gateway, &app, &a).await;
    register(&gateway, &app, &b).await;
    let unknown = get(&format!("?instance_id={UNKNOWN}")).await;
    let not_found = problem(2, "Can not found resource", "instance id not found");
    assert_eq!((unknown.status, unknown.json()), (400, not_found), "A-46");

    // Q-18: what is given must all match.
    let rows = [
        ("", "a b"),
        ("?ser_name=a", "a"),
        ("?ser_name=a&version=1.0.0", "a"),
        ("?is_local=true", "b"),
        ("?is_local=false", "a"),
        ("?scope_of_locality=zone", "b"),
        ("?ser_category_id=id12345", "a"),
        ("?ser_category_id=other&is_local=true", "b"),
        ("?ser_category_id=other&is_local=false", ""),
    ];
    for (query, expected) in rows {
        let found = get(query).await.expect(200).json();
        let mut names: Vec<_> =
            found.as_array().unwrap().iter().map(|one| &one["serName"]).collect();
        names.sort_by_key(ToString::to_string);
        let names: Vec<_> = names.into_iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(names.join(" "), expected, "{query}");
    }
    get(&format!("?instance_id={a}")).await.expect(200);
}

/// A-47 to A-50: who sees what, by the required services that were announced for it.
#[tokio::test]
async fn discovery_is_limited_to_required_services() {
    let gateway = Gateway::start().await;
    let provider = App::bootstrap(&gateway);
    for name in ["x", "y"] {
        register(&gateway, &provider, &service(name, json!({}))).await;
    }
    let seen = async |app: &App, query: &str| {
        let path = format!("/mep/mec_service_mgmt/v1/services{query}");
        let answer = mp1(&gateway, &app.id, Method::GET, &path).answer().await.expect(200).json();
        let found = answer.as_array().unwrap().iter();
        let mut names: Vec<_> =
            found.map(|one| one["serName"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names.join(" ")
    };
    let rows: [(&str, &[&str], &str); 5] = [
        ("A-47", &["x"], "x"),
        ("A-48", &["service-discovery"], "x y"),
        ("A-48", &["*"], ""),
        ("A-47", &[], ""),
        ("A-47", &["never", "y"], "y"),
    ];
    for (case, required, expected) in rows {
        let app = App::announced(&gateway, required).await;
        assert_eq!(seen(&app, "").await, expected, "{case} {required:?}");
        // A-50: parameters of the path do not come from the query.
        let query = format!("?:appInstanceId={}", provider.id);
        assert_eq!(seen(&app, &query).await, expected, "A-50 {required:?}");
    }
    assert_eq!(seen(&App::random(), "").await, "", "A-49");
}

/// A-51, A-52, and whose a service is (Q-55).
#[tokio::test]
async fn services_that_are_not_there() {
    let gateway = Gateway::start().await;
    let app = App::random();
    let stranger = App::random();
    let own = register(&gateway, &app, &service("own", json!({}))).await;
    let body = service("own", json!({})).to_string();
    let gone = "Can not found resource";
    let failed = || problem(3, gone, "find service failed");
    let unknown = || problem(3, gone, "service instance id not found");
    let odd = |text: &str| problem(1, "Bad Request", text);
    let rows = [
        ("A-51", &app, Method::GET, UNKNOWN, 404, unknown()),
        ("A-51", &app, Method::PUT, UNKNOWN, 404, failed()),
        ("A-51", &app, Method::DELETE, UNKNOWN, 404, failed()),
        ("A-52", &app, Method::GET, "xyz", 400, odd("invalid service id")),
        ("A-52", &app, Method::DELETE, "xyz", 400, odd("invalid service ID")),
        ("A-52", &app, Method::PUT, "xyz", 400, odd("invalid service ID")),
        ("Q-55", &stranger, Method::GET, &own, 404, unknown()),
        ("Q-55", &stranger, Method::PUT, &own, 404, failed()),
        ("Q-55", &stranger, Method::DELETE, &own, 404, failed()),
    ];
    for (case, app, method, id, status, expected) in rows {
        let sent = if method == Method::PUT { body.as_str() } else { "" };
        let answer = call(&gateway, app, method.clone(), &format!("/services/{id}"), sent).await;
        assert_eq!((answer.status, answer.json()), (status, expected), "{case} {method} {id}");
    }
    call(&gateway, &app, Method::GET, &format!("/services/{own}"), "").await.expect(200);

    let path = app.path("/services");
    let unknown = mp1(&gateway, &app.id, Method::GET, &path.replace("v1", "v9")).answer().await;
    assert_eq!((unknown.status, unknown.text()), (404, "404 page not found\n"));
    let wrong = call(&gateway, &app, Method::DELETE, "/services", "").await;
    assert_eq!((wrong.status, wrong.text()), (405, "Method Not Allowed\n"));
    let allowed = wrong.header("allow").unwrap();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
}

/// A-53, A-54: published routes follow the registration, and need a token from the first moment.
#[tokio::test]
async fn publication_follows_the_registration() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let gateway = Options::new().set("mep_ssrf_allow", "127.0.0.1").start().await;
    let app = App::bootstrap(&gateway);
    let token = app.token(&gateway).await;
    let at = |upstream: &Upstream| App::service("moving", &upstream.url());
    let answer = app.register(&gateway, &token, &at(&first)).await.expect(201).json();
    let id = answer["serInstanceId"].as_str().unwrap();
    let reach = async |path: &str, token: Option<&str>| {
        let mut request = plain().get(gateway.url("proxy", &format!("{path}/api?q=1")));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.answer().await.status
    };

    let old = app.published(&gateway, &token, id).await;
    assert_eq!(reach(&old, Some(&token)).await, 200, "A-35");
    assert_eq!(first.only().uri, "/api?q=1", "A-35: the prefix is stripped");
    assert_eq!(reach(&old, None).await, 401, "A-35");

    let path = format!("/services/{id}");
    let put =
        async |body: &Value| call(&gateway, &app, Method::PUT, &path, &body.to_string()).await;
    golden("replaced", &put(&at(&second)).await.expect(200));
    let new = app.published(&gateway, &token, id).await;
    assert_ne!(old, new);
    assert_eq!(reach(&old, Some(&token)).await, 404, "A-53");
    assert_eq!(reach(&new, None).await, 401, "A-53, Q-57");
    assert_eq!(reach(&new, Some(&token)).await, 200, "A-53");
    second.only();
    // An unchanged URI keeps its name.
    put(&at(&second)).await.expect(200);
    assert_eq!(app.published(&gateway, &token, id).await, new);
    // Q-20: another name is found at once; what the gateway offers keeps its own.
    put(&App::service("renamed", &second.url())).await.expect(200);
    assert_eq!(app.published(&gateway, &token, id).await, new);

    call(&gateway, &app, Method::DELETE, &path, "").await.expect(204);
    call(&gateway, &app, Method::GET, &path, "").await.expect(404);
    assert_eq!(reach(&new, Some(&token)).await, 404, "A-54");
    assert!(first.take().is_empty() && second.take().is_empty());
    let services = plain().get(gateway.url("admin", "/services?size=1000")).answer().await.json();
    let left = services["data"].as_array().unwrap().len();
    assert_eq!(left, 2, "only the platform's own services are left: {services}");
}

/// A-99, Q-16, Q-58, Q-68: what must not be opened to apps stays closed.
#[tokio::test]
async fn dangerous_endpoints_are_not_published() {
    let gateway = Gateway::start().await;
    let app = App::random();
    let admin = gateway.addr("admin");
    let uris = [
        "http://127.0.0.1:8001/".to_owned(),
        format!("http://{admin}/"),
        format!("http://localhost:{}/", admin.port()),
        format!("http://[::ffff:127.0.0.1]:{}/", admin.port()),
        format!("http://2130706433:{}/", admin.port()),
        format!("http://0.0.0.0:{}/", admin.port()),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://mepserver.mep.internal:8088/".to_owned(),
        "ftp://192.0.2.1/".to_owned(),
        "/relative".to_owned(),
        "http://192.0.2.1/\"injected".to_owned(),
    ];
    for uri in uris {
        let body = App::service("dangerous", &uri).to_string();
        let answer = call(&gateway, &app, Method::POST, "/services", &body).await;
        if answer.status == 201 {
            let id = answer.json()["serInstanceId"].as_str().unwrap().to_owned();
            let found = call(&gateway, &app, Method::GET, &format!("/services/{id}"), "").await;
            let uris = found.expect(200).json()["transportInfo"]["endpoint"]["uris"].clone();
            assert!(uris.as_array().is_none_or(Vec::is_empty), "{uri} is published: {uris}");
        } else {
            assert_eq!(answer.status, 400, "{uri}");
        }
        let routes = plain().get(gateway.url("admin", "/routes")).answer().await.json();
        let open = routes["data"].as_array().unwrap().iter();
        let open = open.filter(|route| route["name"].to_string().contains("dangerous"));
        assert_eq!(open.count(), 0, "{uri}: {routes}");
    }
}

/// A-63 to A-66, A-68.
#[tokio::test]
async fn heartbeats() {
    let gateway = Gateway::start().await;
    let app = App::random();
    let id = register(&gateway, &app, &service("beating", json!({}))).await;
    let silent = service("silent", json!({"livenessInterval": 0}));
    let silent = register(&gateway, &app, &silent).await;
    let at = |id: &str| format!("/services/{id}/liveness");
    let beat = async |method: Method, id: &str, body: &str| {
        call(&gateway, &app, method, &at(id), body).await
    };
    let answer = beat(Method::GET, &id, "").await;
    golden("liveness", &answer.clone().expect(200));
    assert_eq!(
        (&answer.json()["state"], &answer.json()["interval"]),
        (&json!("ACTIVE"), &json!(60))
    );

    let active = r#"{"state":"ACTIVE"}"#;
    let gone = "Can not found resource";
    let no_beat = |text: &str| Some((404, problem(17, gone, text)));
    let unmarshal = problem(4, "Bad Request", "unmarshal request body error");
    let rows = [
        ("A-63", Method::PUT, id.as_str(), active, None),
        ("A-68", Method::PATCH, &id, active, None),
        ("A-64", Method::GET, &silent, "", no_beat("Invalid get heartbeat request")),
        ("A-64", Method::PUT, &silent, active, no_beat("Invalid heartbeat update request")),
        ("A-65", Method::PUT, &id, "", Some((400, invalid("request body is empty")))),
        ("A-65", Method::PUT, &id, "{", Some((400, unmarshal))),
        (
            "A-65",
            Method::PUT,
            &id,
            r#"{"state":"INACTIVE"}"#,
            Some((400, invalid("request param validation failed"))),
        ),
        (
            "4.9",
            Method::GET,
            UNKNOWN,
            "",
            Some((404, problem(3, gone, "service instance id in heartbeat not found"))),
        ),
        (
            "4.9",
            Method::PUT,
            UNKNOWN,
            active,
            Some((404, problem(3, gone, "service instance id not found"))),
        ),
        ("4.9", Method::GET, "xyz", "", Some((400, invalid("Invalid service ID")))),
        (
            "4.9",
            Method::PUT,
            "xyz",
            active,
            Some((400, problem(1, "Bad Request", "Invalid service ID"))),
        ),
    ];
    for (case, method, id, body, refused) in rows {
        let answer = beat(method.clone(), id, body).await;
        match refused {
            None => assert_eq!((answer.status, answer.body.len()), (204, 0), "{case} {method}"),
            Some(refused) => {
                assert_eq!((answer.status, answer.json()), refused, "{case} {method} {id} {body}");
            }
        }
    }

    let inactive = service("beating", json!({"state": "INACTIVE"})).to_string();
    let replaced = call(&gateway, &app, Method::PUT, &format!("/services/{id}"), &inactive).await;
    replaced.expect(200);
    let refused = beat(Method::PUT, &id, active).await;
    let text = "The service is in INACTIVE state";
    assert_eq!(
        (refused.status, refused.json()),
        (409, problem(18, "Service is in INACTIVE state", text)),
        "A-66"
    );
}

/// A-67 with a short interval: silence suspends, a heartbeat revives, and routes stay.
#[tokio::test]
async fn silence_suspends_a_service() {
    let (callback, provider) = (Upstream::start().await, Upstream::start().await);
    let options = Options::new().set("mep_liveness_interval", "1");
    let gateway = options.set("mep_ssrf_allow", "127.0.0.1").start().await;
    let app = App::bootstrap(&gateway);
    let token = app.token(&gateway).await;
    let id = register(&gateway, &app, &App::service("quiet", &provider.url())).await;
    let subscription = json!({
        "subscriptionType": "SerAvailabilityNotificationSubscription",
        "callbackReference": format!("{}/cb", callback.url()),
    });
    let body = subscription.to_string();
    call(&gateway, &app, Method::POST, "/subscriptions", &body).await.expect(201);
    let path = format!("/services/{id}");
    let state = async || {
        let answer = call(&gateway, &app, Method::GET, &path, "").await.expect(200).json();
        answer["state"].as_str().unwrap().to_owned()
    };
    eventually("the service is suspended", async || (state().await == "SUSPENDED").then_some(()))
        .await;
    let told = callback.next().await.json();
    assert_eq!(told["serviceReferences"][0]["state"], "SUSPENDED");
    let published = app.published(&gateway, &token, &id).await;
    let call_it = plain().get(gateway.url("proxy", &published)).bearer_auth(&token);
    call_it.answer().await.expect(200);

    let beat = format!("{path}/liveness");
    let active = r#"{"state":"ACTIVE"}"#;
    call(&gateway, &app, Method::PUT, &beat, active).await.expect(204);
    assert_eq!(state().await, "ACTIVE");
    let told = callback.next().await.json();
    assert_eq!(told["serviceReferences"][0]["state"], "ACTIVE");
}
