//! Code in every phase of one exchange.

use pingora_http::ResponseHeader;
use serde_json::json;

use super::super::Settings;
use super::{function, rig, rig_with};
use crate::contract::Flow;

fn head() -> ResponseHeader {
    let mut head = ResponseHeader::build(200, None).unwrap();
    head.insert_header("Content-Type", "text/plain").unwrap();
    head.insert_header("X-Up", "1").unwrap();
    head
}

#[test]
fn one_exchange_from_access_to_log() {
    let mut rig = rig();
    let plugin = rig.plugin(
        "pre-function",
        json!({
            "access": ["kong.ctx.shared.seen = 'a' kong.ctx.plugin.n = 1 ngx.ctx.c = 'c'"],
            "header_filter": [
                "kong.ctx.shared.seen = kong.ctx.shared.seen .. 'h'
                 assert(kong.response.get_status() == 200 and kong.ctx.plugin.n == 1)
                 assert(kong.service.response.get_header('X-Up') == '1')
                 kong.response.set_header('X-Seen', kong.ctx.shared.seen .. ngx.ctx.c)
                 kong.response.clear_header('X-Up')
                 kong.response.add_header('X-List', 'a') ngx.header['X-List'] = {'b', 'c'}
                 kong.response.set_status(201)",
            ],
            "body_filter": ["ngx.arg[1] = ngx.arg[1]:upper() if ngx.arg[2] then ngx.arg[1] = ngx.arg[1] .. '!' end"],
            "log": [
                "kong.log.set_serialize_value('mine.seen', kong.ctx.shared.seen)
                 kong.log.set_serialize_value('response.size', nil)
                 assert(kong.log.serialize().mine.seen == 'ah')
                 assert(ngx.var.request_time and kong.response.get_status() == 201)",
            ],
        }),
    );
    let mut exchange = rig.get("/");
    assert_eq!(exchange.access(&plugin), None);
    let (head, body) = exchange.respond(&plugin, head(), &["one ", "two"]);
    assert_eq!(body, "ONE TWO!");
    assert_eq!(head.status, 201);
    assert_eq!(head.headers["x-seen"], "ahc");
    assert!(!head.headers.contains_key("x-up"));
    assert_eq!(head.headers.get_all("x-list").iter().collect::<Vec<_>>(), ["b", "c"]);
    let summary = exchange.summary(201);
    plugin.handler.log(&summary);
    let entry = summary.entry();
    assert_eq!(entry["mine"], json!({"seen": "ah"}));
    assert_eq!(entry["response"].get("size"), None);
}

#[test]
fn whole_bodies_and_answers_replaced_by_the_filter() {
    let mut rig = rig();
    let whole = "local body = kong.response.get_raw_body() \
                 if body then kong.response.set_raw_body('[' .. body .. ']') end";
    let plugin = rig.plugin("pre-function", json!({"body_filter": [whole]}));
    assert_eq!(rig.get("/").respond(&plugin, head(), &["a", "b", "c"]).1, "[abc]");
    let exit = "if kong.response.get_status() == 200 then \
                return kong.response.exit(403, {denied = true}, {['X-Why'] = 'filter'}) end";
    let plugin = rig.plugin("post-function", json!({"header_filter": [exit]}));
    let (head, body) = rig.get("/").respond(&plugin, head(), &["secret ", "text"]);
    assert_eq!((head.status.as_u16(), &*body), (403, "{\"denied\":true}"));
    assert_eq!(head.headers["content-type"], "application/json; charset=utf-8");
    assert_eq!(head.headers["content-length"], "15");
    assert_eq!(head.headers["x-why"], "filter");
}

/// Code that fails after the upstream has answered leaves the answer as it is.
#[test]
fn failures_in_filters_change_nothing() {
    let mut rig = rig();
    let fails = ["error('x')"];
    let config = json!({"header_filter": fails, "body_filter": fails, "log": fails});
    let plugin = rig.plugin("pre-function", config);
    let mut exchange = rig.get("/");
    let (head, body) = exchange.respond(&plugin, head(), &["as it was"]);
    assert_eq!((head.status.as_u16(), &*body), (200, "as it was"));
    plugin.handler.log(&exchange.summary(200));
}

/// A chunk may return the function that runs from then on, with what it closed over.
#[test]
fn chunks_that_return_functions_keep_their_state() {
    let mut rig = rig();
    let code = "local n = 0 return function() n = n + 1 ngx.print(n) end";
    let plugin = function(&mut rig, code);
    let ask = || rig.get("/").access(&plugin).unwrap().body;
    assert_eq!([ask(), ask(), ask()], [json!(1), json!(2), json!(3)]);
    let several = json!({"access": ["kong.ctx.shared.a = 1", "ngx.print(kong.ctx.shared.a + 1)"]});
    let plugin = rig.plugin("post-function", several);
    assert_eq!(rig.get("/").access(&plugin).unwrap().body, json!(2));
}

#[test]
fn exchanges_do_not_see_each_other() {
    let mut rig = rig();
    let code = "ngx.print(tostring(kong.ctx.shared.x), tostring(ngx.ctx.y)) \
                kong.ctx.shared.x = 1 ngx.ctx.y = 2";
    let plugin = function(&mut rig, code);
    for _ in 0..3 {
        assert_eq!(rig.get("/").access(&plugin).unwrap().body, json!("nilnil"));
    }
}

/// The version is agreed on after the certificate is chosen: who asks before is told why there is
/// none.
#[test]
fn the_version_of_a_handshake_is_not_known_yet() {
    let settings = Settings { requires: vec!["ngx.ssl".into()], ..Settings::default() };
    let mut rig = rig_with(settings, &[]).unwrap();
    let asks = "local version, why = require('ngx.ssl').get_tls1_version_str()
                assert(version == nil and why == 'the TLS version is not agreed on yet', why)";
    let plugin = rig.plugin("pre-function", json!({"certificate": [asks]}));
    let mut shaking = rig.get("/");
    shaking.facts.client.tls = Some(std::sync::Arc::default());
    let Flow::Wait(wait) = plugin.handler.certificate(&mut shaking.facts) else {
        panic!("code may wait there")
    };
    assert!(matches!(futures::executor::block_on(wait), Flow::Continue));
}
