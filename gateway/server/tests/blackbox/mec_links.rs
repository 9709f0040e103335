//! Links of registrations, of the CAPIF profile and of an application's end, with and without a
//! known outside (`mep_external_url`), and what the gateway answers to wishes it does not fulfil.

use serde_json::{Value, json};

use crate::harness::{AS, Answered as _, Gateway, Mec, Options, Upstream, plain};

const OUTSIDE: &str = "https://mep.example:8443/edge";

async fn gateway(outside: &str) -> Gateway {
    let options = Options::new().set("mep_ssrf_allow", "127.0.0.1");
    match outside {
        "" => options.start().await,
        outside => options.set("mep_external_url", outside).start().await,
    }
}

/// A path below the outside, as a path of ours.
fn inside<'a>(outside: &str, link: &'a str) -> &'a str {
    let path = link.strip_prefix(outside).unwrap_or_else(|| panic!("{link}"));
    assert!(path.starts_with('/'), "{link}");
    path
}

/// Every link leads to what it names.
#[tokio::test]
async fn links_of_registrations_and_published_apis() {
    for outside in ["", OUTSIDE] {
        let gateway = gateway(outside).await;
        let mec = Mec::start(&gateway).await;
        let body = json!({"appName": "self", "endpoint": {"uris": ["http://192.0.2.1/"]}});
        let made = mec.post(&format!("{AS}/registrations"), &body).await.expect(201);
        let location = inside(outside, made.header("location").unwrap()).to_owned();
        assert_eq!(mec.get(&location).await.expect(200).json(), made.json());

        let description = json!({
            "apiName": "maps",
            "aefProfiles": [{
                "aefId": "aef-1", "versions": [{"apiVersion": "v2"}], "protocol": "HTTP_1_1",
                "dataFormat": "JSON",
                "interfaceDescriptions": [{"ipv4Addr": "192.0.2.9", "port": 8080}],
            }],
            "supportedFeatures": "100",
        });
        let apis = format!("/published-apis/v1/{}/service-apis", mec.app.id);
        let made = mec.post(&apis, &description).await.expect(201);
        let location = inside(outside, made.header("location").unwrap()).to_owned();
        mec.get(&location).await.expect(200);
        // The service it is has links of its own, in either form.
        let found = mec.get("/mec_service_mgmt/v1/services?ser_name=maps").await.expect(200).json();
        let own = found[0]["_links"]["self"]["href"].as_str().unwrap();
        let shown = mec.get(inside(outside, own)).await.expect(200).json();
        assert_eq!(shown["serInstanceId"], made.json()["apiId"]);
        let all = mec.get("/service-apis/v1/allServiceAPIs?supported-features=2").await;
        let all = all.expect(200).json();
        let info = "vendorSpecific-urn:etsi:mec:capifext:service-info";
        let links = &all["serviceAPIDescriptions"][0][info]["_links"];
        assert_eq!(links["self"]["href"], own, "{all}");
    }
}

/// The end of an application is told with links that work, as they are.
#[tokio::test]
async fn links_of_an_end() {
    for outside in ["", OUTSIDE] {
        let gateway = gateway(outside).await;
        let mec = Mec::start(&gateway).await;
        let listener = Upstream::start().await;
        let wish = json!({
            "subscriptionType": "AppTerminationNotificationSubscription",
            "callbackReference": format!("{}/cb", listener.url()),
            "appInstanceId": mec.app.id,
        });
        let made = mec.post(&mec.support("/subscriptions"), &wish).await.expect(201);
        let own = made.json()["_links"]["self"]["href"].as_str().unwrap().to_owned();
        assert_eq!(made.header("location"), Some(own.as_str()));
        mec.get(inside(outside, &own)).await.expect(200);
        let end = format!("/mep{}", mec.support("/AppInstanceTermination"));
        let request = plain().delete(gateway.url("mep", &end));
        request.header("X-AppinstanceID", &mec.app.id).answer().await.expect(200);
        let links = listener.next().await.json()["_links"].clone();
        assert_eq!(links["subscription"]["href"], own.as_str());
        let confirm = links["confirmTermination"]["href"].as_str().unwrap();
        let done = json!({"operationAction": "TERMINATING"});
        mec.post(inside(outside, confirm), &done).await.expect(204);
    }
}

/// 5.5 and 9.2: WebSocket delivery, test notifications and an end of subscriptions are for CAPIF
/// events, where the first is negotiated and not offered; PUT of a subscription and the attribute
/// filters of MEC 009 are not for Mp1 at all. Each gets a clear answer.
#[tokio::test]
async fn what_the_contract_leaves_out() {
    let gateway = gateway("").await;
    let mec = Mec::start(&gateway).await;
    let listener = Upstream::start().await;
    let callback = format!("{}/cb", listener.url());
    let websocket = json!({"requestWebsocketUri": true});
    let events = format!("/capif-events/v1/{}/subscriptions", mec.app.id);
    let wish = json!({
        "events": ["SERVICE_API_AVAILABLE"], "notificationDestination": callback,
        "websockNotifConfig": websocket, "supportedFeatures": "3",
    });
    let made = mec.post(&events, &wish).await.expect(201);
    assert_eq!(made.json().get("websockNotifConfig"), None, "9.2: it is left out, so not offered");
    let own = made.header("location").unwrap().to_owned();
    let changed = mec.put(&own, &wish).await.expect(200);
    assert_eq!(changed.json().get("websockNotifConfig"), None, "9.2");
    // Who asks for nothing but a WebSocket has nowhere to be told.
    let mut only = wish.clone();
    only.as_object_mut().unwrap().remove("notificationDestination");
    let told = mec.post(&events, &only).await.problem(400);
    assert!(told.contains("notificationDestination"), "{told}");

    // 5.1: in Mp1's own subscriptions these are unknown attributes, and ignored.
    let wish = json!({
        "subscriptionType": "SerAvailabilityNotificationSubscription", "callbackReference": callback,
        "websockNotifConfig": websocket, "requestTestNotification": true,
        "expiryDeadline": {"seconds": 1, "nanoSeconds": 0},
    });
    let made = mec.post(&mec.sm("/subscriptions"), &wish).await.expect(201);
    for name in ["websockNotifConfig", "requestTestNotification", "expiryDeadline"] {
        assert_eq!(made.json().get(name), None, "5.1 {name}");
    }
    let own = made.header("location").unwrap().to_owned();
    let put = mec.put(&own, &wish).await;
    put.problem(405);
    let allowed = put.header("allow").unwrap();
    assert!(allowed.contains("GET") && allowed.contains("DELETE"), "{allowed}");
    assert!(!allowed.contains("PUT"), "5.1: there is no PUT: {allowed}");
    mec.get(&own).await.expect(200);
    let mut only: Value = wish.clone();
    only.as_object_mut().unwrap().remove("callbackReference");
    let told = mec.post(&mec.sm("/subscriptions"), &only).await.problem(400);
    assert!(told.contains("callbackReference"), "{told}");
    assert!(listener.take().is_empty(), "no test notification was asked for");

    // 2.5: filters, selectors and paging are unknown parameters.
    for query in [
        "filter=(eq,state,ACTIVE)",
        "all_fields",
        "fields=serName",
        "exclude_fields=serName",
        "exclude_default",
        "nextpage_opaque_marker=1",
    ] {
        for list in [mec.sm("/services"), "/mec_service_mgmt/v1/services".to_owned()] {
            let name = query.split('=').next().unwrap();
            let told = mec.get(&format!("{list}?{query}")).await.problem(400);
            assert!(told.contains(name), "{query}: {told}");
        }
    }
}
