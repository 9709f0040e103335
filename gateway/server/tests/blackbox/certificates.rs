//! Certificates of the catalog: shown to clients, shown to upstreams, and asked of both.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{
    Answer, Answered as _, Authority, Gateway, Issued, Nginx, Options, Upstream, any_certificate,
    handshake, plain, s_client, shown,
};

async fn post(gateway: &Gateway, path: &str, body: Value) -> Answer {
    plain().post(gateway.url("admin", path)).json(&body).answer().await
}

async fn patch(gateway: &Gateway, path: &str, body: Value) {
    plain().patch(gateway.url("admin", path)).json(&body).answer().await.expect(200);
}

/// Puts a certificate into the catalog and gives its id.
async fn certificate(gateway: &Gateway, pair: &Issued, snis: &[&str]) -> String {
    let body = json!({"cert": pair.cert, "key": pair.key, "snis": snis});
    let made = post(gateway, "/certificates", body).await.expect(201);
    made.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_name_asked_for_decides() {
    let gateway = Gateway::start().await;
    let ca = Authority::root("ca");
    for (name, snis) in [
        ("exact", &["a.b.test", "Upper.test"][..]),
        ("first", &["*.b.test"]),
        ("last", &["a.b.*", "c.*"]),
    ] {
        certificate(&gateway, &ca.issue(name, &["unused.test"]), snis).await;
    }
    let proxy = gateway.tls_addr("proxy");
    for (asked, wanted) in [
        ("a.b.test", "exact"),
        ("A.B.TEST", "exact"),
        ("upper.test", "exact"),
        ("x.b.test", "first"),
        ("a.b.org", "last"),
        ("c.org", "last"),
        ("x.y.b.test", "edgegallery"),
        ("b.test", "edgegallery"),
        ("127.0.0.1", "edgegallery"),
    ] {
        assert_eq!(shown(proxy, asked).await, wanted, "for {asked}");
    }
    certificate(&gateway, &ca.issue("any", &["unused.test"]), &["*"]).await;
    assert_eq!(shown(proxy, "x.y.b.test").await, "any");
    assert_eq!(shown(proxy, "127.0.0.1").await, "edgegallery", "asks for no name");
    let admin = shown(gateway.tls_addr("admin"), "a.b.test").await;
    assert_eq!(admin, "edgegallery", "the Admin API is not the proxy");
}

/// A certificate that changes is shown at once; connections that began with the old one go on.
#[tokio::test]
async fn a_certificate_changes_while_serving() {
    let gateway = Gateway::start().await;
    let ca = Authority::root("ca");
    let id = certificate(&gateway, &ca.issue("old", &["a.test"]), &["a.test"]).await;
    let proxy = gateway.tls_addr("proxy");
    let stream = TcpStream::connect(proxy).await.unwrap();
    let mut kept = handshake(stream, "a.test", any_certificate(None)).await.unwrap();
    let mut ask = async || {
        kept.write_all(b"GET /none HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            assert!(kept.read_buf(&mut answer).await.unwrap() > 0, "the connection was dropped");
        }
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert!(ask().await.starts_with("HTTP/1.1 404"));
    let new = ca.issue_rsa("new", &["a.test"]);
    patch(&gateway, &format!("/certificates/{id}"), json!({"cert": new.cert, "key": new.key}))
        .await;
    assert_eq!(shown(proxy, "a.test").await, "new");
    assert!(ask().await.starts_with("HTTP/1.1 404"), "the connection was dropped");

    let other = certificate(&gateway, &ca.issue("other", &["a.test"]), &[]).await;
    patch(&gateway, "/snis/a.test", json!({"certificate": {"id": other}})).await;
    assert_eq!(shown(proxy, "a.test").await, "other");
    plain()
        .delete(gateway.url("admin", &format!("/certificates/{other}")))
        .answer()
        .await
        .expect(204);
    assert_eq!(shown(proxy, "a.test").await, "edgegallery");

    let mixed = json!({"cert": new.cert, "key": ca.issue("x", &["x.test"]).key});
    let refused = post(&gateway, "/certificates", mixed).await.expect(400);
    assert!(refused.text().contains("certificate does not match key"), "{}", refused.text());
}

/// What was configured is served again after a restart, before any write.
#[tokio::test]
async fn a_restart_shows_the_same_certificates() {
    let mut gateway = Options::new().set("router_flavor", "expressions").start().await;
    let ca = Authority::root("ca");
    certificate(&gateway, &ca.issue("kept", &["a.test"]), &["a.test"]).await;
    let route = json!({"expression": "tls.sni == \"a.test\" && http.path ^= \"/x\""});
    post(&gateway, "/routes", route).await.expect(201);
    gateway.kill().await;
    gateway.start_again().await;
    let to = gateway.tls_addr("proxy");
    assert_eq!(shown(to, "a.test").await, "kept");
    let request = "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let told = s_client(to, "-servername a.test", request).await;
    assert!(told.contains("no Service found with those values"), "{told}");
    let told = s_client(to, "-servername b.test", request).await;
    assert!(told.contains("no Route matched with those values"), "{told}");
}

/// Certificates whose parts are in a vault; one that is not there is not served, and harms nobody.
#[tokio::test]
async fn certificates_in_vaults() {
    let pair = Authority::root("ca").issue("in vault", &["a.test"]);
    let options = Options::new().set("tls_cert", &pair.cert).set("tls_key", &pair.key);
    let mut gateway = options.start().await;
    for (name, cert) in [("a.test", "kong-tls-cert"), ("b.test", "kong-tls-none")] {
        let body = json!({"cert": format!("{{vault://env/{cert}}}"), "snis": [name],
                          "key": "{vault://env/kong-tls-key}"});
        post(&gateway, "/certificates", body).await.expect(201);
    }
    for _ in 0..2 {
        let to = gateway.tls_addr("proxy");
        assert_eq!(shown(to, "a.test").await, "in vault");
        assert_eq!(shown(to, "b.test").await, "edgegallery");
        gateway.kill().await;
        gateway.start_again().await;
    }
}

/// RSA and ECDSA at once: each client gets what it can verify, the better one if it can both.
#[tokio::test]
async fn two_kinds_of_keys() {
    let gateway = Gateway::start().await;
    let ca = Authority::root("ca");
    let (rsa, ec) = (ca.issue_rsa("rsa", &["a.test"]), ca.issue("ec", &["a.test"]));
    let body = json!({"cert": rsa.cert, "key": rsa.key, "cert_alt": ec.cert, "key_alt": ec.key,
                      "snis": ["a.test"]});
    post(&gateway, "/certificates", body).await.expect(201);
    let proxy = gateway.tls_addr("proxy");
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    for (words, wanted) in [
        ("-tls1_3", "CN = ec"),
        ("-tls1_3 -sigalgs RSA-PSS+SHA256", "CN = rsa"),
        ("-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256", "CN = rsa"),
        ("-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", "CN = ec"),
    ] {
        let told = s_client(proxy, &format!("-servername a.test {words}"), request).await;
        assert!(told.contains(&format!("subject={wanted}")), "{words}: {told}");
    }
}

/// Sessions resume with tickets, without them from memory, and not at all when told so.
#[tokio::test]
async fn sessions_resume() {
    for (options, resumes) in [
        (Options::new(), true),
        (Options::new().set("ssl_session_tickets", "off"), true),
        (Options::new().set("ssl_session_timeout", "0"), false),
    ] {
        let folder = options.prefix().to_owned();
        let gateway = options.start().await;
        let request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
        for version in ["-tls1_2", "-tls1_3"] {
            let file = folder.join("session");
            let _ = std::fs::remove_file(&file);
            let out = format!("{version} -sess_out {}", file.display());
            let first = s_client(gateway.tls_addr("proxy"), &out, request).await;
            assert!(first.contains("New, TLS"), "{version}: {first}");
            if !file.exists() {
                assert!(!resumes, "{version}: no session was given");
                continue;
            }
            let again = format!("{version} -sess_in {}", file.display());
            let second = s_client(gateway.tls_addr("proxy"), &again, request).await;
            assert_eq!(second.contains("Reused, TLS"), resumes, "{version}: {second}");
        }
    }
}

/// `nginx_proxy_ssl_verify_client`: who shows nothing, or something nobody vouches for, is told so
/// over HTTP; the certificate stands in the log entry.
#[tokio::test]
async fn clients_show_certificates() {
    let (ours, theirs) = (Authority::root("ours"), Authority::root("theirs"));
    let middle = ours.below("middle");
    let deep = middle.below("deep");
    let upstream = Upstream::start().await;
    for (demand, none, good, far, bad) in [
        ("on", 400, 200, 400, 400),
        ("optional", 200, 200, 400, 400),
        ("optional_no_ca", 200, 200, 400, 200),
    ] {
        let options = Options::new();
        let file = options.file("clients.pem", &ours.cert);
        let log = options.prefix().join("log.json");
        let gateway = options
            .set("nginx_proxy_ssl_verify_client", demand)
            .set("nginx_proxy_ssl_client_certificate", file.to_str().unwrap())
            .start()
            .await;
        post(&gateway, "/services", json!({"name": "s", "url": upstream.url()})).await.expect(201);
        post(&gateway, "/services/s/routes", json!({"paths": ["/"]})).await.expect(201);
        let logger = json!({"name": "file-log", "config": {"path": log, "reopen": true}});
        post(&gateway, "/plugins", logger).await.expect(201);
        let ask = async |own: Option<&Issued>| {
            let stream = TcpStream::connect(gateway.tls_addr("proxy")).await.unwrap();
            let mut stream = handshake(stream, "a.test", any_certificate(own)).await.unwrap();
            let request = b"GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            let status: u16 = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap();
            (status, answer)
        };
        let rows = [
            (None, none, "NONE"),
            (Some(ours.issue("good", &["c.test"])), good, "SUCCESS"),
            (Some(middle.issue("one step", &["c.test"])), good, "SUCCESS"),
            (Some(deep.issue("two steps", &["c.test"])), far, "FAILED:certificate chain too long"),
            (
                Some(theirs.issue("bad", &["c.test"])),
                bad,
                "FAILED:unable to get local issuer certificate",
            ),
        ];
        for (own, wanted, verify) in rows {
            let (status, answer) = ask(own.as_ref()).await;
            assert_eq!(status, wanted, "{demand}, {verify}: {answer}");
            let told = if own.is_none() {
                "No required SSL certificate was sent"
            } else {
                "The SSL certificate error"
            };
            assert_eq!(answer.contains(told), wanted == 400, "{answer}");
            let entry = crate::harness::eventually("a log entry", async || {
                let text = std::fs::read_to_string(&log).ok()?;
                let entry: Value = serde_json::from_str(text.lines().last()?).ok()?;
                Some(entry)
            })
            .await;
            assert_eq!(entry["request"]["tls"]["client_verify"], verify);
            assert_eq!(entry["request"]["tls"]["version"], "TLSv1.3");
            assert_eq!(entry["request"]["tls"]["cipher"], "TLS_AES_256_GCM_SHA384");
            std::fs::remove_file(&log).unwrap();
        }
        let mep = any_certificate(None);
        let stream = TcpStream::connect(gateway.tls_addr("admin")).await.unwrap();
        let admin = handshake(stream, "a.test", mep).await.unwrap();
        drop(admin);
    }
}

/// An upstream that asks for a certificate and shows one of its own.
#[tokio::test]
async fn upstreams_are_verified_and_shown_certificates() {
    let (ca, other) = (Authority::root("ca"), Authority::root("other"));
    let client = |name: &str| ca.issue(name, &["client.test"]);
    let options = Options::new();
    let clients = options.file("ca.crt", &ca.cert);
    let server = ca.issue("nginx", &["up.test", "127.0.0.1"]);
    let more = format!("ssl_client_certificate {}; ssl_verify_client optional;", clients.display());
    let Some(nginx) = Nginx::start(options.prefix(), &server, &more).await else { return };
    let own = client("from settings");
    let gateway = options
        .set("client_ssl", "on")
        .set("client_ssl_cert", own.cert.clone())
        .set("client_ssl_cert_key", own.key.clone())
        .set("lua_ssl_trusted_certificate", other.cert.clone())
        .start()
        .await;
    let authority = |pem: &str| {
        let body = json!({"cert": pem});
        let gateway = &gateway;
        async move {
            let made = post(gateway, "/ca_certificates", body).await.expect(201);
            made.json()["id"].as_str().unwrap().to_owned()
        }
    };
    let (ours, theirs) = (authority(&ca.cert).await, authority(&other.cert).await);
    let of_service = certificate(&gateway, &client("of service"), &[]).await;
    let of_upstream = certificate(&gateway, &client("of upstream"), &[]).await;
    post(&gateway, "/upstreams", json!({"name": "pool", "host_header": "up.test"}))
        .await
        .expect(201);
    let target = json!({"target": nginx.addr().to_string()});
    post(&gateway, "/upstreams/pool/targets", target).await.expect(201);

    let url = format!("https://{}", nginx.addr());
    post(&gateway, "/services", json!({"name": "s", "url": url, "retries": 0})).await.expect(201);
    post(&gateway, "/services/s/routes", json!({"name": "r", "paths": ["/"]})).await.expect(201);
    let get = async || {
        let answer = plain().get(gateway.url("proxy", "/")).answer().await;
        (answer.status, answer.text().to_owned())
    };
    let told = |sni: &str, name: &str| (200, format!("{sni}|CN={name}|SUCCESS"));
    assert_eq!(get().await, told("", "from settings"));
    patch(&gateway, "/services/s", json!({"client_certificate": {"id": of_service}})).await;
    assert_eq!(get().await, told("", "of service"));

    patch(&gateway, "/services/s", json!({"tls_verify": true})).await;
    assert_eq!(get().await.0, 502, "the gateway's authorities did not issue it");
    patch(&gateway, "/services/s", json!({"ca_certificates": [ours]})).await;
    assert_eq!(get().await, told("", "of service"));
    patch(&gateway, "/services/s", json!({"ca_certificates": [theirs]})).await;
    assert_eq!(get().await.0, 502, "a connection verified under other authorities was reused");
    patch(&gateway, "/services/s", json!({"ca_certificates": [theirs, ours]})).await;
    assert_eq!(get().await, told("", "of service"));

    patch(&gateway, "/services/s", json!({"host": "pool", "client_certificate": null})).await;
    assert_eq!(get().await, told("up.test", "from settings"));
    patch(&gateway, "/upstreams/pool", json!({"client_certificate": {"id": of_upstream}})).await;
    assert_eq!(get().await, told("up.test", "of upstream"));
    patch(&gateway, "/services/s", json!({"client_certificate": {"id": of_service}})).await;
    assert_eq!(get().await, told("up.test", "of service"), "the service's comes first");
    patch(&gateway, "/upstreams/pool", json!({"host_header": "wrong.test"})).await;
    assert_eq!(get().await.0, 502, "a certificate for another name");

    patch(&gateway, "/services/s", json!({"tls_verify": false})).await;
    assert_eq!(get().await, told("wrong.test", "of service"));
    patch(&gateway, "/routes/r", json!({"preserve_host": true})).await;
    let host = plain().get(gateway.url("proxy", "/")).header("host", "kept.test:81").answer().await;
    assert_eq!(host.text(), "kept.test|CN=of service|SUCCESS");

    let renewed = client("renewed");
    let body = json!({"cert": renewed.cert, "key": renewed.key});
    patch(&gateway, &format!("/certificates/{of_service}"), body).await;
    let host = plain().get(gateway.url("proxy", "/")).header("host", "kept.test").answer().await;
    assert_eq!(host.text(), "kept.test|CN=renewed|SUCCESS", "at the next request");
}

/// `tls_verify_depth`: so many certificates may stand between an upstream's and the authority.
#[tokio::test]
async fn chains_of_upstreams_have_a_length() {
    let root = Authority::root("root");
    let middle = root.below("middle");
    let server = middle.below("deep").issue("nginx", &["127.0.0.1"]);
    let options = Options::new();
    let Some(nginx) = Nginx::start(options.prefix(), &server, "").await else { return };
    let settings = options.set("lua_ssl_trusted_certificate", root.cert.clone());
    let gateway = settings.start().await;
    let url = format!("https://{}", nginx.addr());
    let service = json!({"name": "s", "url": url, "retries": 0, "tls_verify": true});
    post(&gateway, "/services", service.clone()).await.expect(201);
    post(&gateway, "/services/s/routes", json!({"paths": ["/"]})).await.expect(201);
    let rows = [(Some(1), 502), (Some(2), 200), (Some(3), 200), (Some(0), 502), (None, 502)];
    for (depth, wanted) in rows {
        patch(&gateway, "/services/s", json!({"tls_verify_depth": depth})).await;
        // A connection made under another depth is not used.
        for _ in 0..2 {
            let answer = plain().get(gateway.url("proxy", "/")).answer().await;
            assert_eq!(answer.status, wanted, "{depth:?}: {}", answer.text());
        }
    }
    // Nothing is followed where nothing is verified.
    patch(&gateway, "/services/s", json!({"tls_verify": false})).await;
    plain().get(gateway.url("proxy", "/")).answer().await.expect(200);

    // Settings say what holds for services that do not.
    let options = Options::new()
        .set("lua_ssl_trusted_certificate", root.cert.clone())
        .set("lua_ssl_verify_depth", "2");
    let gateway = options.start().await;
    post(&gateway, "/services", service).await.expect(201);
    post(&gateway, "/services/s/routes", json!({"paths": ["/"]})).await.expect(201);
    plain().get(gateway.url("proxy", "/")).answer().await.expect(200);
}

/// Probes believe the gateway's authorities and show the upstream's certificate.
#[tokio::test]
async fn probes_are_secured() {
    let (ca, other) = (Authority::root("ca"), Authority::root("other"));
    let options = Options::new();
    let clients = options.file("ca.crt", &ca.cert);
    let server = ca.issue("nginx", &["up.test"]);
    // nginx answers 400 to who shows nothing.
    let more = format!("ssl_client_certificate {}; ssl_verify_client on;", clients.display());
    let Some(nginx) = Nginx::start(options.prefix(), &server, &more).await else { return };
    for (trusted, verify, shows, wanted) in [
        (&ca, true, true, "HEALTHY"),
        (&ca, true, false, "UNHEALTHY"),
        (&other, true, true, "UNHEALTHY"),
        (&other, false, true, "HEALTHY"),
    ] {
        let settings = Options::new().set("lua_ssl_trusted_certificate", trusted.cert.clone());
        let gateway = settings.start().await;
        let own = certificate(&gateway, &ca.issue("probe", &["client.test"]), &[]).await;
        let check = json!({
            "type": "https", "https_sni": "up.test", "https_verify_certificate": verify,
            "healthy": {"interval": 0.1, "successes": 1, "http_statuses": [200]},
            "unhealthy": {"interval": 0.1, "http_failures": 1, "tcp_failures": 1, "timeouts": 1,
                          "http_statuses": [400]},
        });
        let mut upstream = json!({"name": "pool", "healthchecks": {"active": check}});
        if shows {
            upstream["client_certificate"] = json!({ "id": own });
        }
        post(&gateway, "/upstreams", upstream).await.expect(201);
        let target = json!({"target": nginx.addr().to_string()});
        post(&gateway, "/upstreams/pool/targets", target).await.expect(201);
        // A target is healthy until found out, so one that should stay so is first marked.
        let turned = |to: &str| {
            let path = format!("/upstreams/pool/targets/{}/{to}", nginx.addr());
            plain().put(gateway.url("admin", &path))
        };
        if wanted == "HEALTHY" {
            crate::harness::eventually("a mark", async || {
                (turned("unhealthy").answer().await.status == 204).then_some(())
            })
            .await;
        }
        crate::harness::eventually(wanted, async || {
            let told = plain().get(gateway.url("admin", "/upstreams/pool/health")).answer().await;
            (told.json()["data"][0]["health"] == wanted).then_some(())
        })
        .await;
    }
}
