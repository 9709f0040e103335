//! Application support and registrations in the standard's own form: cases S-46 to S-61.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{AS, Answered as _, App, Gateway, Mec, Options, eventually, mp1, plain, svc};

const NOBODY: &str = "0f0f0f0f-0f0f-4f0f-8f0f-0f0f0f0f0f0f";

/// Configures an application with a DNS rule and a traffic rule, as management does.
async fn configure(gateway: &Gateway, app: &App) {
    let path = format!("/mepcfg/app_lcm/v1/applications/{}/appd_configuration", app.id);
    let body = json!({
        "appName": app.id,
        "appDNSRule": [{
            "dnsRuleId": "d1", "domainName": format!("{}.example.com", app.id),
            "ipAddressType": "IP_V4", "ipAddress": "10.0.0.1", "ttl": 30,
        }],
        "appTrafficRule": [{
            "trafficRuleId": "r1", "filterType": "FLOW", "priority": 1, "action": "FORWARD_AS_IS",
            "trafficFilter": [{"srcAddress": ["10.0.0.0/8"], "tag": ["gold"]}],
            "dstInterface": [{"interfaceType": "IP", "dstIpAddress": "10.0.0.9"}],
        }],
    });
    let url = gateway.url("mep", &path);
    plain().post(&url).body(body.to_string()).answer().await.expect(200);
    eventually("it is configured", async || {
        (plain().get(&url).answer().await.status == 200).then_some(())
    })
    .await;
}

/// S-46 to S-52: rules.
#[tokio::test]
async fn rules() {
    let gateway = Gateway::start().await;
    let mec = Mec::start(&gateway).await;
    let (dns, traffic) = (mec.support("/dns_rules"), mec.support("/traffic_rules"));
    for path in [&dns, &traffic] {
        assert_eq!(mec.get(path).await.expect(200).text(), "[]", "S-46");
    }
    configure(&gateway, &mec.app).await;
    mec.get(&format!("{AS}/applications/{NOBODY}/dns_rules")).await.problem(404);
    mec.get(&format!("{dns}/x")).await.problem(404);
    mec.get(&format!("{traffic}/x")).await.problem(404);
    let (one_dns, one_traffic) = (format!("{dns}/d1"), format!("{traffic}/r1"));
    for (path, list) in [(&one_dns, &dns), (&one_traffic, &traffic)] {
        let one = mec.get(path).await.expect(200);
        assert_eq!(mec.get(list).await.json(), json!([one.json()]), "S-46");
        // S-52: they come from management and go with it.
        mec.post(list, &one.json()).await.problem(405);
        mec.delete(path).await.problem(405);
        // One tag on both faces.
        let dialect = mec.get(&format!("/mep{path}")).await.expect(200);
        assert_eq!(dialect.header("etag"), one.header("etag"));
    }
    let with = |body: &Value, changes: Value| {
        let mut body = body.clone();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                body.as_object_mut().unwrap().remove(name);
            } else {
                body[name] = value.clone();
            }
        }
        body
    };
    let rule = mec.get(&one_dns).await.json();
    let put = async |path: &str, body: Value| mec.put(path, &body).await;
    put(&one_dns, with(&rule, json!({"state": "INACTIVE"}))).await.expect(200);
    assert_eq!(mec.get(&one_dns).await.json()["state"], "INACTIVE", "S-47");
    put(&one_dns, rule.clone()).await.expect(200);
    put(&one_dns, with(&rule, json!({"ipAddress": "10.0.0.2", "ttl": 7}))).await.expect(200);
    put(&one_dns, with(&rule, json!({"domainName": "other.example.com"}))).await.problem(403);
    for changes in [
        json!({"state": "X"}),
        json!({"dnsRuleId": "d2"}),
        json!({"ipAddress": "::1"}),
        json!({"ipAddress": "255.255.255.255"}),
        json!({"ipAddressType": null}),
        json!({"ttl": -1}),
    ] {
        put(&one_dns, with(&rule, changes)).await.problem(400);
    }
    assert_eq!(mec.get(&one_dns).await.json()["ipAddress"], "10.0.0.2", "S-48");

    let rule = mec.get(&one_traffic).await.json();
    assert_eq!(rule["action"], "FORWARD_ENCAPSULATED");
    assert_eq!(rule["trafficFilter"][0]["token"], json!(["gold"]));
    let interface = rule["dstInterface"][0].clone();
    let rows = [
        (json!({"action": "DROP", "dstInterface": null}), 200),
        (json!({"action": "DROP"}), 400),
        (json!({"action": "DUPLICATE_ENCAPSULATED"}), 400),
        (json!({"action": "DUPLICATE_ENCAPSULATED", "dstInterface": [interface, interface]}), 200),
        // 2.1.1 has one object there.
        (json!({"dstInterface": interface}), 200),
        (json!({"dstInterface": [{"interfaceType": "MAC"}]}), 400),
        (json!({"trafficFilter": []}), 400),
        (json!({"priority": 256}), 400),
        (json!({"priority": 0}), 200),
        (json!({"trafficRuleId": "r2"}), 400),
    ];
    for (changes, status) in rows {
        let answer = put(&one_traffic, with(&rule, changes.clone())).await;
        assert_eq!(answer.status, status, "S-49 {changes} {:?}", answer.body);
        if status != 200 {
            answer.problem(status);
        }
    }
    let set = put(&one_traffic, with(&rule, json!({"action": "FORWARD_AS_IS"}))).await.expect(200);
    assert_eq!(set.json()["action"], "FORWARD_ENCAPSULATED", "S-50");
    let dialect = mec.get(&format!("/mep{one_traffic}")).await.expect(200).json();
    assert_eq!(
        (&dialect["action"], &dialect["trafficFilter"][0]["tag"]),
        (&json!("FORWARD_AS_IS"), &json!(["gold"])),
        "S-50"
    );

    for path in [&one_dns, &one_traffic] {
        let read = mec.get(path).await;
        let tag = read.header("etag").unwrap().to_owned();
        let with = async |tag: &str| {
            let request = mec.request(Method::PUT, path).header("If-Match", tag);
            request.json(&read.json()).answer().await
        };
        with("\"x\"").await.problem(412);
        with(&tag).await.expect(200);
        let list = path.rsplit_once('/').unwrap().0;
        mec.put(&format!("{list}/x"), &read.json()).await.problem(404);
    }
}

/// S-53: time, without any server to ask.
#[tokio::test]
async fn time() {
    let gateway = Options::new().set("mep_ntp_host", "127.0.0.1").start().await;
    let mec = Mec::start(&gateway).await;
    let now = mec.get(&format!("{AS}/timing/current_time")).await.expect(200).json();
    assert_eq!(now["timeSourceStatus"], "NONTRACEABLE", "S-53");
    let seconds = now["seconds"].as_i64().unwrap();
    assert!((seconds - crate::harness::now()).abs() < 60, "S-53 {now}");
    assert!(now["nanoSeconds"].as_u64().unwrap() < 1_000_000_000);
    let caps = mec.get(&format!("{AS}/timing/timing_caps")).await.expect(200).json();
    assert!(caps["timeStamp"]["seconds"].is_u64(), "S-53 {caps}");
    mec.get(&format!("{AS}/timing/timing_caps?x=1")).await.problem(400);
    plain()
        .get(gateway.url("proxy", &format!("{AS}/timing/current_time")))
        .answer()
        .await
        .problem(401);
}

/// S-54, S-55: readiness and the end.
#[tokio::test]
async fn ready() {
    let gateway = Gateway::start().await;
    let mec = Mec::start(&gateway).await;
    let path = mec.support("/confirm_ready");
    for _ in 0..2 {
        mec.post(&path, &json!({"indication": "READY"})).await.expect(204);
    }
    mec.post(&path, &json!({})).await.problem(400);
    mec.post(&path, &json!({"indication": "x"})).await.problem(400);
    let nobody = format!("{AS}/applications/{NOBODY}/confirm_ready");
    mec.post(&nobody, &json!({"indication": "READY"})).await.problem(404);
    mec.put(&path, &json!({"indication": "READY"})).await.problem(405);
    let end = mec.support("/confirm_termination");
    mec.post(&end, &json!({"operationAction": "STOPPING"})).await.problem(409);
    mec.post(&end, &json!({"operationAction": "x"})).await.problem(400);
}

/// S-59 to S-61: applications that announce themselves.
#[tokio::test]
async fn registrations() {
    let gateway = Gateway::start().await;
    let (mec, other) = (Mec::start(&gateway).await, Mec::start(&gateway).await);
    let all = format!("{AS}/registrations");
    let endpoint = json!({"uris": ["http://192.0.2.1/"]});
    let body = json!({
        "appName": "self", "endpoint": endpoint,
        "appServiceRequired": [{"serName": "rni", "version": "1"}],
    });
    let made = mec.post(&all, &body).await.expect(201);
    let id = made.json()["appInstanceId"].as_str().unwrap().to_owned();
    let own = format!("{all}/{id}");
    assert_eq!(made.header("location"), Some(own.as_str()), "S-59");
    let shown = mec.get(&own).await.expect(200);
    assert_eq!((shown.json(), shown.header("etag")), (made.json(), made.header("etag")), "S-59");
    other.get(&own).await.problem(403);
    other.delete(&own).await.problem(403);

    // S-61: its registrant acts for it, and nobody else.
    let services = format!("/mec_service_mgmt/v1/applications/{id}/services");
    let service = mec.post(&services, &svc(json!({}))).await.expect(201).json();
    other.post(&services, &svc(json!({}))).await.problem(403);

    for changes in [
        json!({"appName": null}),
        json!({"endpoint": null}),
        json!({
            "isInsByMec": true, "appInstanceId": mec.app.id,
        }),
        json!({"endpoint": {}}),
        json!({"appServiceRequired": [{"version": "1"}]}),
        json!({
            "appInstanceId": NOBODY,
        }),
    ] {
        let mut wrong = body.clone();
        for (name, value) in changes.as_object().unwrap() {
            wrong[name] = value.clone();
        }
        let answer = mec.post(&all, &wrong).await;
        assert!(!answer.problem(400).is_empty(), "S-60 {changes}");
    }
    // Nobody registers another's application.
    let theirs = json!({
        "appName": "x", "isInsByMec": true, "appDId": "d", "appInstanceId": other.app.id,
    });
    mec.post(&all, &theirs).await.problem(403);
    other.post(&all, &theirs).await.expect(201);
    other.post(&all, &theirs).await.problem(409);

    let mut next = body.clone();
    next["appProvider"] = json!("me");
    let put = mec.put(&own, &next).await;
    assert_eq!((put.status, put.text()), (204, ""), "S-59");
    assert_eq!(mec.get(&own).await.json()["appProvider"], "me");
    next["appInstanceId"] = json!(NOBODY);
    mec.put(&own, &next).await.problem(400);
    let stale = mec.request(Method::PUT, &own).header("If-Match", made.header("etag").unwrap());
    stale.json(&body).answer().await.problem(412);
    mec.delete(&own).await.expect(204);
    mec.get(&own).await.problem(404);
    let service = service["serInstanceId"].as_str().unwrap();
    mec.get(&format!("/mec_service_mgmt/v1/services/{service}")).await.problem(404);
    mec.get(&services).await.problem(404);
    // What management started stays, but for its registration.
    let own = format!("{all}/{}", other.app.id);
    other.delete(&own).await.expect(204);
    other.get(&other.sm("/services")).await.expect(200);

    let without = Options::new().set("mep_registrations", "off").start().await;
    let app = App::bootstrap(&without);
    let refused = mp1(&without, &app.id, Method::POST, &all).json(&body).answer().await;
    refused.problem(404);
}
