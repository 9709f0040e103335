//! The CAPIF profile of the MEC APIs: cases S-62 to S-65 of the MEC 011 contract.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Answered as _, Gateway, Mec, Upstream, eventually, svc};

const NOBODY: &str = "0f0f0f0f-0f0f-4f0f-8f0f-0f0f0f0f0f0f";
const ALL: &str = "/service-apis/v1/allServiceAPIs";
const SERVICE_INFO: &str = "vendorSpecific-urn:etsi:mec:capifext:service-info";
const TRANSPORT_INFO: &str = "vendorSpecific-urn:etsi:mec:capifext:transport-info";

fn description() -> Value {
    json!({
        "apiName": "maps",
        "description": "where things are",
        "serviceAPICategory": "cat-9",
        "aefProfiles": [{
            "aefId": "aef-1", "versions": [{"apiVersion": "v2"}], "protocol": "HTTP_1_1",
            "dataFormat": "JSON", "securityMethods": ["OAUTH"],
            "interfaceDescriptions": [{"ipv4Addr": "192.0.2.9", "port": 8080}],
        }],
    })
}

/// S-62: discovery.
#[tokio::test]
async fn services_are_discovered() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    assert_eq!(mec.get(ALL).await.expect(200).json(), json!({}));
    let id = mec.register(&svc(json!({}))).await;
    let all = mec.get(ALL).await.expect(200).json();
    let one = &all["serviceAPIDescriptions"][0];
    assert_eq!((&one["apiName"], &one["apiId"]), (&json!("rni"), &json!(id)), "S-62");
    assert_eq!(one["aefProfiles"][0]["versions"], json!([{"apiVersion": "1.4"}]));
    assert_eq!(one["aefProfiles"][0]["protocol"], "HTTP_1_1");
    assert!(one["aefProfiles"][0]["interfaceDescriptions"][0]["apiPrefix"].is_string());
    assert!(one.get(SERVICE_INFO).is_none(), "nobody asked for it");
    for query in ["api-name=rni", "apiName=rni", "apiId", "api-version=1.4&protocol=HTTP_1_1"] {
        let query = if query == "apiId" { format!("apiId={id}") } else { query.to_owned() };
        let found = mec.get(&format!("{ALL}?{query}")).await.expect(200).json();
        assert_eq!(found["serviceAPIDescriptions"][0]["apiId"], id, "S-62 {query}");
    }
    let extended = mec.get(&format!("{ALL}?supported-features=2")).await.expect(200).json();
    assert_eq!(extended["supportedFeatures"], "2");
    let one = &extended["serviceAPIDescriptions"][0];
    assert_eq!(one[SERVICE_INFO]["state"], "ACTIVE");
    assert_eq!(one["aefProfiles"][0][TRANSPORT_INFO]["type"], "REST_HTTP");
    mec.get(&format!("{ALL}?api-name=nosuch")).await.problem(404);
    mec.get(&format!("{ALL}?badQueryParam=x")).await.problem(400);
    assert_eq!(mec.get(&format!("{ALL}?api-cat=nosuch")).await.expect(200).json(), json!({}));
}

/// S-63, S-64: publishing, seen by the others.
#[tokio::test]
async fn services_are_published() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let path = format!("/published-apis/v1/{}/service-apis", mec.app.id);
    assert_eq!(mec.get(&path).await.expect(200).json(), json!([]));
    let made = mec.post(&path, &description()).await.expect(201);
    let id = made.json()["apiId"].as_str().unwrap().to_owned();
    let own = format!("{path}/{id}");
    assert_eq!(made.header("location"), Some(own.as_str()), "S-63");
    let shown = mec.get(&own).await.expect(200).json();
    assert_eq!(shown["description"], "where things are");
    assert_eq!(mec.get(&path).await.json(), json!([shown]), "S-63");
    // S-64
    let found = mec.get("/mec_service_mgmt/v1/services?ser_name=maps").await.expect(200).json();
    let service = &found[0];
    assert_eq!(
        (&service["serInstanceId"], &service["version"], &service["serializer"]),
        (&json!(id), &json!("v2"), &json!("JSON")),
        "S-64"
    );
    let category = json!({"href": "cat-9", "id": "cat-9", "name": "cat-9", "version": ""});
    assert_eq!(service["serCategory"], category, "S-64");
    let transport = &service["transportInfo"];
    assert_eq!(
        (&transport["id"], &transport["type"], &transport["protocol"], &transport["version"]),
        (&json!("aef-1"), &json!("REST_HTTP"), &json!("HTTP"), &json!("1.1")),
        "S-64"
    );
    assert!(transport["security"]["oAuth2Info"].is_object(), "S-64");

    // What was read comes back and changes nothing; a patch changes what it names.
    let tag = mec.get(&own).await.header("etag").unwrap().to_owned();
    assert_eq!(mec.put(&own, &shown).await.expect(200).header("etag"), Some(tag.as_str()), "S-63");
    let patch = json!({"description": null, SERVICE_INFO: {"state": "INACTIVE"}});
    let merge = mec.request(Method::PATCH, &own);
    let merge = merge.header("Content-Type", "application/merge-patch+json");
    let patched = merge.body(patch.to_string()).answer().await.expect(200).json();
    assert_eq!(patched.get("description"), None, "S-63");
    let service = format!("/mec_service_mgmt/v1/services/{id}");
    assert_eq!(mec.get(&service).await.json()["state"], "INACTIVE", "S-63");

    // Extensions count only for who says that it knows them.
    let mut extended = description();
    extended[SERVICE_INFO] = json!({"serializer": "XML", "livenessInterval": 30});
    for (features, serializer) in [(Value::Null, "JSON"), (json!("100"), "XML")] {
        extended["supportedFeatures"] = features;
        let id = mec.post(&path, &extended).await.expect(201).json()["apiId"].clone();
        let service = format!("/mec_service_mgmt/v1/services/{}", id.as_str().unwrap());
        assert_eq!(mec.get(&service).await.json()["serializer"], serializer, "S-63");
    }
    let wrong = |name: &str, value: Value| {
        let mut body = description();
        body[name] = value;
        body
    };
    let profile = description()["aefProfiles"][0].clone();
    for body in [
        wrong("apiName", Value::Null),
        wrong("aefProfiles", json!({})),
        wrong("aefProfiles", json!([])),
        wrong("aefProfiles", json!([profile, profile])),
        wrong("aefProfiles", json!([{"aefId": "x"}])),
        wrong("supportedFeatures", json!("x")),
    ] {
        mec.post(&path, &body).await.problem(400);
    }
    let nobody = format!("/published-apis/v1/{NOBODY}/service-apis");
    mec.post(&nobody, &description()).await.problem(404);
    mec.delete(&own).await.expect(204);
    mec.get(&own).await.problem(404);
    mec.get(&service).await.problem(404);
}

/// S-65: events, with a test notification first.
#[tokio::test]
async fn events_are_told() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let upstream = Upstream::start().await;
    let path = format!("/capif-events/v1/{}/subscriptions", mec.app.id);
    let wish = json!({
        "events": ["SERVICE_API_AVAILABLE", "SERVICE_API_UNAVAILABLE", "ACCESS_CONTROL_POLICY_UPDATE"],
        "notificationDestination": format!("{}/events", upstream.url()),
        "requestTestNotification": true,
        "websockNotifConfig": {"requestWebsocketUri": true},
    });
    let made = mec.post(&path, &wish).await.expect(201);
    let own = made.header("location").unwrap().to_owned();
    assert!(own.starts_with(&path), "S-65 {own}");
    assert_eq!(made.json().get("websockNotifConfig"), None, "not offered");
    assert_eq!(upstream.next().await.json(), json!({ "subscription": own }), "9.2");
    let subscription = own.rsplit('/').next().unwrap();
    let id = mec.register(&svc(json!({}))).await;
    let told = upstream.next().await.json();
    assert_eq!(
        (&told["subscriptionId"], &told["events"]),
        (&json!(subscription), &json!("SERVICE_API_AVAILABLE")),
        "S-65"
    );
    assert_eq!(told["eventDetail"]["serviceAPIDescriptions"][0]["apiId"], id, "S-65");
    mec.put(&mec.sm(&format!("/services/{id}")), &svc(json!({"version": "2"}))).await.expect(200);
    mec.delete(&mec.sm(&format!("/services/{id}"))).await.expect(204);
    let told = upstream.next().await.json();
    assert_eq!(told["events"], "SERVICE_API_UNAVAILABLE", "S-65: an update was not asked for");
    assert_eq!(told["eventDetail"], json!({"apiIds": [id]}), "S-65");

    let mut next = wish.clone();
    next["events"] = json!(["SERVICE_API_UPDATE"]);
    assert_eq!(mec.put(&own, &next).await.expect(200).json()["events"], next["events"], "S-65");
    let patch =
        mec.request(Method::PATCH, &own).json(&json!({"events": ["SERVICE_API_AVAILABLE"]}));
    let patched = patch.answer().await.expect(200).json();
    assert_eq!(patched["events"], json!(["SERVICE_API_AVAILABLE"]), "S-65");
    next["events"] = json!([]);
    mec.put(&own, &next).await.problem(400);
    mec.post(&path, &next).await.problem(400);
    mec.get(&own).await.problem(405);
    mec.delete(&own).await.expect(204);
    mec.delete(&own).await.problem(404);
    mec.post(&format!("/capif-events/v1/{NOBODY}/subscriptions"), &wish).await.problem(404);
}

/// A subscription that says until when (`eventReq.monDur`) is gone by then.
#[tokio::test]
async fn subscriptions_end() {
    let gateway = Gateway::calling_back().await;
    let mec = Mec::start(&gateway).await;
    let (upstream, lasting) = (Upstream::start().await, Upstream::start().await);
    let path = format!("/capif-events/v1/{}/subscriptions", mec.app.id);
    let until = |seconds: i64| {
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let wish = |to: &Upstream, end: Value| {
        let request = json!({"monDur": end, "notifMethod": "ON_EVENT_DETECTION"});
        json!({
            "events": ["SERVICE_API_AVAILABLE"], "notificationDestination": to.url(),
            "eventReq": request,
        })
    };
    for end in [json!(until(-5)), json!("tomorrow"), json!(7), json!("2500-01-01T00:00:00Z")] {
        let refused = mec.post(&path, &wish(&upstream, end)).await.problem(400);
        assert!(refused.contains("eventReq.monDur"), "{refused}");
    }
    mec.post(&path, &wish(&lasting, json!(until(600)))).await.expect(201);
    let end = until(3);
    let made = mec.post(&path, &wish(&upstream, json!(end))).await.expect(201);
    assert_eq!(
        made.json()["eventReq"],
        json!({ "monDur": end }),
        "what is not offered is left out"
    );
    let own = made.header("location").unwrap().to_owned();
    // A change keeps the end, and tags are those of the state.
    let patch = mec.request(Method::PATCH, &own).header("If-Match", made.header("etag").unwrap());
    let changed = patch.json(&json!({"events": ["SERVICE_API_AVAILABLE"]})).answer().await;
    assert_eq!(changed.expect(200).json()["eventReq"], json!({ "monDur": end }));
    eventually("it ends", async || {
        let patch = mec.request(Method::PATCH, &own).json(&json!({}));
        (patch.answer().await.status == 404).then_some(())
    })
    .await;
    mec.register(&svc(json!({}))).await;
    lasting.next().await;
    assert!(upstream.take().is_empty(), "nobody is told after the end");
}
