//! The token and AK/SK APIs over HTTP: A-01 to A-24, A-32.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_model::Secret;
use http::Method;
use mep::{Bootstrap, PlatformSettings};
use serde_json::{Value, json};

use crate::kit::{A, Answer, Ask, B, Rig};

const ACCESS_KEY: &str = "QVUJMSUMgS0VZLS0tLS0";
const SECRET_KEY: &str = "DXPb4sqElKhcHe07Kw5uorayETwId1JOjjOIRomRs5wyszoCR5R7AtVa28KT3lSc";
const KAT_1: &str = "05bad66145ad18e5aba24fe435016f964d8277f28cc75552c3cf7cf3db230989";
const KAT_2: &str = "de72423f8cf4d246aa6232e565055b7b26feda19af8f74e48aa018adbb2c602e";
const KAT_4: &str = "7ca029433cd796d71d08f7e41f7884dff8ae819925c162ec0dd13eb3bfc777e0";

fn published(settings: &mut PlatformSettings) {
    settings.allow_default_credentials = true;
    settings.freshness.skew_seconds = 900;
    settings.bootstrap = Some(Bootstrap {
        app_instance_id: A.to_owned(),
        access_key: ACCESS_KEY.to_owned(),
        secret_key: Secret::new(SECRET_KEY.to_owned()),
        required_services: String::new(),
    });
}

async fn rig() -> Rig {
    let rig = Rig::with(published).await;
    rig.platform.seed().await.unwrap();
    rig
}

fn authorization(access_key: &str, headers: &str, signature: &str) -> String {
    format!("SDK-HMAC-SHA256 Access={access_key}, SignedHeaders={headers}, Signature={signature}")
}

/// The contract's first known request, with this much of it changed.
fn signed(rig: &Rig, path: &str, signature: &str) -> Ask {
    let signed = authorization(ACCESS_KEY, "content-type;host;x-sdk-date", signature);
    unsigned(rig, path).header("Authorization", &signed).header("X-Real-Ip", "10.1.2.3")
}

fn unsigned(rig: &Rig, path: &str) -> Ask {
    rig.auth(Method::POST, path)
        .header("Host", "mep.example.com:8443")
        .header("Content-Type", "application/json")
        .header("x-sdk-date", "20220501T080000Z")
}

fn claims(answer: &Answer) -> Value {
    answer.expect(200);
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let parts: Vec<&str> = token.split('.').collect();
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    assert_eq!(decode(parts[0]), br#"{"alg":"RS512","typ":"JWT"}"#);
    serde_json::from_slice(&decode(parts[1])).unwrap()
}

async fn refused(ask: Ask, status: u16, text: &str) {
    let answer = ask.send().await;
    answer.is(status, &format!("\"{text}\""));
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
}

#[tokio::test]
async fn a01_a24_health_and_the_unknown() {
    let rig = rig().await;
    rig.auth(Method::GET, "/health").send().await.is(200, "ok");
    let confs = format!("/mep/appMng/v1/applications/{A}/confs");
    for (method, path) in [
        (Method::POST, confs.as_str()),
        (Method::GET, "/mep/token"),
        (Method::POST, "/health"),
        (Method::HEAD, "/health"),
        (Method::GET, "/"),
        (Method::POST, "//mep/token"),
    ] {
        let answer = rig.auth(method.clone(), path).send().await;
        answer.expect(404);
        assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
        // The protocol allows a HEAD no body.
        let page = answer.text.contains("404 Page not found");
        assert_eq!(page, method != Method::HEAD, "{method} {path}: {}", answer.text);
    }
}

#[tokio::test]
async fn a02_a03_a04_a06_tokens() {
    let rig = rig().await;
    let answer = signed(&rig, "/mep/token", KAT_1).send().await;
    assert_eq!(answer.headers["content-type"], "application/json; charset=utf-8");
    assert!(!answer.text.ends_with('\n'));
    let body = answer.json();
    let rest = (&body["token_type"], &body["expires_in"]);
    assert_eq!(rest, (&json!("Bearer"), &json!(3600)));
    let wanted = json!({"exp": 1_651_395_600, "iss": "mepauth", "sub": A, "clientip": "10.1.2.3"});
    assert_eq!(claims(&answer), wanted);

    claims(&signed(&rig, "/mep/token", KAT_1).body(r#"{"x":1}"#).send().await);
    claims(&signed(&rig, "/mep/token/", KAT_1).send().await);
    claims(&signed(&rig, "/mep/token?b=2%20x&a=1~%2A", KAT_2).send().await);
    assert_eq!(rig.metric("mep_token_requests_total", Some("issued")), 4.0);
}

#[tokio::test]
async fn a05_a06_q53_whose_address_a_token_names() {
    let rig = rig().await;
    let invalid = "clientIp address is invalid";
    let signed_by = |real_ip: Option<&str>| {
        let signed = authorization(ACCESS_KEY, "content-type;host;x-sdk-date", KAT_1);
        let ask = unsigned(&rig, "/mep/token").header("Authorization", &signed);
        match real_ip {
            Some(address) => ask.header("X-Real-Ip", address),
            None => ask,
        }
    };
    refused(signed_by(None), 400, invalid).await;
    refused(signed_by(Some("127.0.0.0.1")), 400, invalid).await;
    refused(signed_by(Some("")), 400, invalid).await;
    let answer = signed_by(Some("::1")).send().await;
    assert_eq!(claims(&answer)["clientip"], "::1");

    // Who is not trusted is the client, and a signature is one client's.
    let stranger = signed_by(Some("::1")).from("192.0.2.7").send().await;
    stranger.is(401, r#""Invalid access or signature.""#);

    let fresh = self::rig().await;
    let ask = signed(&fresh, "/mep/token", KAT_1).from("192.0.2.7");
    assert_eq!(claims(&ask.send().await)["clientip"], "192.0.2.7");
    let fresh = self::rig().await;
    let ask = signed(&fresh, "/mep/token", KAT_1).from("192.0.2.8").by_gateway(None);
    assert_eq!(claims(&ask.send().await)["clientip"], "192.0.2.8");
}

#[tokio::test]
async fn a07_a08_a09_a13_a14_a15_refusals() {
    let rig = rig().await;
    let with = |authorization: &str| {
        unsigned(&rig, "/mep/token")
            .header("X-Real-Ip", "10.1.2.3")
            .header("Authorization", authorization)
    };
    let good = authorization(ACCESS_KEY, "content-type;host;x-sdk-date", KAT_1);
    let format = "Bad auth header format";
    refused(unsigned(&rig, "/mep/token").header("X-Real-Ip", "10.1.2.3"), 400, format).await;
    refused(with(&good.to_lowercase()), 400, format).await;
    refused(with(&good.replace(", ", ",")), 400, format).await;
    refused(with(&authorization(ACCESS_KEY, "content-type;host;x-sdk-dat1", KAT_4)), 400, format)
        .await;
    let dated = |date: Option<&str>| {
        let ask = rig
            .auth(Method::POST, "/mep/token")
            .header("X-Real-Ip", "10.1.2.3")
            .header("Authorization", &good);
        match date {
            Some(date) => ask.header("x-sdk-date", date),
            None => ask,
        }
    };
    for date in [None, Some("20200930"), Some("20201301T101010Z")] {
        refused(dated(date), 400, "Bad x-sdk-time format").await;
    }
    let invalid = "Invalid access or signature.";
    let unknown = authorization("AAAAAAAAAAAAAAAAAAAA", "content-type;host;x-sdk-date", KAT_1);
    for _ in 0..5 {
        refused(with(&unknown), 401, invalid).await;
    }
    refused(with(&good.replace(KAT_1, &KAT_1.to_uppercase())), 401, invalid).await;
    rig.clock.advance_ms(3_600_000);
    refused(with(&good), 401, invalid).await;
}

#[tokio::test]
async fn a10_wrong_signatures_lock() {
    let rig = rig().await;
    let wrong = "0".repeat(64);
    for _ in 0..3 {
        refused(signed(&rig, "/mep/token", &wrong), 401, "Invalid access or signature.").await;
    }
    refused(signed(&rig, "/mep/token", KAT_1), 403, "Access is locked.").await;
    rig.clock.advance_ms(900_000);
    claims(&signed(&rig, "/mep/token", KAT_1).send().await);
}

fn confs(rig: &Rig, method: Method, app: &str) -> Ask {
    let path = format!("/mep/appMng/v1/applications/{app}/confs");
    rig.auth(method, path).header("X-Real-Ip", "10.1.2.3")
}

fn pair(access_key: &str, secret_key: &str, app_info: Option<Value>) -> Value {
    let mut body =
        json!({"authInfo": {"credentials": {"accessKeyId": access_key, "secretKey": secret_key}}});
    if let Some(app_info) = app_info {
        body["appInfo"] = app_info;
    }
    body
}

const AK: &str = "AbCdEfGhIjKlMnOpQr+=";

#[tokio::test]
async fn a16_to_a23_key_pairs() {
    let rig = Rig::start().await;
    let secret = "s".repeat(64);
    let services = json!({"appName": "app", "requiredServices": ["serviceA", "serviceB"]});
    let answer = confs(&rig, Method::PUT, A).json(&pair(AK, &secret, Some(services))).send().await;
    answer.is(200, &format!(r#"{{"authInfo":{{"credentials":{{"accessKeyId":"{AK}","secretKey":""}}}},"appInfo":{{"appName":"app","requiredServices":["serviceA","serviceB"]}}}}"#));
    assert_eq!(answer.headers["content-type"], "application/json; charset=utf-8");
    confs(&rig, Method::GET, A).send().await.is(200, &format!(r#"{{"app_ins_id":"{A}","ak":"{AK}","sk":"","nonce":"","app_name":"app","required_services":"[\"serviceA\",\"serviceB\"]"}}"#));

    let put = |app: &'static str, body: Value| confs(&rig, Method::PUT, app).json(&body);
    let keys = "Invalid input for ak or sk";
    refused(put(A, pair("short", &secret, None)), 400, keys).await;
    refused(put(A, pair(AK, "short", None)), 400, keys).await;
    // An access key is one app's, and the published pair nobody's.
    refused(put(B, pair(AK, &secret, None)), 400, keys).await;
    refused(put(B, pair(ACCESS_KEY, &secret, None)), 400, keys).await;
    refused(put(B, pair("0AbCdEfGhIjKlMnOpQr=", SECRET_KEY, None)), 400, keys).await;

    let id = "Invalid input for application instance ID";
    refused(put("not-a-uuid", pair(AK, &secret, None)), 400, id).await;
    refused(put("5ABE4782-2C70-4E47-9A4E-0EE3A1A0FD1F", pair(AK, &secret, None)), 400, id).await;
    for body in ["", "{", "null", "[]", r#"{"authInfo":1}"#] {
        let answer = confs(&rig, Method::PUT, A).body(body).send().await;
        answer.expect(400);
        assert!(serde_json::from_str::<String>(&answer.text).is_ok(), "{}", answer.text);
    }

    put(A, pair(AK, &secret, None)).send().await.expect(200);
    let shown = confs(&rig, Method::GET, A).send().await.json();
    assert_eq!(shown["required_services"], "null");

    refused(confs(&rig, Method::GET, B), 400, r"\u003cQuerySeter\u003e no row found").await;
    let invalid = "Application Instance ID validation failed";
    refused(confs(&rig, Method::GET, "xyz"), 400, invalid).await;
    refused(confs(&rig, Method::DELETE, "xyz"), 400, invalid).await;
    for _ in 0..2 {
        let answer = confs(&rig, Method::DELETE, A).send().await;
        answer.is(200, r#""Delete success.""#);
        assert_eq!(answer.headers["content-type"], "application/json; charset=utf-8");
    }
    confs(&rig, Method::GET, A).send().await.expect(400);
}

#[tokio::test]
async fn a_configured_pair_gets_a_token_until_it_is_removed() {
    let rig = Rig::with(|settings| settings.allow_default_credentials = true).await;
    let body = pair(ACCESS_KEY, SECRET_KEY, None);
    confs(&rig, Method::PUT, B).json(&body).send().await.expect(200);
    assert_eq!(claims(&signed(&rig, "/mep/token", KAT_1).send().await)["sub"], B);
    let kept = serde_json::to_string(
        &rig.catalog().find("mep_app_credentials", &key(B)).unwrap().document(),
    );
    assert!(!kept.unwrap().contains(SECRET_KEY), "a secret is kept sealed");
    confs(&rig, Method::DELETE, B).send().await.expect(200);
    signed(&rig, "/mep/token", KAT_1).send().await.expect(401);
}

fn key(app: &str) -> gateway_model::Key {
    gateway_model::Key::Id(gateway_model::Id::parse(app).unwrap())
}

#[tokio::test]
async fn the_secret_is_echoed_only_as_the_original() {
    let rig = Rig::with(|settings| settings.strict_original = true).await;
    let body = pair(AK, &"s".repeat(64), None);
    let answer = confs(&rig, Method::PUT, A).json(&body).send().await;
    assert_eq!(answer.json()["authInfo"]["credentials"]["secretKey"], "s".repeat(64));
}

#[tokio::test]
async fn a32_the_lists_of_addresses() {
    let rig = Rig::with(|settings| {
        settings.confs_trusted = vec!["192.0.2.0/24".parse().unwrap()];
        settings.token_trusted = Some(vec!["198.51.100.1/32".parse().unwrap()]);
    })
    .await;
    let denied = r#"{"message":"Your IP address is not allowed"}"#;
    for by_gateway in [false, true] {
        let ask = |address: &str, ask: Ask| {
            let ask = ask.from(address);
            if by_gateway { ask.by_gateway(None) } else { ask }
        };
        for method in [Method::PUT, Method::GET, Method::DELETE] {
            let outside = ask("198.51.100.1", confs(&rig, method.clone(), A)).send().await;
            outside.is(403, denied);
            assert_eq!(outside.headers["content-type"], "application/json; charset=utf-8");
            let inside = ask("192.0.2.9", confs(&rig, method, "x")).send().await;
            inside.expect(400);
        }
        ask("192.0.2.9", signed(&rig, "/mep/token", KAT_1)).send().await.is(403, denied);
        ask("198.51.100.1", signed(&rig, "/mep/token", KAT_1)).send().await.expect(401);
    }

    // By default both faces are for this machine, and a header is no address.
    let rig = Rig::start().await;
    confs(&rig, Method::GET, A)
        .from("10.0.0.1")
        .header("X-Real-Ip", "127.0.0.1")
        .send()
        .await
        .is(403, denied);
    confs(&rig, Method::GET, A).from("10.0.0.1").by_gateway(None).send().await.is(403, denied);
    confs(&rig, Method::GET, A).send().await.expect(400);
}
