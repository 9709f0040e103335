//! Authentication plugins, as clients meet them: signatures, tokens, directories, sessions.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::harness::slapd::Slapd;
use crate::harness::{Answer, Answered as _, Gateway, Options, Upstream, plain, trusting};

/// A gateway, an upstream behind `/`, and the consumer `bob`.
struct Stage {
    gateway: Gateway,
    upstream: Upstream,
}

impl Stage {
    async fn set() -> Self {
        let gateway = Options::new().set("log_level", "debug").start().await;
        let stage = Self { gateway, upstream: Upstream::start().await };
        let url = format!("http://{}", stage.upstream.addr());
        stage.post("/services", json!({"name": "s", "url": url})).await;
        stage.post("/services/s/routes", json!({"name": "r", "paths": ["/"]})).await;
        stage.post("/consumers", json!({"username": "bob"})).await;
        stage
    }

    /// Makes something by the Admin API.
    async fn post(&self, path: &str, body: Value) -> Value {
        let url = self.gateway.url("admin", path);
        plain().post(url).json(&body).answer().await.expect(201).json()
    }

    async fn plugin(&self, name: &str, config: Value) {
        self.post("/plugins", json!({"name": name, "config": config})).await;
    }

    async fn read(&self, path: &str) -> Answer {
        plain().get(self.gateway.url("admin", path)).answer().await
    }

    fn url(&self, path: &str) -> String {
        self.gateway.url("proxy", path)
    }

    /// What the upstream was told by a header of the last request.
    fn told(&self, name: &str) -> String {
        let seen = self.upstream.take();
        seen.last().expect("a request").all(name).join(",")
    }
}

/// The date of now, as a header.
fn date() -> String {
    jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&jiff::Timestamp::now())
        .expect("a date")
}

#[tokio::test]
async fn requests_signed_with_a_secret() {
    let stage = Stage::set().await;
    let config =
        json!({"validate_request_body": true, "enforce_headers": ["date", "request-line"]});
    stage.plugin("hmac-auth", config).await;
    stage.post("/consumers/bob/hmac-auth", json!({"username": "u", "secret": "s"})).await;
    let date = date();
    let sign = |line: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"s");
        let tag = hmac::sign(&key, format!("date: {date}\n{line}").as_bytes());
        format!(
            "hmac username=\"u\", algorithm=\"hmac-sha256\", headers=\"date request-line\", \
             signature=\"{}\"",
            BASE64_STANDARD.encode(tag)
        )
    };
    let get = |signature: String| {
        let request = plain().get(stage.url("/x?a=1")).header("Date", &date);
        request.header("Authorization", signature)
    };
    get(sign("GET /x?a=1 HTTP/1.1")).answer().await.expect(200);
    assert_eq!(stage.told("x-consumer-username"), "bob");
    let refused = get(sign("GET /x?a=2 HTTP/1.1")).answer().await.expect(401);
    assert_eq!(refused.json()["message"], "HMAC signature does not match");
    assert_eq!(refused.header("www-authenticate"), Some("hmac"));

    // printf body | sha256sum, in base64
    let digest = "SHA-256=Iw2DWNyOiJC0xY3utikS7i8gNXrpKlzIYbmOaP4xrLU=";
    for (body, wanted) in [("body", 200), ("other", 401)] {
        let request = plain().post(stage.url("/x")).header("Date", &date).body(body);
        let request = request.header("Authorization", sign("POST /x HTTP/1.1"));
        request.header("Digest", digest).answer().await.expect(wanted);
        let seen = stage.upstream.take();
        assert_eq!(seen.len(), usize::from(wanted == 200));
        assert!(seen.iter().all(|one| one.body == "body"), "the body goes on");
    }
}

#[tokio::test]
async fn tokens_of_the_gateways_own() {
    let mut stage = Stage::set().await;
    let config = json!({
        "enable_client_credentials": true, "enable_authorization_code": true,
        "scopes": ["email"], "provision_key": "pk",
    });
    stage.plugin("oauth2", config).await;
    let application = json!({
        "name": "app", "client_id": "cid", "client_secret": "csec",
        "redirect_uris": ["http://x.test/cb"],
    });
    stage.post("/consumers/bob/oauth2", application).await;
    let tls = trusting(&stage.gateway).build().expect("a client");
    let port = stage.gateway.tls_addr("proxy").port();
    let ask = |path: &str, form: &str| {
        tls.post(format!("https://localhost:{port}{path}"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form.to_owned())
    };

    // The page where bob agrees gets a code for the application, which turns it into a token.
    let form =
        "provision_key=pk&authenticated_userid=u1&client_id=cid&response_type=code&scope=email";
    let agreed = ask("/oauth2/authorize", form).answer().await.expect(200).json();
    let place = agreed["redirect_uri"].as_str().expect("a place").to_owned();
    let code = place.strip_prefix("http://x.test/cb?code=").expect("a code");
    let form =
        format!("grant_type=authorization_code&client_id=cid&client_secret=csec&code={code}");
    let given = ask("/oauth2/token", &form).answer().await.expect(200);
    assert_eq!(given.header("cache-control"), Some("no-store"));
    let given = given.json();
    let again = ask("/oauth2/token", &form).answer().await.expect(400).json();
    assert_eq!(again["error_description"], "Invalid code");

    let token = given["access_token"].as_str().expect("a token").to_owned();
    plain().get(stage.url("/any")).bearer_auth(&token).answer().await.expect(200);
    let seen = stage.upstream.take();
    let told = |name: &str| seen[0].all(name).join(",");
    assert_eq!(told("x-authenticated-scope"), "email");
    assert_eq!(told("x-authenticated-userid"), "u1");
    assert_eq!(
        (told("x-consumer-username"), told("x-credential-identifier")),
        ("bob".into(), "cid".into())
    );
    plain().get(stage.url("/any")).bearer_auth("nope").answer().await.expect(401);

    // Who has a secret may ask what a token is good for (RFC 7662).
    let introspected = async |token: &str| {
        let form = format!("client_id=cid&client_secret=csec&token={token}");
        ask("/oauth2/introspect", &form).answer().await.expect(200).json()
    };
    let good = introspected(&token).await;
    assert_eq!((&good["active"], &good["sub"]), (&json!(true), &json!("u1")), "{good}");
    assert_eq!(introspected("nope").await, json!({"active": false}));

    // Operators see tokens, and take them back. They outlive a restart.
    let kept = stage.read("/oauth2/cid/oauth2_tokens").await.expect(200).json();
    assert_eq!(kept["data"][0]["access_token"], token.as_str());
    let refresh = given["refresh_token"].as_str().expect("a refresh token");
    let form = format!(
        "grant_type=refresh_token&client_id=cid&client_secret=csec&refresh_token={refresh}"
    );
    let renewed = ask("/oauth2/token", &form).answer().await.expect(200).json();
    let renewed = renewed["access_token"].as_str().expect("a token").to_owned();
    plain().get(stage.url("/any")).bearer_auth(&token).answer().await.expect(401);
    stage.gateway.kill().await;
    stage.gateway.start_again().await;
    plain().get(stage.url("/any")).bearer_auth(&renewed).answer().await.expect(200);
    let url = stage.gateway.url("admin", &format!("/oauth2_tokens/{renewed}"));
    plain().delete(url).answer().await.expect(204);
    plain().get(stage.url("/any")).bearer_auth(&renewed).answer().await.expect(401);
    let log = stage.gateway.log_file();
    assert!(log.contains("published revision"), "{log}");
    let told: Vec<&str> =
        log.lines().filter(|line| line.contains(&renewed) || line.contains("csec")).collect();
    assert_eq!(told, [""; 0], "tokens are not logged");
}

#[tokio::test]
async fn people_of_a_directory() {
    let Some(slapd) = Slapd::start() else { return };
    let stage = Stage::set().await;
    let config = json!({
        "ldap_host": "127.0.0.1", "ldap_port": slapd.plain, "base_dn": "dc=example,dc=com",
        "attribute": "cn", "start_tls": true, "hide_credentials": true,
    });
    stage.plugin("ldap-auth", config).await;
    let get = |text: &str| {
        let header = format!("ldap {}", BASE64_STANDARD.encode(text));
        plain().get(stage.url("/x")).header("Authorization", header)
    };
    for _ in 0..2 {
        get("ann:secret:1").answer().await.expect(200);
        let seen = stage.upstream.take();
        assert_eq!(seen[0].all("x-credential-identifier"), ["ann"]);
        assert_eq!(seen[0].all("authorization"), [""; 0]);
        let refused = get("ann:secret:2").answer().await.expect(401);
        assert_eq!(refused.header("www-authenticate"), Some("LDAP"));
        assert_eq!(refused.json()["message"], "Unauthorized");
    }
    let log = stage.gateway.log_file();
    assert!(log.contains("the directory refused"), "{log}");
    assert!(!log.contains("secret:"), "passwords are not logged");
}

/// A directory's certificate is looked at where that is wanted, by the authorities configured.
#[tokio::test]
async fn directories_that_are_verified() {
    let Some(slapd) = Slapd::start() else { return };
    let authority = slapd.certificate().display().to_string();
    for (trusted, wanted) in [("system".to_owned(), 500), (authority, 200)] {
        let gateway = Options::new().set("lua_ssl_trusted_certificate", trusted).start().await;
        let upstream = Upstream::start().await;
        let admin = |path: &str| gateway.url("admin", path);
        let post = async |path: &str, body: Value| {
            plain().post(admin(path)).json(&body).answer().await.expect(201);
        };
        post("/services", json!({"name": "s", "url": upstream.url()})).await;
        for (path, port, more) in [
            ("ldaps", slapd.tls, json!({"ldaps": true})),
            ("start", slapd.plain, json!({"start_tls": true})),
        ] {
            post("/services/s/routes", json!({"name": path, "paths": [format!("/{path}")]})).await;
            let mut config = json!({
                "ldap_host": "127.0.0.1", "ldap_port": port, "base_dn": "dc=example,dc=com",
                "attribute": "cn", "verify_ldap_host": true,
            });
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let plugin = json!({"name": "ldap-auth", "config": config});
            post(&format!("/routes/{path}/plugins"), plugin).await;
            let header = format!("ldap {}", BASE64_STANDARD.encode("ann:secret:1"));
            let url = gateway.url("proxy", &format!("/{path}"));
            let answer = plain().get(url).header("Authorization", header).answer().await;
            assert_eq!(answer.status, wanted, "{path}");
        }
    }
}

#[tokio::test]
async fn who_logged_in_stays_so_by_a_cookie() {
    for storage in ["cookie", "kong"] {
        let stage = Stage::set().await;
        stage.post("/consumers", json!({"username": "anyone"})).await;
        stage.post("/consumers/bob/key-auth", json!({"key": "kk"})).await;
        stage.plugin("key-auth", json!({"anonymous": "anyone"})).await;
        stage.plugin("session", json!({"storage": storage, "cookie_secure": false})).await;
        let come = async |request: reqwest::RequestBuilder, cookie: &str| {
            let answer = request.header("Cookie", cookie).answer().await.expect(200);
            let line = answer.header("set-cookie").map(str::to_owned);
            let user =
                stage.upstream.take().last().map(|seen| seen.all("x-consumer-username").join(","));
            (user, line)
        };
        let get = || plain().get(stage.url("/"));
        assert_eq!(come(get(), "").await, (Some("anyone".into()), None));
        let (user, line) = come(get().header("apikey", "kk"), "").await;
        assert_eq!(user.as_deref(), Some("bob"));
        let line = line.expect("a cookie");
        assert!(line.contains("HttpOnly") && line.contains("SameSite=Strict"), "{line}");
        let cookie = line.split(';').next().expect("a pair").to_owned();
        // What is stored is written beside the answer.
        let back = crate::harness::eventually("the session", async || {
            let (user, line) = come(get(), &cookie).await;
            (user.as_deref() == Some("bob")).then_some(line)
        });
        assert_eq!(back.await, None, "nothing new to tell");
        let out = plain().post(stage.url("/?session_logout=1")).header("Cookie", &cookie);
        let out = out.answer().await.expect(200);
        assert_eq!(out.text(), "");
        assert!(out.header("set-cookie").is_some_and(|line| line.contains("Max-Age=0")));
        assert!(stage.upstream.take().is_empty());
        if storage == "kong" {
            let gone = crate::harness::eventually("its end", async || {
                let (user, _) = come(get(), &cookie).await;
                (user.as_deref() == Some("anyone")).then_some(())
            });
            gone.await;
        }
    }
}

#[tokio::test]
async fn one_of_several_is_enough_where_anonymous_is_set() {
    let stage = Stage::set().await;
    stage.post("/consumers", json!({"username": "anyone"})).await;
    stage.post("/consumers/bob/key-auth", json!({"key": "kk"})).await;
    stage.post("/consumers/bob/basic-auth", json!({"username": "u", "password": "p"})).await;
    for name in ["key-auth", "basic-auth", "hmac-auth"] {
        stage.plugin(name, json!({"anonymous": "anyone"})).await;
    }
    for (request, wanted) in [
        (plain().get(stage.url("/")), "anyone"),
        (plain().get(stage.url("/")).header("apikey", "kk"), "bob"),
        (plain().get(stage.url("/")).basic_auth("u", Some("p")), "bob"),
        (plain().get(stage.url("/")).header("apikey", "no").basic_auth("u", Some("p")), "bob"),
        (plain().get(stage.url("/")).header("apikey", "no"), "anyone"),
    ] {
        request.answer().await.expect(200);
        assert_eq!(stage.told("x-consumer-username"), wanted);
    }
}

#[tokio::test]
async fn robots_and_plugins_of_cloud_providers() {
    let stage = Stage::set().await;
    stage.plugin("bot-detection", json!({"deny": ["^evil"]})).await;
    let get = |agent: &str| plain().get(stage.url("/")).header("User-Agent", agent);
    get("Mozilla/5.0").answer().await.expect(200);
    for agent in ["evil/1", "Go-http-client/1.1"] {
        let refused = get(agent).answer().await.expect(403);
        assert_eq!(refused.json()["message"], "Forbidden");
    }
    let lambda = json!({
        "name": "aws-lambda",
        "config": {"function_name": "f", "aws_region": "eu-west-1"},
    });
    stage.post("/services/s/plugins", lambda).await;
    let refused = get("Mozilla/5.0").answer().await.expect(501);
    let text = refused.json()["message"].as_str().expect("a text").to_owned();
    assert!(text.contains("aws-lambda") && text.contains("AWS Signature"), "{text}");
}
