#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::sync::LazyLock;

use super::*;
use crate::auth::credential::SecretKey;
use crate::auth::keyfile::{RsaPrivateKey, RsaPublicKey};
use crate::auth::token::TokenVerifier;
use crate::dialect::json;

const APP: &str = "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f";
const ACCESS_KEY: &str = "QVUJMSUMgS0VZLS0tLS0";
const SECRET_KEY: &str = "DXPb4sqElKhcHe07Kw5uorayETwId1JOjjOIRomRs5wyszoCR5R7AtVa28KT3lSc";
const KAT_1: &str = "05bad66145ad18e5aba24fe435016f964d8277f28cc75552c3cf7cf3db230989";

/// 2022-05-01T08:00:00Z, the date of the first known answer.
const SIGNED_AT: u64 = 1_651_392_000;

static ISSUER: LazyLock<Arc<TokenIssuer>> =
    LazyLock::new(|| Arc::new(RsaPrivateKey::generate().unwrap().into()));

#[derive(Default)]
struct Keys(HashMap<AccessKey, StoredCredential>);

impl Credentials for Keys {
    fn by_access_key(&self, access_key: &AccessKey) -> Option<StoredCredential> {
        self.0.get(access_key).cloned()
    }
}

/// The service with one app, and one whose secret was sealed with other key material. Dates may be
/// 15 minutes off.
fn service() -> TokenService<Keys> {
    service_with(Freshness { skew_seconds: 900, zone_offsets: Vec::new() })
}

fn service_with(freshness: Freshness) -> TokenService<Keys> {
    let sealing = SealingKey::new(&[1; 32]).unwrap();
    let lost = SealingKey::new(&[2; 32]).unwrap();
    let mut keys = Keys::default();
    for (access_key, key) in [(ACCESS_KEY, &sealing), ("lostlostlostlostlost", &lost)] {
        let stored = StoredCredential {
            app_instance: AppInstanceId::parse(APP).unwrap(),
            secret_key: key.seal(SECRET_KEY.as_bytes()).unwrap(),
        };
        keys.0.insert(AccessKey::parse(access_key).unwrap(), stored);
    }
    TokenService::new(keys, Arc::new(sealing), ISSUER.clone(), freshness)
}

/// A request that tests change before it is sent.
struct Call {
    client: Option<String>,
    query: &'static str,
    headers: HeaderMap,
}

impl Call {
    /// The first known answer, from 10.1.2.3.
    fn good() -> Self {
        let authorization = format!(
            "SDK-HMAC-SHA256 Access={ACCESS_KEY}, \
             SignedHeaders=content-type;host;x-sdk-date, Signature={KAT_1}"
        );
        let call = Self {
            client: Some("10.1.2.3".to_owned()),
            query: "",
            headers: HeaderMap::from_iter([(
                http::header::CONTENT_TYPE,
                "application/json".parse().unwrap(),
            )]),
        };
        call.header("authorization", &authorization).header(DATE_HEADER, "20220501T080000Z")
    }

    /// Of the right form, wrong.
    fn wrong() -> Self {
        Self::good().edit(KAT_1, &"0".repeat(64))
    }

    fn from(mut self, client: &str) -> Self {
        self.client = Some(client.to_owned());
        self
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    /// Changes a part of the `Authorization` header.
    fn edit(self, from: &str, to: &str) -> Self {
        let value = self.headers["authorization"].to_str().unwrap().replacen(from, to, 1);
        self.header("authorization", &value)
    }

    /// Signs again, as the client does, after the date was changed to `date`.
    fn signed_at(self, date: &str) -> Self {
        let call = self.header(DATE_HEADER, date);
        let signature = Authorization::sign(
            AccessKey::parse(ACCESS_KEY).unwrap(),
            &SecretKey::parse(SECRET_KEY).unwrap(),
            &call.request().as_signed(),
        );
        call.header("authorization", &signature.to_string())
    }

    fn request(&self) -> TokenRequest<'_> {
        TokenRequest {
            client: self.client.as_deref(),
            path: "/mep/token",
            query: self.query,
            host: "mep.example.com:8443",
            headers: &self.headers,
        }
    }

    /// Sends it `seconds` after [`SIGNED_AT`]; status and body as a client sees them.
    fn send(&self, service: &TokenService<Keys>, seconds: u64) -> (u16, String) {
        match service.token(&self.request(), (SIGNED_AT + seconds) * 1000) {
            Ok(reply) => (200, json::to_string(&reply).unwrap()),
            Err(refusal) => {
                (refusal.status().as_u16(), json::to_string(refusal.message()).unwrap())
            }
        }
    }
}

/// Sends one call to a fresh service at [`SIGNED_AT`].
fn check(call: &Call, status: u16, body: &str) {
    assert_eq!(call.send(&service(), 0), (status, body.to_owned()), "{:?}", call.headers);
}

const BAD_CLIENT: &str = r#""clientIp address is invalid""#;
const BAD_HEADER: &str = r#""Bad auth header format""#;
const BAD_DATE: &str = r#""Bad x-sdk-time format""#;
const LOCKED: &str = r#""Access is locked.""#;
const INVALID: &str = r#""Invalid access or signature.""#;
const INTERNAL: &str = r#""Internal server error.""#;

#[test]
fn a02_a_signed_request_gets_a_token() {
    let (status, body) = Call::good().send(&service(), 0);
    assert_eq!(status, 200);
    let reply: serde_json::Value = serde_json::from_str(&body).unwrap();
    let token = reply["access_token"].as_str().unwrap();
    assert_eq!(
        body,
        format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600}}"#)
    );
    let claims = verify(token);
    assert_eq!(claims.sub.as_str(), APP);
    assert_eq!(claims.iss, "mepauth");
    assert_eq!(claims.clientip.to_string(), "10.1.2.3");
    assert_eq!(claims.exp, (SIGNED_AT + 3600) as f64);
}

fn verify(token: &str) -> crate::auth::token::Claims {
    let public = ISSUER.key().public_key_pem().unwrap();
    let public = RsaPublicKey::from_pem(public.as_bytes()).unwrap();
    TokenVerifier::new(&public).unwrap().verify(token, SIGNED_AT).unwrap()
}

#[test]
fn a04_a_query_is_signed_too() {
    let mut call = Call::good()
        .edit(KAT_1, "de72423f8cf4d246aa6232e565055b7b26feda19af8f74e48aa018adbb2c602e");
    check(&call, 401, INVALID);
    call.query = "b=2%20x&a=1~%2A";
    assert_eq!(call.send(&service(), 0).0, 200);
}

#[test]
fn a05_a_client_without_an_address_is_refused() {
    let mut call = Call::good();
    call.client = None;
    check(&call, 400, BAD_CLIENT);
    for address in ["127.0.0.0.1", "", "localhost", "10.1.2.3:80", "10.1.2.256", "::1%lo"] {
        check(&Call::good().from(address), 400, BAD_CLIENT);
    }
    // It is the first check.
    check(&Call::wrong().from("x").header(DATE_HEADER, ""), 400, BAD_CLIENT);
}

#[test]
fn a06_a_client_may_have_an_ipv6_address() {
    let (status, body) = Call::good().from("::1").send(&service(), 0);
    assert_eq!(status, 200);
    let reply: serde_json::Value = serde_json::from_str(&body).unwrap();
    let claims = verify(reply["access_token"].as_str().unwrap());
    assert_eq!(claims.clientip.to_string(), "::1");
}

#[test]
fn a07_a14_the_authorization_header_has_one_layout() {
    let mut without = Call::good();
    without.headers.remove("authorization");
    check(&without, 400, BAD_HEADER);
    check(&Call::good().edit("SDK-HMAC-SHA256", "sdk-hmac-sha256"), 400, BAD_HEADER);
    check(&Call::good().edit(", Signed", ",Signed"), 400, BAD_HEADER);
    check(&Call::good().edit(", Signature", ",Signature"), 400, BAD_HEADER);
    // The date must be signed.
    let unsigned_date = Call::good()
        .edit("x-sdk-date", "x-sdk-dat1")
        .edit(KAT_1, "7ca029433cd796d71d08f7e41f7884dff8ae819925c162ec0dd13eb3bfc777e0");
    check(&unsigned_date, 400, BAD_HEADER);
    // Checked before the date.
    check(&without.header(DATE_HEADER, "x"), 400, BAD_HEADER);
}

#[test]
fn a08_the_date_has_one_layout() {
    let mut without = Call::good();
    without.headers.remove(DATE_HEADER);
    check(&without, 400, BAD_DATE);
    check(&Call::good().header(DATE_HEADER, "20200930"), 400, BAD_DATE);
    check(&Call::good().header(DATE_HEADER, "20201301T101010Z"), 400, BAD_DATE);
    let mut binary = Call::good();
    binary.headers.insert(DATE_HEADER, http::HeaderValue::from_bytes(b"\xff").unwrap());
    check(&binary, 400, BAD_DATE);
    assert_eq!(Call::good().signed_at("20220501T080000.5Z").send(&service(), 0).0, 200);
}

#[test]
fn a09_an_unknown_access_key_never_locks() {
    let service = service();
    let call = Call::good().edit(ACCESS_KEY, "AAAAAAAAAAAAAAAAAAAA");
    for _ in 0..200 {
        assert_eq!(call.send(&service, 0), (401, INVALID.to_owned()));
    }
}

#[test]
fn a10_three_wrong_signatures_lock_for_900_seconds() {
    let service = service();
    for _ in 0..3 {
        assert_eq!(Call::wrong().send(&service, 0), (401, INVALID.to_owned()));
    }
    assert_eq!(Call::good().send(&service, 1), (403, LOCKED.to_owned()));
    assert_eq!(Call::good().send(&service, 899), (403, LOCKED.to_owned()));
    assert_eq!(Call::good().send(&service, 900).0, 200);
}

#[test]
fn a_lock_is_for_one_client_of_an_access_key() {
    let service = service();
    for _ in 0..3 {
        Call::wrong().from("192.0.2.1").send(&service, 0);
    }
    assert_eq!(Call::good().from("192.0.2.1").send(&service, 1), (403, LOCKED.to_owned()));
    assert_eq!(Call::good().send(&service, 1).0, 200);
}

/// Sends calls of (second, wrong or good) in turn and expects these statuses.
fn play(calls: &[(u64, bool, u16)]) {
    let service = service();
    for (at, &(seconds, good, status)) in calls.iter().enumerate() {
        let call = if good { Call::good() } else { Call::wrong() };
        assert_eq!(call.send(&service, seconds).0, status, "call {at}");
    }
}

#[test]
fn a11_a_right_signature_forgets_the_wrong_ones() {
    play(&[(0, false, 401), (1, false, 401), (2, true, 200), (3, false, 401), (4, false, 401)]);
    play(&[(0, false, 401), (1, false, 401), (2, true, 200), (3, false, 401), (4, true, 200)]);
}

#[test]
fn a12_the_count_ends_with_its_window() {
    play(&[
        (0, false, 401),
        (1, false, 401),
        (302, false, 401),
        (303, false, 401),
        (304, true, 200),
    ]);
}

#[test]
fn refusals_for_form_or_age_do_not_count() {
    let service = service();
    for _ in 0..5 {
        assert_eq!(Call::good().header(DATE_HEADER, "x").send(&service, 0).0, 400);
        assert_eq!(Call::good().edit("SDK", "sdk").send(&service, 0).0, 400);
        assert_eq!(Call::good().send(&service, 901), (401, INVALID.to_owned()));
    }
    assert_eq!(Call::good().send(&service, 0).0, 200);
}

#[test]
fn a_stale_request_does_not_end_a_count() {
    let service = service();
    Call::wrong().send(&service, 1000);
    Call::wrong().send(&service, 1000);
    assert_eq!(Call::good().send(&service, 1000).0, 401);
    Call::wrong().send(&service, 1000);
    assert_eq!(Call::good().send(&service, 1000), (403, LOCKED.to_owned()));
}

#[test]
fn a13_upper_case_hexadecimal_is_a_wrong_signature() {
    check(&Call::good().edit(KAT_1, &KAT_1.to_ascii_uppercase()), 401, INVALID);
}

#[test]
fn a15_an_old_request_is_refused() {
    let service = service();
    assert_eq!(Call::good().send(&service, 3600), (401, INVALID.to_owned()));
    assert_eq!(Call::good().send(&service, 900).0, 200);

    let by_default = service_with(Freshness::default());
    assert_eq!(Call::good().send(&by_default, 3600).0, 200);
    assert_eq!(Call::good().send(&by_default, 54_000).0, 200);
    assert_eq!(Call::good().send(&by_default, 54_001), (401, INVALID.to_owned()));

    let off = service_with(Freshness { skew_seconds: 0, zone_offsets: Vec::new() });
    assert_eq!(Call::good().send(&off, 100_000_000).0, 200);

    let in_china = service_with(Freshness { skew_seconds: 900, zone_offsets: vec![28_800] });
    assert_eq!(Call::good().signed_at("20220501T160000Z").send(&in_china, 0).0, 200);
    assert_eq!(Call::good().signed_at("20220501T120000Z").send(&in_china, 0).0, 401);
}

#[test]
fn a_captured_request_serves_no_other_client() {
    let service = service();
    assert_eq!(Call::good().send(&service, 0).0, 200);
    assert_eq!(Call::good().send(&service, 1).0, 200);
    assert_eq!(Call::good().from("10.1.2.4").send(&service, 2), (401, INVALID.to_owned()));
    assert_eq!(Call::good().send(&service, 3).0, 200);
    // A request of its own is another matter.
    let own = Call::good().from("10.1.2.4").signed_at("20220501T080001Z");
    assert_eq!(own.send(&service, 4).0, 200);
    // A wrong signature was never accepted, so nobody owns it.
    assert_eq!(Call::wrong().send(&service, 5).0, 401);
}

#[test]
fn a_secret_that_cannot_be_opened_is_our_failure() {
    check(&Call::good().edit(ACCESS_KEY, "lostlostlostlostlost"), 500, INTERNAL);
}

#[test]
fn each_reply_has_its_own_token_though_the_operator_sees_no_secret() {
    let service = service();
    let (_, one) = Call::good().send(&service, 0);
    let (_, other) = Call::good().send(&service, 1);
    assert_ne!(one, other);

    let refusal = service.token(&Call::wrong().request(), SIGNED_AT * 1000).err().unwrap();
    assert_eq!(refusal.to_string(), format!("wrong signature for access key {ACCESS_KEY}"));
}

/// Services that tell each other everything at once.
fn nodes<const N: usize>() -> [Arc<TokenService<Keys>>; N] {
    let all: Arc<std::sync::OnceLock<[Arc<TokenService<Keys>>; N]>> = Arc::default();
    let nodes = std::array::from_fn(|own| {
        let others = Arc::clone(&all);
        Arc::new(service().among_others(move |word| {
            for (at, other) in others.get().unwrap().iter().enumerate() {
                if at != own {
                    other.hear(&Word::parse(&word.to_string()).unwrap(), SIGNED_AT * 1000);
                }
            }
        }))
    });
    all.set(nodes).ok().unwrap();
    all.get().unwrap().clone()
}

#[test]
fn a_captured_request_serves_no_other_client_at_any_node() {
    let [a, b] = nodes();
    assert_eq!(Call::good().send(&a, 0).0, 200);
    let captured = Call::good().from("10.1.2.4");
    assert_eq!(captured.send(&b, 1), (401, INVALID.to_owned()));
    assert_eq!(Call::good().send(&b, 2).0, 200, "its owner may ask anywhere");
}

#[test]
fn wrong_signatures_at_all_nodes_count_together() {
    let [a, b, c] = nodes();
    assert_eq!(Call::wrong().send(&a, 0).0, 401);
    assert_eq!(Call::wrong().send(&b, 0).0, 401);
    // A right one anywhere forgets them everywhere.
    assert_eq!(Call::good().send(&c, 0).0, 200);
    for node in [&a, &b, &c] {
        assert_eq!(Call::wrong().send(node, 1).0, 401);
    }
    for node in [&a, &b, &c] {
        assert_eq!(Call::good().send(node, 1), (403, LOCKED.to_owned()));
        assert_eq!(Call::good().send(node, 899).0, 403);
    }
}
