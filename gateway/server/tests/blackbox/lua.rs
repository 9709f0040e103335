//! Lua in the running gateway: functions in configurations, custom plugins, and what happens when
//! code goes astray.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::harness::{
    Answer, Answered as _, App, Authority, Gateway, Issued, Options, Upstream, http1, plain,
    plain_from,
};

/// A service and a route of the same name at `/name`, with a plugin.
async fn publish(gateway: &Gateway, name: &str, url: &str, plugin: Value) -> Answer {
    let admin = |path: &str| gateway.url("admin", path);
    let service = json!({"name": name, "url": url});
    plain().post(admin("/services")).json(&service).answer().await.expect(201);
    let route = json!({"name": name, "paths": [format!("/{name}")]});
    let routes = admin(&format!("/services/{name}/routes"));
    plain().post(routes).json(&route).answer().await.expect(201);
    let plugins = admin(&format!("/routes/{name}/plugins"));
    plain().post(plugins).json(&plugin).answer().await
}

fn function(config: Value) -> Value {
    json!({"name": "pre-function", "config": config})
}

#[tokio::test]
async fn every_phase_of_a_request() {
    let upstream = Upstream::start().await;
    let gateway = Options::new().set("proxy_error_log", "/dev/stderr").start().await;
    let config = json!({
        "access": [
            "kong.ctx.shared.seen = kong.request.get_query_arg('q')
             kong.service.request.set_header('X-Seen', kong.ctx.shared.seen)
             kong.service.request.set_header('X-Stripped', kong.request.get_forwarded_prefix())
             kong.service.request.set_path('/new')
             kong.service.request.set_raw_body(kong.request.get_raw_body():upper())",
        ],
        "header_filter": [
            "kong.response.set_header('X-Answer', kong.ctx.shared.seen .. kong.response.get_status())
             kong.response.clear_header('Content-Length')",
        ],
        "body_filter": ["if ngx.arg[2] then ngx.arg[1] = (ngx.arg[1] or '') .. 'end' end"],
        "log": ["kong.log.err('logged ', kong.ctx.shared.seen, ' ', kong.response.get_status())"],
    });
    publish(&gateway, "a", &upstream.url(), function(config)).await.expect(201);
    let rewrite = json!({"rewrite": ["kong.log.warn('before routing ', kong.request.get_path())"]});
    let plugins = gateway.url("admin", "/plugins");
    let global = json!({"name": "post-function", "config": rewrite});
    plain().post(plugins).json(&global).answer().await.expect(201);

    let url = gateway.url("proxy", "/a/old?q=abc");
    let answer = plain().post(url).body("hello").answer().await.expect(200);
    let seen = upstream.only();
    assert_eq!((seen.uri.as_str(), seen.body.as_str()), ("/new?q=abc", "HELLO"));
    assert_eq!(seen.all("X-Seen"), ["abc"]);
    assert_eq!(seen.all("X-Stripped"), ["/a"]);
    assert_eq!(seen.all("Content-Length"), ["5"]);
    assert_eq!(answer.header("x-answer"), Some("abc200"));
    assert!(answer.text().ends_with("end"), "{}", answer.text());
    let logged = async || gateway.log().contains("logged abc 200").then_some(());
    crate::harness::eventually("a line of the log phase", logged).await;
    assert!(gateway.log().contains("before routing /a/old"), "{}", gateway.log());
}

/// What a service says of timeouts and repeats, code may change for one request.
#[tokio::test]
async fn how_long_an_upstream_may_take() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    let code = "kong.service.set_timeouts(5000, 5000, 200) kong.service.set_retries(0)";
    let plugin = function(json!({ "access": [code] }));
    publish(&gateway, "a", &upstream.url(), plugin).await.expect(201);
    let url = gateway.url("proxy", "/a/delay/15");
    plain().get(url).answer().await.expect(504);
    upstream.only();
}

#[tokio::test]
async fn code_is_checked_while_it_is_configured() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    let broken = function(json!({"access": ["print("]}));
    let refused = publish(&gateway, "a", &upstream.url(), broken).await.expect(400).json();
    let told = "error parsing pre-function: [string \"print(\"]:1: unexpected symbol near '<eof>'";
    assert_eq!(refused["fields"]["config"]["access"], json!([told]));
    let url = gateway.url("proxy", "/a");
    plain().get(url).answer().await.expect(200);
    let stored = plain().get(gateway.url("admin", "/routes/a/plugins")).answer().await.json();
    assert_eq!(stored["data"], json!([]));

    let gateway = Options::new().set("untrusted_lua", "off").start().await;
    let code = function(json!({"access": ["kong.response.exit(200)"]}));
    let refused = publish(&gateway, "a", &upstream.url(), code).await.expect(400);
    assert!(refused.text().contains("'untrusted_lua' config option is set to 'off'"));
}

/// Code that goes astray is answered with Kong's 500, and nobody else waits for long.
#[tokio::test]
async fn astray_code_ends() {
    let upstream = Upstream::start().await;
    let options = Options::new().set("mep_lua_time", "100").set("mep_lua_memory", "16m");
    let gateway = options.set("proxy_error_log", "/dev/stderr").start().await;
    let codes = [
        ("loop", "while true do pcall(function() while true do end end) end"),
        ("memory", "local t = {} while true do t[#t + 1] = ('x'):rep(10000) .. #t end"),
        ("match", "return ('a'):rep(30000):find(('a*'):rep(60) .. 'b')"),
        ("error", "error('x')"),
        ("system", "os.execute('sleep 60')"),
    ];
    for (name, code) in codes {
        let plugin = function(json!({"access": [code]}));
        publish(&gateway, name, &upstream.url(), plugin).await.expect(201);
    }
    let sleeps = function(json!({"access": ["ngx.sleep(0.2) kong.response.exit(200, 'slept')"]}));
    publish(&gateway, "sleep", &upstream.url(), sleeps).await.expect(201);
    publish(&gateway, "well", &upstream.url(), function(json!({"log": ["return"]})))
        .await
        .expect(201);
    for _ in 0..3 {
        for (name, _) in codes {
            let get = |path: &str| plain().get(gateway.url("proxy", path)).answer();
            let (failed, slept) = tokio::join!(get(&format!("/{name}")), get("/sleep"));
            let body = failed.expect(500).json();
            assert_eq!(body["message"], "An unexpected error occurred", "{name}");
            assert_eq!(slept.expect(200).text(), "slept", "beside {name}");
            get("/well").await.expect(200);
        }
    }
    assert!(gateway.log().contains("mep_lua_time"), "{}", gateway.log());
}

/// Many requests wait at once on one worker.
#[tokio::test]
async fn code_that_waits_holds_up_nobody() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    let code = "ngx.sleep(1) kong.response.exit(200, kong.request.get_query_arg('n'))";
    publish(&gateway, "a", &upstream.url(), function(json!({"access": [code]}))).await.expect(201);
    let asked = (0..40).map(|n| {
        let url = gateway.url("proxy", &format!("/a?n={n}"));
        async move { (n.to_string(), plain().get(url).answer().await.expect(200)) }
    });
    // One after the other they would take longer than any of them may.
    let all = tokio::time::timeout(Duration::from_secs(20), futures::future::join_all(asked)).await;
    for (n, answer) in all.expect("side by side") {
        assert_eq!(answer.text(), n);
    }
}

const HANDLER: &str = include_str!("../../../../plugins/src/lua/tests/appid/handler.lua");
const SCHEMA: &str = include_str!("../../../../plugins/src/lua/tests/appid/schema.lua");

fn with_plugin(name: &str, handler: &str, schema: &str) -> Options {
    let options = Options::new();
    let folder = options.prefix().join("kong/plugins").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("handler.lua"), handler).unwrap();
    std::fs::write(folder.join("schema.lua"), schema).unwrap();
    let path = format!("{}/?.lua", options.prefix().display());
    options.set("lua_package_path", path).set("plugins", format!("bundled,{name}"))
}

/// EdgeGallery's own plugin in Lua, as it was, beside ours: the same tokens, the same replies.
#[tokio::test]
async fn the_original_appid_header_beside_ours() {
    let upstream = Upstream::start().await;
    let gateway = with_plugin("appid-lua", HANDLER, SCHEMA).start().await;
    let schema = plain().get(gateway.url("admin", "/schemas/plugins/appid-lua")).answer().await;
    let protocols = json!(["grpc", "grpcs", "http", "https"]);
    let schema = schema.expect(200).json();
    let fields = schema["fields"].as_array().unwrap();
    let field = fields.iter().find_map(|field| field.get("protocols")).unwrap();
    assert_eq!(field["default"], protocols);
    let jwt = json!({"name": "jwt", "config": {"claims_to_verify": ["exp"]}});
    for (name, plugin) in [("ours", "appid-header"), ("theirs", "appid-lua")] {
        publish(&gateway, name, &upstream.url(), jwt.clone()).await.expect(201);
        let plugins = gateway.url("admin", &format!("/routes/{name}/plugins"));
        plain().post(plugins).json(&json!({"name": plugin})).answer().await.expect(201);
    }
    let token = App::bootstrap(&gateway).token(&gateway).await;
    let ask = async |name: &str, client: reqwest::Client, token: Option<&str>| {
        let request = client.get(gateway.url("proxy", &format!("/{name}")));
        let request = request.header("X-AppinstanceID", "spoof");
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.answer().await;
        let told = upstream.take().pop().map(|seen| seen.all("X-AppinstanceID").join(","));
        let body = (answer.status != 200).then(|| answer.json());
        (answer.status, body, told)
    };
    let forged = token.replace('.', "x.");
    let rows = [
        (plain(), Some(token.as_str()), 200),
        (plain_from([127, 0, 0, 9]), Some(token.as_str()), 401),
        (plain(), None, 401),
        (plain(), Some(forged.as_str()), 401),
    ];
    for (client, token, status) in rows {
        let ours = ask("ours", client.clone(), token).await;
        let theirs = ask("theirs", client, token).await;
        assert_eq!(ours, theirs);
        assert_eq!(ours.0, status);
    }
    let told = ask("ours", plain(), Some(&token)).await.2;
    assert_eq!(told.as_deref(), gateway.printed("APP_INST_ID"));
}

#[tokio::test]
async fn a_schema_in_lua_serves_the_admin_api() {
    let upstream = Upstream::start().await;
    let schema = r#"
        local typedefs = require "kong.db.schema.typedefs"
        return { name = "greeter", fields = {
          { protocols = typedefs.protocols_http },
          { config = { type = "record", fields = {
              { greeting = { type = "string", required = true, len_max = 8 } },
              { times = { type = "integer", default = 2, between = { 1, 3 } } },
            } } },
        } }"#;
    let handler = r#"
        local Greeter = { PRIORITY = 5, VERSION = "0.1" }
        function Greeter:access(conf)
          kong.response.exit(200, { says = conf.greeting:rep(conf.times), from = kong.plugin.get_id() })
        end
        return Greeter"#;
    let gateway = with_plugin("greeter", handler, schema).start().await;
    let bare = json!({"name": "greeter"});
    let refused = publish(&gateway, "a", &upstream.url(), bare).await.expect(400).json();
    assert_eq!(refused["fields"]["config"]["greeting"], "required field missing");
    let plugins = gateway.url("admin", "/routes/a/plugins");
    let long = json!({"name": "greeter", "config": {"greeting": "much too long"}});
    let refused = plain().post(&plugins).json(&long).answer().await.expect(400).json();
    assert_eq!(refused["fields"]["config"]["greeting"], "length must be at most 8");
    let good = json!({"name": "greeter", "config": {"greeting": "hi"}});
    let made = plain().post(&plugins).json(&good).answer().await.expect(201).json();
    assert_eq!(made["config"], json!({"greeting": "hi", "times": 2}));
    let said = plain().get(gateway.url("proxy", "/a")).answer().await.expect(200).json();
    assert_eq!(said, json!({"says": "hihi", "from": made["id"]}));
    let patch = json!({"config": {"times": 3}});
    let one = gateway.url("admin", &format!("/plugins/{}", made["id"].as_str().unwrap()));
    plain().patch(one).json(&patch).answer().await.expect(200);
    let said = plain().get(gateway.url("proxy", "/a")).answer().await.expect(200).json();
    assert_eq!(said["says"], "hihihi");
    let info = plain().get(gateway.url("admin", "/")).answer().await.json();
    let available = &info["plugins"]["available_on_server"]["greeter"];
    assert_eq!(*available, json!({"version": "0.1", "priority": 5}));
    let described = plain().get(gateway.url("admin", "/schemas/plugins/greeter")).answer().await;
    assert!(described.text().contains("\"len_max\":8"), "{}", described.text());
}

#[tokio::test]
async fn a_plugin_that_is_not_there_stops_the_start() {
    let options = Options::new().set("plugins", "bundled,nobodys");
    let (code, _, told) = options.run(&["run"]).await;
    assert_eq!(code, Some(1));
    assert!(told.contains("plugins: nobodys plugin is enabled but not installed"), "{told}");
    let options = with_plugin("broken", "return {", "return {}");
    let (code, _, told) = options.run(&["run"]).await;
    assert_eq!(code, Some(1));
    assert!(told.contains("broken") && told.contains("unexpected symbol near '<eof>'"), "{told}");
}

/// The whole of an answer before any of it is sent, in a phase of its own, and to filters of
/// whoever asks for it.
#[tokio::test]
async fn answers_are_held_back_for_those_who_want_them_whole() {
    let upstream = Upstream::start().await;
    let schema =
        "return { name = 'whole', fields = { { config = { type = 'record', fields = {} } } } }";
    let handler = r#"
        local Whole = { PRIORITY = 5, VERSION = "0.1" }
        function Whole:response()
          local body = kong.service.response.get_raw_body()
          kong.response.set_header("X-Length", #body)
          kong.response.set_header("X-Phase", ngx.get_phase())
          if kong.service.response.get_body().uri == "/secret" then
            kong.response.exit(403, { refused = kong.service.response.get_status() })
          end
          kong.response.set_status(203)
        end
        return Whole"#;
    let gateway = with_plugin("whole", handler, schema).start().await;
    publish(&gateway, "a", &upstream.url(), json!({"name": "whole"})).await.expect(201);
    let get = async |path: &str| plain().get(gateway.url("proxy", path)).answer().await;
    let answer = get("/a/open").await.expect(203);
    assert_eq!(answer.header("x-length"), Some(&*answer.body.len().to_string()));
    assert_eq!(answer.json()["uri"], "/open");
    let refused = get("/a/secret").await.expect(403);
    assert_eq!(refused.json(), json!({"refused": 200}));

    let filters = json!({
        "access": ["kong.service.request.enable_buffering()"],
        "header_filter": ["kong.response.set_header('X-Uri', kong.service.response.get_body().uri)"],
    });
    publish(&gateway, "b", &upstream.url(), function(filters)).await.expect(201);
    assert_eq!(get("/b/x").await.expect(200).header("x-uri"), Some("/x"));
}

/// Calls out believe whom the configuration names, and the system's authorities only where it says
/// so.
#[tokio::test]
async fn calls_out_believe_whom_is_named() {
    let (ours, systems) = (Authority::root("ours"), Authority::root("the system's"));
    let serve = async |shown: Issued| {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let Ok(stream) = shown.acceptor().accept(client).await else { continue };
                let mut stream = tokio::io::BufReader::new(stream);
                let Ok(Some(_)) = http1::read_head(&mut stream).await else { continue };
                let answer = b"HTTP/1.1 204 Here\r\nConnection: close\r\n\r\n";
                stream.write_all(answer).await.unwrap();
                stream.shutdown().await.ok();
            }
        });
        (port, task)
    };
    let (named, _one) = serve(ours.issue("named", &["localhost"])).await;
    let (other, _two) = serve(systems.issue("other", &["localhost"])).await;
    for (trusted, wanted) in [("", "connection refused"), ("system,", "204")] {
        let options = Options::new();
        let system = options.file("system.pem", &systems.cert);
        let file = options.file("ours.pem", &ours.cert);
        let gateway = options
            .variable("SSL_CERT_FILE", system.to_str().unwrap())
            .set("untrusted_lua_sandbox_requires", "resty.http")
            .set("lua_ssl_trusted_certificate", format!("{trusted}{}", file.display()))
            .start()
            .await;
        let code = "local url = 'https://localhost:' .. kong.request.get_query_arg('port')
                    local answer, why = require('resty.http').new():request_uri(url)
                    return kong.response.exit(200, answer and tostring(answer.status) or why)";
        publish(&gateway, "a", "http://127.0.0.1:1", function(json!({"access": [code]})))
            .await
            .expect(201);
        let ask = async |port: u16| {
            let url = gateway.url("proxy", &format!("/a?port={port}"));
            plain().get(url).answer().await.expect(200).text().to_owned()
        };
        assert_eq!(ask(named).await, "204", "{trusted}");
        assert_eq!(ask(other).await, wanted, "{trusted}");
    }
}
