#![allow(clippy::unwrap_used, reason = "tests")]

use gateway_model::Id;
use serde_json::{Value, json};

use crate::kit::jws::Algorithm;
use crate::test_kit::{Exchange, Instance, Rig, Signer, rig};

const SECRET: &str = "sec";

struct Issuer {
    rig: Rig,
    signer: Signer,
    credential: Id,
    consumer: Id,
}

/// A consumer `bob` whose credential `k1` is for this algorithm.
fn issuer(algorithm: Algorithm) -> Issuer {
    let mut rig = rig();
    let signer = Signer::new(algorithm, SECRET);
    let consumer = rig.insert("consumers", json!({"username": "bob", "custom_id": "cb"})).id();
    let credential = rig.insert(
        "jwt_secrets",
        json!({
            "consumer": {"id": consumer}, "key": "k1", "secret": SECRET,
            "algorithm": format!("{algorithm:?}"), "rsa_public_key": signer.public_pem(),
        }),
    );
    Issuer { rig, signer, credential: credential.id(), consumer }
}

impl Issuer {
    fn token(&self, claims: Value) -> String {
        self.signer.sign(&json!({"alg": "HS256"}), &claims)
    }

    fn now(&self) -> u64 {
        self.rig.clock.unix_seconds()
    }
}

fn message(text: &str) -> Option<(u16, Value)> {
    Some((401, json!({ "message": text })))
}

fn run(instance: &Instance, exchange: &mut Exchange) -> Option<(u16, Value)> {
    exchange.access(instance).map(|answer| (answer.status, answer.body))
}

#[test]
fn every_algorithm_of_a_credential_lets_in() {
    use Algorithm::*;
    for algorithm in
        [HS256, HS384, HS512, RS256, RS384, RS512, ES256, ES384, ES512, PS256, PS384, PS512, EdDSA]
    {
        let mut issuer = issuer(algorithm);
        let jwt = issuer.rig.plugin("jwt", json!({}));
        let token = issuer.signer.token(algorithm, &json!({"iss": "k1", "sub": "app"}));
        let mut exchange = issuer.rig.get("/").bearer(&token);
        assert_eq!(run(&jwt, &mut exchange), None, "{algorithm:?}");
        assert_eq!(exchange.facts.identity.claims.as_ref().unwrap()["sub"], "app");

        let stranger = Signer::new(algorithm, "another");
        let token = stranger.token(algorithm, &json!({"iss": "k1"}));
        let refused = run(&jwt, &mut issuer.rig.get("/").bearer(&token));
        assert_eq!(refused, message("Invalid signature"), "{algorithm:?}");
    }
}

#[test]
fn refusals_in_their_order() {
    let mut issuer = issuer(Algorithm::HS256);
    let jwt = issuer.rig.plugin("jwt", json!({"claims_to_verify": ["exp"]}));
    let (later, now) = (issuer.now() + 600, issuer.now());
    let check = |token: String, wanted: Option<(u16, Value)>| {
        let mut exchange = issuer.rig.get("/").bearer(&token);
        assert_eq!(run(&jwt, &mut exchange), wanted, "{token}");
    };
    let claims = |claims: Value| issuer.token(claims);
    check("junk".into(), message("Bad token; invalid JSON"));
    check(
        issuer.signer.sign(&json!({"alg": "none"}), &json!({"iss": "k1"})),
        message("Bad token; invalid alg"),
    );
    check(claims(json!([])), message("Bad token; invalid claims"));
    check(claims(json!({"exp": later})), message("No mandatory 'iss' in claims"));
    check(claims(json!({"iss": null})), message("No mandatory 'iss' in claims"));
    check(claims(json!({"iss": ""})), message("Invalid 'iss' in claims"));
    check(claims(json!({"iss": "no"})), message("No credentials found for given 'iss'"));
    check(claims(json!({"iss": 123})), message("No credentials found for given 'iss'"));
    check(
        issuer.signer.sign(&json!({"alg": "HS512"}), &json!({"iss": "k1"})),
        message("Invalid algorithm"),
    );
    check(
        Signer::new(Algorithm::HS256, "x").token(Algorithm::HS256, &json!({"iss": "k1"})),
        message("Invalid signature"),
    );
    let number = Some((401, json!({"exp": "must be a number"})));
    check(claims(json!({"iss": "k1"})), number.clone());
    check(claims(json!({"iss": "k1", "exp": "later"})), number);
    let expired = Some((401, json!({"exp": "token expired"})));
    check(claims(json!({"iss": "k1", "exp": now})), expired.clone());
    check(claims(json!({"iss": "k1", "exp": 1})), expired);
    check(claims(json!({"iss": "k1", "exp": now + 1})), None);
    check(issuer.signer.sign(&json!({"alg": "HS256", "iss": "k1"}), &json!({"exp": later})), None);
}

#[test]
fn the_algorithm_is_the_credentials_and_not_the_tokens() {
    let mut issuer = issuer(Algorithm::RS256);
    let jwt = issuer.rig.plugin("jwt", json!({}));
    // Signed with the public key as if it were a shared secret.
    let confused = Signer::new(Algorithm::HS256, &issuer.signer.public_pem().unwrap());
    let token = confused.token(Algorithm::HS256, &json!({"iss": "k1"}));
    let refused = run(&jwt, &mut issuer.rig.get("/").bearer(&token));
    assert_eq!(refused, message("Invalid algorithm"));
}

#[test]
fn not_before() {
    let mut issuer = issuer(Algorithm::HS256);
    let jwt = issuer.rig.plugin("jwt", json!({"claims_to_verify": ["exp", "nbf"]}));
    let now = issuer.now();
    let check = |claims: Value, wanted: Option<Value>| {
        let token = issuer.token(claims);
        let got = run(&jwt, &mut issuer.rig.get("/").bearer(&token));
        assert_eq!(got, wanted.map(|body| (401, body)));
    };
    check(json!({"iss": "k1", "exp": now + 9, "nbf": now}), None);
    check(
        json!({"iss": "k1", "exp": now + 9, "nbf": now + 1}),
        Some(json!({"nbf": "token not valid yet"})),
    );
    check(
        json!({"iss": "k1", "exp": 1}),
        Some(json!({"exp": "token expired", "nbf": "must be a number"})),
    );
}

#[test]
fn where_tokens_are_looked_for() {
    let mut issuer = issuer(Algorithm::HS256);
    let plain = issuer.rig.plugin("jwt", json!({}));
    let token = issuer.token(json!({"iss": "k1"}));
    let other = issuer.token(json!({"iss": "k1", "n": 2}));
    let unauthorized = message("Unauthorized");
    let several = message("Multiple tokens provided");
    let get = |target: &str| issuer.rig.get(target);
    let query = format!("/?jwt={token}");
    let rows = [
        (get("/"), unauthorized.clone()),
        (get("/?jwt="), unauthorized.clone()),
        (get("/").header("Authorization", &token), unauthorized.clone()),
        (get("/").header("Authorization", &format!("Basic {token}")), unauthorized.clone()),
        (get("/").header("Authorization", &format!("BEARER {token}")), unauthorized.clone()),
        (get("/").header("Authorization", &format!("Bearer{token}")), unauthorized.clone()),
        (get("/").header("Authorization", "Bearer "), unauthorized.clone()),
        (get("/").header("Cookie", &format!("jwt={token}")), unauthorized.clone()),
        (get("/").header("Authorization", &format!("bearer {token}")), None),
        (get("/").header("Authorization", &format!("Bearer \t {token}")), None),
        (get(&query), None),
        (get(&query).bearer(&token), None),
        (get(&format!("{query}&jwt={token}")), None),
        (get(&query).bearer(&other), several.clone()),
        (get(&format!("{query}&jwt={other}")), several.clone()),
        (get(&query).bearer("forged"), several),
    ];
    for (at, (mut exchange, wanted)) in rows.into_iter().enumerate() {
        assert_eq!(run(&plain, &mut exchange), wanted, "row {at}");
    }

    let named = json!({
        "uri_param_names": ["t"], "cookie_names": ["ck"], "header_names": ["X-Tok"],
        "key_claim_name": "kid", "realm": "my realm",
    });
    let token = issuer.token(json!({"kid": "k1"}));
    let route = route(&mut issuer.rig);
    let named = json!({"name": "jwt", "config": named, "route": {"id": route}});
    let named = issuer.rig.try_instance(named).unwrap();
    for mut exchange in [
        issuer.rig.get(&format!("/?t={token}")),
        issuer.rig.get("/").header("Cookie", &format!("a=b; ck={token}")),
        issuer.rig.get("/").header("x-tok", &format!("Bearer {token}")),
    ] {
        assert_eq!(run(&named, &mut exchange), None);
    }
    let answer = issuer.rig.get("/").bearer(&token).access(&named).unwrap();
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"my realm\""));
    let answer = issuer.rig.get("/?t=junk").access(&named).unwrap();
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Bearer realm=\"my realm\", error=\"invalid_token\"")
    );
}

fn route(rig: &mut Rig) -> Id {
    rig.insert("routes", json!({"paths": ["/named"]})).id()
}

#[test]
fn the_upstream_learns_who_calls_and_nothing_the_client_says() {
    let mut issuer = issuer(Algorithm::HS256);
    let jwt = issuer.rig.plugin("jwt", json!({}));
    let token = issuer.token(json!({"iss": "k1"}));
    let spoof = |name: &str| (name.to_owned(), "spoof".to_owned());
    let mut exchange = issuer.rig.get("/").bearer(&token);
    for (name, value) in [
        spoof("X-Consumer-ID"),
        spoof("X-Consumer-Username"),
        spoof("X-Consumer-Custom-ID"),
        spoof("X-Credential-Identifier"),
        spoof("X-Anonymous-Consumer"),
    ] {
        exchange = exchange.header(&name, &value);
    }
    assert_eq!(run(&jwt, &mut exchange), None);
    assert_eq!(exchange.sent("x-consumer-id"), [issuer.consumer.to_string()]);
    assert_eq!(exchange.sent("x-consumer-username"), ["bob"]);
    assert_eq!(exchange.sent("x-consumer-custom-id"), ["cb"]);
    assert_eq!(exchange.sent("x-credential-identifier"), ["k1"]);
    assert!(exchange.sent("x-anonymous-consumer").is_empty());
    assert_eq!(exchange.sent("authorization").len(), 1, "the token is passed on");
    assert_eq!(exchange.facts.identity.credential.as_ref().unwrap().id, issuer.credential);
}

#[test]
fn anonymous_consumers() {
    let mut issuer = issuer(Algorithm::HS256);
    let anon = issuer.rig.insert("consumers", json!({"username": "anon"})).id();
    for name in ["anon".to_owned(), anon.to_string()] {
        let jwt = issuer.rig.plugin("jwt", json!({ "anonymous": name }));
        for mut exchange in [issuer.rig.get("/"), issuer.rig.get("/").bearer("junk")] {
            assert_eq!(run(&jwt, &mut exchange), None);
            assert_eq!(exchange.sent("x-consumer-username"), ["anon"]);
            assert_eq!(exchange.sent("x-anonymous-consumer"), ["true"]);
            assert!(exchange.facts.identity.credential.is_none());
            assert!(exchange.facts.identity.claims.is_none());
        }
        // Another plugin authenticated already: this one does not look.
        let token = issuer.token(json!({"iss": "k1"}));
        let mut exchange = issuer.rig.get("/").bearer(&token);
        assert_eq!(run(&jwt, &mut exchange), None);
        exchange.head.remove_header("authorization");
        assert_eq!(run(&jwt, &mut exchange), None);
        assert_eq!(exchange.sent("x-consumer-username"), ["bob"]);
        issuer.rig.delete("plugins", jwt.id);
    }
    let jwt = issuer.rig.plugin("jwt", json!({"anonymous": "nobody"}));
    assert_eq!(
        run(&jwt, &mut issuer.rig.get("/")),
        Some((
            500,
            json!({"message": "anonymous consumer nobody is configured but doesn't exist"})
        ))
    );
}

#[test]
fn preflight_requests_pass_only_when_told() {
    let mut issuer = issuer(Algorithm::HS256);
    let strict = issuer.rig.plugin("jwt", json!({}));
    let options = || issuer.rig.get("/").method("OPTIONS");
    assert_eq!(run(&strict, &mut options()), message("Unauthorized"));
    issuer.rig.delete("plugins", strict.id);
    let open = issuer.rig.plugin("jwt", json!({"run_on_preflight": false}));
    assert_eq!(run(&open, &mut issuer.rig.get("/").method("OPTIONS")), None);
    assert_eq!(run(&open, &mut issuer.rig.get("/")), message("Unauthorized"));
}

#[test]
fn tokens_that_live_too_long() {
    let mut issuer = issuer(Algorithm::HS256);
    let config = json!({"maximum_expiration": 60, "claims_to_verify": ["exp"]});
    let jwt = issuer.rig.plugin("jwt", config);
    let now = issuer.now();
    for (exp, wanted) in [(now + 60, None), (now + 61, Some(()))] {
        let token = issuer.token(json!({"iss": "k1", "exp": exp}));
        let got = run(&jwt, &mut issuer.rig.get("/").bearer(&token));
        let refusal = (401, json!({"exp": "exceeds maximum allowed expiration"}));
        assert_eq!(got, wanted.map(|()| refusal));
    }
    let accepted =
        self::issuer(Algorithm::HS256).rig.try_plugin("jwt", json!({"maximum_expiration": 60}));
    assert!(accepted.is_ok(), "Kong takes a limit without claims to verify");
}

#[test]
fn secrets_in_base64() {
    let mut issuer = issuer(Algorithm::HS256);
    let jwt = issuer.rig.plugin("jwt", json!({"secret_is_base64": true}));
    let bob = issuer.consumer;
    let secret =
        |key: &str, secret: &str| json!({"consumer": {"id": bob}, "key": key, "secret": secret});
    issuer.rig.insert("jwt_secrets", secret("kb", "c2Vj"));
    issuer.rig.insert("jwt_secrets", secret("bad", "*"));
    let token = issuer.token(json!({"iss": "kb"}));
    assert_eq!(run(&jwt, &mut issuer.rig.get("/").bearer(&token)), None);
    let token = issuer.token(json!({"iss": "bad"}));
    let refused = run(&jwt, &mut issuer.rig.get("/").bearer(&token));
    assert_eq!(refused, message("Invalid key/secret"));
}

#[test]
fn a_remembered_token_is_asked_again_what_may_have_changed() {
    let mut issuer = issuer(Algorithm::HS256);
    let jwt = issuer.rig.plugin("jwt", json!({"claims_to_verify": ["exp"]}));
    let remembered = issuer.rig.tools.shared(|_| super::verified::VerifiedTokens::new());
    let token = issuer.token(json!({"iss": "k1", "exp": issuer.now() + 60}));
    let mut first = issuer.rig.get("/").bearer(&token);
    assert_eq!(run(&jwt, &mut first), None);
    assert_eq!(remembered.len(), 1);
    let mut second = issuer.rig.get("/").bearer(&token);
    assert_eq!(run(&jwt, &mut second), None);
    let claims = |exchange: &Exchange| exchange.facts.identity.claims.clone().unwrap();
    assert!(std::sync::Arc::ptr_eq(&claims(&first), &claims(&second)), "verified once");

    // A tampered copy is another text.
    let mut tampered = token.clone();
    let last = if tampered.pop() == Some('A') { 'E' } else { 'A' };
    tampered.push(last);
    let refused = run(&jwt, &mut issuer.rig.get("/").bearer(&tampered));
    assert!(
        refused == message("Invalid signature")
            || refused == message("Bad token; invalid signature"),
        "{refused:?}"
    );
    assert_eq!(remembered.len(), 1, "failures are not kept");

    // Time passes.
    issuer.rig.clock.advance_ms(60_000);
    let expired = Some((401, json!({"exp": "token expired"})));
    assert_eq!(run(&jwt, &mut issuer.rig.get("/").bearer(&token)), expired);
    // A clock that was wrong and is set right decides anew, whatever is remembered.
    let now = issuer.rig.clock.unix_ms();
    issuer.rig.clock.set_unix_ms(now - 60_000);
    assert_eq!(run(&jwt, &mut issuer.rig.get("/").bearer(&token)), None);
    issuer.rig.clock.set_unix_ms(now);
    assert_eq!(run(&jwt, &mut issuer.rig.get("/").bearer(&token)), expired);

    // The credential changes its secret, then goes, then its consumer goes.
    let token = issuer.token(json!({"iss": "k1", "exp": issuer.now() + 60}));
    assert_eq!(run(&jwt, &mut issuer.rig.get("/").bearer(&token)), None);
    issuer.rig.patch("jwt_secrets", issuer.credential, json!({"secret": "new"}));
    let refused = run(&jwt, &mut issuer.rig.get("/").bearer(&token));
    assert_eq!(refused, message("Invalid signature"));
    issuer.rig.patch("jwt_secrets", issuer.credential, json!({"secret": SECRET}));
    assert_eq!(run(&jwt, &mut issuer.rig.get("/").bearer(&token)), None);
    issuer.rig.delete("consumers", issuer.consumer);
    let refused = run(&jwt, &mut issuer.rig.get("/").bearer(&token));
    assert_eq!(refused, message("No credentials found for given 'iss'"));
}

#[test]
fn instances_that_read_keys_differently_do_not_share_a_verdict() {
    let mut issuer = issuer(Algorithm::HS256);
    let by_issuer = issuer.rig.plugin("jwt", json!({}));
    let route = route(&mut issuer.rig);
    let by_kid = issuer
        .rig
        .try_instance(json!({
            "name": "jwt", "config": {"key_claim_name": "kid"}, "route": {"id": route},
        }))
        .unwrap();
    let token = issuer.token(json!({"iss": "k1"}));
    assert_eq!(run(&by_issuer, &mut issuer.rig.get("/").bearer(&token)), None);
    let refused = run(&by_kid, &mut issuer.rig.get("/").bearer(&token));
    assert_eq!(refused, message("No mandatory 'kid' in claims"));
}

#[test]
fn tokens_too_long_to_keep_are_verified_every_time() {
    let mut issuer = issuer(Algorithm::HS256);
    let jwt = issuer.rig.plugin("jwt", json!({}));
    let token = issuer.token(json!({"iss": "k1", "x": "y".repeat(9_000)}));
    for _ in 0..2 {
        assert_eq!(run(&jwt, &mut issuer.rig.get("/").bearer(&token)), None);
    }
    assert_eq!(issuer.rig.tools.shared(|_| super::verified::VerifiedTokens::new()).len(), 0);
}

#[test]
fn credentials_of_the_wrong_shape_are_refused() {
    let mut rig = rig();
    let consumer = rig.insert("consumers", json!({"username": "bob"})).id();
    let mut check = |members: Value, wanted: &str| {
        let mut document = members.as_object().unwrap().clone();
        document.insert("consumer".into(), json!({"id": consumer}));
        let change = gateway_model::Change::Insert { kind: "jwt_secrets", document };
        assert_eq!(rig.try_apply(change).unwrap_err(), wanted);
    };
    check(
        json!({"algorithm": "RS256", "rsa_public_key": "nope"}),
        "2 schema violations (failed conditional validation given value of field 'algorithm'; \
         rsa_public_key: invalid key)",
    );
    check(
        json!({"algorithm": "EdDSA"}),
        "2 schema violations (failed conditional validation given value of field 'algorithm'; \
         rsa_public_key: required field missing)",
    );
    check(
        json!({"algorithm": "none"}),
        "schema violation (algorithm: expected one of: HS256, HS384, HS512, RS256, RS384, RS512, \
         ES256, ES384, ES512, PS256, PS384, PS512, EdDSA)",
    );
    let made = rig.insert("jwt_secrets", json!({"consumer": {"id": consumer}}));
    for field in ["key", "secret"] {
        assert_eq!(made.text(field).unwrap().len(), 32, "{field} is made up");
    }
    assert_eq!(made.text("algorithm").as_deref(), Some("HS256"));
}
