//! What untrusted code may and may not see.

use serde_json::json;

use super::super::{Settings, Untrusted};
use super::{check, is_failure, rig_with, run_by, run_on};

#[test]
fn what_is_not_there() {
    check(&[
        ("os.execute", "nil"),
        ("os.exit", "nil"),
        ("os.getenv", "nil"),
        ("os.remove", "nil"),
        ("io.open", "nil"),
        ("io.popen", "nil"),
        ("debug", "nil"),
        ("package", "nil"),
        ("load", "nil"),
        ("loadstring", "nil"),
        ("dofile", "nil"),
        ("getfenv", "nil"),
        ("setfenv", "nil"),
        ("getmetatable", "nil"),
        ("setmetatable", "nil"),
        ("rawset", "nil"),
        ("collectgarbage", "nil"),
        ("newproxy", "nil"),
        ("string.dump", "nil"),
        ("('').dump", "nil"),
        ("jit.on", "nil"),
        ("_G.os.execute", "nil"),
        ("kong.configuration.pg_password", "nil"),
        ("type(_G)", "table"),
        ("(function() kong = nil return type(kong) end)()", "table"),
    ]);
}

#[test]
fn nothing_shared_can_be_changed() {
    for code in [
        "string.upper = nil",
        "kong.request.get_path = nil",
        "kong.new = 1",
        "ngx.re.match = nil",
        "ngx.say = nil ngx.req.new = 1",
        "math.huge = 0",
        "kong.service.request.set_header = print",
        "require('ffi')",
        "require('io')",
    ] {
        let answer = run_on(|rig| rig.get("/"), &format!("{code} ngx.print('changed')"));
        assert!(is_failure(&answer), "{code}: {answer:?}");
    }
    // Globals are an instance's own.
    let mut rig = rig_with(Settings::default(), &[]).unwrap();
    let mine = rig.plugin("pre-function", json!({"access": ["x = (x or 0) + 1 ngx.print(x)"]}));
    let theirs = rig.plugin("post-function", json!({"access": ["ngx.print(tostring(x))"]}));
    let ask = |plugin| rig.get("/").access(plugin).unwrap().body;
    assert_eq!((ask(&mine), ask(&mine), ask(&theirs)), (json!(1), json!(2), json!("nil")));
}

#[test]
fn what_an_operator_allows() {
    let settings = || Settings {
        requires: vec!["cjson".into()],
        environment: vec!["os.getenv".into(), "io".into()],
        ..Settings::default()
    };
    let run = |code: &str| run_by(settings(), |rig| rig.get("/"), code);
    assert_eq!(run("ngx.print(require('cjson').encode({1}))"), (200, json!([1])));
    assert!(is_failure(&run("require('cjson.safe')")));
    assert_eq!(run("ngx.print(type(os.getenv), type(io.open))"), (200, "functionfunction".into()));
}

#[test]
fn off_and_on() {
    let off = Settings { untrusted: Untrusted::Off, ..Settings::default() };
    let mut rig = rig_with(off, &[]).unwrap();
    let refused = rig.try_plugin("pre-function", json!({"access": ["return 1"]})).err().unwrap();
    assert!(refused.contains("loading of untrusted Lua code disabled"), "{refused}");
    let assignment = json!({"access": ["ngx.var.upstream_x_forwarded_for=UNKNOWN"]});
    assert!(rig.try_plugin("pre-function", assignment).is_ok(), "no Lua is needed for it");

    let on = Settings { untrusted: Untrusted::On, ..Settings::default() };
    let run = |code: &str| run_by(on.clone(), |rig| rig.get("/"), code);
    assert_eq!(
        run("ngx.print(type(io.open), type(require('cjson')))"),
        (200, "functiontable".into())
    );
    assert_eq!(run("ngx.print(tostring(os.exit), tostring(debug))"), (200, "nilnil".into()));
    assert!(is_failure(&run("require('ffi')")));
}
