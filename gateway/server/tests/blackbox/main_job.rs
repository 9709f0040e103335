//! What the product is for, from a signed request to a refused one.

use serde_json::json;

use crate::harness::{
    Answered as _, App, Gateway, Options, Upstream, golden, plain, plain_from, trusting,
};

#[tokio::test]
async fn the_main_job_over_tls_and_http_2() {
    let provider = Upstream::start().await;
    let gateway = Options::new().set("mep_ssrf_allow", "127.0.0.1").start().await;
    let client = trusting(&gateway).build().unwrap();
    let url = |path: &str| gateway.tls_url("proxy", path);

    // An app signs with its keys and gets a token.
    let producer = App::bootstrap(&gateway);
    let answer = producer.token_request(&client, &url("/mep/token")).answer().await.expect(200);
    assert_eq!(answer.version, http::Version::HTTP_2);
    golden("token", &answer);
    let body = answer.json();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(3600)));
    let token = body["access_token"].as_str().unwrap().to_owned();

    // It registers a service.
    let service = App::service("facerecognition", &format!("{}/base", provider.url()));
    let path = producer.path("/services");
    let request = client.post(url(&path)).bearer_auth(&token).body(service.to_string());
    let registered = request.answer().await.expect(201);
    golden("registered", &registered);
    let id = registered.json()["serInstanceId"].as_str().unwrap().to_owned();
    assert_eq!(registered.header("location"), Some(format!("{path}/{id}").as_str()));

    // Another app, allowed to use it, finds it.
    let consumer = App::announced(&gateway, &["facerecognition"]).await;
    let answer = consumer.token_request(&client, &url("/mep/token")).answer().await.expect(200);
    let theirs = answer.json()["access_token"].as_str().unwrap().to_owned();
    let found = "/mep/mec_service_mgmt/v1/services?ser_name=facerecognition";
    let found = client.get(url(found)).bearer_auth(&theirs).answer().await.expect(200);
    golden("discovered", &found);
    let uri = found.json()[0]["transportInfo"]["endpoint"]["uris"][0].as_str().unwrap().to_owned();
    let port = gateway.tls_addr("proxy").port();
    let published = uri.strip_prefix(&format!("https://mep-api-gw.mep:{port}"));
    let published = published.unwrap_or_else(|| panic!("published at {uri}"));

    // It calls the service through the gateway.
    let call = url(&format!("{published}/faces?of=all"));
    let called = client.get(&call).bearer_auth(&theirs).answer().await.expect(200);
    assert_eq!(called.version, http::Version::HTTP_2);
    assert_eq!(provider.only().uri, "/base/faces?of=all");

    // Without a token it may not, and neither may who took it from another client.
    let refused = client.get(&call).answer().await.expect(401);
    golden("no_token", &refused);
    let elsewhere = trusting(&gateway).local_address(std::net::IpAddr::from([127, 0, 0, 2]));
    let elsewhere = elsewhere.build().unwrap();
    let mine = url(&consumer.path("/services"));
    client.get(&mine).bearer_auth(&theirs).answer().await.expect(200);
    let refused = elsewhere.get(&mine).bearer_auth(&theirs).answer().await.expect(401);
    golden("token_of_another_client", &refused);
    assert!(provider.take().is_empty(), "a refused call reached the provider");
}

/// The same from HTTP/1.1 without TLS, where URIs are published with the scheme of that listener.
#[tokio::test]
async fn the_main_job_without_tls() {
    let provider = Upstream::start().await;
    let options = Options::new().set("mep_ssrf_allow", "127.0.0.1");
    let gateway = options.set("proxy_listen", "127.0.0.1:0").start().await;
    let app = App::bootstrap(&gateway);
    let token = app.token(&gateway).await;
    let body = App::service("sampleapp", &provider.url());
    let registered = app.register(&gateway, &token, &body).await.expect(201).json();
    // instances of one name share the first half of their id.
    let id = registered["serInstanceId"].as_str().unwrap();
    assert!(id.starts_with("d9f72dad154cbd9e") && id.len() == 32, "{id}");

    let path = app.path(&format!("/services/{id}"));
    let found = plain().get(gateway.url("proxy", &path)).bearer_auth(&token).answer().await;
    let uris = found.expect(200).json()["transportInfo"]["endpoint"]["uris"].clone();
    let base = format!("http://mep-api-gw.mep:{}/sampleapp", gateway.addr("proxy").port());
    let uri = uris[0].as_str().unwrap();
    assert!(uri.starts_with(&base), "{uris}");

    let published = app.published(&gateway, &token, id).await;
    let call = plain().get(gateway.url("proxy", &published)).bearer_auth(&token);
    call.answer().await.expect(200);
    assert_eq!(provider.only().uri, "/");
}

/// the limit is per client address for tokens, and per app for Mp1.
#[tokio::test]
async fn who_asks_too_often_is_limited() {
    let gateway = Options::new().set("mep_rate_limit_mp1", "20").start().await;
    let url = gateway.url("proxy", "/mep/token");
    let eager = plain_from([127, 0, 0, 2]);
    let mut served = 0;
    let limited = loop {
        let answer = eager.post(&url).answer().await;
        if answer.status == 429 {
            break answer;
        }
        served += 1;
        // The window may have turned once meanwhile.
        assert!(served <= 200, "never limited");
    };
    assert!(served >= 100, "limited after {served}");
    golden("limited", &limited);
    let told = limited.headers.keys().filter(|name| {
        let name = name.as_str();
        name.contains("ratelimit") || name == "retry-after"
    });
    assert_eq!(told.count(), 0, "{:?}", limited.headers);
    plain_from([127, 0, 0, 3]).post(&url).answer().await.expect(400);

    let (one, other) = (App::bootstrap(&gateway), App::announced(&gateway, &[]).await);
    let mut statuses = Vec::new();
    let token = one.token(&gateway).await;
    while statuses.last() != Some(&429) && statuses.len() <= 40 {
        let request = plain().get(gateway.url("proxy", &one.path("/services"))).bearer_auth(&token);
        statuses.push(request.answer().await.status);
    }
    assert!((20..=40).contains(&(statuses.len() - 1)), "{statuses:?}");
    assert_eq!(statuses.last(), Some(&429));
    let token = other.token(&gateway).await;
    let request = plain().get(gateway.url("proxy", &other.path("/services"))).bearer_auth(&token);
    request.answer().await.expect(200);
}

/// The limits a fresh installation has are those of the original.
#[tokio::test]
async fn the_limits_of_a_fresh_installation() {
    let gateway = Gateway::start().await;
    for (service, minute) in [("mepserver", 1000), ("mepauth", 100)] {
        let path = format!("/services/{service}/plugins");
        let plugins = plain().get(gateway.url("admin", &path)).answer().await.expect(200).json();
        let limit = plugins["data"].as_array().unwrap().iter();
        let limit = limit.clone().find(|plugin| plugin["name"] == "rate-limiting").unwrap();
        assert_eq!(limit["config"]["minute"], minute, "{service}");
        assert_eq!(limit["config"]["policy"], "local", "{service}");
        assert_eq!(limit["config"]["hide_client_headers"], true, "{service}");
    }
}
