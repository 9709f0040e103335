//! Code that goes astray ends, and harms nobody else.

use std::time::Duration;

use serde_json::json;

use super::super::Settings;
use super::{Exchange, Rig, function, is_failure, rig_with, run_by};

fn short() -> Settings {
    Settings { time: Duration::from_millis(50), machines: 1, ..Settings::default() }
}

fn get(rig: &Rig) -> Exchange {
    rig.get("/")
}

#[test]
fn loops_end_whatever_they_catch() {
    for code in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function f() return f() end f()",
        "while true do xpcall(error, function() while true do end end) end",
        "coroutine.wrap(function() while true do end end)()",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "for i = 1, 1e18 do local x = {} end",
        "repeat local s = ('x'):upper() until false",
    ] {
        assert!(is_failure(&run_by(short(), get, code)), "{code}");
    }
}

/// One call of a library function can be long work too.
#[test]
fn matches_end() {
    for code in [
        "local s = ('a'):rep(30000) return s:find(('a*'):rep(60) .. 'b')",
        "local s = ('a'):rep(200000) while true do s:find('a-b') end",
        "local s = ('a'):rep(2^24) while true do s:find(('a'):rep(2^23) .. 'b', 1, true) end",
        "while true do ngx.re.match(('a'):rep(30), '^(a+)+\\\\1b$') end",
    ] {
        assert!(is_failure(&run_by(short(), get, code)), "{code}");
    }
}

#[test]
fn memory_is_bounded_and_given_back() {
    let settings =
        Settings { memory: 16 << 20, time: Duration::from_secs(10), machines: 1, ..short() };
    let mut rig = rig_with(settings, &[]).unwrap();
    let bombs = [
        "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
        "local s = 'x' while true do s = s .. s end",
        "return ('x'):rep(2^30)",
        "local t = {} while true do t = {t} end",
        "hoard = hoard or {} while true do hoard[#hoard + 1] = {} end",
    ];
    for code in bombs {
        let document = json!({"name": "pre-function", "config": {"access": [code]}});
        let bomb = rig.try_instance(document).unwrap();
        let answer = rig.get("/").access(&bomb).unwrap_or_else(|| panic!("{code}"));
        assert!(is_failure(&(answer.status, answer.body)), "{code}");
        let id = bomb.id;
        rig.delete("plugins", id);
        // The next code finds a machine with room.
        let after = rig.plugin("post-function", json!({"access": ["ngx.print(#('x'):rep(2^20))"]}));
        let answer = rig.get("/").access(&after).unwrap();
        assert_eq!((answer.status, answer.body), (200, json!(1 << 20)), "after {code}");
        rig.delete("plugins", after.id);
    }
}

/// What Rust keeps on the code's behalf is bounded too.
#[test]
fn answers_and_dictionaries_are_bounded() {
    let code = "while true do ngx.print(('x'):rep(2^20)) end";
    assert!(is_failure(&run_by(Settings { time: Duration::from_secs(10), ..short() }, get, code)));
    let code = "local n = 0 while true do local ok, why = ngx.shared.kong:set('k' .. n, ('x'):rep(2^16)) \
                if not ok then ngx.print(why) return end n = n + 1 end";
    let answer = run_by(Settings { time: Duration::from_secs(10), ..short() }, get, code);
    assert_eq!(answer, (200, "no memory".into()));
}

/// Waiting is not computing, and does not hold up the thread.
#[tokio::test(start_paused = true)]
async fn code_may_wait() {
    let mut rig = rig_with(short(), &[]).unwrap();
    let plugin = function(&mut rig, "ngx.sleep(5) kong.ctx.shared.woke = true ngx.print('woke')");
    let answers = futures::future::join_all((0..3).map(|_| {
        let (mut exchange, plugin) = (rig.get("/"), plugin.clone());
        async move { exchange.access_waiting(&plugin).await.unwrap().body }
    }));
    let began = tokio::time::Instant::now();
    let answers = answers.await;
    assert_eq!(answers, [json!("woke"), json!("woke"), json!("woke")]);
    assert_eq!(began.elapsed().as_secs(), 5, "they waited side by side");
}

#[tokio::test(start_paused = true)]
async fn waiting_without_end_is_ended() {
    let mut rig = rig_with(short(), &[]).unwrap();
    let plugin = function(&mut rig, "while true do ngx.sleep(1) end");
    let answer = rig.get("/").access_waiting(&plugin).await.unwrap();
    assert!(is_failure(&(answer.status, answer.body)));
    let wrapped = "coroutine.wrap(function() ngx.sleep(1) ngx.print('x') end)()";
    let document = json!({"name": "post-function", "config": {"access": [wrapped]}});
    let plugin = rig.try_instance(document).unwrap();
    let answer = rig.get("/").access_waiting(&plugin).await.unwrap();
    assert_eq!(answer.body, json!("x"), "a wait inside a coroutine waits outside it");
}
