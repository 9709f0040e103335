//! Which tokens are believed, and whose name a call carries.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::harness::{Answered as _, App, Gateway, Upstream, now, plain, plain_from, raw};

/// Every way a token can be wrong, on an Mp1 route; contract 2.3, A-25, A-27.
#[tokio::test]
async fn wrong_tokens_are_refused_with_the_reason() {
    let gateway = Gateway::start().await;
    let app = App::bootstrap(&gateway);
    let signer = Signer::of(&gateway);
    let good = claims(&app.id);
    let valid = signer.sign(Algorithm::RS512, &good);
    let other_key = Signer::new(&certs::generate_rsa_pem(2048).unwrap().private);
    let unsigned = format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT"})), part(&good));
    let tampered = {
        let parts: Vec<&str> = valid.split('.').collect();
        format!("{}.{}.{}", parts[0], part(&claims(&App::random().id)), parts[2])
    };
    let with_public_key_as_secret = {
        let public = std::fs::read(gateway.prefix().join("keys/jwt_publickey")).unwrap();
        let key = EncodingKey::from_secret(&public);
        jsonwebtoken::encode(&Header::new(Algorithm::HS512), &good, &key).unwrap()
    };
    let message = |text: &str| json!({ "message": text });
    let sign = |claims: Value| signer.sign(Algorithm::RS512, &claims);
    let rows = [
        ("not a token", "junk".to_owned(), message("Bad token; invalid JSON")),
        ("unsigned", unsigned, message("Bad token; invalid alg")),
        ("no iss", sign(without("iss", &good)), message("No mandatory 'iss' in claims")),
        (
            "unknown iss",
            sign(with("iss", json!("x"), &good)),
            message("No credentials found for given 'iss'"),
        ),
        ("RS256", signer.sign(Algorithm::RS256, &good), message("Invalid algorithm")),
        ("HS512, key confusion", with_public_key_as_secret, message("Invalid algorithm")),
        ("another key", other_key.sign(Algorithm::RS512, &good), message("Invalid signature")),
        ("tampered", tampered, message("Invalid signature")),
        ("expired", sign(with("exp", json!(now() - 1), &good)), json!({"exp": "token expired"})),
        ("without exp", sign(without("exp", &good)), json!({"exp": "must be a number"})),
        (
            "exp as text",
            sign(with("exp", json!((now() + 60).to_string()), &good)),
            json!({"exp": "must be a number"}),
        ),
        ("without clientip", sign(without("clientip", &good)), message("Unauthorized")),
        ("of nobody", sign(with("clientip", json!("UNKNOWN_IP"), &good)), message("Unauthorized")),
        (
            "of another client",
            sign(with("clientip", json!("10.1.2.3"), &good)),
            message("Unauthorized"),
        ),
        ("without sub", sign(without("sub", &good)), message("Unauthorized")),
    ];
    let url = gateway.url("proxy", &app.path("/services"));
    for (name, token, body) in rows {
        let answer = plain().get(&url).bearer_auth(token).answer().await;
        assert_eq!((answer.status, answer.json()), (401, body), "{name}");
    }
    let none = plain().get(&url).answer().await;
    assert_eq!((none.status, none.json()), (401, message("Unauthorized")));
    // The rows differ from this one, which is right, in one thing each.
    plain().get(&url).bearer_auth(valid).answer().await.expect(200);
    // A fraction of a second, as the original issued, and the IPv4 address written as IPv6.
    for (name, value) in
        [("exp", json!(1e-6 + (now() + 60) as f64)), ("clientip", json!("::ffff:127.0.0.1"))]
    {
        let token = sign(with(name, value, &good));
        plain().get(&url).bearer_auth(token).answer().await.expect(200);
    }
}

/// whatever the client claims to be, the token says who it is.
#[tokio::test]
async fn a_spoofed_app_instance_id_is_dropped() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    identified_service(&gateway, &upstream).await;
    let app = App::bootstrap(&gateway);
    let token = app.token(&gateway).await;
    let victim = App::random().id;

    let spoofs = [
        format!("X-AppinstanceID: {victim}\r\nx-appINSTANCEid: {victim}\r\n"),
        format!("X-AppInstanceId: {victim}\r\nX-AppinstanceID: {}\r\n", app.id),
        "X-AppinstanceID: \r\n".to_owned(),
        String::new(),
    ];
    for spoof in spoofs {
        let request = format!(
            "GET /who HTTP/1.1\r\nHost: gateway\r\n{spoof}Authorization: Bearer {token}\r\n\
             Connection: close\r\n\r\n"
        );
        let (head, _) = raw(gateway.addr("proxy"), request.as_bytes()).await;
        assert_eq!(head.status(), 200, "{spoof}");
        assert_eq!(upstream.only().all("X-AppinstanceID"), [app.id.as_str()], "{spoof}");

        let path = app.path("/services");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: gateway\r\n{spoof}Authorization: Bearer {token}\r\n\
             Connection: close\r\n\r\n"
        );
        let (head, _) = raw(gateway.addr("proxy"), request.as_bytes()).await;
        assert_eq!(head.status(), 200, "A-28 {spoof}");
    }

    // and it cannot reach what is another app's.
    let path = format!("/mep/mec_service_mgmt/v1/applications/{victim}/services");
    let request = plain().get(gateway.url("proxy", &path)).header("X-AppinstanceID", &victim);
    let answer = request.bearer_auth(&token).answer().await;
    let refused = json!({
        "title": "UnAuthorization",
        "status": 11,
        "detail": "UnAuthorization to access the resource",
    });
    assert_eq!((answer.status, answer.json()), (401, refused));
}

/// two tokens at once, the valid one of A and a forged one of B, never make B of A.
#[tokio::test]
async fn a_forged_token_beside_a_valid_one_gains_nothing() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    identified_service(&gateway, &upstream).await;
    let app = App::bootstrap(&gateway);
    let token = app.token(&gateway).await;
    let victim = App::announced(&gateway, &[]).await;
    let forged = [
        format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims(&victim.id))),
        format!("{}.{}.AAAA", part(&json!({"alg": "RS512"})), part(&claims(&victim.id))),
    ];
    for forged in forged {
        for path in [victim.path("/services"), "/who".to_owned()] {
            let url = gateway.url("proxy", &format!("{path}?jwt={token}"));
            let answer = plain().get(url).bearer_auth(&forged).answer().await;
            assert_eq!(answer.status, 401, "{path} {:?}", answer.body);
            assert!(upstream.take().is_empty(), "{path} was let through");
        }
    }

    // a query token alone is believed where the plugin reads it, and ignored on MEP's routes.
    let url = gateway.url("proxy", &format!("/who?jwt={token}"));
    plain().get(url).answer().await.expect(200);
    assert_eq!(upstream.only().all("X-AppinstanceID"), [app.id.as_str()]);
    let url = gateway.url("proxy", &format!("{}?jwt={token}", app.path("/services")));
    plain().get(url).answer().await.expect(401);
}

/// A-26, and that the same token is good where it belongs.
#[tokio::test]
async fn a_token_is_bound_to_its_client() {
    let gateway = Gateway::start().await;
    let app = App::bootstrap(&gateway);
    let elsewhere = plain_from([127, 0, 0, 2]);
    let theirs = app.token_by(&gateway, &elsewhere).await;
    let url = gateway.url("proxy", &app.path("/services"));
    elsewhere.get(&url).bearer_auth(&theirs).answer().await.expect(200);
    let answer = plain().get(&url).bearer_auth(&theirs).answer().await;
    assert_eq!((answer.status, answer.json()), (401, json!({"message": "Unauthorized"})));

    let parts: Vec<&str> = theirs.split('.').collect();
    let decode = |part: &str| {
        serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(decode(parts[0]), json!({"alg": "RS512", "typ": "JWT"}));
    let claims: BTreeMap<String, Value> = serde_json::from_value(decode(parts[1])).unwrap();
    let lifetime = claims["exp"].as_f64().unwrap() - now() as f64;
    assert!((3590.0..3601.0).contains(&lifetime), "{lifetime}");
    assert_eq!(claims["iss"], "mepauth");
    assert_eq!(claims["sub"], app.id.as_str());
    assert_eq!(claims["clientip"], "127.0.0.2");
    assert_eq!(claims.len(), 4);
}

/// A route `/who` that needs a token, wherever it is, and tells the upstream whose it is.
async fn identified_service(gateway: &Gateway, upstream: &Upstream) {
    let steps = [
        ("/services", json!({"name": "who", "url": upstream.url()})),
        ("/services/who/routes", json!({"name": "who", "paths": ["/who"]})),
        ("/services/who/plugins", json!({"name": "jwt"})),
        ("/services/who/plugins", json!({"name": "appid-header"})),
    ];
    for (path, body) in steps {
        plain().post(gateway.url("admin", path)).json(&body).answer().await.expect(201);
    }
}

/// Signs with the key file of a gateway, as its operator could.
struct Signer(EncodingKey);

impl Signer {
    fn of(gateway: &Gateway) -> Self {
        let file = gateway.prefix().join("keys/jwt_privatekey");
        Self::new(&std::fs::read_to_string(file).unwrap())
    }

    fn new(pem: &str) -> Self {
        Self(EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap())
    }

    fn sign(&self, algorithm: Algorithm, claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(algorithm), claims, &self.0).unwrap()
    }
}

fn claims(app: &str) -> Value {
    json!({"exp": now() + 60, "iss": "mepauth", "sub": app, "clientip": "127.0.0.1"})
}

fn with(name: &str, value: Value, claims: &Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

fn without(name: &str, claims: &Value) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
