//! Every function of the plugin development kit, in every phase: there, and refused where Kong refuses
//! it, in Kong's words (kong/pdk).

use bytes::Bytes;
use pingora_http::ResponseHeader;
use serde_json::{Value, json};

use super::{Instance, Rig, rig};
use crate::contract::{Flow, RequestBody};

const PHASES: [&str; 6] =
    ["certificate", "rewrite", "access", "header_filter", "body_filter", "log"];

/// Calls that are allowed in these phases, of [`PHASES`] by their first letters, and how Kong lists
/// them.
struct Group {
    phases: &'static str,
    told: &'static str,
    calls: &'static [&'static str],
}

const ANY: &str = "crahbl";

const GROUPS: &[Group] = &[
    Group {
        phases: "rahbl",
        told: "rewrite, access, response, cluster_listener, header_filter, body_filter, log, error, \
               admin_api",
        calls: &[
            "kong.request.get_scheme()",
            "kong.request.get_host()",
            "kong.request.get_forwarded_scheme()",
            "kong.request.get_forwarded_host()",
            "kong.request.get_forwarded_port()",
            "kong.request.get_forwarded_path()",
            "kong.request.get_forwarded_prefix()",
            "kong.request.get_http_version()",
            "kong.request.get_method()",
            "kong.request.get_path()",
            "kong.request.get_raw_path()",
            "kong.request.get_path_with_query()",
            "kong.request.get_raw_query()",
            "kong.request.get_query_arg('x')",
            "kong.request.get_query()",
            "kong.request.get_header('Host')",
            "kong.request.get_headers()",
            "kong.request.get_start_time()",
            "kong.request.get_uri_captures()",
        ],
    },
    Group {
        phases: "ra",
        told: "rewrite, access, response, error, admin_api",
        calls: &["kong.request.get_raw_body()", "kong.request.get_body()"],
    },
    Group {
        phases: "hbl",
        told: "response, header_filter, body_filter, log, error, admin_api",
        calls: &[
            "kong.response.get_status()",
            "kong.response.get_header('x')",
            "kong.response.get_headers()",
            "kong.response.get_source()",
        ],
    },
    Group {
        phases: "rah",
        told: "rewrite, access, response, header_filter, error, admin_api",
        calls: &[
            "kong.response.set_status(200)",
            "kong.response.set_header('x', 'y')",
            "kong.response.add_header('x', 'y')",
            "kong.response.clear_header('x')",
            "kong.response.set_headers({})",
            // These end the request where they may be called: with what may not be, they do not.
            "kong.response.exit('no code')",
            "kong.response.error('no code')",
        ],
    },
    Group {
        phases: "b",
        told: "body_filter",
        calls: &["kong.response.get_raw_body()", "kong.response.set_raw_body('x')"],
    },
    Group {
        phases: "hbl",
        told: "response, header_filter, body_filter, log",
        calls: &[
            "kong.service.response.get_status()",
            "kong.service.response.get_header('x')",
            "kong.service.response.get_headers()",
            "kong.service.response.get_raw_body()",
            "kong.service.response.get_body()",
        ],
    },
    Group {
        phases: "ra",
        told: "rewrite, access, balancer, preread",
        calls: &[
            "kong.service.set_target('127.0.0.1', 80)",
            "kong.service.set_tls_verify(true)",
            "kong.service.set_tls_verify_depth(1)",
            "kong.service.set_tls_verify_store({})",
            "kong.service.set_tls_cert_key()",
        ],
    },
    Group {
        phases: "a",
        told: "access",
        calls: &[
            "kong.service.set_upstream('u')",
            "kong.service.set_retries(1)",
            "kong.service.set_timeouts(1, 1, 1)",
            "kong.client.authenticate(nil, {})",
        ],
    },
    Group {
        phases: "ra",
        told: "rewrite, access, balancer",
        calls: &[
            "kong.service.request.enable_buffering()",
            "kong.service.request.set_scheme('http')",
            "kong.service.request.set_path('/')",
            "kong.service.request.set_header('x', 'y')",
            "kong.service.request.set_raw_body('')",
        ],
    },
    Group {
        phases: "ra",
        told: "rewrite, access",
        calls: &[
            "kong.service.request.set_raw_query('')",
            "kong.service.request.set_method('GET')",
            "kong.service.request.set_query({})",
            "kong.service.request.clear_query_arg('x')",
            "kong.service.request.add_header('x', 'y')",
            "kong.service.request.clear_header('x')",
            "kong.service.request.set_headers({})",
            "kong.service.request.set_body({}, 'application/json')",
        ],
    },
    Group {
        phases: "",
        told: "balancer, preread",
        calls: &["kong.service.request.disable_tls()", "kong.service.request.enable_tls()"],
    },
    Group {
        phases: "ahbl",
        told: "access, response, header_filter, body_filter, log",
        calls: &[
            "kong.client.get_credential()",
            "kong.client.get_consumer()",
            "kong.client.load_consumer('x', true)",
            "kong.client.get_protocol()",
            "kong.router.get_route()",
            "kong.router.get_service()",
        ],
    },
    Group {
        phases: "c",
        told: "certificate",
        calls: &[
            "kong.client.tls.request_client_certificate()",
            "kong.client.tls.disable_session_reuse()",
            "kong.client.tls.set_client_ca_list()",
        ],
    },
    Group {
        phases: "ral",
        told: "rewrite, access, balancer, response, log",
        calls: &["kong.client.tls.get_full_client_certificate_chain()"],
    },
    Group {
        phases: "ra",
        told: "rewrite, access, balancer, response",
        calls: &["kong.client.tls.set_client_verify('NONE')"],
    },
    Group {
        phases: "rahbl",
        told: "rewrite, access, response, header_filter, body_filter, log",
        calls: &["kong.log.set_serialize_value('x', 1)"],
    },
    Group { phases: "l", told: "log", calls: &["kong.log.serialize()"] },
    Group {
        phases: ANY,
        told: "",
        calls: &[
            "kong.request.get_port()",
            "kong.client.get_ip()",
            "kong.client.get_forwarded_ip()",
            "kong.client.get_port()",
            "kong.client.get_forwarded_port()",
            "kong.ip.is_trusted('10.0.0.1')",
            "kong.log('x')",
            "kong.log.alert('x')",
            "kong.log.crit('x')",
            "kong.log.err('x')",
            "kong.log.warn('x')",
            "kong.log.notice('x')",
            "kong.log.info('x')",
            "kong.log.debug('x')",
            "kong.log.inspect({ 1, a = 'b' })",
            "kong.log.inspect.off()",
            "kong.log.inspect.on()",
            "kong.log.deprecation('x', { after = '1.0', removal = '2.0' })",
            "kong.node.get_id()",
            "kong.node.get_hostname()",
            "kong.node.get_memory_stats('k', 1)",
            "kong.table.new(1, 1)",
            "kong.table.clear({})",
            "kong.table.merge({}, {})",
            "kong.ctx.shared.x",
            "kong.ctx.plugin.x",
            "kong.plugin.get_id()",
        ],
    },
];

/// Code that writes down what becomes of every call in this phase.
fn code(phase: &str) -> String {
    let mut code = "local told = ''\n".to_owned();
    for call in GROUPS.iter().flat_map(|group| group.calls) {
        let one = format!(
            "do local ok, why = pcall(function() local made = {call} end) \
             told = told .. (ok and 'ok' or tostring(why)) .. '\\n' end\n"
        );
        code.push_str(&one);
    }
    code.push_str(&format!("ngx.shared.kong:set('{phase}', told)\n"));
    code
}

/// What was written down, a line a call.
fn said(rig: &Rig, reader: &Instance, phase: &str) -> Vec<String> {
    match rig.get(&format!("/?phase={phase}")).access(reader).unwrap().body {
        Value::String(text) => text.lines().map(str::to_owned).collect(),
        other => panic!("{other}"),
    }
}

#[test]
fn every_function_in_every_phase() {
    let mut rig = rig();
    let config: serde_json::Map<String, Value> =
        PHASES.iter().map(|phase| ((*phase).to_owned(), json!([code(phase)]))).collect();
    let plugin = rig.plugin("pre-function", Value::Object(config));
    let mut shaking = rig.get("/").tls();
    let flow = plugin.handler.certificate(&mut shaking.facts);
    let Flow::Wait(wait) = flow else { panic!("code may wait there") };
    assert!(matches!(futures::executor::block_on(wait), Flow::Continue));
    let mut exchange = rig.get("/?x=1").header("Content-Type", "application/json");
    exchange.facts.body = RequestBody::Whole(Bytes::from_static(b"{}"));
    assert_eq!(exchange.rewrite(&plugin), None);
    assert_eq!(exchange.access(&plugin), None);
    let head = ResponseHeader::build(200, None).unwrap();
    exchange.respond(&plugin, head, &["x"]);
    exchange.log(&plugin, 200);
    let read = "ngx.print(ngx.shared.kong:get(kong.request.get_query_arg('phase')) or 'nothing')";
    let reader = rig.plugin("post-function", json!({ "access": [read] }));
    let calls: Vec<(&str, &Group)> = GROUPS
        .iter()
        .flat_map(|group| group.calls.iter().map(move |call| (*call, group)))
        .collect();
    for phase in PHASES {
        let told = said(&rig, &reader, phase);
        assert_eq!(told.len(), calls.len(), "{phase}: {told:?}");
        for ((call, group), told) in calls.iter().zip(told) {
            if group.phases.contains(&phase[..1]) {
                let known = told == "ok" || REFUSED_ARGUMENTS.iter().any(|why| told.contains(why));
                assert!(known, "{call} in {phase}: {told}");
            } else {
                let list = group.told;
                let refused =
                    format!("function cannot be called in {phase} phase (only in: {list})");
                assert!(told.ends_with(&refused), "{call} in {phase}: {told}");
            }
        }
    }
}

/// What calls say that are allowed and have no arguments.
const REFUSED_ARGUMENTS: &[&str] = &[
    "code must be a number",
    "chain must be a parsed cdata object",
    "ca_list must be a parsed cdata object",
];

/// What a function does, where the other tests do not tell.
#[test]
fn what_they_give() {
    let long = "/a//b/../c%20d%2f?q=1";
    let check = |code: &str| {
        let mut rig = rig();
        let plugin = super::function(&mut rig, code);
        let mut exchange = rig.get(long).header("Content-Type", "application/json").tls();
        exchange.facts.body = RequestBody::Whole(Bytes::from_static(b"[1]"));
        assert_eq!(exchange.access(&plugin), None, "{code}");
        exchange
    };
    check("assert(kong.request.get_path() == '/a/c d%2F', kong.request.get_path())");
    check("assert(kong.request.get_raw_path() == '/a//b/../c%20d%2f')");
    check("assert(kong.request.get_body()[1] == 1)");
    check("local none, why = kong.client.get_protocol() assert(why == 'No active route found')");
    check(
        "local ok, why = pcall(kong.client.load_consumer, 'x')
         assert(why == 'cannot load a consumer with an id that is not a uuid', why)",
    );
    check("assert(kong.client.tls.get_full_client_certificate_chain() == nil)");
    check(
        "local ok, why = pcall(kong.client.tls.set_client_verify, 'MAYBE')
         assert(why:find('unknown client verify value: MAYBE', 1, true), why)",
    );
    let verified = check("kong.client.tls.set_client_verify('FAILED:mine')");
    assert_eq!(verified.facts.client.tls.as_ref().unwrap().client_verify, "FAILED:mine");
    check(
        "local stats = kong.node.get_memory_stats('m', 1)
         assert(stats.workers_lua_vms[1].http_allocated_gc:find('^%d+%.%d MiB$'))
         assert(stats.lua_shared_dicts.kong.capacity:find('MiB'))
         assert(type(kong.node.get_memory_stats().lua_shared_dicts.kong.capacity) == 'number')
         local ok, why = pcall(kong.node.get_memory_stats, 'x')
         assert(why:find(\"invalid unit 'x'\", 1, true), why)",
    );
    let sent = check(
        "kong.service.request.set_body({ b = 'x', a = 1 }, 'multipart/form-data; boundary=\"B\"')",
    );
    assert_eq!(sent.sent("content-type"), ["multipart/form-data; boundary=B"]);
    let wanted = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--B\r\n\
                  Content-Disposition: form-data; name=\"b\"\r\n\r\nx\r\n--B--\r\n";
    assert_eq!(sent.facts.body.bytes().unwrap(), wanted);
    check(
        "local ok, why = pcall(kong.service.request.set_body, {}, 'text/plain')
         assert(why == 'unsupported content type text/plain', why)",
    );
}

#[test]
fn members_of_the_entry_are_set_added_or_replaced() {
    let mut rig = rig();
    let code = "local set = kong.log.set_serialize_value
                set('mine', 1) set('mine', 2, { mode = 'add' }) set('new', 3, { mode = 'add' })
                set('none', 4, { mode = 'replace' }) set('request.size', 5, { mode = 'replace' })
                local ok, why = pcall(set, 'x', 1, { mode = 'y' })
                assert(why == \"mode must be 'set', 'add' or 'replace'\")";
    let plugin = super::function(&mut rig, code);
    let mut exchange = rig.get("/");
    assert_eq!(exchange.access(&plugin), None);
    let summary = exchange.summary(200);
    let entry = summary.entry();
    assert_eq!((&entry["mine"], &entry["new"]), (&json!(1), &json!(3)));
    assert_eq!((entry.get("none"), &entry["request"]["size"]), (None, &json!(5)));
}

/// What is set in the log phase comes after what was set before, and each is done once.
#[test]
fn members_set_again_in_the_log_phase_are_the_ones() {
    let mut rig = rig();
    let begun = "local set = kong.log.set_serialize_value
                 set('again', 1) set('twice', 1, { mode = 'replace' }) set('twice', 2, { mode = 'add' })
                 set('gone', 1)";
    let logged = "local set = kong.log.set_serialize_value
                  set('again', 2) set('gone', nil)
                  set('late', 1, { mode = 'replace' }) set('late', 2, { mode = 'add' })
                  local entry = kong.log.serialize()
                  assert(entry.again == 2 and entry.gone == nil, entry.again)
                  assert(entry.twice == 2 and entry.late == 2, entry.twice)";
    let plugin = rig.plugin("pre-function", json!({"access": [begun], "log": [logged]}));
    let mut exchange = rig.get("/");
    assert_eq!(exchange.access(&plugin), None);
    let summary = exchange.summary(200);
    plugin.handler.log(&summary);
    let entry = summary.entry();
    let shown = ["again", "gone", "twice", "late"].map(|name| entry.get(name).cloned());
    assert_eq!(shown, [Some(json!(2)), None, Some(json!(2)), Some(json!(2))]);
}
