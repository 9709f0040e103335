//! What an operator reads: metrics, the access log, log lines sent elsewhere.

use serde_json::json;

use crate::harness::{Answered as _, App, Gateway, Options, Upstream, eventually, plain};

async fn publish(gateway: &Gateway, upstream: &Upstream) {
    let service = json!({"name": "a", "url": upstream.url()});
    plain().post(gateway.url("admin", "/services")).json(&service).answer().await.expect(201);
    let route = json!({"name": "a", "paths": ["/a"]});
    let routes = gateway.url("admin", "/services/a/routes");
    plain().post(routes).json(&route).answer().await.expect(201);
}

#[tokio::test]
async fn metrics_of_the_gateway_and_of_the_platform() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    publish(&gateway, &upstream).await;
    let switches = json!({"name": "prometheus", "config": {
        "status_code_metrics": true, "latency_metrics": true, "bandwidth_metrics": true,
    }});
    plain().post(gateway.url("admin", "/plugins")).json(&switches).answer().await.expect(201);
    for _ in 0..3 {
        plain().get(gateway.url("proxy", "/a/x")).answer().await.expect(200);
    }
    let app = App::bootstrap(&gateway);
    app.token(&gateway).await;

    // A request is counted when it is logged, which is after its answer.
    let text = eventually("the metric of three requests", async || {
        let text = plain().get(gateway.url("status", "/metrics")).answer().await.expect(200);
        // The order of labels means nothing.
        let labels = [r#"service="a""#, r#"route="a""#, r#"code="200""#, r#"source="service""#];
        let mut lines = text.text().lines();
        let counted = lines.find(|line| {
            line.starts_with("kong_http_requests_total{")
                && labels.iter().all(|label| line.contains(label))
        })?;
        counted.ends_with(" 3").then(|| text.text().to_owned())
    })
    .await;
    let families = [
        "kong_http_requests_total",
        "kong_kong_latency_ms_bucket",
        "kong_upstream_latency_ms_bucket",
        "kong_request_latency_ms_bucket",
        "kong_bandwidth_bytes",
        "kong_node_info",
        "kong_nginx_connections_total",
        "kong_datastore_reachable 1",
        "mep_",
    ];
    for family in families {
        assert!(text.lines().any(|line| line.starts_with(family)), "{family} in\n{text}");
    }
    let admin = plain().get(gateway.url("admin", "/metrics")).answer().await.expect(200);
    assert!(admin.text().contains("kong_http_requests_total"), "{}", admin.text());
}

/// The health of targets is shown when an instance wants it.
#[tokio::test]
async fn metrics_of_targets() {
    let gateway = Gateway::start().await;
    let upstream = json!({"name": "u.test"});
    plain().post(gateway.url("admin", "/upstreams")).json(&upstream).answer().await.expect(201);
    let target = json!({"target": "127.0.0.1:9"});
    let targets = gateway.url("admin", "/upstreams/u.test/targets");
    plain().post(targets).json(&target).answer().await.expect(201);
    let text = async || {
        let text = plain().get(gateway.url("status", "/metrics")).answer().await.expect(200);
        text.text().to_owned()
    };
    assert!(!text().await.contains("kong_upstream_target_health"));
    let wanted = json!({"name": "prometheus", "config": {"upstream_health_metrics": true}});
    plain().post(gateway.url("admin", "/plugins")).json(&wanted).answer().await.expect(201);
    let text = text().await;
    let labels = [r#"upstream="u.test""#, r#"target="127.0.0.1:9""#, r#"address="127.0.0.1:9""#];
    let lines = text.lines().filter(|line| {
        line.starts_with("kong_upstream_target_health{")
            && labels.iter().all(|label| line.contains(label))
    });
    let states: Vec<&str> = lines.filter(|line| line.ends_with(" 1")).collect();
    assert!(matches!(states[..], [one] if one.contains(r#"state="healthchecks_off""#)), "{text}");
}

/// The status listener answers what a probe asks.
#[tokio::test]
async fn the_status_listener() {
    let gateway = Gateway::start().await;
    let status = plain().get(gateway.url("status", "/status")).answer().await.expect(200).json();
    assert_eq!(status["database"]["reachable"], true);
    let ready = plain().get(gateway.url("status", "/status/ready")).answer().await.expect(200);
    assert_eq!(ready.json()["message"], "ready");
}

#[tokio::test]
async fn the_access_log() {
    let upstream = Upstream::start().await;
    let options = Options::new().set("proxy_access_log", "logs/of-the-test.log");
    let gateway = options.start().await;
    publish(&gateway, &upstream).await;
    let request = plain().get(gateway.url("proxy", "/a/x?y=%20")).header("User-Agent", "te\"st");
    let answer = request.header("Referer", "http://r/").answer().await.expect(200);
    plain().get(gateway.url("proxy", "/none")).answer().await.expect(404);

    let file = gateway.prefix().join("logs/of-the-test.log");
    let lines = eventually("two lines in the access log", async || {
        let text = std::fs::read_to_string(&file).ok()?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() == 2).then_some(lines)
    })
    .await;
    let id = answer.header("x-kong-request-id").unwrap();
    let pattern = format!(
        r#"^127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]+/\d{{4}}:\d\d:\d\d:\d\d \+0000\] "GET /a/x\?y=%20 HTTP/1\.1" 200 {} "http://r/" "te\\x22st" kong_request_id: "{id}"$"#,
        answer.body.len()
    );
    let pattern = regex::Regex::new(&pattern).unwrap();
    assert!(pattern.is_match(&lines[0]), "{}\n{pattern}", lines[0]);
    assert!(lines[1].contains("\"GET /none HTTP/1.1\" 404 "), "{}", lines[1]);
}

/// The other listeners note their requests in files of their own.
#[tokio::test]
async fn access_logs_of_the_other_listeners() {
    let gateway = Options::new()
        .set("admin_access_log", "logs/admin.log")
        .set("status_access_log", "logs/status.log")
        .set("mep_access_log", "logs/mep.log")
        .start()
        .await;
    plain().get(gateway.url("admin", "/routes?size=7")).answer().await.expect(200);
    plain().get(gateway.url("admin", "/none")).answer().await.expect(404);
    plain().get(gateway.url("status", "/status/ready")).answer().await.expect(200);
    let service = "/mep/mec_service_mgmt/v1/services?ser_name=none";
    let asked = plain().get(gateway.url("mep", service)).answer().await;
    for (file, wanted) in [
        ("admin", vec!["\"GET /routes?size=7 HTTP/1.1\" 200 ", "\"GET /none HTTP/1.1\" 404 "]),
        ("status", vec!["\"GET /status/ready HTTP/1.1\" 200 "]),
        ("mep", vec!["\"GET /mep/mec_service_mgmt/v1/services?ser_name=none HTTP/1.1\" "]),
    ] {
        let path = gateway.prefix().join(format!("logs/{file}.log"));
        let text = eventually("all lines of an access log", async || {
            let text = std::fs::read_to_string(&path).ok()?;
            (text.lines().count() >= wanted.len()).then_some(text)
        })
        .await;
        for (line, wanted) in text.lines().zip(&wanted) {
            assert!(line.starts_with("127.0.0.1 - - [") && line.contains(wanted), "{file}: {line}");
        }
    }
    let mep = std::fs::read_to_string(gateway.prefix().join("logs/mep.log")).unwrap();
    assert!(mep.contains(&format!(" {} ", asked.status)), "{mep}");
}

/// The plugin posts one entry for each request, and nobody's token with it (Q-62).
#[tokio::test]
async fn http_log_posts_entries() {
    let (upstream, receiver) = (Upstream::start().await, Upstream::start().await);
    let gateway = Gateway::start().await;
    publish(&gateway, &upstream).await;
    let plugin = json!({"name": "http-log", "config": {
        "http_endpoint": format!("{}/log?x=1", receiver.url()),
        "method": "POST", "timeout": 1000, "keepalive": 1000, "headers": {"X-Log": "1"},
    }});
    plain().post(gateway.url("admin", "/plugins")).json(&plugin).answer().await.expect(201);
    let request = plain().get(gateway.url("proxy", "/a/x?q=1")).bearer_auth("of-somebody");
    let answer = request.answer().await.expect(200);

    let posted = receiver.next().await;
    assert_eq!(
        (posted.method.as_str(), posted.uri.as_str()),
        ("POST", "/log"),
        "Kong drops the query"
    );
    assert_eq!(posted.all("X-Log"), ["1"]);
    assert!(!posted.body.contains("of-somebody"), "{}", posted.body);
    let entry = posted.json();
    let expected = [
        ("/request/uri", json!("/a/x?q=1")),
        ("/request/querystring/q", json!("1")),
        ("/request/method", json!("GET")),
        ("/request/id", json!(answer.header("x-kong-request-id").unwrap())),
        ("/response/status", json!(200)),
        ("/service/name", json!("a")),
        ("/route/name", json!("a")),
        ("/client_ip", json!("127.0.0.1")),
        ("/tries/0/port", json!(upstream.addr().port())),
    ];
    for (pointer, value) in expected {
        assert_eq!(entry.pointer(pointer), Some(&value), "{pointer} of {entry}");
    }
    for name in ["started_at", "latencies"] {
        assert!(!entry[name].is_null(), "{name} of {entry}");
    }
}

/// Log lines of the process are fields when JSON is asked for, and carry no secret in either form.
#[tokio::test]
async fn the_process_log() {
    for format in ["json", "text"] {
        let options = Options::new().set("proxy_error_log", "/dev/stderr");
        let options = options.set("mep_log_format", format).set("log_level", "debug");
        let mut gateway = options.start().await;
        let app = App::bootstrap(&gateway);
        let token = app.token(&gateway).await;
        let url = gateway.url("proxy", &app.path("/services"));
        plain().get(url).bearer_auth(&token).answer().await.expect(200);
        gateway.signal(rustix::process::Signal::TERM);
        gateway.ended().await;
        let log = gateway.log();
        assert!(!log.is_empty(), "nothing was logged");
        for secret in [app.secret_key.expose(), token.as_str()] {
            assert!(!log.contains(secret), "a secret is in the log");
        }
        if format == "json" {
            for line in log.lines() {
                let fields: serde_json::Value = serde_json::from_str(line).expect(line);
                assert!(fields["level"].is_string(), "{line}");
            }
        }
    }
}

/// A connection that has said nothing yet is counted as being read.
#[tokio::test]
async fn connections_are_counted_by_what_they_do() {
    let gateway = Gateway::start().await;
    let reading = async || {
        let answer = plain().get(gateway.url("status", "/status")).answer().await.expect(200);
        answer.json()["server"]["connections_reading"].as_u64().unwrap()
    };
    eventually("nobody connects", async || (reading().await == 0).then_some(())).await;
    let silent = tokio::net::TcpStream::connect(gateway.tls_addr("proxy")).await.unwrap();
    eventually("the handshake is waited for", async || (reading().await == 1).then_some(())).await;
    drop(silent);
    eventually("it is gone", async || (reading().await == 0).then_some(())).await;
}
