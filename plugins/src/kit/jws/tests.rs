#![allow(clippy::unwrap_used, reason = "tests")]

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::json;

use super::*;
use crate::test_kit::Signer;

const ALL: [Algorithm; 13] = [
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::ES512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::EdDSA,
];

fn key(algorithm: Algorithm, signer: &Signer, secret: &str) -> Key {
    match signer.public_pem() {
        Some(pem) => {
            assert!(is_public_key(&pem), "{algorithm:?}");
            Key::public(algorithm, &pem).unwrap()
        }
        None => Key::shared(algorithm, secret.as_bytes()).unwrap(),
    }
}

#[test]
fn every_algorithm_accepts_its_own_signature_and_no_other() {
    for algorithm in ALL {
        let signer = Signer::new(algorithm, "one");
        let text = signer.token(algorithm, &json!({"iss": "k", "n": 1}));
        let token = Token::parse(&text).unwrap();
        assert_eq!(token.algorithm, algorithm);
        assert_eq!(token.claims["iss"], "k");
        assert!(token.is_signed_by(&key(algorithm, &signer, "one")), "{algorithm:?}");

        let stranger = Signer::new(algorithm, "two");
        assert!(!token.is_signed_by(&key(algorithm, &stranger, "two")), "{algorithm:?}");

        let (signed, signature) = text.rsplit_once('.').unwrap();
        let other = signer.token(algorithm, &json!({"iss": "k", "n": 2}));
        let forged = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
        assert_ne!(forged.rsplit_once('.').unwrap().0, signed);
        let forged = Token::parse(&forged).unwrap();
        assert!(!forged.is_signed_by(&key(algorithm, &signer, "one")), "{algorithm:?}");
    }
}

#[test]
fn a_key_serves_its_own_kind_only() {
    let rsa = Signer::new(Algorithm::RS256, "").public_pem().unwrap();
    let curve = Signer::new(Algorithm::ES256, "").public_pem().unwrap();
    assert!(Key::public(Algorithm::PS512, &rsa).is_some());
    assert!(Key::public(Algorithm::ES256, &rsa).is_none());
    assert!(Key::public(Algorithm::RS256, &curve).is_none());
    assert!(Key::public(Algorithm::ES384, &curve).is_none());
    // The classic confusion: a public key used as a shared secret.
    assert!(Key::public(Algorithm::HS256, &rsa).is_none());
    assert!(Key::shared(Algorithm::RS256, rsa.as_bytes()).is_none());
}

#[test]
fn what_is_no_public_key() {
    let spki = Signer::new(Algorithm::RS256, "").public_pem().unwrap();
    let renamed = spki.replace("PUBLIC KEY", "CERTIFICATE");
    let cut = spki.replacen('M', "A", 3);
    for text in ["", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
        .into_iter()
        .chain([renamed.as_str(), cut.as_str()])
    {
        assert!(!is_public_key(text), "{text}");
    }
    assert!(is_public_key(&spki.replace('\n', "\r\n")));
}

#[test]
fn malformed_tokens() {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let good = part(r#"{"alg":"HS256"}"#);
    let claims = part("{}");
    let check = |text: String, wanted: Malformed| {
        assert_eq!(Token::parse(&text).err(), Some(wanted), "{text}");
    };
    check(String::new(), Malformed::Json);
    check("junk".into(), Malformed::Json);
    check("a.b.c".into(), Malformed::Json);
    check(format!("{good}.{claims}"), Malformed::Json);
    check(format!("{good}.{claims}.{claims}.{claims}"), Malformed::Json);
    check(format!("{good}.{}.x", part("{")), Malformed::Json);
    check(format!("{good}.{}.x", part("\u{0}")), Malformed::Json);
    check(format!("{}.{claims}.", part(r#"{"alg":"none"}"#)), Malformed::Algorithm);
    check(format!("{}.{claims}.", part(r#"{"alg":"hs256"}"#)), Malformed::Algorithm);
    check(format!("{}.{claims}.", part(r#"{"alg":7}"#)), Malformed::Algorithm);
    check(format!("{}.{claims}.", part("[]")), Malformed::Algorithm);
    check(format!("{}.{claims}.", part("{}")), Malformed::Algorithm);
    check(format!("{good}.{}.", part("null")), Malformed::Claims);
    check(format!("{good}.{}.", part("[1]")), Malformed::Claims);
    check(format!("{good}.{claims}.!"), Malformed::Signature);
    // Two spellings of the same bytes: the last two bits of "x" are stray.
    check(format!("{good}.{claims}.AB"), Malformed::Signature);
    assert!(Token::parse(&format!("{good}.{claims}.AA==")).is_ok(), "padding is tolerated");
    let plus = BASE64_STANDARD.encode([0xfb, 0xef, 0xbe]);
    assert!(plus.contains('+'));
    check(format!("{good}.{claims}.{plus}"), Malformed::Signature);
}

#[test]
fn deep_nesting_is_refused_not_followed() {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let text = format!("{}.{}.", part(r#"{"alg":"HS256"}"#), part(&"[".repeat(100_000)));
    assert_eq!(Token::parse(&text).err(), Some(Malformed::Json));
}
