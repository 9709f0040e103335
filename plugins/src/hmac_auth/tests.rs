#![allow(clippy::unwrap_used, reason = "tests")]

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::signature::Signature;
use crate::test_kit::{Exchange, Rig, rig};

/// Half past midnight's first minute of 2026, the time of the rig.
const DATE: &str = "Thu, 01 Jan 2026 00:00:30 GMT";

/// A consumer `bob` who signs as `u` with `s`, and one for everybody else.
fn bobs_rig() -> Rig {
    let mut rig = rig();
    let bob = rig.insert("consumers", json!({"username": "bob"})).id();
    rig.insert("consumers", json!({"username": "anyone"}));
    let credential = json!({"username": "u", "secret": "s", "consumer": {"id": bob}});
    rig.insert("hmacauth_credentials", credential);
    rig
}

/// The header of a client that signed `text`.
fn signed(algorithm: hmac::Algorithm, name: &str, headers: &str, text: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(algorithm, b"s"), text.as_bytes());
    let tag = BASE64_STANDARD.encode(tag);
    format!("hmac username=\"u\", algorithm=\"{name}\", headers=\"{headers}\", signature=\"{tag}\"")
}

fn usual(headers: &str, text: &str) -> String {
    signed(hmac::HMAC_SHA256, "hmac-sha256", headers, text)
}

/// Runs a request; gives the text of a refusal, or the consumer's name.
fn check(config: Value, request: impl FnOnce(&Rig) -> Exchange, wanted: Result<&str, &str>) {
    let mut rig = bobs_rig();
    let plugin = rig.plugin("hmac-auth", config.clone());
    let mut exchange = request(&rig);
    let got = match exchange.access(&plugin) {
        Some(answer) => {
            assert_eq!(answer.status, 401, "{config}");
            assert_eq!(answer.header("www-authenticate"), Some("hmac"));
            Err(answer.body["message"].as_str().unwrap().to_owned())
        }
        None => Ok(exchange.sent("x-consumer-username").join(", ")),
    };
    assert_eq!(got.as_deref().map_err(|text| &**text), wanted, "{config}");
}

const INVALID: Result<&str, &str> = Err("HMAC signature cannot be verified");
const DIFFERENT: Result<&str, &str> = Err("HMAC signature does not match");
const NO_DATE: Result<&str, &str> =
    Err("HMAC signature cannot be verified, a valid date or x-date header is required for HMAC \
     Authentication");

#[test]
fn what_is_signed() {
    let date = |text: &str| usual("date", text);
    let line = format!("date: {DATE}\nGET /a?b=%20 HTTP/1.1");
    let target = format!("date: {DATE}\n@request-target: get /a?b=%20");
    let absent = format!("x-none:\ndate: {DATE}");
    let host = format!("Host: gw.test\ndate: {DATE}");
    let without_query = format!("date: {DATE}\nGET /a HTTP/1.1");
    for (headers, text) in [
        ("date", format!("date: {DATE}")),
        ("date request-line", line),
        ("date @request-target", target),
        ("x-none date", absent),
        ("Host date", host),
        ("date request-line", without_query),
    ] {
        let proof = usual(headers, &text);
        let request =
            |rig: &Rig| rig.get("/a?b=%20").header("Date", DATE).header("Authorization", &proof);
        check(json!({}), request, Ok("bob"));
        let request = |rig: &Rig| {
            let proof = proof.replace("hmac u", "Hmac  u");
            rig.get("/a?b=%20").header("X-Date", DATE).header("Proxy-Authorization", &proof)
        };
        let signs_date = headers.split(' ').any(|name| name == "date");
        check(json!({}), request, if signs_date { DIFFERENT } else { Ok("bob") });
    }
    let request = |text: String| {
        move |rig: &Rig| rig.get("/").header("Date", DATE).header("Authorization", &date(&text))
    };
    check(json!({}), request("date: other".into()), DIFFERENT);
    let other = usual("date request-line", &format!("date: {DATE}\nGET /a?b=1 HTTP/1.1"));
    let request =
        |rig: &Rig| rig.get("/a?b=2").header("Date", DATE).header("Authorization", &other);
    check(json!({}), request, DIFFERENT);
}

#[test]
fn algorithms() {
    let text = format!("date: {DATE}");
    for (algorithm, name) in [
        (hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, "hmac-sha1"),
        (hmac::HMAC_SHA256, "hmac-sha256"),
        (hmac::HMAC_SHA384, "hmac-sha384"),
        (hmac::HMAC_SHA512, "hmac-sha512"),
    ] {
        let proof = signed(algorithm, name, "date", &text);
        let request = |rig: &Rig| rig.get("/").header("Date", DATE).header("Authorization", &proof);
        check(json!({}), request, Ok("bob"));
        let config = json!({"algorithms": ["hmac-sha512"]});
        check(config, request, if name == "hmac-sha512" { Ok("bob") } else { INVALID });
    }
    let proof = signed(hmac::HMAC_SHA256, "hmac-md5", "date", &text);
    check(
        json!({}),
        |rig| rig.get("/").header("Date", DATE).header("Authorization", &proof),
        INVALID,
    );
}

#[test]
fn what_is_refused() {
    let good = usual("date", &format!("date: {DATE}"));
    check(json!({}), |rig| rig.get("/").header("Date", DATE), Err("Unauthorized"));
    check(json!({}), |rig| rig.get("/").header("Authorization", &good), NO_DATE);
    for (date, wanted) in [
        ("Wed, 31 Dec 2025 23:55:30 GMT", DIFFERENT),
        ("Wed, 31 Dec 2025 23:55:29 GMT", NO_DATE),
        ("Thu, 01 Jan 2026 00:05:30 GMT", DIFFERENT),
        ("Thursday, 01-Jan-26 00:00:30 GMT", DIFFERENT),
        ("Thu, 01 Jan 2026 00:05:31 GMT", NO_DATE),
        ("1767225630", NO_DATE),
    ] {
        let request = |rig: &Rig| rig.get("/").header("Date", date).header("Authorization", &good);
        check(json!({}), request, wanted);
    }
    let with = |header: String| {
        move |rig: &Rig| rig.get("/").header("Date", DATE).header("Authorization", &header)
    };
    check(json!({}), with("hmac nonsense".into()), INVALID);
    check(json!({}), with(good.replace("\"u\"", "\"nobody\"")), INVALID);
    check(json!({}), with(good.replace("signature=\"", "signature=\"!")), DIFFERENT);
    check(json!({"enforce_headers": ["request-line"]}), with(good.clone()), INVALID);
    check(json!({"enforce_headers": ["date"]}), with(good.clone()), Ok("bob"));
    check(json!({"anonymous": "anyone"}), with("hmac nonsense".into()), Ok("anyone"));
}

#[test]
fn bodies_have_their_digest() {
    let proof = usual("date", &format!("date: {DATE}"));
    let config = || json!({"validate_request_body": true});
    let request = |rig: &Rig| rig.get("/").header("Date", DATE).header("Authorization", &proof);
    // printf body | sha256sum, in base64
    let digest = "SHA-256=Iw2DWNyOiJC0xY3utikS7i8gNXrpKlzIYbmOaP4xrLU=";
    check(
        config(),
        |rig| request(rig).body("text/plain", "body").header("Digest", digest),
        Ok("bob"),
    );
    check(
        config(),
        |rig| request(rig).body("text/plain", "body").header("Digest", "SHA-256=xx"),
        DIFFERENT,
    );
    check(
        config(),
        |rig| request(rig).body("text/plain", "other").header("Digest", digest),
        DIFFERENT,
    );
    check(config(), |rig| request(rig).body("text/plain", "body"), DIFFERENT);
    check(config(), |rig| request(rig).body("text/plain", ""), Ok("bob"));
    check(config(), |rig| request(rig).large_body().header("Digest", digest), DIFFERENT);
    check(json!({}), |rig| request(rig).body("text/plain", "body"), Ok("bob"));
}

#[test]
fn hidden_signatures_do_not_reach_the_upstream() {
    let mut rig = bobs_rig();
    let plugin = rig.plugin("hmac-auth", json!({"hide_credentials": true}));
    let proof = usual("date", &format!("date: {DATE}"));
    let mut exchange = rig.get("/").header("Date", DATE).header("Authorization", &proof);
    assert_eq!(exchange.access(&plugin), None);
    assert_eq!(exchange.sent("authorization"), [""; 0]);
    assert_eq!(exchange.sent("x-credential-identifier"), ["u"]);
}

#[test]
fn forms_of_the_header() {
    let text = "hmac username=\"a\",algorithm=\"b\",   headers=\"c d\", signature=\"e\"";
    let read = Signature::read(text).unwrap();
    assert_eq!((read.username, read.algorithm), ("a", "b"));
    assert_eq!(read.headers, ["c", "d"]);
    for bad in ["", "hmac", "Basic dTpw", "hmac username=\"\", algorithm=\"b\", headers=\"c\""] {
        assert_eq!(Signature::read(bad), None, "{bad}");
    }
}

proptest::proptest! {
    /// Whatever a client sends, it gets an answer, and not what it has no key for.
    #[test]
    fn any_header_is_answered(value in "[ -~]{0,80}", quoted in "[^\"\\p{C}]{0,20}") {
        let mut rig = bobs_rig();
        let plugin = rig.plugin("hmac-auth", json!({}));
        let formed = format!(
            "hmac username=\"u\", algorithm=\"hmac-sha256\", headers=\"{quoted}\", signature=\"{quoted}\""
        );
        for header in [&value, &formed] {
            let mut exchange = rig.get("/").header("Date", DATE);
            if exchange.head.append_header("Authorization", header.as_bytes()).is_ok() {
                let answer = exchange.access(&plugin).unwrap();
                assert_eq!(answer.status, 401);
            }
        }
    }
}
