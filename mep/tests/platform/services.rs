//! Registering, replacing, removing: A-28, A-29, A-33 to A-42, A-51 to A-54, A-99.

use gateway_model::Entity as _;
use gateway_model::entities::{PluginInstance, Route, Service};
use http::Method;
use mep::entities::ServiceInstance;
use serde_json::{Value, json};

use crate::kit::{A, B, Rig, SM, agent_body, service, service_at};

const PARAMETER: (&str, &str) = ("Request parameter error", "request param validation failed");

/// `path -> target` of everything the gateway offers for services, and that each asks for a token.
fn offered(rig: &Rig) -> Vec<String> {
    let catalog = rig.catalog();
    let mut offered: Vec<String> = catalog
        .all::<Route>()
        .map(|route| {
            let service = catalog.get::<Service>(route.service.unwrap().id).unwrap();
            let plugins: Vec<_> =
                catalog.children::<PluginInstance>("service", service.id()).collect();
            assert_eq!(plugins.len(), 1);
            assert_eq!(plugins[0].name, "jwt");
            assert_eq!(plugins[0].config["claims_to_verify"], json!(["exp"]));
            assert_eq!(route.tags.as_deref(), Some(["mep".to_owned()].as_slice()));
            assert!(route.strip_path);
            let path = &route.paths.as_ref().unwrap()[0];
            let base = service.path.as_deref().unwrap();
            format!("{path} {}://{}:{}{base}", service.protocol, service.host, service.port)
        })
        .collect();
    offered.sort();
    offered
}

fn one(rig: &Rig, method: Method, app: &str, id: &str) -> crate::kit::Ask {
    rig.mp1(method, format!("{SM}/applications/{app}/services/{id}")).of(app)
}

fn put(rig: &Rig, app: &str, id: &str, body: &Value) -> crate::kit::Ask {
    one(rig, Method::PUT, app, id).json(body)
}

/// Ids and generated names are random: they are shown as their shape.
fn shaped(text: &str) -> String {
    let shape = regex::Regex::new(r"[0-9a-f]{32}|sampleapp[0-9a-f]{20}").unwrap();
    shape
        .replace_all(text, |found: &regex::Captures<'_>| match found[0].strip_prefix("sampleapp") {
            Some(_) => "sampleapp<20 hex>".to_owned(),
            None => format!("{}<16 hex>", &found[0][..16]),
        })
        .into_owned()
}

#[tokio::test]
async fn a33_a34_an_agent_registers_and_reads_back() {
    let rig = Rig::start().await;
    let answer = rig.post_service(A, agent_body()).send().await;
    answer.expect(201);
    assert_eq!(answer.headers["content-type"], "application/json; charset=UTF-8");
    assert_eq!(answer.headers["x-response-status"], "201");
    assert!(answer.text.ends_with("}\n"));
    let id = answer.json()["serInstanceId"].as_str().unwrap().to_owned();
    let location = answer.headers["location"].to_str().unwrap();
    assert_eq!(location, format!("{SM}/applications/{A}/services/{id}"));
    insta::assert_snapshot!("register", shaped(&answer.text));

    let answer = one(&rig, Method::GET, A, &id).send().await;
    answer.expect(200);
    insta::assert_snapshot!("get", shaped(&answer.text));

    let uri = answer.json()["transportInfo"]["endpoint"]["uris"][0].as_str().unwrap().to_owned();
    let name = uri.strip_prefix("https://mep-api-gw.mep:8443/").unwrap();
    assert_eq!(offered(&rig), [format!("/{name} http://sampleapp.default:32115/")]);
}

#[tokio::test]
async fn a36_broken_rules() {
    let rig = Rig::start().await;
    let broken = |edit: &dyn Fn(&mut Value)| {
        let mut body = service("x");
        edit(&mut body);
        rig.post_service(A, body).refused(400, 14, PARAMETER.0, PARAMETER.1)
    };
    let member =
        |name: &'static str, value: Value| move |body: &mut Value| body[name] = value.clone();
    broken(&|body| drop(body.as_object_mut().unwrap().shift_remove("serName"))).await;
    for (name, value) in [
        ("serName", json!("")),
        ("serName", json!("_x")),
        ("serName", json!("n".repeat(129))),
        ("version", json!("")),
        ("version", json!("v".repeat(33))),
        ("state", json!("SUSPENDED")),
        ("state", json!("active")),
        ("serializer", json!("YAML")),
        ("livenessInterval", json!(-1)),
        ("livenessInterval", json!(2_147_483_647)),
        ("scopeOfLocality", json!("MOON")),
        ("transportId", json!("a_b")),
        ("serCategory", json!({"href": "no uri"})),
        ("transportInfo", json!({"type": "SOAP"})),
        ("transportInfo", json!({"protocol": "a b"})),
        ("transportInfo", json!({"endpoint": {"uris": ["no-uri"]}})),
        ("transportInfo", json!({"endpoint": {"uris": ["http://h/\"x"]}})),
        ("transportInfo", json!({"security": {"oAuth2Info": {"grantTypes": []}}})),
        ("transportInfo", json!({"security": {"oAuth2Info": {"grantTypes": ["X"]}}})),
    ] {
        broken(&member(name, value)).await;
    }
    assert_eq!(rig.catalog().revision().0, 0, "nothing was written");
}

#[tokio::test]
async fn a37_to_a39_bodies_that_are_no_service() {
    let rig = Rig::start().await;
    let post = |body: String| {
        rig.mp1(Method::POST, format!("{SM}/applications/{A}/services")).of(A).body(body)
    };
    for body in ["[]", "text", "null", "", "{", "1", "{} x"] {
        post(body.to_owned()).refused(400, 1, "Bad Request", "check Param failed").await;
    }
    for member in [
        r#""isLocal":"yes""#,
        r#""serName":7"#,
        r#""livenessInterval":1.5"#,
        r#""transportInfo":{"endpoint":{"addresses":[{"host":"h","port":"80"}]}}"#,
        r#""transportInfo":[]"#,
    ] {
        post(format!("{{{member}}}"))
            .refused(400, 4, "Bad Request", "unmarshal request body error")
            .await;
    }
    let large = |size: usize| {
        let body = service("x").to_string();
        format!("{}{}", body, " ".repeat(size - body.len()))
    };
    post(large(4097)).refused(400, 14, "Request parameter error", "request body too large").await;
    post(large(4096)).send().await.expect(201);
}

#[tokio::test]
async fn a40_defaults_and_keys_in_any_case() {
    let rig = Rig::start().await;
    let body = json!({"SERNAME": "x", "Version": "1", "state": "ACTIVE", "serializer": "XML",
                      "ISLOCAL": null, "unknown": 1});
    let answer = rig.post_service(A, body).send().await;
    answer.expect(201);
    let info = answer.json();
    assert_eq!(info["scopeOfLocality"], "MEC_HOST");
    assert_eq!((&info["isLocal"], &info["consumedLocalOnly"]), (&json!(true), &json!(true)));
    assert_eq!(info["livenessInterval"], 0);
    let own = format!("{SM}/applications/{A}/services/{}", info["serInstanceId"].as_str().unwrap());
    assert_eq!(info["_links"], json!({"self": {"href": own}, "appInstanceId": ""}));

    let mut body = service("y");
    (body["isLocal"], body["consumedLocalOnly"]) = (json!(false), json!(false));
    let id = rig.register(A, body).await;
    let info = one(&rig, Method::GET, A, &id).send().await.json();
    assert_eq!((info.get("isLocal"), info.get("consumedLocalOnly")), (None, None));
    assert_eq!(info["transportInfo"]["endpoint"]["uris"], Value::Null);
    assert_eq!(info["_links"]["appInstanceId"], A);
}

#[tokio::test]
async fn a41_an_app_has_fifty_services_and_no_more() {
    let rig = Rig::start().await;
    // All at once: the limit holds in the writer's turn, not by luck.
    let all = (0..60).map(|at| rig.post_service(A, service(&format!("s{at}"))).send());
    let answers = futures::future::join_all(all).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(201), count(400)), (50, 10));
    let limit = "registered services have achieve the limit";
    rig.post_service(A, service("more")).refused(400, 12, "Service register failed", limit).await;
    rig.register(B, service("other")).await;
    assert_eq!(rig.metric("mep_registrations_total", Some("registered")), 51.0);
    assert_eq!(rig.metric("mep_registrations_total", Some("refused")), 11.0);
}

#[tokio::test]
async fn a28_a29_a42_who_calls() {
    let rig = Rig::start().await;
    let path = |app: &str| format!("{SM}/applications/{app}/services");
    let denied = (401, 11, "UnAuthorization", "UnAuthorization to access the resource");
    let invalid = "app Instance ID validation failed, invalid uuid";

    let get = |app| rig.mp1(Method::GET, path(app));
    get(A).refused(denied.0, denied.1, denied.2, denied.3).await;
    get(A).of(B).refused(denied.0, denied.1, denied.2, denied.3).await;
    get("x").of("x").refused(400, 14, "Request parameter error", invalid).await;
    let upper = A.to_uppercase();
    get(&upper).of(&upper).refused(400, 14, "Request parameter error", invalid).await;
    get(A).of(A).send().await.is(200, "[]\n");
    get(A).header("x-APPINSTANCEID", A).send().await.is(200, "[]\n");

    // By the gateway only the verified token counts.
    get(A).by_gateway(Some(A)).of(B).header("x-appinstanceid", B).send().await.is(200, "[]\n");
    get(B).by_gateway(Some(A)).of(B).refused(denied.0, denied.1, denied.2, denied.3).await;
    get(A).by_gateway(None).of(A).refused(denied.0, denied.1, denied.2, denied.3).await;
}

#[tokio::test]
async fn a51_a52_services_that_are_not_there() {
    let rig = Rig::start().await;
    let unknown = "0123456789abcdef0123456789abcdef";
    let (title, get, find) =
        ("Can not found resource", "service instance id not found", "find service failed");
    one(&rig, Method::GET, A, unknown).refused(404, 3, title, get).await;
    put(&rig, A, unknown, &service("x")).refused(404, 3, title, find).await;
    one(&rig, Method::DELETE, A, unknown).refused(404, 3, title, find).await;
    for id in ["xyz", &format!("{unknown}0"), &unknown.to_uppercase()] {
        one(&rig, Method::GET, A, id).refused(400, 1, "Bad Request", "invalid service id").await;
        one(&rig, Method::DELETE, A, id).refused(400, 1, "Bad Request", "invalid service ID").await;
        put(&rig, A, id, &service("x")).refused(400, 1, "Bad Request", "invalid service ID").await;
    }

    // Another app's service is not there either, and stays as it is.
    let id = rig.register(A, service_at("x", &["http://a.test/"])).await;
    let before = rig.catalog().revision();
    one(&rig, Method::GET, B, &id).refused(404, 3, title, get).await;
    put(&rig, B, &id, &service("x")).refused(404, 3, title, find).await;
    one(&rig, Method::DELETE, B, &id).refused(404, 3, title, find).await;
    assert_eq!(rig.catalog().revision(), before);
}

#[tokio::test]
async fn a53_replacing_moves_what_the_gateway_offers() {
    let rig = Rig::start().await;
    let id = rig.register(A, service_at("x", &["http://u1.test/", "http://u2.test/"])).await;
    let name = |uri: &Value| uri.as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let uris = async || {
        let info = one(&rig, Method::GET, A, &id).send().await.json();
        let uris = info["transportInfo"]["endpoint"]["uris"].clone();
        uris.as_array().map(|uris| uris.iter().map(name).collect::<Vec<_>>())
    };
    let first = uris().await.unwrap();

    let answer =
        put(&rig, A, &id, &service_at("x", &["http://u2.test/", "http://u3.test/"])).send().await;
    answer.expect(200);
    assert_eq!(answer.json()["serInstanceId"], id.as_str());
    assert_eq!(answer.json()["transportInfo"]["endpoint"]["uris"][1], "http://u3.test/");
    let second = uris().await.unwrap();
    assert_eq!(second[0], first[1], "what stays keeps its name");
    let mut wanted = [
        format!("/{} http://u2.test:80/", second[0]),
        format!("/{} http://u3.test:80/", second[1]),
    ];
    wanted.sort();
    assert_eq!(offered(&rig), wanted);

    // Replaced, not merged: what the request leaves out is gone.
    let mut full = service("x");
    full["transportId"] = json!("t1");
    put(&rig, A, &id, &full).send().await.expect(200);
    put(&rig, A, &id, &service("x")).send().await.expect(200);
    assert_eq!(one(&rig, Method::GET, A, &id).send().await.json()["transportId"], "");
    assert_eq!((uris().await, offered(&rig).len()), (None, 0));

    // Q-20: look-ups by name follow at once.
    let rest = |name: &str| format!("{SM}/applications/{A}/services?ser_name={name}");
    put(&rig, A, &id, &service("y")).send().await.expect(200);
    for (name, found) in [("x", 0), ("y", 1)] {
        let list = rig.mp1(Method::GET, rest(name)).of(A).send().await.json();
        assert_eq!(list.as_array().unwrap().len(), found, "{name}");
    }
}

#[tokio::test]
async fn a54_removing_takes_all_with_it() {
    let rig = Rig::start().await;
    let id = rig.register(A, service_at("x", &["http://u1.test/", "http://u2.test/"])).await;
    let answer = one(&rig, Method::DELETE, A, &id).send().await;
    answer.is(204, "");
    assert_eq!(answer.headers["x-response-status"], "204");
    one(&rig, Method::GET, A, &id).send().await.expect(404);
    one(&rig, Method::DELETE, A, &id).send().await.expect(404);
    for kind in [Service::KIND, Route::KIND, PluginInstance::KIND] {
        assert!(rig.catalog().collection(kind).unwrap().is_empty(), "{kind}");
    }
}

#[tokio::test]
async fn a99_nothing_inside_is_offered() {
    let rig = Rig::start().await;
    let uris = [
        "http://127.0.0.1:8001/",
        "http://localhost:8001/",
        "http://mepserver.mep.internal:8088/",
        "http://169.254.169.254/",
        "https://mep-api-gw.mep:8443/",
        "ftp://a.test/",
        "/relative",
    ];
    let id = rig.register(A, service_at("x", &uris)).await;
    assert!(offered(&rig).is_empty());
    let info = one(&rig, Method::GET, A, &id).send().await.json();
    assert_eq!(info["transportInfo"]["endpoint"]["uris"], Value::Null);
}

#[tokio::test]
async fn everything_else_is_not_there() {
    let rig = Rig::start().await;
    let services = format!("{SM}/applications/{A}/services");
    let answer = rig.mp1(Method::GET, "/mep/other").send().await;
    answer.is(404, "404 page not found\n");
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.headers["x-response-status"], "404");

    let answer = rig.mp1(Method::PATCH, &services).of(A).send().await;
    answer.is(405, "Method Not Allowed\n");
    let allowed = answer.headers["allow"].to_str().unwrap();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");

    let answer = rig.mp1(Method::GET, format!("//mep//x{services}/?a=b")).send().await;
    answer.expect(301);
    assert_eq!(answer.headers["location"], format!("/mep/x{services}/?a=b"));

    let answer = rig.mp1(Method::OPTIONS, &services).header("Origin", "http://o").send().await;
    answer.is(200, "");
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    rig.mp1(Method::GET, "/health").send().await.is(200, "ok");
    rig.mp1(Method::GET, "/healthcheck").send().await.is(200, "ok");

    // Apps do not end themselves.
    let end = format!("/mep/mec_app_support/v1/applications/{A}/AppInstanceTermination");
    rig.mp1(Method::DELETE, end).by_gateway(Some(A)).send().await.expect(404);
    // Bytes that are no text are nobody's id.
    rig.mp1(Method::GET, format!("{SM}/applications/%ff/services")).of(A).send().await.expect(401);
}

#[tokio::test]
async fn the_original_s_content_type_is_a_switch() {
    let rig = Rig::with(|settings| settings.strict_original = true).await;
    let answer = rig.mp1(Method::GET, format!("{SM}/applications/{A}/services")).send().await;
    answer.expect(401);
    assert_eq!(answer.headers["content-type"], "text/plain; charset=UTF-8");
}

/// A patch by CAPIF changes what it names, also of what CAPIF has no words for.
#[tokio::test]
async fn a_patch_by_capif_keeps_the_rest() {
    let rig = Rig::start().await;
    let registration = json!({
        "appName": "a", "appInstanceId": A, "endpoint": {"uris": ["http://192.0.2.1/"]},
    });
    let register = rig.mp1(Method::POST, "/mec_app_support/v1/registrations").of(A);
    register.json(&registration).send().await.expect(201);
    let mut queue = agent_body();
    queue["serCategory"] = json!({"name": "NoId"});
    queue["transportInfo"]["endpoint"] = json!({"alternative": {"topic": "x"}});
    for body in [agent_body(), queue] {
        let id = rig.register(A, body).await;
        let before = one(&rig, Method::GET, A, &id).send().await.json();
        let own = format!("/published-apis/v1/{A}/service-apis/{id}");
        let patch = json!({"description": "what it is"});
        let patched = rig.mp1(Method::PATCH, &own).of(A).json(&patch).send().await;
        patched.expect(200);
        assert_eq!(patched.json()["description"], "what it is");
        let after = one(&rig, Method::GET, A, &id).send().await.json();
        assert_eq!(after, before);
    }
}

/// IPv6 addresses stand in brackets, with a prefix of the path or not.
#[tokio::test]
async fn addresses_of_capif_become_uris() {
    let rig = Rig::start().await;
    let registration = json!({
        "appName": "a", "appInstanceId": A, "endpoint": {"uris": ["http://192.0.2.1/"]},
    });
    let register = rig.mp1(Method::POST, "/mec_app_support/v1/registrations").of(A);
    register.json(&registration).send().await.expect(201);
    let description = json!({
        "apiName": "maps",
        "aefProfiles": [{
            "aefId": "aef-1", "versions": [{"apiVersion": "v2"}], "protocol": "HTTP_1_1",
            "interfaceDescriptions": [
                {"ipv6Addr": "2001:db8::1", "port": 81},
                {"ipv6Addr": "2001:db8::2", "port": 82, "apiPrefix": "/x"},
            ],
        }],
    });
    let path = format!("/published-apis/v1/{A}/service-apis");
    rig.mp1(Method::POST, path).of(A).json(&description).send().await.expect(201);
    let catalog = rig.catalog();
    let service = catalog.all::<ServiceInstance>().next().unwrap();
    let targets: Vec<&str> = service.publications.iter().map(|one| &*one.target).collect();
    assert_eq!(targets, ["http://[2001:db8::1]:81/", "http://[2001:db8::2]:82/x"]);
}

/// A path that cannot be read names nothing; who asks is looked at first.
#[tokio::test]
async fn paths_that_are_no_text() {
    let rig = Rig::start().await;
    for path in ["/mec_service_mgmt/v1/services/%FF", "/mec_app_support/v1/registrations/%FF"] {
        for (app, status) in [(None, 401), (Some(A), 404)] {
            let ask = rig.mp1(Method::GET, path);
            let ask = if let Some(app) = app { ask.of(app) } else { ask };
            let answer = ask.send().await;
            answer.expect(status);
            assert_eq!(answer.headers["content-type"], "application/problem+json", "{path}");
        }
    }
}
