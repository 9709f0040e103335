//! The two faces of one server, side by side: the tables of the MEC 011 contract, sections 10.2 to
//! 10.4 (S-66). Every row is asked of the standard's root and of the dialect's.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Answered as _, App, Gateway, Mec, SM, Upstream, eventually, plain, svc,
};

/// What stands before the paths of each face: the standard's, the dialect's.
const ROOTS: [&str; 2] = ["", "/mep"];
const UNKNOWN: &str = "0123456789abcdef0123456789abcdef";
const NOBODY: &str = "0f0f0f0f-0f0f-4f0f-8f0f-0f0f0f0f0f0f";

fn transport(member: &str, value: Value) -> Value {
    let mut body = svc(json!({}));
    if value.is_null() {
        body["transportInfo"].as_object_mut().unwrap().remove(member);
    } else {
        body["transportInfo"][member] = value;
    }
    body
}

/// What the row of a table gets from each face.
async fn statuses(mec: &Mec<'_>, method: Method, path: &str, body: &Value) -> [u16; 2] {
    let mut told = [0; 2];
    for (root, told) in ROOTS.iter().zip(&mut told) {
        let request = mec.request(method.clone(), &format!("{root}{path}"));
        let answer = request.json(body).answer().await;
        if root.is_empty() && answer.status >= 400 {
            answer.problem(answer.status);
        }
        *told = answer.status;
    }
    told
}

async fn remove_all(mec: &Mec<'_>) {
    for one in mec.get(&mec.sm("/services")).await.expect(200).json().as_array().unwrap() {
        mec.delete(one["_links"]["self"]["href"].as_str().unwrap()).await.expect(204);
    }
}

/// 10.2: bodies of services.
#[tokio::test]
async fn services_as_each_face_takes_them() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let both = json!({"uris": ["http://192.0.2.1/"], "addresses": [{"host": "a", "port": 1}]});
    let nulls = json!({"uris": ["http://192.0.2.1/"], "addresses": null, "alternative": null});
    let mut spelled = svc(json!({}));
    spelled["SERNAME"] = spelled.as_object_mut().unwrap().remove("serName").unwrap();
    let odd = json!({"isLocal": false, "_links": {"self": {"liveness": ""}}, "links": 7});
    let wide = |size: usize| svc(json!({"x": "x".repeat(size)}));
    let rows = [
        ("transport", svc(json!({"transportId": "x"})), [400, 201]),
        ("transport", svc(json!({"transportId": ""})), [400, 201]),
        ("endpoint", transport("endpoint", json!({})), [400, 201]),
        ("endpoint", transport("endpoint", both), [400, 201]),
        ("endpoint", transport("endpoint", nulls), [201, 201]),
        ("mandatory attributes", svc(json!({"serCategory": {"id": "x"}})), [400, 201]),
        ("mandatory attributes", transport("name", Value::Null), [400, 201]),
        ("`serInstanceId` in POST", svc(json!({"serInstanceId": UNKNOWN})), [400, 201]),
        ("`isLocal`, `_links` in POST", svc(odd), [201, 201]),
        ("attribute names", spelled, [400, 201]),
        ("body limit", wide(5_000), [201, 400]),
        ("body limit", wide(70_000), [413, 400]),
    ];
    let path = mec.sm("/services");
    for (row, body, wanted) in rows {
        let told = statuses(&mec, Method::POST, &path, &body).await;
        assert_eq!(told, wanted, "{row} {:.200}", body.to_string());
    }
    for (root, wanted) in ROOTS.iter().zip([415, 201]) {
        let request = mec.request(Method::POST, &format!("{root}{path}"));
        let request = request.header("Content-Type", "text/plain").body(svc(json!({})).to_string());
        assert_eq!(request.answer().await.status, wanted, "Content-Type");
    }
    // `serInstanceId` in POST: whatever the dialect ignored was not taken for an id.
    mec.get(&mec.sm(&format!("/services/{UNKNOWN}"))).await.problem(404);
    remove_all(&mec).await;

    for (wanted, told) in [
        (json!(0), [json!(60), json!(0)]),
        (Value::Null, [Value::Null, json!(0)]),
        (json!(30), [json!(30), json!(60)]),
    ] {
        for (root, told) in ROOTS.iter().zip(told) {
            let body = svc(json!({"livenessInterval": wanted}));
            let made = mec.post(&format!("{root}{path}"), &body).await.expect(201).json();
            let row = "`livenessInterval`, and without heartbeats";
            assert_eq!(made["livenessInterval"], told, "{row}: {wanted} at '{root}'");
            let beats = told.as_u64().is_some_and(|seconds| seconds > 0);
            assert_eq!(made["_links"].get("liveness").is_some(), beats, "{row}: {made}");
        }
    }
    let id = mec.register(&svc(json!({"livenessInterval": 30}))).await;
    let liveness = mec.sm(&format!("/services/{id}/liveness"));
    let active = json!({"state": "ACTIVE"});
    for (method, wanted) in [(Method::PUT, [405, 204]), (Method::PATCH, [204, 204])] {
        let told = statuses(&mec, method, &liveness, &active).await;
        assert_eq!(told, wanted, "heartbeat");
    }
    for root in ROOTS {
        let request =
            mec.request(Method::PUT, &format!("{root}{}", mec.sm(&format!("/services/{id}"))));
        let stale = request.header("If-Match", "\"stale\"").json(&svc(json!({}))).answer().await;
        assert_eq!(stale.status, 412, "If-Match on services at '{root}'");
    }
}

/// 10.2: queries.
#[tokio::test]
async fn queries_as_each_face_takes_them() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let a = mec.register(&svc(json!({"serName": "a"}))).await;
    let category = json!({"href": "x", "id": "other", "name": "x", "version": "x"});
    mec.register(&svc(json!({"serName": "b", "serCategory": category}))).await;
    let rows = [
        ("query `instance_id`", format!("instance_id={a}"), ["400", "a b"]),
        ("query `instance_id`", format!("instance_id={UNKNOWN}"), ["400", "400"]),
        ("query `ser_instance_id`", format!("ser_instance_id={a}"), ["a", "a"]),
        ("query `ser_instance_id`", format!("ser_instance_id={UNKNOWN},{a}"), ["a", "a"]),
        ("query `ser_instance_id`", format!("ser_instance_id={UNKNOWN}"), ["", ""]),
        ("unknown query parameter", "nosuch=1".to_owned(), ["400", "a b"]),
        ("`ser_name` of no service", "ser_name=nosuch".to_owned(), ["", "400"]),
        ("two exclusive filters", "ser_name=a&ser_category_id=other".to_owned(), ["400", ""]),
        ("two exclusive filters", "ser_name=a&ser_category_id=cat-1".to_owned(), ["400", "a"]),
        ("`version`, `env`, `tags`", "ser_name=a&version=1.0.0".to_owned(), ["400", "a"]),
        ("`version`, `env`, `tags`", "ser_name=a&version=2.0.0".to_owned(), ["400", "400"]),
        ("`version`, `env`, `tags`", "ser_name=a&env=x".to_owned(), ["400", ""]),
        ("`version`, `env`, `tags`", "ser_name=a&tags=x".to_owned(), ["400", ""]),
    ];
    for list in [mec.sm("/services"), format!("{SM}/services")] {
        for (row, query, wanted) in &rows {
            for (root, wanted) in ROOTS.iter().zip(wanted) {
                let answer = mec.get(&format!("{root}{list}?{query}")).await;
                let told = match answer.status {
                    200 => {
                        let body = answer.json();
                        let found = body.as_array().unwrap().iter();
                        let mut names: Vec<_> =
                            found.map(|one| one["serName"].as_str().unwrap()).collect();
                        names.sort_unstable();
                        names.join(" ")
                    }
                    other => other.to_string(),
                };
                assert_eq!(told, *wanted, "{row}: {root}{list}?{query}");
            }
        }
    }
}

fn wish(kind: &str, callback: &str) -> Value {
    json!({"subscriptionType": kind, "callbackReference": callback})
}

const AVAILABILITY: &str = "SerAvailabilityNotificationSubscription";
const TERMINATION: &str = "AppTerminationNotificationSubscription";

/// 10.2 and 10.3: subscriptions.
#[tokio::test]
async fn subscriptions_as_each_face_has_them() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let (sm, support) = (mec.sm("/subscriptions"), mec.support("/subscriptions"));
    let to = "http://192.0.2.7:9000/cb";
    let with = |name: &str, value: Value| {
        let mut body = wish(AVAILABILITY, to);
        body[name] = value;
        body
    };
    let mut others = wish(TERMINATION, to);
    others["appInstanceId"] = json!(NOBODY);
    for path in [&sm, &support] {
        let told = [mec.get(path).await.status, mec.get(&format!("/mep{path}")).await.status];
        assert_eq!(told, [200, 404], "no subscriptions");
    }
    let two = json!({"serNames": ["a"], "serInstanceIds": ["b"]});
    let rows = [
        ("`filteringCriteria`", &sm, with("filteringCriteria", two), [400, 201]),
        ("`subscriptionType`", &sm, wish(TERMINATION, to), [400, 201]),
        ("`appInstanceId` in a subscription", &support, others, [400, 201]),
        ("callback", &sm, with("callbackReference", json!("/x")), [400, 201]),
    ];
    for (row, path, body, wanted) in rows {
        assert_eq!(statuses(&mec, Method::POST, path, &body).await, wanted, "{row}");
    }
    // `subscriptionType`: stored as the API's own. Link list: both members on both roots.
    for (path, kind, count) in [(&sm, AVAILABILITY, 3), (&support, TERMINATION, 1)] {
        for root in ROOTS {
            let list = mec.get(&format!("{root}{path}")).await.expect(200).json();
            let all = list["_links"]["subscriptions"].as_array().unwrap();
            assert_eq!(all.len(), count, "one store for both");
            for one in all {
                assert_eq!((&one["rel"], &one["subscriptionType"]), (&json!(kind), &json!(kind)));
                // Subscription `href`: the dialect's are without its prefix.
                let href = one["href"].as_str().unwrap();
                assert!(href.starts_with(path.as_str()), "subscription `href`: {href}");
                let shown = mec.get(&format!("{root}{href}")).await.expect(200);
                let id = href.rsplit('/').next().unwrap();
                assert_eq!(shown.json()["subscriptionId"], id, "subscription id at '{root}'");
                assert_eq!(shown.json()["subscriptionType"], kind);
                assert!(shown.header("etag").is_some(), "a tag at '{root}'");
            }
        }
    }
}

/// 10.2: rules of applications.
#[tokio::test]
async fn rules_as_each_face_takes_them() {
    let gateway = Gateway::start().await;
    let mec = Mec::start(&gateway).await;
    let configuration = json!({
        "appName": "faces",
        "appDNSRule": [{
            "dnsRuleId": "d1", "domainName": "faces.example.com", "ipAddressType": "IP_V4",
            "ipAddress": "10.0.0.1", "ttl": 30,
        }],
        "appTrafficRule": [{
            "trafficRuleId": "r1", "filterType": "FLOW", "priority": 1, "action": "FORWARD_AS_IS",
            "trafficFilter": [{"srcAddress": ["10.0.0.0/8"], "tag": ["gold"]}],
            "dstInterface": [{"interfaceType": "IP", "dstIpAddress": "10.0.0.9"}],
        }],
    });
    let path = format!("/mepcfg/app_lcm/v1/applications/{}/appd_configuration", mec.app.id);
    plain().post(gateway.url("mep", &path)).json(&configuration).answer().await.expect(200);
    let (dns, traffic) = (mec.support("/dns_rules/d1"), mec.support("/traffic_rules/r1"));
    eventually("it is configured", async || (mec.get(&dns).await.status == 200).then_some(()))
        .await;

    let mut moved = mec.get(&dns).await.json();
    moved["ipAddress"] = json!("10.0.0.2");
    let told = [mec.put(&format!("/mep{dns}"), &moved).await, mec.put(&dns, &moved).await];
    assert_eq!(told.map(|answer| answer.status), [400, 200], "DNS rule PUT");

    for (root, action, other, list, taken) in [
        ("", "FORWARD_ENCAPSULATED", "FORWARD_AS_IS", "token", "tag"),
        ("/mep", "FORWARD_AS_IS", "FORWARD_ENCAPSULATED", "tag", "token"),
    ] {
        let at = format!("{root}{traffic}");
        let rule = mec.get(&at).await.expect(200).json();
        assert_eq!(rule["action"], action, "traffic action at '{root}'");
        assert_eq!(rule["trafficFilter"][0][list], json!(["gold"]), "traffic filter at '{root}'");
        assert_eq!(rule["trafficFilter"][0].get(taken), None, "traffic filter at '{root}'");
        let mut next = rule.clone();
        next["action"] = json!(other);
        next["priority"] = json!(7);
        next["trafficFilter"][0] = json!({"srcAddress": ["10.0.0.0/8"], taken: ["gold"]});
        let set = mec.put(&at, &next).await.expect(200).json();
        assert_eq!(set["action"], action, "it takes the other's word at '{root}'");
        assert_eq!(set["trafficFilter"][0][list], json!(["gold"]), "and spelling at '{root}'");
        mec.put(&at, &rule).await.expect(200);
    }
    let mut highest = mec.get(&traffic).await.json();
    highest["priority"] = json!(0);
    let told =
        [mec.put(&format!("/mep{traffic}"), &highest).await, mec.put(&traffic, &highest).await];
    assert_eq!(told.map(|answer| answer.status), [400, 200], "priority");
    for root in ROOTS {
        let rule = mec.get(&format!("{root}{traffic}")).await.expect(200).json();
        assert_eq!(rule["priority"], 0, "priority: a 0 shows as 0 at '{root}'");
    }
}

/// 10.3: answers.
#[tokio::test]
async fn answers_as_each_face_gives_them() {
    let gateway = Gateway::calling_back().await;
    let (mec, other) = (Mec::start(&gateway).await, Mec::start(&gateway).await);
    let path = mec.sm("/services");
    let both = async |method: Method, path: &str, body: &Value| {
        let mut told: Vec<Answer> = Vec::new();
        for root in ROOTS {
            let request = mec.request(method.clone(), &format!("{root}{path}"));
            let request = request.header("Origin", "http://elsewhere.test");
            told.push(if body.is_null() { request } else { request.json(body) }.answer().await);
        }
        <[Answer; 2]>::try_from(told).unwrap()
    };
    let null = Value::Null;

    let [standard, dialect] = both(Method::POST, &path, &svc(json!({"serName": null}))).await;
    standard.problem(400);
    let code = json!({
        "title": "Request parameter error", "status": 14,
        "detail": "request param validation failed",
    });
    assert_eq!(dialect.json(), code, "error body");
    assert_eq!(dialect.header("content-type"), Some("application/json; charset=UTF-8"));

    let bare = json!({
        "serName": "bare", "version": "1", "state": "ACTIVE", "serializer": "JSON",
        "consumedLocalOnly": false, "livenessInterval": 0,
        "transportInfo": {
            "id": "t", "name": "t", "type": "RPC", "protocol": "x", "version": "1", "security": {},
            "endpoint": {"alternative": {"x": 1}},
        },
    });
    let [standard, dialect] = both(Method::POST, &path, &bare).await.map(|made| made.expect(201));
    for (made, root) in [(&standard, ""), (&dialect, "/mep")] {
        let id = made.json()["serInstanceId"].as_str().unwrap().to_owned();
        let own = format!("{root}{path}/{id}");
        assert_eq!(made.header("location"), Some(own.as_str()), "`Location` of a service");
        assert_eq!(made.json()["_links"]["self"]["href"], own.as_str(), "`_links` of a service");
        let read = mec.get(&own).await.expect(200);
        assert_eq!(read.header("etag"), made.header("etag"), "ETag on services and GET");
        let elsewhere = if root.is_empty() { "/mep" } else { "" };
        let there = mec.get(&format!("{elsewhere}{path}/{id}")).await.expect(200);
        assert_eq!(there.header("etag"), made.header("etag"), "one tag on both");
    }
    let (standard, dialect) = (standard.json(), dialect.json());
    assert_eq!(standard.get("serCategory"), None, "unused attributes");
    assert_eq!(dialect["serCategory"]["id"], "", "unused attributes");
    assert_eq!(dialect["transportInfo"]["endpoint"]["uris"], null, "unused attributes");
    assert_eq!(standard["transportInfo"]["endpoint"].as_object().unwrap().len(), 1);
    assert_eq!(dialect["livenessInterval"], 0, "`livenessInterval` without heartbeats");
    assert_eq!(standard["consumedLocalOnly"], false, "false flags");
    assert_eq!(dialect.get("consumedLocalOnly"), None, "false flags");

    let id = mec.register(&svc(json!({"livenessInterval": 0}))).await;
    let dialect = mec.get(&format!("/mep{path}/{id}")).await.expect(200).json();
    let own = format!("/mep{path}/{id}");
    let links = json!({
        "self": {"href": own, "liveness": format!("{own}/liveness")},
        "liveness": {"href": format!("{own}/liveness")}, "appInstanceId": mec.app.id,
    });
    assert_eq!(dialect["_links"], links, "`_links` of a service");

    let service = format!("{path}/{id}");
    for (root, wanted) in ROOTS.iter().zip([204, 404]) {
        let gone = mec.delete(&format!("{root}{service}")).await;
        assert_eq!(gone.status, wanted, "one store for both");
        assert!(wanted != 204 || gone.text().is_empty(), "204");
    }
    let theirs = other.sm("/services");
    let nobody = format!("{SM}/applications/{NOBODY}/services");
    for (row, path, wanted) in [
        ("not the caller's", &theirs, [403, 401]),
        ("unknown application", &nobody, [404, 401]),
        ("id of another form", &format!("{path}/xyz"), [404, 400]),
    ] {
        let told = both(Method::GET, path, &null).await.map(|answer| answer.status);
        assert_eq!(told, wanted, "{row}");
    }
    // Directly an unknown application works in the dialect.
    let stranger = App::random();
    for (root, wanted) in ROOTS.iter().zip([404, 200]) {
        let url = gateway.url("mep", &format!("{root}{SM}/applications/{}/services", stranger.id));
        let request = plain().get(url).header("X-AppinstanceID", &stranger.id);
        assert_eq!(request.answer().await.status, wanted, "unknown application at '{root}'");
    }

    let [standard, dialect] = both(Method::GET, &path, &null).await;
    for name in ["access-control-allow-origin", "x-response-status"] {
        assert_eq!(standard.header(name), None, "CORS, `X-Response-Status`");
        assert!(dialect.header(name).is_some(), "CORS, `X-Response-Status`: {name}");
    }
    let count = mec.get(&path).await.json().as_array().unwrap().len();
    for _ in count..50 {
        mec.register(&svc(json!({}))).await;
    }
    let told = both(Method::POST, &path, &svc(json!({}))).await;
    told[0].problem(403);
    assert_eq!(told[1].status, 400, "limits");
    assert_eq!(told[1].json()["status"], 12, "limits");
}

/// 10.4, and the criteria of 10.2 as they act: what subscribers of each face are told.
#[tokio::test]
async fn notifications_as_each_face_sends_them() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let listeners = [Upstream::start().await, Upstream::start().await];
    let either = Upstream::start().await;
    for (root, listener) in ROOTS.iter().zip(&listeners) {
        let body = wish(AVAILABILITY, &format!("{}/cb", listener.url()));
        mec.post(&format!("{root}{}", mec.sm("/subscriptions")), &body).await.expect(201);
    }
    // In the dialect any of the three is enough, and the rest must hold too.
    let mut body = wish(AVAILABILITY, &format!("{}/cb", either.url()));
    body["filteringCriteria"] =
        json!({"serNames": ["rni"], "serInstanceIds": [UNKNOWN], "states": ["INACTIVE"]});
    mec.post(&format!("/mep{}", mec.sm("/subscriptions")), &body).await.expect(201);

    let id = mec.register(&svc(json!({"livenessInterval": 30}))).await;
    let service = mec.sm(&format!("/services/{id}"));
    let beat = mec.request(Method::PATCH, &format!("{service}/liveness"));
    beat.json(&json!({"state": "ACTIVE"})).answer().await.expect(204);
    let idle = svc(json!({"state": "INACTIVE", "livenessInterval": 30}));
    mec.put(&service, &idle).await.expect(200);
    mec.delete(&service).await.expect(204);
    let rows = [
        ("heartbeat: no event", ["ADDED", "ADDED"]),
        ("state alone changed", ["STATE_CHANGED", "ATTRIBUTES_CHANGED"]),
        ("REMOVED", ["REMOVED", "REMOVED"]),
    ];
    for (row, changes) in rows {
        for (at, (listener, change)) in listeners.iter().zip(changes).enumerate() {
            let told = listener.next().await;
            let reference = told.json()["serviceReferences"][0].clone();
            assert_eq!(reference["changeType"], change, "{row}: {reference}");
            let link = reference.get("link");
            match (change, at) {
                ("REMOVED", 0) => assert_eq!(link, None, "{row}"),
                ("REMOVED", _) => assert_eq!(link, Some(&json!({})), "{row}"),
                _ => assert_eq!(link.unwrap()["href"], format!("{SM}/services/{id}")),
            }
            let real_ip = told.all("x-real-ip");
            assert_eq!(real_ip.len(), at, "`X-Real-Ip`: {real_ip:?}");
        }
    }
    for state in ["INACTIVE", "INACTIVE"] {
        assert_eq!(either.next().await.json()["serviceReferences"][0]["state"], state);
    }
    assert!(either.take().is_empty(), "`filteringCriteria`: the rest must hold");
}

/// 10.4: the end, as each face tells it, with one setting for the time there is.
#[tokio::test]
async fn ends_as_each_face_tells_them() {
    let options = crate::harness::Options::new().set("mep_ssrf_allow", "127.0.0.1");
    let gateway = options.set("mep_graceful_timeout", "7s").start().await;
    let mec = Mec::start(&gateway).await;
    let listeners = [Upstream::start().await, Upstream::start().await];
    for (root, listener) in ROOTS.iter().zip(&listeners) {
        let mut body = wish(TERMINATION, &format!("{}/cb", listener.url()));
        body["appInstanceId"] = json!(mec.app.id);
        mec.post(&format!("{root}{}", mec.support("/subscriptions")), &body).await.expect(201);
    }
    let end = format!("/mep{}", mec.support("/AppInstanceTermination"));
    let request = plain().delete(gateway.url("mep", &end));
    request.header("X-AppinstanceID", &mec.app.id).answer().await.expect(200);
    let confirm = mec.support("/confirm_termination");
    for (root, listener) in ROOTS.iter().zip(&listeners) {
        let told = listener.next().await;
        let body = told.json();
        assert_eq!(body["maxGracefulTimeout"], 7, "`maxGracefulTimeout`");
        let links = &body["_links"];
        let own = format!("{root}{}", mec.support("/subscriptions/"));
        let (subscription, confirmed) = match *root {
            "" => (&links["subscription"]["href"], &links["confirmTermination"]["href"]),
            _ => (&links["subscription"], &links["confirmTermination"]),
        };
        assert!(subscription.as_str().unwrap().starts_with(&own), "termination links: {links}");
        assert_eq!(confirmed, &json!(format!("{root}{confirm}")), "termination links");
        let typed = told.all("content-type").len();
        assert_eq!(typed, usize::from(root.is_empty()), "missing `Content-Type`");
    }
    let done = json!({"operationAction": "TERMINATING"});
    mec.post(&confirm, &done).await.expect(204);
}
