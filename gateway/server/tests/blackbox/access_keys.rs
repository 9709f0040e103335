//! The token API and the AK/SK API, on the direct listener and through the proxy: contract 3.

use mep::auth::credential::{AccessKey, SecretKey};
use serde_json::{Value, json};

use crate::cluster::Pair;
use crate::harness::{
    Answer, Answered as _, App, Gateway, Options, eventually, plain, plain_from, raw,
};

const SCHEME: &str = "SDK-HMAC-SHA256 Access=";
const ACCESS: &str = "QVUJMSUMgS0VZLS0tLS0";
const SIGNATURE: &str = "05bad66145ad18e5aba24fe435016f964d8277f28cc75552c3cf7cf3db230989";
const NAMES: &str = "content-type;host;x-sdk-date";
const DATE: &str = "20220501T080000Z";

/// A-01 to A-09, A-13, A-14: the published key pair signs the contract's own requests.
///
/// Such a start needs two switches: the pair is known to everybody, and the date is long past.
#[tokio::test]
async fn the_contracts_signatures_are_understood() {
    let options = Options::new().set("mep_allow_default_credentials", "on");
    let gateway = options.set("mep_clock_skew", "0").start().await;
    let app = App {
        id: "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f".to_owned(),
        access_key: AccessKey::parse(ACCESS).unwrap(),
        secret_key: SecretKey::parse(
            "DXPb4sqElKhcHe07Kw5uorayETwId1JOjjOIRomRs5wyszoCR5R7AtVa28KT3lSc",
        )
        .unwrap(),
    };
    app.announce(&gateway, &[]).await.expect(200);

    let signed =
        |signature: &str| format!("{SCHEME}{ACCESS}, SignedHeaders={NAMES}, Signature={signature}");
    let good = signed(SIGNATURE);
    let query = signed("de72423f8cf4d246aa6232e565055b7b26feda19af8f74e48aa018adbb2c602e");
    let ask = Ask {
        path: "/mep/token",
        ip: Some("10.1.2.3"),
        date: Some(DATE),
        authorization: &good,
        body: "",
    };
    let accepted = [
        ("A-02", ask),
        ("A-03", Ask { body: r#"{"x":1}"#, ..ask }),
        ("A-04", Ask { path: "/mep/token?b=2%20x&a=1~%2A", authorization: &query, ..ask }),
    ];
    for (case, ask) in accepted {
        assert_eq!(claims(&ask.send(&gateway).await)["clientip"], "10.1.2.3", "{case}");
    }

    let lower = good.to_lowercase();
    let tight = good.replace(", ", ",");
    let unknown = good.replace(ACCESS, "AAAAAAAAAAAAAAAAAAAA");
    let upper = signed(&SIGNATURE.to_uppercase());
    let hashed = signed("d28a05d4d57b19a9472d69ffed888c2a9dfb4778d16d50fc8e6f42879383793e");
    let undated = signed("7ca029433cd796d71d08f7e41f7884dff8ae819925c162ec0dd13eb3bfc777e0");
    let undated = undated.replace("x-sdk-date", "x-sdk-dat1");
    let address = (400, "clientIp address is invalid");
    let format = (400, "Bad auth header format");
    let time = (400, "Bad x-sdk-time format");
    let signature = (401, "Invalid access or signature.");
    let refused = [
        ("A-05", Ask { ip: None, ..ask }, address),
        ("A-05", Ask { ip: Some("127.0.0.0.1"), ..ask }, address),
        ("A-07", Ask { authorization: "", ..ask }, format),
        ("A-07", Ask { authorization: &lower, ..ask }, format),
        ("A-07", Ask { authorization: &tight, ..ask }, format),
        ("A-08", Ask { date: None, ..ask }, time),
        ("A-08", Ask { date: Some("20200930"), ..ask }, time),
        ("A-08", Ask { date: Some("20201301T101010Z"), ..ask }, time),
        ("A-09", Ask { authorization: &unknown, ..ask }, signature),
        ("A-13", Ask { authorization: &upper, ..ask }, signature),
        ("A-14", Ask { authorization: &undated, ..ask }, format),
        ("KAT 5", Ask { authorization: &hashed, body: r#"{"x":1}"#, ..ask }, signature),
    ];
    for (case, ask, expected) in refused {
        let answer = ask.send(&gateway).await;
        assert_eq!((answer.status, answer.json()), (expected.0, json!(expected.1)), "{case}");
    }

    // A-06; the signature was used from 10.1.2.3, so it takes one that was not.
    let ak = AccessKey::random().unwrap();
    let other = App { access_key: ak, ..app.clone() };
    other.announce(&gateway, &[]).await.expect(200);
    let url = gateway.url("mep-auth", "/mep/token");
    let answer = other.token_request(&plain(), &url).header("X-Real-Ip", "::1").answer().await;
    assert_eq!(claims(&answer)["clientip"], "::1", "A-06");

    let health = plain().get(gateway.url("mep-auth", "/health")).answer().await.expect(200);
    assert_eq!(health.text(), "ok", "A-01");
}

/// A token request, header by header.
#[derive(Clone, Copy)]
struct Ask<'a> {
    path: &'a str,
    ip: Option<&'a str>,
    date: Option<&'a str>,
    authorization: &'a str,
    body: &'static str,
}

impl Ask<'_> {
    async fn send(self, gateway: &Gateway) -> Answer {
        let mut request = plain().post(gateway.url("mep-auth", self.path));
        let authorization = Some(self.authorization).filter(|text| !text.is_empty());
        let optional =
            [("X-Real-Ip", self.ip), ("x-sdk-date", self.date), ("Authorization", authorization)];
        for (name, value) in optional {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let request = request.header("Host", "mep.example.com:8443");
        request.header("Content-Type", "application/json").body(self.body).answer().await
    }
}

/// The claims of an issued token, whose header is the contract's.
#[track_caller]
fn claims(answer: &Answer) -> Value {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

/// The same request through the proxy, whose address counts and not the header's.
#[tokio::test]
async fn through_the_proxy_the_connection_names_the_client() {
    let gateway = Gateway::start().await;
    let app = App::bootstrap(&gateway);
    let url = gateway.url("proxy", "/mep/token");
    let spoofed = plain_from([127, 0, 0, 2]);
    let request = app.token_request(&spoofed, &url).header("X-Real-Ip", "10.1.2.3");
    assert_eq!(claims(&request.answer().await)["clientip"], "127.0.0.2");
}

/// A-10, A-11: three wrong signatures lock the key for that client, and for no other.
#[tokio::test]
async fn wrong_signatures_lock_the_key() {
    let gateway = Gateway::start().await;
    let app = App::bootstrap(&gateway);
    let wrong = App { secret_key: SecretKey::random().unwrap(), ..app.clone() };
    let url = gateway.url("proxy", "/mep/token");
    let statuses = async |from: [u8; 4], apps: &[&App]| {
        let mut statuses = Vec::new();
        // A date of its own for each client: the same signature from two of them is a replay.
        let date = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(from[3].into());
        let date = date.strftime("%Y%m%dT%H%M%SZ").to_string();
        for app in apps {
            let request = app.token_request_at(&plain_from(from), &url, &date);
            statuses.push(request.answer().await.status);
        }
        statuses
    };
    let forgiven = statuses([127, 0, 0, 4], &[&wrong, &wrong, &app, &wrong, &wrong]).await;
    assert_eq!(forgiven, [401, 401, 200, 401, 401], "A-11");
    let locked = statuses([127, 0, 0, 5], &[&wrong, &wrong, &wrong, &app]).await;
    assert_eq!(locked, [401, 401, 401, 403], "A-10");
    let answer = app.token_request(&plain_from([127, 0, 0, 5]), &url).answer().await;
    assert_eq!(answer.json(), json!("Access is locked."));
    assert_eq!(statuses([127, 0, 0, 6], &[&app]).await, [200], "another client");
}

/// A-15 with the default of 15 hours, and a captured request sent from elsewhere.
#[tokio::test]
async fn old_and_captured_signatures_are_refused() {
    let gateway = Gateway::start().await;
    let app = App::bootstrap(&gateway);
    let url = gateway.url("proxy", "/mep/token");
    let date = |hours: i64| {
        let date = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours);
        date.strftime("%Y%m%dT%H%M%SZ").to_string()
    };
    for (hours, status) in [(14, 200), (-14, 200), (16, 401), (-16, 401)] {
        let answer = app.token_request_at(&plain(), &url, &date(hours)).answer().await;
        assert_eq!(answer.status, status, "{hours} hours ago: {:?}", answer.body);
    }

    let signed = app.token_request_at(&plain(), &url, &date(1)).build().unwrap();
    let header = |name: &str| signed.headers()[name].to_str().unwrap().to_owned();
    let replay = async |from: [u8; 4]| {
        let request = plain_from(from).post(&url).header("x-sdk-date", header("x-sdk-date"));
        let request = request.header("authorization", header("authorization"));
        request.header("content-type", "application/json").answer().await.status
    };
    assert_eq!(replay([127, 0, 0, 1]).await, 200);
    assert_eq!(replay([127, 0, 0, 1]).await, 200, "the agent itself may ask again");
    assert_eq!(replay([127, 0, 0, 2]).await, 401, "captured on the way");
}

/// Nodes of one database know of each other's signatures: one captured from one node works at no
/// other, and wrong ones at one lock the key at all.
#[tokio::test]
async fn nodes_know_of_each_others_signatures() {
    let Some(pair) = Pair::start().await else { return };
    let [a, b] = &pair.nodes;
    let app = App::announced(a, &[]).await;
    let wrong = App { secret_key: SecretKey::random().unwrap(), ..app.clone() };
    let date = |hours: i64| {
        let date = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours);
        date.strftime("%Y%m%dT%H%M%SZ").to_string()
    };
    // Every request is for the same authority, as it is behind a balancer.
    let url = a.url("proxy", "/mep/token");
    let host = a.addr("proxy").to_string();
    let send = async |node: &Gateway, from: [u8; 4], app: &App, date: &str| {
        let signed = app.token_request_at(&plain(), &url, date).build().unwrap();
        let request = plain_from(from).post(node.url("proxy", "/mep/token")).header("Host", &host);
        let request = ["x-sdk-date", "authorization", "content-type"]
            .iter()
            .fold(request, |request, name| request.header(*name, &signed.headers()[*name]));
        request.answer().await.status
    };
    eventually("the other node knows the key", async || {
        (send(b, [127, 0, 0, 8], &app, &date(2)).await == 200).then_some(())
    })
    .await;

    let captured = date(1);
    assert_eq!(send(a, [127, 0, 0, 1], &app, &captured).await, 200);
    for _ in 0..3 {
        assert_eq!(send(a, [127, 0, 0, 9], &wrong, &date(0)).await, 401);
    }
    // An old date counts for nothing and tells of a lock. Words come in their order: once this one
    // is there, so is the one before.
    eventually("the lock, at the other", async || {
        let status = send(b, [127, 0, 0, 9], &app, &date(16)).await;
        assert!(matches!(status, 401 | 403), "{status}");
        (status == 403).then_some(())
    })
    .await;
    assert_eq!(send(b, [127, 0, 0, 2], &app, &captured).await, 401, "captured on the way");
    assert_eq!(send(b, [127, 0, 0, 1], &app, &captured).await, 200, "its owner may ask again");
    assert_eq!(send(b, [127, 0, 0, 10], &app, &date(3)).await, 200, "another client");
}

/// A-16 to A-24.
#[tokio::test]
async fn the_rules_of_the_access_key_api() {
    let gateway = Gateway::start().await;
    let app = App::random();
    let confs = |id: &str| format!("/mep/appMng/v1/applications/{id}/confs");
    let path = confs(&app.id);
    let good = App { access_key: AccessKey::parse("AbCdEfGhIjKlMnOpQr+=").unwrap(), ..app.clone() }
        .confs(&["serviceA", "serviceB"]);
    let keys = |ak: &str, sk: &str| {
        json!({"authInfo": {"credentials": {"accessKeyId": ak, "secretKey": sk}}}).to_string()
    };
    let sk = app.secret_key.expose();
    let upper = app.id.to_uppercase();
    let other = App::random().id;
    let mut echo = good.clone();
    // Q-33: the secret is not echoed.
    echo["authInfo"]["credentials"]["secretKey"] = json!("");
    let stored = json!({
        "app_ins_id": app.id, "ak": "AbCdEfGhIjKlMnOpQr+=", "sk": "", "nonce": "",
        "app_name": "tested", "required_services": "[\"serviceA\",\"serviceB\"]",
    });
    let unnamed = json!({
        "app_ins_id": other, "ak": "bbCdEfGhIjKlMnOpQr+=", "sk": "", "nonce": "",
        "app_name": "", "required_services": "null",
    });
    let bad_key = json!("Invalid input for ak or sk");
    let bad_id = json!("Invalid input for application instance ID");
    let put = good.to_string();
    let rows = [
        ("A-16", "PUT", path.clone(), put.clone(), 200, Some(echo)),
        ("A-16", "GET", path.clone(), String::new(), 200, Some(stored)),
        ("A-17", "PUT", path.clone(), keys("short", sk), 400, Some(bad_key.clone())),
        (
            "A-18",
            "PUT",
            path.clone(),
            keys("AbCdEfGhIjKlMnOpQr+=", "short"),
            400,
            Some(bad_key.clone()),
        ),
        ("Q-30", "PUT", confs(&other), put.clone(), 400, Some(bad_key)),
        ("A-19", "PUT", confs("not-a-uuid"), put.clone(), 400, Some(bad_id.clone())),
        ("A-19", "PUT", confs(&upper), put, 400, Some(bad_id)),
        ("A-20", "PUT", path.clone(), String::new(), 400, None),
        ("3.7", "PUT", path.clone(), "null".to_owned(), 400, None),
        ("A-21", "PUT", confs(&other), keys("bbCdEfGhIjKlMnOpQr+=", sk), 200, None),
        ("A-21", "GET", confs(&other), String::new(), 200, Some(unnamed)),
        (
            "A-22",
            "GET",
            confs(&App::random().id),
            String::new(),
            400,
            Some(json!("<QuerySeter> no row found")),
        ),
        (
            "A-22",
            "GET",
            confs("xyz"),
            String::new(),
            400,
            Some(json!("Application Instance ID validation failed")),
        ),
        ("A-23", "DELETE", path.clone(), String::new(), 200, Some(json!("Delete success."))),
        ("A-23", "DELETE", path.clone(), String::new(), 200, Some(json!("Delete success."))),
    ];
    // The same rules hold on the direct listener and, for loopback, through the proxy.
    for listener in ["mep-auth", "proxy"] {
        for (case, method, path, body, status, expected) in &rows {
            let url = gateway.url(listener, path);
            let request = plain().request(method.parse().unwrap(), url);
            let request = request.header("X-Real-Ip", "127.0.0.1").body(body.clone());
            let answer = request.answer().await;
            assert_eq!(answer.status, *status, "{listener} {case}: {:?}", answer.body);
            if let Some(expected) = expected {
                assert_eq!(answer.json(), *expected, "{listener} {case}");
            } else if *status == 400 {
                assert!(answer.json().is_string(), "{listener} {case}");
            }
        }
        // What follows starts without the second app.
        let url = gateway.url(listener, &confs(&other));
        plain().delete(url).header("X-Real-Ip", "127.0.0.1").answer().await.expect(200);
    }
    let url = gateway.url("mep-auth", &confs(&App::random().id));
    let escaped = plain().get(url).header("X-Real-Ip", "127.0.0.1").answer().await;
    assert_eq!(escaped.text(), r#""\u003cQuerySeter\u003e no row found""#, "A-22");
    for (method, path) in [("POST", path.as_str()), ("GET", "/mep/token")] {
        let url = gateway.url("mep-auth", path);
        let answer = plain().request(method.parse().unwrap(), url).answer().await;
        assert_eq!(answer.status, 404, "A-24");
        assert!(answer.text().contains("404 Page not found"), "A-24 {}", answer.text());
        assert!(answer.header("content-type").unwrap().starts_with("text/html"), "A-24");
    }
}

/// A-32, on both ways in; the token API has a list of its own (Q-60).
#[tokio::test]
async fn only_the_trusted_reach_the_access_key_api() {
    let gateway = Options::new().set("mep_confs_trusted", "10.0.0.0/8").start().await;
    let app = App::bootstrap(&gateway);
    let path = format!("/mep/appMng/v1/applications/{}/confs", app.id);
    let refused = json!({"message": "Your IP address is not allowed"});
    let answer = plain().get(gateway.url("proxy", &path)).answer().await;
    assert_eq!((answer.status, answer.json()), (403, refused.clone()));
    // A header does not open it: what counts is who is connected.
    let direct = gateway.url("mep-auth", &path);
    for ip in ["127.0.0.1", "10.1.2.3"] {
        let answer = plain().get(&direct).header("X-Real-Ip", ip).answer().await;
        assert_eq!((answer.status, answer.json()), (403, refused.clone()), "{ip}");
    }
    app.token(&gateway).await;
}

/// A-32's other half: addresses that may ask for tokens.
#[tokio::test]
async fn only_the_trusted_get_tokens_where_a_list_says_so() {
    let gateway = Options::new().set("mep_token_trusted", "127.0.0.2").start().await;
    let app = App::bootstrap(&gateway);
    app.token_by(&gateway, &plain_from([127, 0, 0, 2])).await;
    let url = gateway.url("proxy", "/mep/token");
    let answer = app.token_request(&plain(), &url).answer().await;
    let refused = json!({"message": "Your IP address is not allowed"});
    assert_eq!((answer.status, answer.json()), (403, refused));
}

/// Keys that everybody knows open nothing unless an operator says so (Q-61).
#[tokio::test]
async fn published_keys_are_refused() {
    let gateway = Gateway::start().await;
    let app = App { access_key: AccessKey::parse(ACCESS).unwrap(), ..App::random() };
    assert_eq!(app.announce(&gateway, &[]).await.status, 400);
}

/// Two `Authorization` headers, folded lines and the like never end in a token.
#[tokio::test]
async fn odd_requests_get_no_token() {
    let gateway = Gateway::start().await;
    let app = App::bootstrap(&gateway);
    let url = gateway.url("proxy", "/mep/token");
    let signed = app.token_request(&plain(), &url).build().unwrap();
    let date = signed.headers()["x-sdk-date"].to_str().unwrap();
    let authorization = signed.headers()["authorization"].to_str().unwrap();
    let host = gateway.addr("proxy");
    let request = |headers: &str| {
        format!(
            "POST /mep/token HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             {headers}Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
    };
    let good = format!("x-sdk-date: {date}\r\nAuthorization: {authorization}\r\n");
    let rows = [
        ("as it should be", good.clone(), 200..=200),
        ("the date twice", format!("x-sdk-date: 20200101T000000Z\r\n{good}"), 400..=401),
        ("the header twice", format!("Authorization: x\r\n{good}"), 400..=401),
        ("no date", format!("Authorization: {authorization}\r\n"), 400..=400),
        ("bytes", format!("{good}Authorization: \u{ff}\r\n"), 200..=401),
    ];
    for (name, headers, expected) in rows {
        let (head, body) = raw(host, request(&headers).as_bytes()).await;
        let text = String::from_utf8_lossy(&body);
        assert!(expected.contains(&head.status()), "{name}: {} {text}", head.status());
    }
}
