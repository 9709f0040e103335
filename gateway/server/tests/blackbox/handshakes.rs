//! Code in TLS handshakes: the `certificate` phase of functions in configurations and of custom
//! plugins.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{
    Answered as _, Authority, Gateway, Issued, Nginx, Options, Upstream, any_certificate,
    eventually, handshake, plain, s_client, shown,
};

async fn post(gateway: &Gateway, path: &str, body: Value) {
    plain().post(gateway.url("admin", path)).json(&body).answer().await.expect(201);
}

/// One request over a connection of its own; `None` when the handshake fails.
async fn ask(to: SocketAddr, name: &str, own: Option<&Issued>) -> Option<String> {
    let stream = TcpStream::connect(to).await.unwrap();
    let mut stream = handshake(stream, name, any_certificate(own)).await.ok()?;
    let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// Modules sandboxed code may not have unless an operator says so.
fn options() -> Options {
    Options::new()
        .set("proxy_error_log", "/dev/stderr")
        // Enough for code on a machine that has much to do.
        .set("mep_lua_time", "3000")
        .set(
            "untrusted_lua_sandbox_requires",
            "ngx.ssl,resty.openssl.x509.store,resty.openssl.x509",
        )
}

#[tokio::test]
async fn code_decides_who_is_asked_and_who_gets_in() {
    let gateway = options().start().await;
    let clients = Authority::root("clients");
    let certificate = "
        local name = require('ngx.ssl').server_name()
        kong.log.err('shaking hands for ', tostring(name), ' with ', kong.client.get_ip())
        if name == 'asked.test' then
          assert(kong.client.tls.request_client_certificate())
        elseif name == 'refused.test' then
          error('nobody gets in')
        elseif name == 'exit.test' then
          ngx.exit(ngx.ERROR)
        elseif name == 'loop.test' then
          while true do end
        elseif name == 'slow.test' then
          ngx.sleep(1)
        end";
    let access = "
        local chain = kong.client.tls.get_full_client_certificate_chain()
        kong.response.exit(200, (chain or 'none'):sub(1, 27) .. (kong.ctx.shared.x or ''))";
    let config = json!({ "certificate": [certificate], "access": [access] });
    post(&gateway, "/plugins", json!({"name": "pre-function", "config": config})).await;
    post(&gateway, "/routes", json!({"paths": ["/"]})).await;
    let to = gateway.tls_addr("proxy");
    let own = clients.issue("client", &["client.test"]);
    let with = Some(&own);
    assert_eq!(ask(to, "other.test", with).await.as_deref(), Some("none"), "nobody asked");
    let pem = "-----BEGIN CERTIFICATE-----";
    assert_eq!(ask(to, "asked.test", with).await.as_deref(), Some(pem));
    assert_eq!(ask(to, "asked.test", None).await.as_deref(), Some("none"));
    for name in ["refused.test", "exit.test", "loop.test"] {
        assert_eq!(ask(to, name, None).await, None, "{name}");
    }
    for told in ["shaking hands for asked.test with 127.0.0.1", "nobody gets in", "mep_lua_time"] {
        eventually(told, async || gateway.log().contains(told).then_some(())).await;
    }
    // A handshake that waits holds up nobody: all of these wait at once.
    let many = (0..30).map(|_| ask(to, "slow.test", None));
    for answer in futures::future::join_all(many).await {
        assert_eq!(answer.as_deref(), Some("none"));
    }
    // Without TLS there is no handshake.
    plain().get(gateway.url("proxy", "/")).answer().await.expect(200);
}

#[tokio::test]
async fn code_shows_a_certificate_of_its_own() {
    let options = options();
    let folder = options.prefix().to_owned();
    let gateway = options.start().await;
    let pair = Authority::root("ca").issue("of the code", &["a.test"]);
    let code = format!(
        "local ssl = require('ngx.ssl')
         local name = ssl.server_name()
         if name == 'a.test' then
           assert(ssl.clear_certs())
           assert(ssl.set_cert(assert(ssl.parse_pem_cert([[{}]]))))
           assert(ssl.set_priv_key(assert(ssl.parse_pem_priv_key([[{}]]))))
         elseif name == 'none.test' then
           ssl.clear_certs()
         elseif name == 'once.test' then
           assert(kong.client.tls.disable_session_reuse())
         end",
        pair.cert, pair.key
    );
    let config = json!({ "certificate": [code] });
    post(&gateway, "/plugins", json!({"name": "post-function", "config": config})).await;
    let to = gateway.tls_addr("proxy");
    assert_eq!(shown(to, "a.test").await, "of the code");
    assert_eq!(shown(to, "b.test").await, "edgegallery");
    assert_eq!(ask(to, "none.test", None).await, None);
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    for (name, resumes) in [("b.test", true), ("once.test", false)] {
        for version in ["-tls1_2", "-tls1_3"] {
            let file = folder.join(format!("{name}{version}"));
            let words = format!("-servername {name} {version} -sess_out {}", file.display());
            s_client(to, &words, request).await;
            if !file.exists() {
                assert!(!resumes, "{name} {version}: no session was given");
                continue;
            }
            let words = format!("-servername {name} {version} -sess_in {}", file.display());
            let again = s_client(to, &words, request).await;
            assert_eq!(again.contains("Reused, TLS"), resumes, "{name} {version}: {again}");
        }
    }
}

/// A client is told the authorities code names.
#[tokio::test]
async fn code_names_authorities() {
    let gateway = options().start().await;
    let named = Authority::root("named by code");
    let code = format!(
        "local ssl = require('ngx.ssl')
         kong.client.tls.request_client_certificate()
         assert(kong.client.tls.set_client_ca_list(assert(ssl.parse_pem_cert([[{}]]))))",
        named.cert
    );
    let config = json!({ "certificate": [code] });
    post(&gateway, "/plugins", json!({"name": "pre-function", "config": config})).await;
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    let told = s_client(gateway.tls_addr("proxy"), "-tls1_2", request).await;
    assert!(told.contains("Acceptable client certificate CA names\nCN = named by code"), "{told}");
}

#[tokio::test]
async fn custom_plugins_have_the_phase() {
    let options = options();
    let folder = options.prefix().join("kong/plugins/early");
    std::fs::create_dir_all(&folder).unwrap();
    let handler = "
        local Early = { PRIORITY = 5, VERSION = '1.0' }
        function Early:certificate(conf)
          if require('ngx.ssl').server_name() == conf.refused then error('not this one') end
        end
        return Early";
    let schema = "return { name = 'early', fields = { { config = { type = 'record', fields = {
        { refused = { type = 'string', required = true } } } } } } }";
    std::fs::write(folder.join("handler.lua"), handler).unwrap();
    std::fs::write(folder.join("schema.lua"), schema).unwrap();
    let path = format!("{}/?.lua", options.prefix().display());
    let gateway =
        options.set("plugins", "bundled,early").set("lua_package_path", path).start().await;
    let plugin = json!({"name": "early", "config": {"refused": "a.test"}});
    post(&gateway, "/plugins", plugin).await;
    let to = gateway.tls_addr("proxy");
    assert_eq!(ask(to, "a.test", None).await, None);
    assert!(ask(to, "b.test", None).await.is_some());
}

/// Whom code believes, an upstream must be vouched for by.
#[tokio::test]
async fn code_chooses_who_vouches_for_an_upstream() {
    let (ours, theirs) = (Authority::root("ours"), Authority::root("theirs"));
    let server = ours.issue("nginx", &["127.0.0.1"]);
    let options = options();
    let Some(nginx) = Nginx::start(options.prefix(), &server, "").await else { return };
    let gateway = options.set("lua_ssl_trusted_certificate", theirs.cert.clone()).start().await;
    let url = format!("https://{}", nginx.addr());
    post(&gateway, "/services", json!({"name": "s", "url": url, "retries": 0})).await;
    post(&gateway, "/services/s/routes", json!({"name": "r", "paths": ["/"]})).await;
    let code = format!(
        "kong.service.set_tls_verify(true)
         local which = kong.request.get_query_arg('believes')
         if which then
           local store = assert(require('resty.openssl.x509.store').new())
           local x509 = require('resty.openssl.x509')
           if which ~= 'nobody' then
             assert(store:add(assert(x509.new(which == 'ours' and [[{}]] or [[{}]]))))
           end
           assert(kong.service.set_tls_verify_store(store))
         end",
        ours.cert, theirs.cert
    );
    let plugin = json!({"name": "pre-function", "config": {"access": [code]}});
    post(&gateway, "/routes/r/plugins", plugin).await;
    for (query, wanted) in [
        ("", 502),
        ("?believes=ours", 200),
        ("?believes=theirs", 502),
        ("?believes=ours", 200),
        ("?believes=nobody", 502),
    ] {
        let answer = plain().get(gateway.url("proxy", &format!("/{query}"))).answer().await;
        assert_eq!(answer.status, wanted, "{query}: {}", answer.text());
    }
}

/// Streams that end here have handshakes too.
#[tokio::test]
async fn streams_have_handshakes() {
    let upstream = Upstream::start().await;
    let gateway = options().set("stream_listen", "127.0.0.1:0 ssl").start().await;
    let service = json!({"name": "s", "protocol": "tcp", "host": "127.0.0.1",
                         "port": upstream.addr().port()});
    post(&gateway, "/services", service).await;
    let route = json!({"protocols": ["tls"], "snis": ["a.test", "b.test"]});
    post(&gateway, "/services/s/routes", route).await;
    let code = "if require('ngx.ssl').server_name() == 'a.test' then error('not this one') end";
    let config = json!({ "certificate": [code] });
    let plugin = json!({"name": "pre-function", "protocols": ["tls"], "config": config});
    post(&gateway, "/plugins", plugin).await;
    let to = gateway.stream_addr("tls");
    assert_eq!(ask(to, "a.test", None).await, None);
    assert_eq!(shown(to, "b.test").await, "edgegallery");
}
