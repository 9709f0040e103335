//! The language and its libraries, as far as they are ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tracing::subscriber::Interest;
use tracing::{Metadata, span};

use super::super::{Settings, Untrusted};
use super::{check, rig_with, run_on, value};

#[test]
fn texts() {
    check(&[
        ("('hello world'):find('o w')", "5"),
        ("(('hello'):gsub('l', 'L', 1))", "heLlo"),
        ("(('a.b.c'):gsub('%.', '-'))", "a-b-c"),
        ("(('hello'):gsub('', '-'))", "-h-e-l-l-o-"),
        ("(('abc'):gsub('%w', '%0%0'))", "aabbcc"),
        ("(('$x'):gsub('%$(%w)', {x = 'y'}))", "y"),
        ("(('abc'):gsub('b', function(c) return c:upper() end))", "aBc"),
        ("('k=v'):match('(%w)=(%w)')", "k"),
        ("select(2, ('k=v'):match('(%w)=(%w)'))", "v"),
        ("('a'):find('', 10)", "2"),
        ("('aXb'):find('X', 1, true)", "2"),
        ("('äö'):len()", "4"),
        ("#('x'):rep(5)", "5"),
    ]);
    let code = "local t = {} for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do t[#t+1] = k .. v end \
                ngx.print(table.concat(t, ';'))";
    assert_eq!(run_on(|rig| rig.get("/"), code), (200, "a1;b2".into()));
}

#[test]
fn digests_and_codes() {
    check(&[
        ("ngx.encode_base64('hello')", "aGVsbG8="),
        ("ngx.encode_base64('hello', true)", "aGVsbG8"),
        ("ngx.decode_base64('aGVsbG8')", "hello"),
        ("ngx.decode_base64('?')", "nil"),
        ("ngx.md5('hello')", "5d41402abc4b2a76b9719d911017c592"),
        ("#ngx.sha1_bin('x')", "20"),
        ("ngx.crc32_long('123456789')", "3421780262"),
        ("ngx.escape_uri('a b/c')", "a%20b%2Fc"),
        ("ngx.unescape_uri('a%20b+c')", "a b c"),
        ("ngx.encode_args({a = {'x y', true, 1}})", "a=x%20y&a&a=1"),
        ("ngx.decode_args('a=1&b').b", "true"),
        ("ngx.quote_sql_str(\"it's\")", "'it\\'s'"),
        ("ngx.http_time(0)", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("ngx.parse_http_time('Thu, 01 Jan 1970 00:00:10 GMT')", "10"),
        ("ngx.now()", "1767225630"),
        ("ngx.today()", "2026-01-01"),
    ]);
}

#[test]
fn regular_expressions() {
    check(&[
        ("ngx.re.match('hello, 1234', '([0-9])[0-9]+')[0]", "1234"),
        ("ngx.re.match('hello, 1234', '(?<first>[0-9])[0-9]+').first", "1"),
        ("ngx.re.match('hello', 'WORLD', 'i')", "nil"),
        ("ngx.re.match('HELLO', 'hello', 'ijo')[0]", "HELLO"),
        ("ngx.re.find('hello, 1234', '[0-9]+', 'jo')", "8"),
        ("(ngx.re.gsub('a1b22', '[0-9]+', '<$0>'))", "a<1>b<22>"),
        ("(ngx.re.sub('a1b22', '[0-9]+', function(m) return '#' .. m[0] end))", "a#1b22"),
        ("ngx.re.match('foobar', 'foo(?=bar)')[0]", "foo"),
        ("(ngx.re.gsub('a', 'b', 'c')) .. select('#', ngx.re.match('x', 'x'))", "a1"),
    ]);
    assert!(value("select(2, ngx.re.match('x', '('))").starts_with("pcre_compile() failed"));
    let code = "local it = ngx.re.gmatch('a1 b2', '([a-z])([0-9])') local out = {} \
                while true do local m = it() if not m then break end out[#out+1] = m[2] end \
                ngx.print(table.concat(out))";
    assert_eq!(run_on(|rig| rig.get("/"), code), (200, 12.into()));
}

#[test]
fn json_as_cjson_has_it() {
    let code = r#"
        local cjson = require 'cjson.safe'
        local value = cjson.decode('{"a":[1,2,{"b":null}],"c":true,"e":[]}')
        assert(value.a[3].b == cjson.null and value.c == true and #value.e == 0)
        ngx.print(cjson.encode({ list = { 1, 2.5, 'x' }, none = ngx.null, map = { k = 'v' },
                                 empty = cjson.empty_array }))
    "#;
    let requires = vec!["cjson.safe".into()];
    let settings = super::Settings { requires, ..super::Settings::default() };
    let answer = super::run_by(settings, |rig| rig.get("/"), code);
    let wanted = serde_json::json!({
        "list": [1, 2.5, "x"], "none": null, "map": {"k": "v"}, "empty": [],
    });
    assert_eq!(answer, (200, wanted));
}

#[test]
fn errors_can_be_caught_and_read() {
    check(&[
        ("select(2, pcall(error, 'x', 0))", "x"),
        ("select(2, pcall(kong.response.exit, 'a'))", "code must be a number"),
        ("select(2, xpcall(function() error({code = 7}) end, function(e) return e.code end))", "7"),
        ("coroutine.wrap(function() coroutine.yield(5) end)()", "5"),
        (
            "(function() local co = coroutine.create(function(a) local b = coroutine.yield(a) return b end) \
             local _, x = coroutine.resume(co, 1) local _, y = coroutine.resume(co, 2) return x .. y end)()",
            "12",
        ),
    ]);
}

/// Hears every line, and counts them.
#[derive(Clone, Default)]
struct Hearer(Arc<AtomicUsize>);

impl tracing::Subscriber for Hearer {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // Other tests hear nothing, whatever this one does.
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().target().ends_with("pdk::log") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Lines nobody hears are not made; what one plugin turns off is on for others.
#[test]
fn lines_are_made_for_who_hears_them() {
    let trusting = || {
        let settings = Settings { untrusted: Untrusted::On, ..Settings::default() };
        rig_with(settings, &[]).unwrap()
    };
    let mut quiet_rig = trusting();
    let lines = "local made = 0
                 local shown = setmetatable({}, { __tostring = function()
                   made = made + 1
                   return 'text'
                 end })
                 kong.log.debug(shown) kong.log(shown) ngx.log(ngx.ERR, shown) print(shown)
                 kong.log.inspect({ [shown] = 1, [true] = 2 })";
    let quiet = format!("kong.log.inspect.off() {lines} assert(made == 0, made)");
    let quiet = quiet_rig.plugin("pre-function", json!({ "access": [quiet] }));
    assert_eq!(quiet_rig.get("/").access(&quiet), None);

    let heard = |access: &str, other: &str| {
        let mut rig = trusting();
        let first = rig.plugin("pre-function", json!({ "access": [access] }));
        let second = rig.plugin("post-function", json!({ "access": [other] }));
        let hearer = Hearer::default();
        tracing::subscriber::with_default(hearer.clone(), || {
            let mut exchange = rig.get("/");
            assert_eq!(exchange.access(&first), None);
            assert_eq!(exchange.access(&second), None);
        });
        hearer.0.load(Ordering::Relaxed)
    };
    let off = "kong.log.inspect.off() kong.log.inspect(1)";
    assert_eq!(heard(lines, "local _"), 5);
    assert_eq!(heard(off, "local _"), 0);
    assert_eq!(heard(off, "kong.log.inspect(1)"), 1);
    assert_eq!(heard(&format!("{off} kong.log.inspect.on() kong.log.inspect(1)"), off), 1);
}
