//! Every plugin has a test here that meets it through the gateway: the ones of one effect each, and
//! the audit that none is left out.

use std::path::Path;

use http::Method;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::harness::{Answer, Answered as _, DEADLINE, Gateway, Upstream, plain};

/// A gateway and an upstream; each plugin on a route of its own.
struct Stage {
    gateway: Gateway,
    upstream: Upstream,
}

impl Stage {
    async fn set() -> Self {
        let stage = Self { gateway: Gateway::start().await, upstream: Upstream::start().await };
        let service = json!({"name": "s", "url": stage.upstream.url()});
        stage.post("/services", service).await.expect(201);
        stage
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        plain().post(self.gateway.url("admin", path)).json(&body).answer().await
    }

    /// Puts plugins on the route `/name`.
    async fn route(&self, name: &str, plugins: &[Value]) {
        let route = json!({"name": name, "paths": [format!("/{name}")]});
        self.post("/services/s/routes", route).await.expect(201);
        for plugin in plugins {
            self.post(&format!("/routes/{name}/plugins"), plugin.clone()).await.expect(201);
        }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        plain().request(method, self.gateway.url("proxy", path))
    }

    async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path).answer().await
    }
}

fn plugin(name: &str, config: Value) -> Value {
    json!({"name": name, "config": config})
}

#[tokio::test]
async fn answers_of_plugins() {
    let stage = Stage::set().await;
    let over = json!({"status_code": 418, "body": "short and stout", "content_type": "text/plain"});
    stage.route("over", &[plugin("request-termination", over)]).await;
    let answer = stage.get("/over").await.expect(418);
    assert_eq!(
        (answer.text(), answer.header("content-type")),
        ("short and stout", Some("text/plain"))
    );

    let there =
        json!({"location": "https://b.test/x?y=1", "status_code": 307, "keep_incoming_path": true});
    stage.route("there", &[plugin("redirect", there)]).await;
    let answer = stage.get("/there/z?q=2").await.expect(307);
    assert_eq!(answer.header("location"), Some("https://b.test/there/z?q=2"));

    let small = json!({"allowed_payload_size": 1, "size_unit": "kilobytes"});
    stage.route("small", &[plugin("request-size-limiting", small)]).await;
    let send = async |size: usize| {
        let body = "x".repeat(size);
        stage.request(Method::POST, "/small").body(body).answer().await
    };
    send(1024).await.expect(200);
    assert_eq!(stage.upstream.only().body.len(), 1024);
    let refused = send(1025).await.expect(413);
    assert_eq!(refused.json()["message"], "Request size limit exceeded");
    assert!(stage.upstream.take().is_empty());

    let origins = json!({"origins": ["https://a.test"], "credentials": true, "max_age": 9});
    stage.route("cross", &[plugin("cors", origins)]).await;
    let asked = stage.request(Method::OPTIONS, "/cross").header("Origin", "https://a.test");
    let asked = asked.header("Access-Control-Request-Method", "PUT").answer().await.expect(200);
    assert_eq!(asked.header("access-control-allow-origin"), Some("https://a.test"));
    assert_eq!(asked.header("access-control-max-age"), Some("9"));
    assert!(stage.upstream.take().is_empty());
    let answer = stage.request(Method::GET, "/cross").header("Origin", "https://a.test");
    let answer = answer.answer().await.expect(200);
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    stage.upstream.only();
}

#[tokio::test]
async fn what_upstreams_get_of_plugins() {
    let stage = Stage::set().await;
    let ids = json!({"header_name": "X-Id", "generator": "uuid", "echo_downstream": true});
    stage.route("ids", &[plugin("correlation-id", ids)]).await;
    let answer = stage.get("/ids").await.expect(200);
    let seen = stage.upstream.only();
    assert_eq!(seen.header("X-Id"), answer.header("x-id"));
    assert_eq!(seen.header("X-Id").map(str::len), Some(36));

    let changes = json!({
        "remove": {"headers": ["X-Secret"]},
        "add": {"headers": ["X-Host:$(headers.host)"], "querystring": ["added:1"]},
        "replace": {"uri": "/else"},
    });
    stage.route("changed", &[plugin("request-transformer", changes)]).await;
    let request = stage.request(Method::GET, "/changed?q=1").header("X-Secret", "s");
    request.header("Host", "h.test").answer().await.expect(200);
    let seen = stage.upstream.only();
    assert_eq!(seen.uri, "/else?added=1&q=1");
    assert_eq!((seen.all("X-Secret").len(), seen.header("X-Host")), (0, Some("h.test")));

    stage.post("/consumers", json!({"username": "bob"})).await.expect(201);
    stage.post("/consumers/bob/key-auth", json!({"key": "kk"})).await.expect(201);
    stage.post("/consumers/bob/acls", json!({"group": "crew"})).await.expect(201);
    for (name, allow, wanted) in [("crew", "crew", 200), ("staff", "staff", 403)] {
        let acl = plugin("acl", json!({"allow": [allow]}));
        stage.route(name, &[plugin("key-auth", json!({})), acl]).await;
        stage.get(&format!("/{name}?apikey=kk")).await.expect(wanted);
    }
    assert_eq!(stage.upstream.only().header("X-Consumer-Groups"), Some("crew"));
}

#[tokio::test]
async fn datagrams_of_plugins() {
    let stage = Stage::set().await;
    let receiver = async || UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (lines, metrics) = (receiver().await, receiver().await);
    let to = |socket: &UdpSocket| json!({"host": "127.0.0.1", "port": socket.local_addr().unwrap().port()});
    stage.route("told", &[plugin("udp-log", to(&lines)), plugin("datadog", to(&metrics))]).await;
    stage.get("/told?q=1").await.expect(200);
    let next = async |socket: &UdpSocket| {
        let mut buffer = vec![0; 64 * 1024];
        let received = tokio::time::timeout(DEADLINE, socket.recv(&mut buffer)).await;
        buffer.truncate(received.expect("a datagram in time").unwrap());
        String::from_utf8(buffer).unwrap()
    };
    let entry: Value = serde_json::from_str(&next(&lines).await).unwrap();
    assert_eq!(entry["request"]["uri"], "/told?q=1");
    let metric = next(&metrics).await;
    assert!(metric.starts_with("kong.request.count:1|c|#name:s"), "{metric}");
}

/// Plugins of cloud providers are known, and refused where they would act.
#[tokio::test]
async fn plugins_that_are_known_and_refused() {
    let stage = Stage::set().await;
    let model = json!({"provider": "openai", "name": "m"});
    let llm = json!({"route_type": "llm/v1/chat", "model": model});
    for (name, config) in [
        ("azure-functions", json!({"appname": "a", "functionname": "f"})),
        ("aws-lambda", json!({"function_name": "f", "aws_region": "eu-west-1"})),
        ("ai-proxy", llm.clone()),
        ("ai-request-transformer", json!({"prompt": "p", "llm": llm})),
        ("ai-response-transformer", json!({"prompt": "p", "llm": llm})),
        ("ai-prompt-guard", json!({"allow_patterns": ["a"]})),
        ("ai-prompt-decorator", json!({"prompts": {"append": [{"role": "user", "content": "c"}]}})),
        ("ai-prompt-template", json!({"templates": [{"name": "t", "template": "{}"}]})),
    ] {
        let schema = plain().get(stage.gateway.url("admin", &format!("/schemas/plugins/{name}")));
        schema.answer().await.expect(200);
        stage.route(name, &[plugin(name, config)]).await;
        let refused = stage.get(&format!("/{name}")).await.expect(501).json();
        assert!(refused["message"].as_str().unwrap().contains(name), "{refused}");
    }
}

/// The audit: every plugin the gateway has is named by a test of this folder.
#[tokio::test]
async fn no_plugin_is_left_out() {
    let gateway = Gateway::start().await;
    let enabled = plain().get(gateway.url("admin", "/plugins/enabled")).answer().await.expect(200);
    let enabled = enabled.json()["enabled_plugins"].as_array().unwrap().clone();
    assert!(enabled.len() > 40, "{enabled:?}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/blackbox");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let texts: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let is_named = |name: &Value| texts.iter().any(|text| text.contains(&name.to_string()));
    let missing: Vec<&Value> = enabled.iter().filter(|name| !is_named(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // Those of our own that the platform puts in place, tested as `tokens` and `mp1` see them.
    const OURS: [&str; 2] = ["app-revocation", "problem-details"];
    assert!(OURS.iter().all(|name| enabled.contains(&json!(name))), "{enabled:?}");
}
