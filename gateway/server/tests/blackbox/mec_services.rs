//! Service management in the standard's own form, through the gateway with real tokens: cases S-01
//! to S-45 of the MEC 011 contract.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answered as _, App, Gateway, Mec, Options, SM, Upstream, mp1, plain, svc};

const UNKNOWN: &str = "0123456789abcdef0123456789abcdef";
const NOBODY: &str = "0f0f0f0f-0f0f-4f0f-8f0f-0f0f0f0f0f0f";

/// S-01 to S-03, S-09, S-14: what is registered is there, in every place.
#[tokio::test]
async fn a_service_is_registered_and_found() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let path = mec.sm("/services");
    let none = mec.get(&path).await.expect(200);
    assert_eq!(
        (none.text(), none.header("content-type")),
        ("[]", Some("application/json")),
        "S-01"
    );
    let made = mec.post(&path, &svc(json!({"livenessInterval": 0}))).await.expect(201);
    let body = made.json();
    let id = body["serInstanceId"].as_str().unwrap();
    let own = format!("{path}/{id}");
    assert_eq!(made.header("location"), Some(own.as_str()), "S-02");
    let wanted = json!({
        "serInstanceId": id, "serName": "rni",
        "serCategory": {"href": "/catalogue/1", "id": "cat-1", "name": "RNI", "version": "v1"},
        "version": "1.4", "state": "ACTIVE",
        "transportInfo": {
            "id": "t1", "name": "rest", "type": "REST_HTTP", "protocol": "HTTP", "version": "1.1",
            "endpoint": {"addresses": [{"host": "192.0.2.7", "port": 8080}]}, "security": {},
        },
        "serializer": "JSON", "scopeOfLocality": "MEC_HOST", "consumedLocalOnly": true,
        "isLocal": true, "livenessInterval": 60,
        "_links": {"self": {"href": own}, "liveness": {"href": format!("{own}/liveness")}},
    });
    assert_eq!(body, wanted, "S-02");
    let tag = made.header("etag").unwrap();
    let one = mec.get(&own).await.expect(200);
    assert_eq!(one.header("etag"), Some(tag), "one tag for one state");
    let port = gateway.tls_addr("proxy").port();
    let uri = one.json()["transportInfo"]["endpoint"]["uris"][0].as_str().unwrap().to_owned();
    assert!(uri.starts_with(&format!("https://mep-api-gw.mep:{port}/rni")), "{uri}");
    assert_eq!(mec.get(&format!("{SM}/services/{id}")).await.json(), one.json(), "S-03");
    for list in [path.clone(), format!("{SM}/services")] {
        assert_eq!(mec.get(&list).await.expect(200).json(), json!([one.json()]), "S-03");
    }
    let same = mec.request(Method::GET, &own).header("If-None-Match", tag).answer().await;
    assert_eq!((same.status, same.text()), (304, ""));

    // S-09: what has no URI is kept as it was sent.
    let mut other = svc(json!({"serName": "a name with blanks"}));
    let alternative = json!({"topic": {"x": [1, null]}});
    other["transportInfo"]["endpoint"] = json!({ "alternative": alternative });
    other["transportInfo"]["type"] = json!("MB_PUBSUB");
    let id = mec.register(&other).await;
    let shown = mec.get(&format!("{path}/{id}")).await.json();
    assert_eq!(shown["transportInfo"]["endpoint"], json!({ "alternative": alternative }), "S-09");

    // S-14
    let text = svc(json!({})).to_string();
    for (kind, status) in
        [(Some("text/plain"), 415), (Some("application/json; charset=utf-8"), 201), (None, 201)]
    {
        let mut request = mec.request(Method::POST, &path).body(text.clone());
        if let Some(kind) = kind {
            request = request.header("Content-Type", kind);
        }
        let answer = request.answer().await;
        assert_eq!(answer.status, status, "S-14 {kind:?}");
        if status == 415 {
            answer.problem(415);
        }
    }
}

/// S-04 to S-06, S-08, S-10, S-13: bodies that are refused, each with what is wrong.
#[tokio::test]
async fn bodies_that_are_refused() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let transport = |change: Value| {
        let mut body = svc(json!({}));
        for (name, value) in change.as_object().unwrap() {
            body["transportInfo"][name] = value.clone();
        }
        body.to_string()
    };
    let endpoint = |endpoint: Value| transport(json!({ "endpoint": endpoint }));
    let text = |change: Value| svc(change).to_string();
    let both = json!({"uris": ["http://192.0.2.1/"], "addresses": [{"host": "a", "port": 1}]});
    let rows = [
        ("S-04", text(json!({"serName": null})), "serName"),
        ("S-04", text(json!({"version": null})), "version"),
        ("S-04", text(json!({"state": null})), "state"),
        ("S-04", text(json!({"serializer": null})), "serializer"),
        ("S-05", text(json!({"state": "SLEEPING"})), "state"),
        ("S-05", text(json!({"state": "SUSPENDED"})), "state"),
        ("S-05", text(json!({"serializer": "YAML"})), "serializer"),
        ("S-05", text(json!({"scopeOfLocality": "X"})), "scopeOfLocality"),
        ("S-05", transport(json!({"type": "X"})), "transportInfo.type"),
        ("S-06", text(json!({"transportId": "x"})), "transportId"),
        ("S-06", text(json!({"transportInfo": null})), "transportInfo"),
        ("S-06", text(json!({"transportInfo": null, "transportId": "nosuch"})), "transportId"),
        ("S-08", endpoint(json!({})), "transportInfo.endpoint"),
        ("S-08", endpoint(both), "transportInfo.endpoint"),
        ("S-08", endpoint(json!({"uris": []})), "transportInfo.endpoint.uris"),
        ("S-10", text(json!({"serInstanceId": "x"})), "serInstanceId"),
        ("S-13", text(json!({"serName": 7})), "serName"),
        ("S-13", text(json!({"livenessInterval": 1.0})), "livenessInterval"),
        ("3.3", text(json!({"serCategory": {"id": "x"}})), "serCategory.href"),
        ("3.3", text(json!({"serName": "n".repeat(129)})), "serName"),
        (
            "3.4",
            transport(json!({"security": {"oAuth2Info": {"grantTypes": []}}})),
            "transportInfo.security.oAuth2Info.grantTypes",
        ),
    ];
    let path = mec.sm("/services");
    for (case, body, param) in rows {
        let answer = mec.request(Method::POST, &path).body(body.clone()).answer().await;
        let detail = answer.problem(400);
        let told = answer.json()["invalidParams"][0]["param"].clone();
        assert_eq!(told, param, "{case} {body}: {detail}");
    }
    for body in [r#"{"serName":"#, "[]", "null", "", r#"{"serName":"a","serName":"a"}"#] {
        mec.request(Method::POST, &path).body(body).answer().await.problem(400);
    }
    let wide = svc(json!({"version": "v".repeat(70_000)})).to_string();
    mec.request(Method::POST, &path).body(wide).answer().await.problem(413);
    // Several at once are told at once; `isLocal` and links are the platform's and ignored.
    let two = mec.post(&path, &json!({"state": "X", "serializer": 1})).await;
    assert!(two.json()["invalidParams"].as_array().unwrap().len() >= 5, "{:?}", two.body);
    mec.post(&path, &svc(json!({"isLocal": false, "_links": 7, "x": 1}))).await.expect(201);
    assert_eq!(mec.get(&path).await.json().as_array().unwrap().len(), 1, "nothing else was kept");
}

/// S-11, S-12, S-15 to S-17: who, how, and where.
#[tokio::test]
async fn requests_that_are_refused() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let other = Mec::start(&gateway).await;
    let nobody = format!("{SM}/applications/{NOBODY}/services");
    mec.post(&nobody, &svc(json!({}))).await.problem(404);
    mec.get(&format!("{SM}/applications/x/services")).await.problem(404);
    mec.post(&other.sm("/services"), &svc(json!({}))).await.problem(403);
    let path = mec.sm("/services");
    let html = mec.request(Method::GET, &path).header("Accept", "text/html").answer().await;
    html.problem(406);
    mec.request(Method::GET, &path).header("Content-Type", "*/*").answer().await.expect(200);
    // S-16: the gateway's refusals are problems as well.
    let url = gateway.url("proxy", &path);
    let forged = format!("{}x", mec.token);
    for request in [plain().get(&url), plain().get(&url).bearer_auth(forged)] {
        let answer = request.answer().await;
        answer.problem(401);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    }
    // Directly, whoever does not say who it is gets the same.
    let direct = plain().get(gateway.url("mep", &path)).answer().await;
    direct.problem(401);
    assert_eq!(direct.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    mp1(&gateway, &mec.app.id, Method::GET, &path).answer().await.expect(200);
    // S-17
    let wrong = mec.delete(&format!("{SM}/services")).await;
    wrong.problem(405);
    assert!(wrong.header("allow").unwrap().contains("GET"), "{wrong:?}");
    let id = mec.register(&svc(json!({"livenessInterval": 5}))).await;
    let liveness = mec.sm(&format!("/services/{id}/liveness"));
    let wrong = mec.put(&liveness, &json!({"state": "ACTIVE"})).await;
    wrong.problem(405);
    assert!(wrong.header("allow").unwrap().contains("PATCH"), "{wrong:?}");
    mec.get(&format!("{SM}/nosuch")).await.problem(404);
    // The proxy has limits of its own, and no route to know a face by.
    let long = format!("{SM}/services?ser_name={}", "x".repeat(9000));
    mp1(&gateway, &mec.app.id, Method::GET, &long).answer().await.problem(414);
}

/// S-18 to S-22: queries.
#[tokio::test]
async fn queries() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let a = mec.register(&svc(json!({"serName": "a"}))).await;
    let category = json!({"href": "x", "id": "other", "name": "x", "version": "x"});
    mec.register(&svc(json!({
        "serName": "b", "serCategory": category, "scopeOfLocality": "MEC_SYSTEM",
    })))
    .await;
    mec.register(&svc(json!({"serName": "c", "consumedLocalOnly": false}))).await;
    let lists = [mec.sm("/services"), format!("{SM}/services")];
    let refused = [
        "ser_name=a&ser_category_id=b",
        "ser_name=a&ser_instance_id=b",
        "ser_instance_id=a&ser_category_id=b",
        "nosuch=1",
        "instance_id=5",
        "is_local=maybe",
        "is_local=True",
        "scope_of_locality=X",
        "ser_name=",
        "ser_name=a,,b",
        "ser_category_id=a&ser_category_id=a",
        "filter=(eq,state,ACTIVE)",
        "fields=serName",
    ];
    let found = [
        ("ser_name=a&ser_name=b", "a b"),
        ("ser_name=a,b", "a b"),
        ("ser_name=A", ""),
        ("ser_name=nosuch", ""),
        ("ser_instance_id=nosuch", ""),
        ("ser_category_id=other", "b"),
        ("ser_category_id=RNI", ""),
        ("scope_of_locality=MEC_SYSTEM&consumed_local_only=true", "b"),
        ("scope_of_locality=MEC_SYSTEM&consumed_local_only=false", ""),
        ("is_local=true&consumed_local_only=false", "c"),
        ("is_local=false", ""),
    ];
    let by_id = format!("ser_instance_id={a},nosuch");
    for list in lists {
        for query in refused {
            mec.get(&format!("{list}?{query}")).await.problem(400);
        }
        for (query, names) in found.into_iter().chain([(by_id.as_str(), "a")]) {
            let answer = mec.get(&format!("{list}?{query}")).await.expect(200).json();
            let all = answer.as_array().unwrap().iter();
            let mut got: Vec<&str> = all.map(|one| one["serName"].as_str().unwrap()).collect();
            got.sort_unstable();
            assert_eq!(got.join(" "), names, "{list}?{query}");
        }
    }
    mec.get(&format!("{SM}/services/{a}?x=1")).await.problem(400);
    mec.get(&format!("{SM}/transports?x=1")).await.problem(400);
}

/// S-23 to S-29: replacing and removing.
#[tokio::test]
async fn a_service_is_replaced_and_removed() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let other = Mec::start(&gateway).await;
    let upstream = Upstream::start().await;
    let id = mec.register(&svc(json!({"livenessInterval": 30}))).await;
    let path = mec.sm(&format!("/services/{id}"));
    let callback = json!({
        "subscriptionType": "SerAvailabilityNotificationSubscription",
        "callbackReference": format!("{}/cb", upstream.url()),
    });
    mec.post(&mec.sm("/subscriptions"), &callback).await.expect(201);
    let read = mec.get(&path).await.expect(200);
    let same = mec.put(&path, &read.json()).await.expect(200);
    assert_eq!(same.header("etag"), read.header("etag"), "S-23");
    let again = mec.get(&path).await;
    assert_eq!((again.json(), again.header("etag")), (read.json(), read.header("etag")), "S-23");

    mec.put(&path, &svc(json!({"serName": "renamed", "livenessInterval": 30}))).await.expect(200);
    assert_eq!(upstream.next().await.json()["serviceReferences"][0]["serName"], "renamed", "S-23");
    for (name, number) in [("rni", 0), ("renamed", 1)] {
        let found = mec.get(&format!("{SM}/services?ser_name={name}")).await.json();
        assert_eq!(found.as_array().unwrap().len(), number, "S-24 {name}");
    }
    mec.put(&path, &svc(json!({"version": null}))).await.problem(400);
    mec.put(&path, &svc(json!({"serInstanceId": UNKNOWN}))).await.problem(400);
    mec.put(&path, &svc(json!({"state": "SUSPENDED"}))).await.problem(400);

    let stale = read.header("etag").unwrap().to_owned();
    let current = mec.get(&path).await.header("etag").unwrap().to_owned();
    let body = svc(json!({"serName": "renamed"}));
    let put = async |tag: &str| {
        let request = mec.request(Method::PUT, &path).header("If-Match", tag);
        request.json(&body).answer().await
    };
    put(&stale).await.problem(412);
    put("word").await.problem(412);
    assert_eq!(mec.get(&path).await.header("etag"), Some(current.as_str()), "S-26");
    put(&current).await.expect(200);
    put("*").await.expect(200);
    let now = mec.get(&path).await.header("etag").unwrap().to_owned();
    put(&format!("{stale}, {now}")).await.expect(200);
    // Heartbeats ended with the interval.
    mec.get(&format!("{path}/liveness")).await.problem(404);

    // S-27: through another application.
    let elsewhere = other.sm(&format!("/services/{id}"));
    mec.put(&elsewhere, &body).await.problem(403);
    mec.delete(&elsewhere).await.problem(403);
    other.put(&elsewhere, &body).await.problem(404);
    other.delete(&elsewhere).await.problem(404);
    let drop = mec.request(Method::DELETE, &path).header("If-Match", &stale).answer().await;
    drop.problem(412);
    let gone = mec.delete(&path).await;
    assert_eq!((gone.status, gone.text()), (204, ""), "S-28");
    mec.delete(&path).await.problem(404);
    mec.get(&path).await.problem(404);
    mec.get(&format!("{SM}/services/{id}")).await.problem(404);
    let unknown = mec.sm(&format!("/services/{UNKNOWN}"));
    // A bad body to what is not there: it is not there.
    mec.put(&unknown, &json!(7)).await.problem(404);
    mec.get(&mec.sm("/services/xyz")).await.problem(404);
}

/// S-07, S-35: a service over the platform's own transport.
#[tokio::test]
async fn the_platform_s_transport() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let transports = mec.get(&format!("{SM}/transports")).await.expect(200).json();
    let all = transports.as_array().unwrap();
    for transport in all {
        let endpoint = transport["endpoint"].as_object().unwrap();
        assert_eq!(endpoint.len(), 1, "S-35 {transport}");
        assert!(!endpoint["uris"].as_array().unwrap().is_empty(), "S-35 {transport}");
    }
    let id = &all[0]["id"];
    let body = svc(json!({"transportInfo": null, "transportId": id}));
    let made = mec.post(&mec.sm("/services"), &body).await.expect(201).json();
    assert_eq!((&made["transportInfo"], made.get("transportId")), (&all[0], None), "S-07");
    let path = made["_links"]["self"]["href"].as_str().unwrap();
    let read = mec.get(path).await.expect(200);
    assert_eq!(read.json()["transportInfo"], all[0]);
    let again = mec.put(path, &read.json()).await.expect(200);
    assert_eq!(again.header("etag"), read.header("etag"), "it comes back as it was");
}

/// Both faces show one store: registered here, found, told and callable there.
#[tokio::test]
async fn one_store_two_faces() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let (provider, listener) = (Upstream::start().await, Upstream::start().await);
    let dialect = mec.app.path("");
    let subscription = json!({
        "subscriptionType": "SerAvailabilityNotificationSubscription",
        "callbackReference": format!("{}/dialect", listener.url()),
    });
    mec.post(&format!("{dialect}/subscriptions"), &subscription).await.expect(201);
    let mut body = svc(json!({"serName": "standard"}));
    body["transportInfo"]["endpoint"] = json!({"uris": [provider.url()]});
    let id = mec.register(&body).await;
    let told = listener.next().await;
    assert_eq!(told.json()["serviceReferences"][0]["serInstanceId"], id.as_str());
    assert!(!told.all("x-real-ip").is_empty(), "as the dialect tells");
    let there = mec.get(&format!("{dialect}/services/{id}")).await.expect(200);
    let here = mec.get(&mec.sm(&format!("/services/{id}"))).await.expect(200);
    assert_eq!(there.header("etag"), here.header("etag"));
    let uri = |answer: &Value| answer["transportInfo"]["endpoint"]["uris"][0].clone();
    assert_eq!(uri(&there.json()), uri(&here.json()));
    let uri = uri(&here.json()).as_str().unwrap().to_owned();
    let path = format!("/{}/api", uri.splitn(4, '/').nth(3).unwrap());
    mec.get(&path).await.expect(200);
    assert_eq!(provider.only().uri, "/api");
    plain().get(gateway.url("proxy", &path)).answer().await.expect(401);

    // The other way round.
    let agent = App::service("agent", &provider.url());
    let made = mec.app.register(&gateway, &mec.token, &agent).await.expect(201).json();
    let id = made["serInstanceId"].as_str().unwrap();
    let found = mec.get(&format!("{SM}/services?ser_name=agent")).await.expect(200).json();
    assert_eq!(found[0]["serInstanceId"], id);
    assert_eq!(found[0]["livenessInterval"], 60);
    assert_eq!(found[0]["consumedLocalOnly"], false);
    let beat = mec.request(Method::PATCH, found[0]["_links"]["liveness"]["href"].as_str().unwrap());
    beat.json(&json!({"state": "ACTIVE"})).answer().await.expect(204);
    mec.delete(found[0]["_links"]["self"]["href"].as_str().unwrap()).await.expect(204);
    mec.get(&format!("{dialect}/services/{id}")).await.expect(404);
}

/// `mep_external_url`: links and `Location` of the standard's own face are absolute then, those of
/// notifications too; the dialect's stay as they are.
#[tokio::test]
async fn links_are_absolute_when_the_outside_is_known() {
    const OUTSIDE: &str = "https://mep.example:8443/edge";
    let options = Options::new().set("mep_ssrf_allow", "127.0.0.1");
    let gateway = options.set("mep_external_url", format!("{OUTSIDE}/")).start().await;
    let (mec, upstream) = (Mec::start(&gateway).await, Upstream::start().await);
    let callback = format!("{}/cb", upstream.url());
    let subscription = json!({
        "subscriptionType": "SerAvailabilityNotificationSubscription",
        "callbackReference": callback,
    });
    let made = mec.post(&mec.sm("/subscriptions"), &subscription).await.expect(201);
    let own = made.header("location").unwrap().to_owned();
    assert!(own.starts_with(&format!("{OUTSIDE}{}", mec.sm("/subscriptions/"))), "{own}");
    assert_eq!(made.json()["_links"]["self"]["href"], own.as_str());
    let list = mec.get(&mec.sm("/subscriptions")).await.expect(200).json();
    let all = format!("{OUTSIDE}{}", mec.sm("/subscriptions"));
    assert_eq!(list["_links"]["self"]["href"], all.as_str());
    assert_eq!(list["_links"]["subscriptions"][0]["href"], own.as_str());

    let events = json!({
        "events": ["SERVICE_API_AVAILABLE"], "notificationDestination": callback,
        "requestTestNotification": true,
    });
    let path = format!("/capif-events/v1/{}/subscriptions", mec.app.id);
    let made = mec.post(&path, &events).await.expect(201);
    let location = made.header("location").unwrap().to_owned();
    assert!(location.starts_with(&format!("{OUTSIDE}{path}/")), "{location}");
    assert_eq!(upstream.next().await.json(), json!({ "subscription": location }));

    let made = mec.post(&mec.sm("/services"), &svc(json!({"livenessInterval": 0}))).await;
    let made = made.expect(201);
    let id = made.json()["serInstanceId"].as_str().unwrap().to_owned();
    let service = format!("{OUTSIDE}{}", mec.sm(&format!("/services/{id}")));
    assert_eq!(made.header("location"), Some(service.as_str()));
    let links =
        json!({"self": {"href": service}, "liveness": {"href": format!("{service}/liveness")}});
    assert_eq!(made.json()["_links"], links);
    let read = mec.get(&mec.sm(&format!("/services/{id}"))).await.json();
    assert_eq!(read["_links"], links);
    mec.put(&mec.sm(&format!("/services/{id}")), &read).await.expect(200);
    let mut told = vec![upstream.next().await.json(), upstream.next().await.json()];
    told.retain(|told| told["notificationType"] == "SerAvailabilityNotification");
    assert_eq!(told[0]["_links"]["subscription"]["href"], own.as_str());
    let href = format!("{OUTSIDE}{SM}/services/{id}");
    assert_eq!(told[0]["serviceReferences"][0]["link"]["href"], href.as_str());

    let path = format!("/mep{}", mec.sm(&format!("/services/{id}")));
    let dialect = mec.get(&path).await.expect(200).json();
    let liveness = dialect["_links"]["self"]["liveness"].as_str().unwrap().to_owned();
    assert!(liveness.starts_with("/mep/mec_service_mgmt/v1/"), "{liveness}");
}
