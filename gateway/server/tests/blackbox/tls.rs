//! Certificates and handshakes, old and new.

use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Answered as _, Gateway, Options, openssl, raw, s_client, trusting};

const GO_SUITES: &str = "-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384";
const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: edgegallery\r\nConnection: close\r\n\r\n";

/// the installer's certificate is X.509 version 1 without names, and its clients offer two
/// suites of TLS 1.2. Every listener with TLS serves them.
#[tokio::test]
async fn the_installers_certificate_is_served() {
    let options = Options::new();
    let folder = options.prefix().to_owned();
    for words in [
        "req -newkey rsa:2048 -nodes -keyout ca.key -out ca.csr -subj /C=CN/O=edgegallery/CN=edgegallery",
        "x509 -req -in ca.csr -signkey ca.key -days 3650 -out ca.crt",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /C=CN/O=edgegallery/CN=edgegallery",
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out server.crt",
    ] {
        openssl(&folder, words).await;
    }
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let gateway = options
        .set("ssl_cert", file("server.crt"))
        .set("ssl_cert_key", file("server.key"))
        .set("mep_listen", "127.0.0.1:0 ssl")
        .set("mep_auth_listen", "127.0.0.1:0 ssl")
        .start()
        .await;
    for listener in ["proxy", "admin", "mep", "mep-auth"] {
        for suites in [GO_SUITES, "-tls1_3"] {
            let told = s_client(gateway.tls_addr(listener), suites, HEALTH).await;
            assert!(told.contains("subject=C = CN, O = edgegallery, CN = edgegallery"), "{told}");
            assert!(told.contains("HTTP/1.1 "), "{listener} {suites}: {told}");
            if listener.starts_with("mep") {
                assert!(told.contains("HTTP/1.1 200 OK"), "{listener} {suites}: {told}");
            }
        }
    }
    let told = s_client(gateway.tls_addr("proxy"), "-showcerts -tls1_3", HEALTH).await;
    let pem = told.find("-----BEGIN").map(|at| &told[at..]).unwrap();
    let end = pem.find("-----END CERTIFICATE-----").unwrap() + "-----END CERTIFICATE-----".len();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem.as_bytes()[..end]).unwrap();
    let served = pem.parse_x509().unwrap();
    assert_eq!(served.version, x509_parser::x509::X509Version::V1, "the test's own premise");
}

/// A fresh installation serves the original's clients too, and every other one better.
#[tokio::test]
async fn the_certificates_made_on_first_start() {
    let gateway = Gateway::start().await;
    let proxy = gateway.tls_addr("proxy");
    let rows = [
        (GO_SUITES, "New, TLSv1.2, Cipher is ECDHE-RSA-AES"),
        ("-tls1_3", "New, TLSv1.3, Cipher is TLS_AES_"),
        ("-alpn h2,http/1.1", "ALPN protocol: h2"),
        ("-alpn http/1.1", "ALPN protocol: http/1.1"),
        ("-tls1_2 -sigalgs ECDSA+SHA256", "Peer signature type: ECDSA"),
    ];
    for (words, expected) in rows {
        let told = s_client(proxy, words, HEALTH).await;
        assert!(told.contains(expected), "{words}: {expected} in\n{told}");
    }
    for words in ["-tls1_1 -cipher DEFAULT:@SECLEVEL=0", "-tls1_2 -cipher AES128-SHA"] {
        let told = s_client(proxy, words, HEALTH).await;
        assert!(!told.contains("HTTP/1.1"), "{words} was accepted:\n{told}");
    }

    for name in ["localhost", "edgegallery", "mep-api-gw.mep", "mepauth.mep", "mep-mm5.mep"] {
        let client = trusting(&gateway).resolve(name, proxy).build().unwrap();
        let url = format!("https://{name}:{}/", proxy.port());
        client.get(url).answer().await.expect(404);
    }
    let private = [
        "certs/ca.key",
        "certs/server.key",
        "certs/server-ec.key",
        "keys/jwt_privatekey",
        "gateway.db",
    ];
    for name in private {
        let file = gateway.prefix().join(name);
        let mode = std::fs::metadata(&file).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(mode.permissions().mode() & 0o077, 0, "{name} is readable by others");
    }
}

/// A client that forgot the `s` is told so.
#[tokio::test]
async fn plain_requests_on_a_listener_with_tls() {
    let gateway = Gateway::start().await;
    for listener in ["proxy", "admin"] {
        let (head, body) = raw(gateway.tls_addr(listener), HEALTH.as_bytes()).await;
        assert_eq!(head.status(), 400);
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("The plain HTTP request was sent to HTTPS port"), "{body}");
    }
}

/// SIGHUP reads the certificate files again; a broken one changes nothing.
#[tokio::test]
async fn certificates_are_read_again() {
    let options = Options::new().set("proxy_error_log", "/dev/stderr");
    let folder = options.prefix().to_owned();
    let make = async |name: &str, subject: &str| {
        let words = format!(
            "req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.crt -days 9 -subj /CN={subject}"
        );
        openssl(&folder, &words).await;
    };
    make("a", "first").await;
    make("b", "second").await;
    let file = |name: &str| folder.join(name);
    let replace = |from: &str, to: &str| {
        std::fs::copy(file(from), file("part")).unwrap();
        std::fs::rename(file("part"), file(to)).unwrap();
    };
    let text = |name: &str| file(name).to_str().unwrap().to_owned();
    let gateway =
        options.set("ssl_cert", text("a.crt")).set("ssl_cert_key", text("a.key")).start().await;
    let subject = async || s_client(gateway.tls_addr("proxy"), "-tls1_3", HEALTH).await;
    assert!(subject().await.contains("CN = first"));

    std::fs::write(file("a.crt"), "no certificate").unwrap();
    gateway.signal(rustix::process::Signal::HUP);
    crate::harness::eventually("the refusal is logged", async || {
        gateway.log().contains("a.crt").then_some(())
    })
    .await;
    assert!(subject().await.contains("CN = first"), "the last good one stays");

    replace("b.key", "a.key");
    replace("b.crt", "a.crt");
    gateway.signal(rustix::process::Signal::HUP);
    crate::harness::eventually("the new certificate", async || {
        subject().await.contains("CN = second").then_some(())
    })
    .await;
}
