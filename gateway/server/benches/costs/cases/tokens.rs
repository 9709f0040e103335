//! Tokens: verified before, and met first.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use mep::auth::keyfile::RsaPrivateKey;
use serde_json::json;

use super::plane::{NOW, plane, runs};

/// Verifies `count` RS512 tokens in rotation. One of them is remembered at once; as many as are
/// done before and while it is counted are met first each time.
pub(super) fn verify(count: usize) -> Box<dyn FnMut()> {
    let key = RsaPrivateKey::generate().unwrap();
    let route = "00000000-0000-4000-8000-000000000001";
    let plane = plane(&[
        ("services", json!({"name": "s", "host": "upstream.test"})),
        ("routes", json!({"id": route, "paths": ["/s"], "service": {"name": "s"}})),
        ("consumers", json!({"username": "app"})),
        (
            "jwt_secrets",
            json!({"consumer": {"username": "app"}, "key": "issuer", "algorithm": "RS512",
                   "rsa_public_key": key.public_key_pem().unwrap()}),
        ),
        (
            "plugins",
            json!({"name": "jwt", "route": {"id": route}, "config": {"claims_to_verify": ["exp"]}}),
        ),
    ]);
    let pem = key.to_pem().unwrap();
    let signing = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
    let token = |n: usize| {
        let claims = json!({"iss": "issuer", "exp": NOW / 1000 + 3600, "n": n});
        let token = encode(&Header::new(Algorithm::RS512), &claims, &signing).unwrap();
        vec![("Authorization", format!("Bearer {token}"))]
    };
    runs(plane, route.to_owned(), "/s", (0..count).map(token).collect())
}
