//! The control plane as its tools see it: references to vaults, keys that do not last, groups,
//! what Kong Manager asks for, and the declarative configuration of a node without a database.

use serde_json::{Value, json};

use crate::harness::{Answered as _, Gateway, Options, Upstream, eventually, plain};

async fn send(gateway: &Gateway, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let method = method.parse().unwrap();
    let request = plain().request(method, gateway.url("admin", path)).json(body);
    let answer = request.answer().await;
    let body = if answer.body.is_empty() { Value::Null } else { answer.json() };
    (answer.status, body)
}

async fn made(gateway: &Gateway, path: &str, body: Value) -> Value {
    let (status, answer) = send(gateway, "POST", path, &body).await;
    assert_eq!(status, 201, "{path} {answer}");
    answer
}

async fn shown(gateway: &Gateway, path: &str) -> Value {
    plain().get(gateway.url("admin", path)).answer().await.expect(200).json()
}

/// `http-log` gets its endpoint, a header and so on from the environment; nobody is shown them.
#[tokio::test]
async fn references_act_and_are_never_shown_resolved() {
    let upstream = Upstream::start().await;
    let sink = Upstream::start().await;
    let endpoint = format!("http://{}/sink", sink.addr());
    let options = Options::new().set("proxy_error_log", "/dev/stderr");
    let mut command = options.command();
    command.env("MY_LOG", &endpoint).env("TEAM_TOKEN", r#"{"log": "s3cret-token"}"#);
    command
        .env("DB_PASSWORD", "s3cret-password")
        .env("KONG_PG_PASSWORD", "{vault://env/db-password}");
    let gateway = Gateway::from_command(options, command).await;

    made(&gateway, "/services", json!({"name": "s", "url": format!("http://{}", upstream.addr())}))
        .await;
    made(&gateway, "/services/s/routes", json!({"name": "r", "paths": ["/r"]})).await;
    let config = json!({
        "http_endpoint": "{vault://env/my-log}",
        "headers": {"x-token": "{vault://team/token/log}"},
        "queue": {"max_batch_size": 1},
    });
    let plugin =
        made(&gateway, "/services/s/plugins", json!({"name": "http-log", "config": config})).await;
    // The vault comes after what refers to it.
    made(
        &gateway,
        "/vaults",
        json!({"name": "env", "prefix": "team", "config": {"prefix": "team_"}}),
    )
    .await;
    plain().get(gateway.url("proxy", "/r/x")).answer().await.expect(200);
    let entry = eventually("the entry arrives", async || sink.take().into_iter().next()).await;
    assert_eq!(entry.uri, "/sink");
    assert_eq!(entry.all("x-token"), ["s3cret-token"]);

    let id = plugin["id"].as_str().unwrap();
    for path in
        [format!("/plugins/{id}"), "/plugins".to_owned(), "/vaults".to_owned(), "/".to_owned()]
    {
        let text = shown(&gateway, &path).await.to_string();
        for secret in [&*endpoint, "s3cret-token", "s3cret-password"] {
            assert!(!text.contains(secret), "{secret} in {path}: {text}");
        }
    }
    let row = shown(&gateway, &format!("/plugins/{id}")).await;
    assert_eq!(row["config"]["http_endpoint"], "{vault://env/my-log}");
    assert_eq!(row["config"]["headers"]["x-token"], "{vault://team/token/log}");
    assert!(!gateway.log().contains("s3cret"), "{}", gateway.log());
}

/// What has no value is told to the operator, and is neither a refusal nor an open door.
#[tokio::test]
async fn a_reference_without_a_value() {
    let upstream = Upstream::start().await;
    let mut gateway = Options::new().set("proxy_error_log", "/dev/stderr").start().await;
    made(&gateway, "/services", json!({"name": "s", "url": format!("http://{}", upstream.addr())}))
        .await;
    made(&gateway, "/services/s/routes", json!({"name": "r", "paths": ["/r"]})).await;
    let config = json!({"http_endpoint": "{vault://env/no-such-variable}"});
    made(&gateway, "/services/s/plugins", json!({"name": "http-log", "config": config})).await;
    plain().get(gateway.url("proxy", "/r/x")).answer().await.expect(200);
    eventually("the operator is told", async || {
        let told = "'{vault://env/no-such-variable}' has no value in NO_SUCH_VARIABLE";
        gateway.log().contains(told).then_some(())
    })
    .await;
    // It starts again with it.
    gateway.kill().await;
    gateway.start_again().await;
    plain().get(gateway.url("proxy", "/r/x")).answer().await.expect(200);

    let options = Options::new().set("pg_password", "{vault://env/no-such-variable}");
    let (code, _, error) = options.run(&["check"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("has no value in NO_SUCH_VARIABLE"), "{error}");
    let (code, out, _) = options.run(&["vault", "get", "env/kong-prefix"]).await;
    assert_eq!((code, out.trim()), (Some(1), ""), "the settings are bad");
    let (code, out, error) = Options::new().run(&["vault", "get", "env/kong-admin-listen"]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(out.starts_with("127.0.0.1:0"), "{out}");
}

/// A certificate whose parts are kept in the environment is shown in the handshake.
#[tokio::test]
async fn certificates_come_from_vaults() {
    let made_here = rcgen::generate_simple_self_signed(["vault.test".to_owned()]).unwrap();
    let options = Options::new();
    let mut command = options.command();
    command
        .env("TLS_CERT", made_here.cert.pem())
        .env("TLS_KEY", made_here.signing_key.serialize_pem());
    let gateway = Gateway::from_command(options, command).await;
    let of = |name: &str, sni: &str| {
        let part = |part: &str| format!("{{vault://env/{name}-{part}}}");
        json!({"cert": part("cert"), "key": part("key"), "snis": [sni]})
    };
    made(&gateway, "/certificates", of("no", "other.test")).await;
    let shown = made(&gateway, "/certificates", of("tls", "vault.test")).await;
    assert_eq!(shown["key"], "{vault://env/tls-key}");
    let to = gateway.tls_addr("proxy");
    let authority = reqwest::Certificate::from_pem(made_here.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([authority]).resolve("vault.test", to);
    let url = format!("https://vault.test:{}/", to.port());
    client.build().unwrap().get(url).answer().await.expect(404);
}

#[tokio::test]
async fn a_key_lives_as_long_as_it_was_given() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    made(&gateway, "/services", json!({"name": "s", "url": format!("http://{}", upstream.addr())}))
        .await;
    made(&gateway, "/services/s/routes", json!({"name": "r", "paths": ["/r"]})).await;
    made(&gateway, "/services/s/plugins", json!({"name": "key-auth"})).await;
    made(&gateway, "/consumers", json!({"username": "bob"})).await;
    let key = made(&gateway, "/consumers/bob/key-auth", json!({"key": "brief", "ttl": 2})).await;
    assert_eq!(key["ttl"], 1, "what is left, in whole seconds");
    let call = || plain().get(gateway.url("proxy", "/r")).header("apikey", "brief");
    call().answer().await.expect(200);
    eventually("its time is over", async || (call().answer().await.status == 401).then_some(()))
        .await;
    eventually("it is gone", async || {
        let url = gateway.url("admin", "/consumers/bob/key-auth/brief");
        (plain().get(url).answer().await.status == 404).then_some(())
    })
    .await;
    made(&gateway, "/consumers/bob/key-auth", json!({"key": "brief", "ttl": 0})).await;
    assert_eq!(shown(&gateway, "/key-auths/brief").await["ttl"], Value::Null);
    let (status, refused) = send(&gateway, "PATCH", "/key-auths/brief", &json!({"ttl": -1})).await;
    let text = "must be an integer between 0 and 100000000";
    assert_eq!(
        (status, &refused["code"], &refused["options"]["ttl"]),
        (400, &json!(11), &json!(text))
    );
}

#[tokio::test]
async fn groups_are_addressed_below_their_consumer() {
    let gateway = Gateway::start().await;
    for name in ["a", "b"] {
        made(&gateway, "/consumers", json!({"username": name})).await;
        made(&gateway, &format!("/consumers/{name}/acls"), json!({"group": "g"})).await;
    }
    let id = shown(&gateway, "/consumers/b/acls/g").await["id"].clone();
    let (status, patched) =
        send(&gateway, "PATCH", "/consumers/b/acls/g", &json!({"tags": ["t"]})).await;
    assert_eq!((status, &patched["id"], &patched["tags"]), (200, &id, &json!(["t"])));
    let (status, made) = send(&gateway, "PUT", "/consumers/a/acls/h", &json!({})).await;
    assert_eq!((status, &made["group"]), (200, &json!("h")));
    let (status, _) = send(&gateway, "DELETE", "/consumers/a/acls/g", &json!({})).await;
    assert_eq!(status, 204);
    assert_eq!(send(&gateway, "DELETE", "/consumers/a/acls/g", &json!({})).await.0, 404);
    assert_eq!(
        shown(&gateway, "/consumers/b/acls").await["data"][0]["id"],
        id,
        "the other one's stays"
    );
    let (status, refused) = send(&gateway, "DELETE", "/acls/g", &json!({})).await;
    assert_eq!((status, &refused["code"]), (400, &json!(1)), "by id only: {refused}");
}

#[tokio::test]
async fn kong_manager_finds_the_admin_api() {
    let gateway = Options::new()
        .set("admin_gui_listen", "127.0.0.1:0")
        .set("admin_gui_url", "https://manager.example/ui, http://localhost:8002")
        .set("admin_gui_path", "/ui")
        .set("admin_gui_api_url", "https://api.example:8444/")
        .start()
        .await;
    let get = |path: &str| plain().get(gateway.url("admin-gui", path)).answer();
    let script = get("/ui/kconfig.js").await.expect(200);
    assert_eq!(script.header("content-type"), Some("application/javascript; charset=UTF-8"));
    let plain_port = gateway.addr("admin").port();
    let tls_port = gateway.tls_addr("admin").port();
    for row in [
        "window.K_CONFIG = {".to_owned(),
        "'ADMIN_GUI_PATH': '/ui'".to_owned(),
        "'ADMIN_API_URL': 'https://api.example:8444'".to_owned(),
        format!("'ADMIN_API_PORT': '{plain_port}'"),
        format!("'ADMIN_API_SSL_PORT': '{tls_port}'"),
        "'ANONYMOUS_REPORTS': 'false'".to_owned(),
    ] {
        assert!(script.text().contains(&row), "{row} in {}", script.text());
    }
    assert!(get("/robots.txt").await.expect(200).text().contains("Disallow: /"));
    get("/kconfig.js").await.expect(404);
    for (origin, allowed) in [
        ("http://localhost:8002", "http://localhost:8002"),
        ("https://manager.example", "https://manager.example"),
        ("https://evil.example", "https://manager.example"),
    ] {
        let asked = plain().get(gateway.url("admin", "/services")).header("Origin", origin);
        let answer = asked.answer().await.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), Some(allowed), "{origin}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    }
}

const FILE: &str = r#"
_format_version: "2.1"
_comment: everything a consumer may have
_ignore: [&key {key: k1}]
services:
- name: s
  url: http://127.0.0.1:9/
  _ignore: [1]
  routes:
  - {name: r, paths: ['/old/\d+']}
consumers:
- username: bob
  _comment: nested
  keyauth_credentials: [*key]
  acls: [{group: g1}, {group: g2}]
  basicauth_credentials: [{username: u, password: p}]
  jwt_secrets: [{key: j, secret: s}]
  plugins: [{name: correlation-id}]
"#;

/// A node without a database: nested credentials, and the same ids whoever reads the file.
#[tokio::test]
async fn credentials_nest_in_declarative_files() {
    let options = Options::new().set("database", "off");
    let file = options.file("kong.yml", FILE);
    let options = options.set("declarative_config", file.to_str().unwrap());
    let gateway = options.start().await;
    let ids = async |gateway: &Gateway| {
        let mut all = Vec::new();
        for path in
            ["/services", "/routes", "/consumers", "/key-auths", "/acls", "/basic-auths", "/jwts"]
        {
            let list = shown(gateway, path).await;
            // What the platform seeds has tags of its own.
            let rows = list["data"].as_array().unwrap().iter().filter(|row| row["tags"].is_null());
            let mut ids: Vec<String> =
                rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect();
            ids.sort();
            all.push((path, ids));
        }
        all
    };
    let first = ids(&gateway).await;
    let count = |wanted: &str| first.iter().find(|(path, _)| *path == wanted).unwrap().1.len();
    assert_eq!(["/key-auths", "/acls", "/basic-auths", "/jwts"].map(count), [1, 2, 1, 1]);
    let key = shown(&gateway, "/consumers/bob/key-auth/k1").await;
    assert!(key.get("ttl").is_none(), "nothing ends without a database: {key}");
    let password = shown(&gateway, "/basic-auths/u").await["password"].clone();
    assert_eq!(password.as_str().unwrap().len(), 40, "transformed: {password}");
    assert_eq!(shown(&gateway, "/routes/r").await["paths"], json!(["~/old/\\d+"]));

    let other = Options::new().set("database", "off").start().await;
    let posted = plain().post(other.url("admin", "/config?check_hash=1")).body(FILE);
    posted.header("Content-Type", "text/yaml").answer().await.expect(201);
    assert_eq!(ids(&other).await, first);
    let again = plain().post(other.url("admin", "/config?check_hash=1")).body(FILE);
    again.header("Content-Type", "text/yaml").answer().await.expect(304);
    let bad = json!({"_format_version": "3.0", "services": [{"name": "x"}]});
    let (status, refused) = send(&other, "POST", "/config?flatten_errors=1", &bad).await;
    assert_eq!((status, &refused["code"]), (400, &json!(14)));
    assert_eq!(
        refused["flattened_errors"],
        json!([{
            "entity_type": "service", "entity_name": "x", "entity": {"name": "x"},
            "errors": [{"type": "field", "field": "host", "message": "required field missing"}],
        }])
    );
    assert_eq!(ids(&other).await, first, "a failed load changes nothing");
}

/// One load of a declarative configuration at a time; the others are told when to try again.
#[tokio::test]
async fn loads_of_configurations_take_turns() {
    let gateway = Options::new().set("database", "off").start().await;
    let service = |n: usize| json!({"name": format!("s{n}"), "host": "127.0.0.1"});
    let services: Vec<Value> = (0..5000).map(service).collect();
    let text = json!({"_format_version": "3.0", "services": services}).to_string();
    let url = gateway.url("admin", "/config");
    let load = || plain().post(&url).header("Content-Type", "application/json").body(text.clone());
    let all = futures::future::join_all((0..6).map(|_| load().answer())).await;
    let (good, busy): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.status == 201);
    assert!(!good.is_empty() && !busy.is_empty(), "{} of 6 were loaded", good.len());
    for one in busy {
        assert_eq!(one.status, 429, "{}", one.text());
        assert_eq!(one.json()["message"], "Currently loading previous configuration");
        let seconds: u64 = one.header("Retry-After").unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    load().answer().await.expect(201);
}
