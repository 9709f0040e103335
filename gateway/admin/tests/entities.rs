//! What the recordings do not show: the registration sequence of EdgeGallery, declarative mode,
//! refusals of size and form, plugins at their scopes, and one request over a socket.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[expect(dead_code, reason = "of the replay driver only requests and replies are used here")]
mod replay;
mod subject;

use std::collections::BTreeMap;

use gateway_admin::{Writes, router};
use replay::{Reply, Sent};
use serde_json::{Value, json};
use subject::Subject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const JSON: &str = "application/json; charset=utf-8";

fn sent(method: &str, path: &str, media_type: &str, body: impl Into<String>) -> Sent {
    let headers = match media_type {
        "" => BTreeMap::new(),
        media_type => BTreeMap::from([("Content-Type".to_owned(), media_type.into())]),
    };
    Sent { method: method.into(), path: path.into(), headers, json: None, body: Some(body.into()) }
}

fn ask(subject: &Subject, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let sent = match body {
        Value::Null => sent(method, path, "", ""),
        body => sent(method, path, JSON, body.to_string()),
    };
    let reply = subject.send(&sent);
    (reply.status, parsed(&reply))
}

fn parsed(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_default()
}

/// Contract 1.6, steps 1 to 4 and 13: bodies exactly as the legacy tool writes them.
#[test]
fn the_registration_of_edgegallery_is_taken_and_repeats_conflict() {
    let subject = Subject::start();
    let pem = "-----BEGIN PUBLIC KEY-----\nMIIB\nAQAB\n-----END PUBLIC KEY-----";
    let key = format!(
        "{{ \"algorithm\": \"RS512\", \"key\": \"mepauth\", \"rsa_public_key\": \"{pem}\" }}"
    );
    let sequence: [(&str, &str, &str, u16, u16); 6] = [
        ("POST", "/consumers", r#"{ "username": "mepauth.jwt" }"#, 201, 409),
        ("POST", "/consumers/mepauth.jwt/jwt", &key, 201, 409),
        (
            "PUT",
            "/services/mepserver",
            r#"{ "url": "https://mepserver:8088", "name": "mepserver" }"#,
            200,
            200,
        ),
        (
            "POST",
            "/services/mepserver/routes",
            r#"{ "paths": ["/mep/mec_service_mgmt", "/mep/mec_app_support"], "name": "mepserver" ,"strip_path": false}"#,
            201,
            409,
        ),
        (
            "POST",
            "/services/mepserver/plugins",
            r#"{ "name": "ip-restriction", "config": { "whitelist": ["10.0.0.0/8","127.0.0.1"] } }"#,
            201,
            409,
        ),
        ("DELETE", "/services/mepserver/routes/none", "", 404, 404),
    ];
    for round in 0..2 {
        for (method, path, body, first, again) in sequence {
            let media_type = if body.is_empty() { "" } else { JSON };
            let reply = subject.send(&sent(method, path, media_type, body));
            let wanted = if round == 0 { first } else { again };
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            assert_eq!(reply.status, wanted, "{method} {path}, round {round}: {text}");
        }
    }
    let (_, credential) = ask(&subject, "GET", "/consumers/mepauth.jwt/jwt/mepauth", &Value::Null);
    assert_eq!(credential["rsa_public_key"], pem, "line feeds are kept");
    let (_, plugins) = ask(&subject, "GET", "/services/mepserver/plugins", &Value::Null);
    assert_eq!(plugins["data"][0]["config"]["allow"], json!(["10.0.0.0/8", "127.0.0.1"]));
    let (_, service) = ask(&subject, "GET", "/services/mepserver", &Value::Null);
    assert_eq!((&service["protocol"], &service["port"]), (&json!("https"), &json!(8088)));
}

#[test]
fn plugins_at_their_scopes() {
    let subject = Subject::start();
    ask(&subject, "PUT", "/services/s", &json!({"host": "h"}));
    ask(&subject, "PUT", "/consumers/bob", &json!({}));
    let old = json!({"name": "limit", "instance_name": "mine",
        "config": {"minute": 5, "redis_host": "r.test"}});
    let (status, plugin) = ask(&subject, "POST", "/services/s/plugins", &old);
    assert_eq!(status, 201, "{plugin}");
    assert_eq!(plugin["config"]["redis_host"], "r.test", "the old name is shown beside");
    assert_eq!(plugin["config"]["redis"]["host"], "r.test", "the new one");
    let id = plugin["id"].as_str().unwrap();

    let check =
        |method: &str, path: &str, body: Value, status: u16, member: &str, wanted: Value| {
            let (found, answer) = ask(&subject, method, path, &body);
            assert_eq!(found, status, "{method} {path}: {answer}");
            let pointer = format!("/{}", member.replace('.', "/"));
            assert_eq!(answer.pointer(&pointer), Some(&wanted), "{method} {path}: {answer}");
        };
    check("GET", "/plugins/mine", json!(null), 200, "id", json!(id));
    check("GET", "/plugins/mine/service", json!(null), 200, "name", json!("s"));
    check("GET", "/plugins/mine/consumer", json!(null), 404, "message", json!("Not found"));
    let form =
        sent("PATCH", "/plugins/mine", "application/x-www-form-urlencoded", "config.minute=7");
    assert_eq!(parsed(&subject.send(&form))["config"]["minute"], 7, "typed by the stored plugin");
    check(
        "PATCH",
        "/plugins/mine",
        json!({"config": {"minute": 0}}),
        400,
        "fields.config.minute",
        json!("value must be greater than 0"),
    );
    check(
        "POST",
        "/consumers/bob/plugins",
        json!({"name": "key-auth"}),
        400,
        "fields.consumer",
        json!("value must be null"),
    );
    check(
        "POST",
        "/plugins",
        json!({"name": "limit", "config": {"minute": 1}, "service": {"name": "s"}}),
        409,
        "fields.name",
        json!("limit"),
    );
    check(
        "POST",
        "/plugins",
        json!({"name": "limit", "config": {"minute": 1}, "service": {"name": "no"}}),
        400,
        "code",
        json!(13),
    );
    check("GET", "/", json!(null), 200, "plugins.enabled_in_cluster", json!(["limit"]));
    check(
        "GET",
        "/schemas/plugins/key-auth",
        json!(null),
        200,
        "fields.0.consumer.eq",
        json!(null),
    );
    assert_eq!(ask(&subject, "DELETE", "/services/s", &json!(null)).0, 204);
    check("GET", "/plugins", json!(null), 200, "data", json!([]));
}

#[test]
fn what_the_node_tells_of_itself() {
    let subject = Subject::start();
    let (status, info) = ask(&subject, "GET", "/", &Value::Null);
    assert_eq!(status, 200);
    for (member, wanted) in [
        ("/tagline", json!("Welcome to kong")),
        ("/version", json!("3.10.0")),
        ("/configuration/database", json!("sqlite")),
        ("/plugins/available_on_server/limit/priority", json!(1)),
        ("/pids/master", json!(42)),
    ] {
        assert_eq!(info.pointer(member), Some(&wanted), "{member}");
    }
    let check = |path: &str, wanted: &str| {
        let (_, status) = ask(&subject, "GET", path, &Value::Null);
        assert_eq!(status["memory"]["workers_lua_vms"][0]["http_allocated_gc"], wanted, "{path}");
        assert_eq!(status["server"]["total_requests"], 7);
    };
    check("/status", "5.00 MiB");
    check("/status?unit=k&scale=0", "5120 KiB");
    let metrics = subject.send(&sent("GET", "/metrics", "", ""));
    assert_eq!(metrics.body, b"kong_node_info 1\n");
}

#[test]
fn a_declarative_configuration_is_not_written() {
    let mut subject = Subject::start();
    ask(&subject, "PUT", "/services/s", &json!({"host": "h"}));
    subject.admin.writes = Writes::Declarative;
    let check = |method: &str, path: &str, message: &str| {
        let (status, answer) = ask(&subject, method, path, &json!({"host": "x"}));
        assert_eq!(status, 405, "{method} {path}");
        let wanted = json!({"code": 12, "name": "operation unsupported", "message": message});
        assert_eq!(answer, wanted, "{method} {path}");
    };
    check("POST", "/services", "cannot create 'services' entities when not using a database");
    check(
        "PUT",
        "/services/s",
        "cannot create or update 'services' entities by 'name' when not using a database",
    );
    check(
        "PATCH",
        "/services/s",
        "cannot update 'services' entities by 'name' when not using a database",
    );
    check(
        "DELETE",
        "/services/s",
        "cannot remove 'services' entities by 'name' when not using a database",
    );
    assert_eq!(ask(&subject, "DELETE", "/services/none", &Value::Null).0, 204);
    assert_eq!(ask(&subject, "GET", "/services/s", &Value::Null).0, 200);
}

#[test]
fn bodies_that_are_not_taken() {
    let mut subject = Subject::start();
    subject.admin.body_limit = 100;
    let check = |sent: Sent, status: u16, text: &str| {
        let reply = subject.send(&sent);
        let body = String::from_utf8_lossy(&reply.body).into_owned();
        assert_eq!(reply.status, status, "{body}");
        assert!(body.contains(text), "{body}");
    };
    let post = |media_type: &str, body: &str| sent("POST", "/consumers", media_type, body);
    check(post(JSON, &"x".repeat(101)), 413, "413 ");
    check(post(JSON, "{\"a\":"), 400, "Cannot parse JSON body");
    check(post("multipart/form-data", "x"), 400, "Cannot parse multipart body");
    check(post("multipart/form-data; boundary=B", "--B\r\nhalf"), 400, "Cannot parse multipart");
    check(post("text/xml", "<a/>"), 415, "415 Unsupported Media Type");
    check(sent("GET", "/services/%ff", "", ""), 404, "Not found");
    check(sent("GET", "/services/a%21b", "", ""), 400, "invalid unique name");
    check(sent("GET", "/certificates/x", "", ""), 404, "SNI not found");
    check(sent("GET", "/ca_certificates/x", "", ""), 400, "invalid primary key");
    check(sent("GET", "/services?offset=%2A", "", ""), 400, "bad base64 encoding");
    check(sent("GET", &format!("/services?{}", "a&".repeat(1001)), "", ""), 400, "Too many");
    check(sent("TRACE", "/services", "", ""), 405, "Method not allowed");

    subject.admin.body_limit = 1 << 20;
    let many = "a=1&".repeat(1001);
    let reply =
        subject.send(&sent("POST", "/consumers", "application/x-www-form-urlencoded", many));
    assert_eq!(reply.status, 400);
}

#[test]
fn kong_manager_is_allowed_by_its_address() {
    let mut subject = Subject::start();
    subject.admin.gui_origins = vec!["http://a.test".into(), "http://b.test".into()];
    for (origin, allowed) in
        [("http://b.test", "http://b.test"), ("http://evil.test", "http://a.test")]
    {
        let mut request = sent("GET", "/services", "", "");
        request.headers.insert("Origin".into(), origin.into());
        let reply = subject.send(&request);
        let found = reply.headers.iter().find(|(name, _)| name == "access-control-allow-origin");
        assert_eq!(found.unwrap().1, allowed);
    }
}

/// `HEAD` names the length and sends nothing; the next request on the connection still works.
#[test]
fn over_a_socket() {
    let subject = Subject::start();
    let answers = subject.runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server =
            tokio::spawn(axum::serve(listener, router(subject.admin.clone())).into_future());
        let mut client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(
                b"HEAD /services HTTP/1.1\r\nHost: a\r\n\r\n\
                  GET /services HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            )
            .await
            .unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        server.abort();
        answers
    });
    let body = r#"{"data":[],"next":null}"#;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert_eq!(answers.matches(&format!("content-length: {}", body.len())).count(), 2, "{answers}");
    assert_eq!(answers.matches(body).count(), 1, "{answers}");
    assert!(answers.ends_with(body), "{answers}");
}
