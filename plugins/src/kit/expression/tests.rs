#![allow(clippy::unwrap_used, reason = "tests")]

use super::pattern::{Pattern, first};
use super::{Global, Scope, Value, number_text, parse};

struct Told;

impl Scope for Told {
    fn member(&self, table: Global, key: &Value) -> Value {
        match (table, key) {
            (Global::Headers, Value::Text(name)) if name == b"x-a" => Value::text("AA"),
            (Global::QueryParams, Value::Text(name)) if name == b"flag" => Value::Boolean(true),
            (Global::QueryParams, Value::Text(name)) if name == b"q" => {
                Value::List(vec![Value::text("1"), Value::text("2")])
            }
            (Global::UriCaptures, Value::Number(n)) if *n == 1.0 => Value::text("12"),
            _ => Value::Nil,
        }
    }
}

#[test]
fn values() {
    let check = |source: &str, wanted: &str| {
        let parsed = parse(source).unwrap_or_else(|why| panic!("{source}: {why}"));
        let shown = match parsed.evaluate(&Told) {
            Ok(value) => String::from_utf8(value.print().unwrap_or_default()).unwrap(),
            Err(why) => format!("! {why}"),
        };
        assert_eq!(shown, wanted, "{source}");
    };
    check(r#"headers["x-a"]"#, "AA");
    check("headers.nothing", "nil");
    check(r#"uri_captures[1] or "none""#, "12");
    check(r#"uri_captures[2] or "none""#, "none");
    check("uri_captures.id", "nil");
    check(r#"(function() return "v" end)()"#, "v");
    check(r#"(function() return headers["x-a"]; end)()"#, "AA");
    check("query_params.flag", "true");
    check("query_params.q[2]", "2");
    check("#query_params.q", "2");
    check(r#""a" .. 1 .. 'b'"#, "a1b");
    check("1 + 2 * 3 ^ 2 - -1", "20");
    check("7 % 3 == 1 and 'odd' or 'even'", "odd");
    check("-7 % 3", "2");
    check("'10' * 2", "20");
    check("2 ^ 3 ^ 2", "512");
    check("not nil == true", "true");
    check("1 < 2 and 'a' < 'b'", "true");
    check("'x' ~= 'y'", "true");
    check(r#""\65\n\"""#, "A\n\"");
    check("[[long]]", "long");
    check("0x10", "16");
    check("headers['x-a']:lower()", "aa");
    check("('abcdef'):sub(2, -2)", "bcde");
    check("('abc'):upper():rep(2)", "ABCABC");
    check("('abc'):reverse()", "cba");
    check("('abc'):len()", "3");
    check("('abc'):byte(2)", "98");
    check("('Bearer t.o.k'):match('Bearer%s+(.+)')", "t.o.k");
    check("('none'):match('Bearer%s+(.+)') or 'no'", "no");
    check("('/a/b'):gsub('/', '-')", "-a-b");
    check("('k=v'):gsub('(%w+)=(%w+)', '%2=%1')", "v=k");
    check("('a.b'):find('.', 1, true)", "2");
    check("headers.nothing.more", "! attempt to index a nil value");
    check("headers.nothing:lower()", "! attempt to index a nil value");
    check("headers.nothing .. 'a'", "! attempt to concatenate a nil value");
}

#[test]
fn what_is_refused() {
    let check = |source: &str, wanted: &str| {
        assert_eq!(parse(source).err().as_deref(), Some(wanted), "{source}");
    };
    check(
        "ngx.var.x",
        "unknown name 'ngx': templates know headers, query_params, uri_captures and shared",
    );
    check(
        "headers.x(1)",
        "only methods of strings and functions written in place can be called in templates",
    );
    check("headers.x:dump()", "the method 'dump' is not available in templates");
    check("(function(a) return a end)()", "functions in templates take no arguments");
    check("(function() local x = 1 end)()", "functions in templates are one 'return'");
    check("{}", "unexpected symbol near '{'");
    check("1 2", "unexpected 2 after the expression");
    check("'open", "unfinished string");
    check("", "an expression is missing");
    check("('a'):match('[a')", "malformed pattern (missing ']')");
    check(&"(".repeat(100), "the expression is nested too deeply");
}

#[test]
fn patterns() {
    let check = |pattern: &str, text: &str, wanted: Option<&str>| {
        let found = Pattern::new(pattern.as_bytes()).unwrap().find(text.as_bytes(), 0).unwrap();
        let shown = found.map(|found| String::from_utf8(first(&found, text.as_bytes())).unwrap());
        assert_eq!(shown, wanted.map(str::to_owned), "{pattern} in {text}");
    };
    check("%d+", "ab123", Some("123"));
    check("^%d+", "ab123", None);
    check("%a-%d", "ab1", Some("ab1"));
    check("(%a+)$", "1ab", Some("ab"));
    check("[^/]+", "/x/y", Some("x"));
    check("[%w_-]+", "..a-b_c..", Some("a-b_c"));
    check("[]]", "a]", Some("]"));
    check("x?y", "ay", Some("y"));
    check("%b()", "f(a(b)c)d", Some("(a(b)c)"));
    check("(%w)%1", "abccd", Some("c"));
    check("a.-c", "abcabc", Some("abc"));
    check("", "abc", Some(""));
    check("%.", "a.b", Some("."));
    for (pattern, wanted) in [
        ("(", "unfinished capture"),
        (")", "invalid pattern capture"),
        ("%", "malformed pattern (ends with '%')"),
        ("%1", "invalid capture index"),
        ("%b(", "unbalanced pattern"),
    ] {
        assert_eq!(Pattern::new(pattern.as_bytes()).err().as_deref(), Some(wanted), "{pattern}");
    }
    let long = "a".repeat(5000);
    let slow = Pattern::new(b"a-a-a-a-a-b").unwrap().find(long.as_bytes(), 0);
    assert_eq!(slow.err().as_deref(), Some("pattern takes too long"));
}

#[test]
fn numbers_are_shown_as_lua_does() {
    for (number, wanted) in [
        (1.0, "1"),
        (-0.5, "-0.5"),
        (0.1, "0.1"),
        (1e15, "1e+15"),
        (1e14, "100000000000000"),
        (1.0 / 3.0, "0.33333333333333"),
        (1e-7, "1e-07"),
        (123_456.789, "123456.789"),
    ] {
        assert_eq!(number_text(number), wanted);
    }
}
