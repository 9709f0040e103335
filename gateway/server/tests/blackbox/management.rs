//! Mm5, service governance and what applications see of their rules, in the dialect: contract
//! sections 4.10 to 4.13 and 5, cases A-69 to A-94 and A-98.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Answered as _, App, Gateway, Options, Upstream, eventually, golden, mp1, plain,
};

const NOBODY: &str = "0f0f0f0f-0f0f-4f0f-8f0f-0f0f0f0f0f0f";
const GONE: &str = "Can not found resource";

fn problem(code: u16, title: &str, detail: &str) -> Value {
    json!({"title": title, "status": code, "detail": detail})
}

fn configuration(app: &str) -> String {
    format!("/mepcfg/app_lcm/v1/applications/{app}/appd_configuration")
}

fn support(app: &App, rest: &str) -> String {
    format!("/mep/mec_app_support/v1/applications/{}{rest}", app.id)
}

/// A request of management: without any header of its own.
async fn manage(gateway: &Gateway, method: Method, path: &str, body: &str) -> Answer {
    plain().request(method, gateway.url("mep", path)).body(body.to_owned()).answer().await
}

async fn call(gateway: &Gateway, app: &App, method: Method, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    mp1(gateway, &app.id, method, path).body(body).answer().await
}

/// What apprulemgr sends: contract 8.3, word for word.
fn apprulemgr(name: &str, domain: &str) -> String {
    format!(
        r#"{{"appName":"{name}","appSupportMp1":true,"appTrafficRule":[{{"trafficRuleId":"r1","filterType":"FLOW","priority":1,"action":"DROP","trafficFilter":[{{"trafficFilterId":"","srcAddress":["192.168.1.1/28"],"srcPort":["8080"],"dstAddress":["192.168.1.1/28"],"dstPort":["8080"],"protocol":["TCP"],"qCI":1,"dSCP":0,"tC":1,"tag":null,"srcTunnelAddress":null,"dstTunnelAddress":null,"srcTunnelPort":null,"dstTunnelPort":null}}],"dstInterface":null}}],"appDnsRule":[{{"dnsRuleId":"d1","domainName":"{domain}","ipAddressType":"IP_V4","ipAddress":"10.0.0.1","ttl":30}}]}}"#
    )
}

/// Polls as apprulemgr does, until the task ended.
async fn ended(gateway: &Gateway, began: &Answer) -> Value {
    let began = began.clone().expect(200).json();
    assert_eq!(began["configResult"], "PROCESSING");
    let task = began["taskId"].as_str().unwrap().to_owned();
    let path = format!("/mepcfg/app_lcm/v1/tasks/{task}/appd_configuration");
    eventually("the task ends", async || {
        let now = manage(gateway, Method::GET, &path, "").await.expect(200).json();
        (now["configResult"] != "PROCESSING").then_some(now)
    })
    .await
}

async fn configure(gateway: &Gateway, app: &App, body: &str) {
    let began = manage(gateway, Method::POST, &configuration(&app.id), body).await;
    let done = ended(gateway, &began).await;
    assert_eq!((&done["configResult"], &done["configPhase"]), (&json!("SUCCESS"), &json!("100")));
}

/// A-69, A-70, A-74: apprulemgr's life with a configuration.
#[tokio::test]
async fn a_configuration_is_created_changed_and_removed() {
    let gateway = Gateway::start().await;
    let (app, other) = (App::random(), App::random());
    let path = configuration(&app.id);
    let body = apprulemgr("app1", "www.example.com");
    let began = manage(&gateway, Method::POST, &path, &body).await;
    golden("configuration_began", &began.clone().expect(200));
    let done = ended(&gateway, &began).await;
    assert_eq!(
        (&done["configResult"], &done["configPhase"], &done["Detailed"]),
        (&json!("SUCCESS"), &json!("100"), &json!("")),
        "A-69"
    );
    golden("configuration", &manage(&gateway, Method::GET, &path, "").await.expect(200));

    let duplicate = |what: &str| problem(19, "Duplicate request error", what);
    let elsewhere = configuration(&other.id);
    let rows = [
        (&path, body.clone(), "duplicate app instance"),
        (&elsewhere, apprulemgr("app1", "a.example.com"), "duplicate app name"),
        (&elsewhere, apprulemgr("app2", "WWW.example.com."), "duplicate dns entry"),
    ];
    for (path, body, what) in rows {
        let answer = manage(&gateway, Method::POST, path, &body).await;
        assert_eq!((answer.status, answer.json()), (400, duplicate(what)), "A-70");
    }
    let put = async |body: &str| manage(&gateway, Method::PUT, &path, body).await;
    let renamed = put(&apprulemgr("app9", "www.example.com")).await;
    let mismatch = problem(6, "Bad Request", "app-name doesn't match");
    assert_eq!((renamed.status, renamed.json()), (400, mismatch), "A-74");
    // The same again: a rule sent without its state is what was stored with one.
    let same = put(&body).await;
    let nothing = problem(5, GONE, "no modification data found in the input");
    assert_eq!((same.status, same.json()), (404, nothing));
    let moved = body.replace("10.0.0.1", "10.0.0.2");
    assert_eq!(ended(&gateway, &put(&moved).await).await["configResult"], "SUCCESS");
    let dns = call(&gateway, &app, Method::GET, &support(&app, "/dns_rules"), &Value::Null).await;
    assert_eq!(dns.expect(200).json()[0]["ipAddress"], "10.0.0.2");
    // Q-26: a configuration without rules can be removed.
    let empty = r#"{"appName":"app1","appTrafficRule":null,"appDnsRule":null}"#;
    assert_eq!(ended(&gateway, &put(empty).await).await["configResult"], "SUCCESS");
    let gone = manage(&gateway, Method::DELETE, &path, "").await;
    assert_eq!(ended(&gateway, &gone).await["configResult"], "SUCCESS");
    manage(&gateway, Method::GET, &path, "").await.expect(404);
    // Name and domain are free again.
    configure(&gateway, &other, &body).await;
}

/// A-72, A-73, A-75 to A-77: what is refused.
#[tokio::test]
async fn configurations_that_are_refused() {
    let gateway = Gateway::start().await;
    let app = App::random();
    let path = configuration(&app.id);
    let with = |from: &str, to: &str| apprulemgr("app1", "www.example.com").replace(from, to);
    let invalid = [
        (with("FLOW", "2FLOW22"), " FilterType"),
        (with("\"trafficFilter\":[", "\"x\":["), " TrafficFilter"),
        (with("\"appName\":\"app1\",", ""), " AppName"),
        (with("\"DROP\"", "\"DUPLICATED_DECAPSULATED\""), " Action"),
        (with("10.0.0.1", "10.0.0.256"), " IPAddress"),
        (with("10.0.0.1", "::1"), " IPAddress"),
        (with("10.0.0.1", "224.0.0.1"), " IPAddress"),
        (with("www.example.com", "www..example.com"), " DomainName"),
        (with("\"priority\":1", "\"priority\":256"), " Priority"),
    ];
    for (body, fields) in invalid {
        let answer = manage(&gateway, Method::POST, &path, &body).await;
        let text = format!("Invalid value for input on: {fields}");
        assert_eq!((answer.status, answer.json()), (400, problem(1, "Bad Request", &text)), "A-72");
    }
    for body in ["", "[]", "text", r#"{"appName":7}"#] {
        let answer = manage(&gateway, Method::POST, &path, body).await;
        assert_eq!((answer.status, &answer.json()["status"]), (400, &json!(1)), "{body}");
        assert!(answer.json()["detail"].is_string(), "8.3: clients read it");
    }
    let none = manage(&gateway, Method::POST, &path, r#"{"appName":"a"}"#).await;
    let nothing = problem(5, GONE, "no modification data found in the input");
    assert_eq!((none.status, none.json()), (404, nothing), "A-73");
    let body = apprulemgr("app1", "www.example.com");
    for method in [Method::PUT, Method::DELETE] {
        let answer = manage(&gateway, method, &path, &body).await;
        let unknown = problem(3, GONE, "app instance not found");
        assert_eq!((answer.status, answer.json()), (404, unknown), "A-75");
    }
    let answer = manage(&gateway, Method::GET, &path, "").await;
    let failed = problem(5, GONE, "appD config retrieval failed");
    assert_eq!((answer.status, answer.json()), (404, failed), "A-75");
    let wide = format!("{}{body}", " ".repeat(32_769 - body.len()));
    let answer = manage(&gateway, Method::POST, &path, &wide).await;
    let large = problem(14, "Request parameter error", "request body too large");
    assert_eq!((answer.status, answer.json()), (400, large), "A-76");
    let task = |id: &str| format!("/mepcfg/app_lcm/v1/tasks/{id}/appd_configuration");
    let answer = manage(&gateway, Method::GET, &task("x"), "").await;
    let odd = problem(14, "Request parameter error", "taskId validation failed, invalid uuid");
    assert_eq!((answer.status, answer.json()), (400, odd), "A-77");
    let answer = manage(&gateway, Method::GET, &task(NOBODY), "").await;
    let unknown = problem(5, GONE, "task rule retrieval failed");
    assert_eq!((answer.status, answer.json()), (404, unknown), "A-77");
    // Q-34: a key is a whole one.
    let answer = manage(&gateway, Method::GET, &configuration("a"), "").await;
    let no_uuid =
        problem(14, "Request parameter error", "app Instance ID validation failed, invalid uuid");
    assert_eq!((answer.status, answer.json()), (400, no_uuid), "Q-34");
}

/// A-78 to A-83: applications and their rules.
#[tokio::test]
async fn an_application_and_its_rules() {
    let gateway = Gateway::start().await;
    let app = App::random();
    let null = Value::Null;
    let (dns, traffic) = (support(&app, "/dns_rules"), support(&app, "/traffic_rules"));
    for path in [&dns, &traffic] {
        let none = call(&gateway, &app, Method::GET, path, &null).await.expect(200);
        assert_eq!(none.text(), "[]\n", "A-78");
    }
    configure(&gateway, &app, &apprulemgr("app1", "www.example.com")).await;
    let one = format!("{dns}/d1");
    let rule = call(&gateway, &app, Method::GET, &one, &null).await.expect(200);
    golden("dns_rule", &rule);
    let put = async |path: &str, body: &Value, tag: Option<&str>| {
        let request = mp1(&gateway, &app.id, Method::PUT, path).body(body.to_string());
        match tag {
            Some(tag) => request.header("If-Match", tag).answer().await,
            None => request.answer().await,
        }
    };
    let with = |name: &str, value: Value| {
        let mut body = rule.json();
        body[name] = value;
        body
    };
    let asleep = with("state", json!("INACTIVE"));
    let set = put(&one, &asleep, None).await.expect(200);
    assert_eq!(set.json(), asleep, "A-79");
    let tag = call(&gateway, &app, Method::GET, &one, &null).await;
    assert_eq!(tag.header("etag"), set.header("etag"), "A-79");
    let tag = tag.header("etag").unwrap().to_owned();
    let bad = |text: &str| problem(1, "Bad Request", text);
    let refused = [
        (
            asleep.clone(),
            Some("\"x\""),
            412,
            problem(10, "Precondition failed", "e-tag miss-match"),
        ),
        (with("ttl", json!(31)), None, 400, bad("update supported only for state")),
        (with("domainName", null.clone()), None, 400, bad("update supported only for state")),
        (with("state", json!("X")), None, 400, bad("invalid dns state input")),
        (with("dnsRuleId", json!("d2")), None, 400, bad("dns identifier miss-match")),
    ];
    for (body, tag, status, expected) in refused {
        let answer = put(&one, &body, tag).await;
        assert_eq!((answer.status, answer.json()), (status, expected), "A-80 {body}");
    }
    put(&one, &with("state", json!("ACTIVE")), Some(&tag)).await.expect(200);
    let unknown = call(&gateway, &app, Method::GET, &format!("{dns}/x"), &null).await;
    let gone = problem(5, GONE, "dns rule retrieval failed");
    assert_eq!((unknown.status, unknown.json()), (404, gone));

    let one = format!("{traffic}/r1");
    let rule = call(&gateway, &app, Method::GET, &one, &null).await.expect(200);
    golden("traffic_rule", &rule);
    let tag = rule.header("etag").unwrap().to_owned();
    let same = put(&one, &rule.json(), Some("\"x\"")).await.expect(200);
    assert_eq!((same.json(), same.header("etag")), (rule.json(), None), "4.11: looked at first");
    let mut next = rule.json();
    next["priority"] = json!(9);
    let stale = put(&one, &next, Some("\"x\"")).await;
    assert_eq!(stale.status, 412);
    let set = put(&one, &next, Some(&tag)).await.expect(200);
    let shown = call(&gateway, &app, Method::GET, &one, &null).await;
    assert_eq!((shown.json(), shown.header("etag")), (set.json(), set.header("etag")), "A-82");
    next["trafficRuleId"] = json!("r2");
    let other = put(&one, &next, None).await;
    let mismatch = problem(4, "Bad Request", "traffic identifier miss-match");
    assert_eq!((other.status, other.json()), (400, mismatch));
    for id in ["x".to_owned(), "x".repeat(37)] {
        let unknown = put(&format!("{traffic}/{id}"), &rule.json(), None).await;
        let gone = problem(5, GONE, "traffic rule does not exist");
        assert_eq!((unknown.status, unknown.json()), (404, gone), "A-83");
    }
    let broken = put(&one, &json!({"filterType": "X"}), None).await;
    assert_eq!((broken.status, &broken.json()["status"]), (400, &json!(1)));
}

/// A-84, A-85, A-89, A-98: messages of applications.
#[tokio::test]
async fn messages_of_applications() {
    let gateway = Options::new().set("mep_ssrf_allow", "127.0.0.1").start().await;
    let app = App::random();
    let ready = support(&app, "/confirm_ready");
    let post = async |path: &str, body: &str| manage(&gateway, Method::POST, path, body).await;
    post(&ready, r#"{"indication":"READY"}"#).await.expect(204);
    for body in [r#"{"indication":"X"}"#, "{}", "x", ""] {
        let answer = post(&ready, body).await;
        let invalid = problem(4, "Bad Request", "validate param failed");
        assert_eq!((answer.status, answer.json()), (400, invalid), "A-84 {body}");
    }
    let done = support(&app, "/confirm_termination");
    let answer = post(&done, r#"{"operationAction":"TERMINATING"}"#).await;
    let nothing = problem(18, "Service is in INACTIVE state", "no termination is going on");
    assert_eq!((answer.status, answer.json()), (409, nothing), "A-85");
    let answer = post(&done, "x").await;
    assert_eq!(answer.json(), problem(4, "Bad Request", "validate param failed"), "Q-25");
    let end = support(&app, "/AppInstanceTermination");
    let answer = manage(&gateway, Method::DELETE, &end, "").await;
    let stranger = problem(11, "UnAuthorization", "UnAuthorization to access the resource");
    assert_eq!((answer.status, answer.json()), (401, stranger), "A-89");
    let unknown = call(&gateway, &app, Method::DELETE, &end, &Value::Null).await;
    assert_eq!((unknown.status, unknown.text()), (200, "\"\"\n"), "A-88");

    let relay = support(&app, "/callback");
    let answer = post(&relay, "{}").await;
    let invalid = problem(22, "Bad Request", "Callback Url validation failed");
    assert_eq!((answer.status, answer.json()), (400, invalid.clone()), "A-98");
    let upstream = Upstream::start().await;
    let to = async |target: &str| {
        let request = plain().post(gateway.url("mep", &relay)).header("callbackReference", target);
        request.body(r#"{"a":1}"#).answer().await
    };
    to(&format!("{}/status/500", upstream.url())).await.expect(204);
    assert_eq!(upstream.only().body, r#"{"a":1}"#);
    let inside = to("http://169.254.169.254/").await;
    assert_eq!((inside.status, inside.json()), (400, invalid), "Q-58");
}

/// A-90 to A-92: who uses what, and how often.
#[tokio::test]
async fn portals_see_numbers() {
    let upstream = Upstream::start().await;
    let mut gateway = Options::new().set("mep_ssrf_allow", "127.0.0.1").start().await;
    let capabilities = "/mepcfg/mec_platform_config/v1/capabilities";
    let governance = |rest: &str| format!("/mep/service_govern/v1/{rest}");
    let none = manage(&gateway, Method::GET, capabilities, "").await.expect(200);
    assert_eq!(none.text(), "[]\n", "A-90");
    for name in ["services", "subscribe_statistic", "kong_log"] {
        let empty = manage(&gateway, Method::GET, &governance(name), "").await;
        golden(&format!("{name}_empty"), &empty.expect(200));
    }
    let app = App::bootstrap(&gateway);
    let token = app.token(&gateway).await;
    let service = App::service("counted", &upstream.url());
    let id = app.register(&gateway, &token, &service).await.expect(201).json()["serInstanceId"]
        .as_str()
        .unwrap()
        .to_owned();
    app.register(&gateway, &token, &json!({})).await.expect(400);
    let subscription = json!({
        "subscriptionType": "SerAvailabilityNotificationSubscription",
        "callbackReference": "http://192.0.2.1/cb",
        "filteringCriteria": {"serNames": ["counted"], "serInstanceIds": []},
    });
    let path = app.path("/subscriptions");
    call(&gateway, &app, Method::POST, &path, &subscription).await.expect(201);
    let expected = json!({
        "capabilityId": id, "capabilityName": "counted", "status": "ACTIVE", "version": "v1",
        "consumers": [{"applicationInstanceId": app.id}],
    });
    let all = manage(&gateway, Method::GET, capabilities, "").await.expect(200).json();
    assert_eq!(all, json!([expected]), "A-90");
    let one = manage(&gateway, Method::GET, &format!("{capabilities}/{id}"), "").await;
    assert_eq!(one.expect(200).json(), expected, "A-90");
    let unknown = format!("{capabilities}/0123456789abcdef0123456789abcdef");
    let answer = manage(&gateway, Method::GET, &unknown, "").await;
    assert_eq!((answer.status, answer.json()), (404, problem(3, GONE, "get one instance error")));
    let answer = manage(&gateway, Method::GET, &format!("{capabilities}/x"), "").await;
    assert_eq!(
        (answer.status, answer.json()),
        (400, problem(1, "Bad Request", "Invalid service ID"))
    );

    let statistic = manage(&gateway, Method::GET, &governance("subscribe_statistic"), "").await;
    assert_eq!(
        statistic.expect(200).json()["data"],
        json!({
            "subscribeNum": {"appSubscribeNum": 1, "serviceSubscribedNum": 1},
            "subscribeRelations": [{"subscribeAppId": app.id, "serviceList": null}],
        })
    );
    // Two registrations, of which one failed; one discovery; three calls of the service.
    let services = "/mep/mec_service_mgmt/v1/services";
    let url = gateway.url("proxy", services);
    plain().get(url).bearer_auth(&token).answer().await.expect(200);
    let published = app.published(&gateway, &token, &id).await;
    for good in [true, true, false] {
        let request = plain().get(gateway.url("proxy", &format!("{published}/x")));
        let request = if good { request.bearer_auth(&token) } else { request };
        request.answer().await.expect(if good { 200 } else { 401 });
    }
    let counts = async |gateway: &Gateway| {
        let answer = manage(gateway, Method::GET, &governance("kong_log"), "").await;
        let data = answer.expect(200).json()["data"].clone();
        let row = |list: &str, name: &str| {
            let all = data[list].as_array().unwrap().iter();
            let mut found = all.filter(|one| one["name"] == name);
            found.next().map_or(Value::Null, |one| one["callTimes"][0].clone())
        };
        [
            row("appServices", "counted"),
            row("mepServices", "serviceRegister"),
            row("mepServices", "serviceDiscovery"),
        ]
    };
    let wanted = [json!(3), json!(2), json!(1)];
    eventually("all calls are counted, A-92", async || {
        (counts(&gateway).await == wanted).then_some(())
    })
    .await;
    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.ended().await.success());
    gateway.start_again().await;
    assert_eq!(counts(&gateway).await, wanted, "kept over a restart");

    let log = governance("kong_log");
    manage(&gateway, Method::POST, &log, r#"{"request":{}}"#).await.expect(200);
    let answer = manage(&gateway, Method::POST, &log, "x").await;
    assert_eq!(answer.json(), problem(1, "Bad Request", "Json Unmarshal error."));
}

/// A-93, A-94: time and transports.
#[tokio::test]
async fn time_and_transports() {
    let gateway = Options::new().set("mep_ntp_host", "127.0.0.1").start().await;
    let get = async |path: &str| manage(&gateway, Method::GET, path, "").await;
    let transports = "/mep/mec_service_mgmt/v1/transports";
    let (first, second) = (get(transports).await.expect(200), get(transports).await);
    golden("transports", &first);
    assert_eq!(first.json(), second.json(), "A-94");
}

/// Q-56, Q-66: what management may do nobody can by the gateway, nor from where it is not trusted.
#[tokio::test]
async fn management_is_not_for_everybody() {
    let gateway = Gateway::start().await;
    let app = App::announced(&gateway, &[]).await;
    let token = app.token(&gateway).await;
    let end = support(&app, "/AppInstanceTermination");
    let by_gateway = async |path: &str, method: Method| {
        let request = plain().request(method, gateway.url("proxy", path));
        request.bearer_auth(&token).answer().await
    };
    by_gateway(&end, Method::DELETE).await.expect(404);
    by_gateway(&configuration(&app.id), Method::GET).await.expect(404);
    by_gateway("/mep/service_govern/v1/services", Method::GET).await.expect(404);
    by_gateway(&app.path("/services"), Method::GET).await.expect(200);

    let gateway = Options::new().set("mep_direct_trusted", "10.1.2.3").start().await;
    let app = App::bootstrap(&gateway);
    let refused = call(&gateway, &app, Method::GET, &app.path("/services"), &Value::Null).await;
    let told = json!({"message": "Your IP address is not allowed"});
    assert_eq!((refused.status, refused.json()), (403, told.clone()));
    let refused = manage(&gateway, Method::GET, &configuration(&app.id), "").await;
    assert_eq!((refused.status, refused.json()), (403, told));
    for path in ["/health", "/healthcheck"] {
        assert_eq!(manage(&gateway, Method::GET, path, "").await.expect(200).text(), "ok");
    }

    let open = Options::new().set("mep_management_by_gateway", "on").start().await;
    let app = App::announced(&open, &[]).await;
    let token = app.token(&open).await;
    let path = support(&app, "/AppInstanceTermination");
    let request = plain().delete(open.url("proxy", &path)).bearer_auth(&token);
    assert_eq!(request.answer().await.expect(200).text(), "\"\"\n");
}
