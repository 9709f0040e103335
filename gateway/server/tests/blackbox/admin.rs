//! The Admin API as EdgeGallery's own programs use it: contract 1.6 and 4.5, and A-101.

use serde_json::{Value, json};

use crate::harness::{Answered as _, Gateway, Options, Upstream, golden, plain, raw};

/// What `mepauth` sends on every start, byte for byte: the first time everything is made, and
/// every later time a conflict tells it that all is well.
#[tokio::test]
async fn the_originals_bootstrap_is_understood() {
    let gateway = Gateway::start().await;
    gateway.forget_everything().await;
    let requests = bootstrap();
    for (round, repeated) in [(1, false), (2, true), (3, true)] {
        for (method, path, body) in &requests {
            let expected = match (*method, repeated) {
                ("PUT", _) => 200,
                (_, false) => 201,
                (_, true) => 409,
            };
            let (status, answer) = send(&gateway, method, path, body).await;
            assert_eq!(status, expected, "round {round}: {method} {path} {body} {answer}");
        }
    }
    let consumer = "/consumers/mepauth.jwt/jwt";
    let keys = plain().get(gateway.url("admin", consumer)).answer().await.expect(200).json();
    assert_eq!(keys["data"][0]["rsa_public_key"], PUBLIC_KEY, "A-101: the line feeds are kept");
}

/// A gateway that bootstrapped itself gives the original's programs no surprise.
#[tokio::test]
async fn the_originals_bootstrap_finds_ours() {
    let gateway = Gateway::start().await;
    for (method, path, body) in bootstrap() {
        let (status, answer) = send(&gateway, method, path, &body).await;
        assert!(
            (200..300).contains(&status) || status == 409,
            "{method} {path} {body}: {status} {answer}"
        );
    }
}

/// What `mepserver` sends for a registered URI, and withdraws later; contract 4.5 and 4.7.
#[tokio::test]
async fn the_originals_publication_is_understood() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    let name = "sampleapp0123456789abcdef0123";
    let requests = [
        (
            "PUT",
            format!("/services/{name}"),
            format!(r#"{{ "url": "{}/api", "name": "{name}" }}"#, upstream.url()),
            200,
        ),
        (
            "PUT",
            format!("/services/{name}/routes/{name}"),
            format!(r#"{{ "paths": ["/{name}"], "name": "{name}" }}"#),
            200,
        ),
        (
            "POST",
            format!("/services/{name}/plugins"),
            r#"{ "name": "jwt", "config": { "claims_to_verify": ["exp"] } }"#.to_owned(),
            201,
        ),
    ];
    for (method, path, body, expected) in &requests {
        let (status, answer) = send(&gateway, method, path, body).await;
        assert_eq!(status, *expected, "{method} {path} {answer}");
    }
    let url = gateway.url("proxy", &format!("/{name}/x"));
    plain().get(&url).answer().await.expect(401);
    let token = crate::harness::App::bootstrap(&gateway).token(&gateway).await;
    plain().get(&url).bearer_auth(token).answer().await.expect(200);
    assert_eq!(upstream.only().uri, "/api/x");

    for path in [&requests[1].1, &requests[0].1] {
        let answer = plain().delete(gateway.url("admin", path)).answer().await;
        assert_eq!(answer.status, 204, "{path}");
    }
    plain().get(&url).answer().await.expect(404);
}

/// The bodies an operator sees most, as Kong writes them.
#[tokio::test]
async fn bodies_of_the_admin_api() {
    let gateway = Gateway::start().await;
    let post = async |path: &str, body: Value| {
        plain().post(gateway.url("admin", path)).json(&body).answer().await
    };
    let get = async |path: &str| plain().get(gateway.url("admin", path)).answer().await;
    golden("service", &post("/services", json!({"name": "a", "url": "http://up:1/p"})).await);
    golden("route", &post("/services/a/routes", json!({"paths": ["/a"]})).await);
    golden("consumer", &post("/consumers", json!({"username": "c"})).await);
    golden(
        "plugin",
        &post("/services/a/plugins", json!({"name": "rate-limiting", "config": {"minute": 5}}))
            .await,
    );
    golden("service_again", &post("/services", json!({"name": "a", "host": "b"})).await);
    golden("service_invalid", &post("/services", json!({"name": "b", "port": 70000})).await);
    golden("plugin_unknown", &post("/plugins", json!({"name": "nothing"})).await);
    golden("service_absent", &get("/services/nothing").await);
    golden("path_unknown", &get("/nothing").await);
}

/// An embedded service's entities are ordinary: visible, tagged, editable, and never made again.
#[tokio::test]
async fn what_the_platform_seeds_is_ordinary() {
    let mut gateway = Gateway::start().await;
    let admin = |gateway: &Gateway, path: &str| gateway.url("admin", path);
    let services = plain().get(admin(&gateway, "/services?tags=mep")).answer().await.json();
    let mut names: Vec<_> =
        services["data"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, ["mepauth", "mepserver"]);

    let edit = json!({"config": {"minute": 7}});
    let plugins = plain().get(admin(&gateway, "/services/mepauth/plugins")).answer().await.json();
    let limit = plugins["data"].as_array().unwrap().iter();
    let limit = limit.clone().find(|plugin| plugin["name"] == "rate-limiting").unwrap();
    let path = format!("/plugins/{}", limit["id"].as_str().unwrap());
    plain().patch(admin(&gateway, &path)).json(&edit).answer().await.expect(200);
    let routes = "/routes/mepserver";
    plain().delete(admin(&gateway, routes)).answer().await.expect(204);

    gateway.kill().await;
    gateway.start_again().await;
    let kept = plain().get(admin(&gateway, &path)).answer().await.expect(200).json();
    assert_eq!(kept["config"]["minute"], 7, "an operator's edit survives the next start");
    plain().get(admin(&gateway, routes)).answer().await.expect(404);
}

/// The Admin API with TLS answers the same.
#[tokio::test]
async fn the_admin_api_with_tls() {
    let gateway = Gateway::start().await;
    let client = crate::harness::trusting(&gateway).build().unwrap();
    let url = gateway.tls_url("admin", "/services/mepserver");
    let answer = client.get(url).answer().await.expect(200);
    assert_eq!(answer.json()["name"], "mepserver");
}

/// `database = off`: the file is the configuration, and the Admin API shows it without changing it.
#[tokio::test]
async fn a_declarative_file_is_served() {
    let upstream = Upstream::start().await;
    let options = Options::new();
    let file = options.file(
        "kong.yml",
        &format!(
            r#"
_format_version: "3.0"
services:
- name: told
  url: {}
  routes:
  - name: told
    paths: [/told]
  plugins:
  - name: jwt
consumers:
- username: someone
  jwt_secrets:
  - key: k1
    secret: sec
"#,
            upstream.url()
        ),
    );
    let options = options.set("database", "off");
    let gateway = options.set("declarative_config", file.to_str().unwrap()).start().await;
    let url = gateway.url("proxy", "/told/x");
    plain().get(&url).answer().await.expect(401);
    let key = jsonwebtoken::EncodingKey::from_secret(b"sec");
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let token = jsonwebtoken::encode(&header, &json!({"iss": "k1"}), &key).unwrap();
    plain().get(&url).bearer_auth(token).answer().await.expect(200);
    let seen = upstream.only();
    assert_eq!(seen.uri, "/x");
    assert_eq!(seen.all("X-Consumer-Username"), ["someone"]);

    let shown = plain().get(gateway.url("admin", "/services/told")).answer().await.expect(200);
    assert_eq!(shown.json()["host"], "127.0.0.1");
    let refused = plain().delete(gateway.url("admin", "/services/told")).answer().await;
    golden("declarative_write", &refused);
}

const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA2U7KqDr1PKf42nrGHNit
1356+LzZ9uELUhkwCPGis0EItqLdirk9awQQm01RBoZxcL8U3QChGWHPZnkbGbq5
KW0snMtveCrhgGr7HyaawhMdlfUxISr8pnnfBy3OqdSv4g33MBIE6a3bbSeUvyVg
+enDZcgwKXp0lsGkd9DuEjXPaKwLICwxrEBESc4BflGmQ9miPljgEi0S4r2dxgOm
YJ9Nsrri6CCUptyP94QOF57dtzmSGnliUv4D0zAuGm2+PL8rxECBWfN1QJkHtSQw
9uwgywzY0tnVSlij2SRS/tiZrAIRMp326hAGt/TyhxzgpSjBoH1TRFNhE0q5ReM2
PQIDAQAB
-----END PUBLIC KEY-----
";

/// Contract 1.6, steps 1 to 14 in order, spaces as the original has them.
fn bootstrap() -> Vec<(&'static str, &'static str, String)> {
    let key = format!(
        r#"{{ "algorithm": "RS512", "key": "mepauth", "rsa_public_key": "{PUBLIC_KEY}" }}"#
    );
    let server =
        r#"{ "name": "response-transformer", "config": { "remove": { "headers": ["server"] } } }"#;
    let steps: [(&'static str, &'static str, &str); 15] = [
        ("POST", "/consumers", r#"{ "username": "mepauth.jwt" }"#),
        ("POST", "/consumers/mepauth.jwt/jwt", &key),
        (
            "PUT",
            "/services/mepserver",
            r#"{ "url": "https://10.244.0.9:8088", "name": "mepserver" }"#,
        ),
        (
            "POST",
            "/services/mepserver/routes",
            r#"{ "paths": ["/mep/mec_service_mgmt", "/mep/mec_app_support"], "name": "mepserver" ,"strip_path": false}"#,
        ),
        (
            "POST",
            "/services/mepserver/plugins",
            r#"{ "name": "jwt", "config": { "claims_to_verify": ["exp"] } }"#,
        ),
        ("POST", "/services/mepserver/plugins", r#"{ "name": "appid-header" }"#),
        (
            "POST",
            "/services/mepserver/plugins",
            r#"{ "name": "pre-function", "config": { "functions": ["ngx.var.upstream_x_forwarded_for=UNKNOWN"] } }"#,
        ),
        (
            "POST",
            "/services/mepserver/plugins",
            r#"{ "name": "rate-limiting", "config": { "minute": 1000, "policy": "local", "hide_client_headers": true } }"#,
        ),
        ("POST", "/services/mepserver/plugins", server),
        ("PUT", "/services/mepauth", r#"{ "url": "https://10.244.0.9:10443", "name": "mepauth" }"#),
        (
            "POST",
            "/services/mepauth/routes",
            r#"{ "paths": ["/mep/token", "/mep/appMng/v1"], "name": "mepauth" ,"preserve_host": true ,"strip_path": false}"#,
        ),
        (
            "POST",
            "/services/mepauth/plugins",
            r#"{ "name": "rate-limiting", "config": { "minute": 100, "policy": "local", "hide_client_headers": true } }"#,
        ),
        ("POST", "/services/mepauth/plugins", server),
        (
            "POST",
            "/services/mepauth/plugins",
            r#"{ "name": "ip-restriction", "config": { "whitelist": ["10.0.0.0/8","127.0.0.1"] } }"#,
        ),
        (
            "POST",
            "/plugins",
            r#"{"name":"http-log","config":{"http_endpoint":"https://mep-mm5:80/mep/service_govern/v1/kong_log","method":"POST","timeout":1000,"keepalive":1000}}"#,
        ),
    ];
    steps.into_iter().map(|(method, path, body)| (method, path, body.to_owned())).collect()
}

/// Sends the bytes the original sends; a library would tidy them.
async fn send(gateway: &Gateway, method: &str, path: &str, body: &str) -> (u16, String) {
    let admin = gateway.addr("admin");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\
         Content-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (head, body) = raw(admin, request.as_bytes()).await;
    (head.status(), String::from_utf8_lossy(&body).into_owned())
}
