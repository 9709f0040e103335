//! The tokens apps call with: RS512 JSON Web Tokens that name the app instance and the client address
//! they were issued to.
//!
//! The gateway's `jwt` plugin checks them on the way in; [`TokenVerifier`] is for those who hold a
//! token without a gateway in front.

use std::net::IpAddr;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::RSA_PKCS1_SHA512;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::credential::AppInstanceId;
use super::keyfile::{KeyFileError, RsaPrivateKey, RsaPublicKey};

/// The `iss` claim, by which the gateway finds the credential to verify with.
pub const ISSUER: &str = "mepauth";

/// How long a token lives unless the operator says otherwise, in seconds.
pub const LIFETIME_SECONDS: u64 = 3600;

/// Signs tokens with one private key.
///
/// The key is parsed and checked when it is made, not per token, which is why this signs by itself
/// and leaves only the reading of tokens to the JWT library.
#[derive(Debug)]
pub struct TokenIssuer {
    key: RsaPrivateKey,
    lifetime_seconds: u64,
}

impl TokenIssuer {
    /// Signs with the key of a PEM text; see [`RsaPrivateKey::from_pem`].
    ///
    /// # Errors
    ///
    /// Those of [`RsaPrivateKey::from_pem`].
    pub fn new(private_key_pem: &[u8], password: Option<&[u8]>) -> Result<Self, KeyFileError> {
        RsaPrivateKey::from_pem(private_key_pem, password).map(Self::from)
    }

    /// Has tokens live so many seconds.
    #[must_use]
    pub fn lasting(self, lifetime_seconds: u64) -> Self {
        Self { lifetime_seconds, ..self }
    }

    /// How long its tokens live, in seconds.
    pub const fn lifetime_seconds(&self) -> u64 {
        self.lifetime_seconds
    }

    /// A token for the app instance `subject`, called from `client`, that expires so many seconds
    /// after `now_ms` (since the Unix epoch). The moment has a fraction of milliseconds, as the
    /// original's had: tokens from before and after an application went are told apart by it.
    ///
    /// One RSA signature, about a quarter of a millisecond with a 2048-bit key.
    ///
    /// # Errors
    ///
    /// [`SigningFailed`] when the library refuses.
    pub fn issue(
        &self,
        subject: &AppInstanceId,
        client: IpAddr,
        now_ms: u64,
    ) -> Result<String, SigningFailed> {
        let claims = serde_json::to_vec(&IssuedClaims {
            exp: seconds(now_ms.saturating_add(self.lifetime_seconds.saturating_mul(1000))),
            iss: ISSUER,
            sub: subject,
            clientip: client,
        })
        .map_err(|_| SigningFailed)?;
        let mut token = URL_SAFE_NO_PAD.encode(HEADER);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);

        let pair = self.key.pair();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), token.as_bytes(), &mut signature)
            .map_err(|_| SigningFailed)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The key pair, whose public half the gateway has to know.
    pub fn key(&self) -> &RsaPrivateKey {
        &self.key
    }
}

impl From<RsaPrivateKey> for TokenIssuer {
    fn from(key: RsaPrivateKey) -> Self {
        Self { key, lifetime_seconds: LIFETIME_SECONDS }
    }
}

/// A token could not be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token could not be signed")]
pub struct SigningFailed;

/// Reads tokens back with the public key alone.
pub struct TokenVerifier {
    key: DecodingKey,
    rules: Validation,
}

impl TokenVerifier {
    /// Accepts tokens signed by the other half of `public_key`.
    ///
    /// # Errors
    ///
    /// [`KeyFileError::NotRsa`] when the library does not take the key.
    pub fn new(public_key: &RsaPublicKey) -> Result<Self, KeyFileError> {
        let mut rules = Validation::new(Algorithm::RS512);
        rules.set_issuer(&[ISSUER]);
        rules.set_required_spec_claims(&["exp", "iss", "sub"]);
        // The library would ask the system's clock; `verify` is told the time.
        rules.validate_exp = false;
        let key = DecodingKey::from_rsa_pem(public_key.to_pem().as_bytes())
            .map_err(|_| KeyFileError::NotRsa)?;
        Ok(Self { key, rules })
    }

    /// The claims of a token that is ours and has not expired at `now_seconds` (since the Unix
    /// epoch).
    ///
    /// # Errors
    ///
    /// [`InvalidToken`], without a reason: who shows a bad token learns nothing from the answer.
    pub fn verify(&self, token: &str, now_seconds: u64) -> Result<Claims, InvalidToken> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.rules)
            .map_err(|_| InvalidToken)?
            .claims;
        // Exact up to 2^53 seconds.
        let live = claims.exp > now_seconds as f64;
        live.then_some(claims).ok_or(InvalidToken)
    }
}

/// The claims of a verified token.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Claims {
    /// When it expires, in seconds since the Unix epoch; may have a fraction, as the original's had.
    pub exp: f64,
    /// Always [`ISSUER`].
    pub iss: String,
    /// The app instance: the only identity a caller has.
    pub sub: AppInstanceId,
    /// The address the token was issued to.
    pub clientip: IpAddr,
}

/// Not one of our tokens, or one that has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid token")]
pub struct InvalidToken;

/// Serialized in this order, which is the original's.
#[derive(Serialize)]
struct IssuedClaims<'a> {
    exp: Number,
    iss: &'a str,
    sub: &'a AppInstanceId,
    clientip: IpAddr,
}

/// Milliseconds as seconds, with a fraction where there is one.
fn seconds(ms: u64) -> Number {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds are far below 2^53")]
    let fractional = || Number::from_f64(ms as f64 / 1000.0);
    let whole = ms.is_multiple_of(1000).then(|| Number::from(ms / 1000));
    whole.or_else(fractional).unwrap_or_else(|| Number::from(ms / 1000))
}

/// Byte for byte the original's.
const HEADER: &str = r#"{"alg":"RS512","typ":"JWT"}"#;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::LazyLock;

    use jsonwebtoken::{EncodingKey, Header};

    use super::*;

    const NOW: u64 = 1_651_392_000;
    static ISSUER_UNDER_TEST: LazyLock<TokenIssuer> =
        LazyLock::new(|| TokenIssuer::from(RsaPrivateKey::generate().unwrap()));

    fn verifier(issuer: &TokenIssuer) -> TokenVerifier {
        let public = issuer.key().public_key_pem().unwrap();
        TokenVerifier::new(&RsaPublicKey::from_pem(public.as_bytes()).unwrap()).unwrap()
    }

    fn issue(client: &str) -> String {
        let subject = AppInstanceId::parse("5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f").unwrap();
        ISSUER_UNDER_TEST.issue(&subject, client.parse().unwrap(), NOW * 1000).unwrap()
    }

    /// A token of the library's making, with any header and claims, signed by our key.
    fn forge(algorithm: Algorithm, claims: serde_json::Value) -> String {
        let pem = ISSUER_UNDER_TEST.key().to_pem().unwrap();
        let key = match algorithm {
            // The oldest trick: the public key as a shared secret.
            Algorithm::HS512 => {
                let public = ISSUER_UNDER_TEST.key().public_key_pem().unwrap();
                EncodingKey::from_secret(public.as_bytes())
            }
            _ => EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(),
        };
        jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).unwrap()
    }

    fn claims() -> serde_json::Value {
        serde_json::json!({
            "exp": NOW as f64 + 0.784678,
            "iss": "mepauth",
            "sub": "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f",
            "clientip": "10.1.2.3",
        })
    }

    #[test]
    fn header_and_claims_are_the_original_s() {
        let check = |client: &str, claims: &str| {
            let token = issue(client);
            let parts: Vec<Vec<u8>> =
                token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
            assert_eq!(parts.len(), 3);
            assert_eq!(parts[0], br#"{"alg":"RS512","typ":"JWT"}"#);
            assert_eq!(String::from_utf8(parts[1].clone()).unwrap(), claims);
            assert_eq!(parts[2].len(), 256);
        };
        check(
            "10.1.2.3",
            r#"{"exp":1651395600,"iss":"mepauth","sub":"5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f","clientip":"10.1.2.3"}"#,
        );
        check(
            "0:0::1",
            r#"{"exp":1651395600,"iss":"mepauth","sub":"5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f","clientip":"::1"}"#,
        );
    }

    #[test]
    fn a_token_is_valid_until_it_expires() {
        let verifier = verifier(&ISSUER_UNDER_TEST);
        let token = issue("10.1.2.3");
        let claims = verifier.verify(&token, NOW + LIFETIME_SECONDS - 1).unwrap();
        assert_eq!(claims.exp, (NOW + 3600) as f64);
        assert_eq!(claims.iss, "mepauth");
        assert_eq!(claims.sub.as_str(), "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f");
        assert_eq!(claims.clientip.to_string(), "10.1.2.3");
        assert_eq!(verifier.verify(&token, NOW + LIFETIME_SECONDS), Err(InvalidToken));
    }

    #[test]
    fn a_tampered_token_is_not_ours() {
        let verifier = verifier(&ISSUER_UNDER_TEST);
        let token = issue("10.1.2.3");
        let parts: Vec<&str> = token.split('.').collect();
        let other = URL_SAFE_NO_PAD.encode(claims().to_string());
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let check = |token: String| {
            assert_eq!(verifier.verify(&token, NOW), Err(InvalidToken), "{token}");
        };
        check(format!("{}.{other}.{}", parts[0], parts[2]));
        check(format!("{none}.{}.{}", parts[1], parts[2]));
        check(format!("{none}.{}.", parts[1]));
        check(format!("{}.{}", parts[0], parts[1]));
        check(format!("{token}."));
        check(token[..token.len() - 4].to_owned());
        check(String::new());
        check("é.é.é".to_owned());

        let stranger = TokenIssuer::from(RsaPrivateKey::generate().unwrap());
        let subject = AppInstanceId::random();
        check(stranger.issue(&subject, [10, 1, 2, 3].into(), NOW * 1000).unwrap());
    }

    #[test]
    fn only_rs512_with_our_claims_is_accepted() {
        let verifier = verifier(&ISSUER_UNDER_TEST);
        let check = |algorithm, change: &dyn Fn(&mut serde_json::Value), valid: bool| {
            let mut claims = claims();
            change(&mut claims);
            let token = forge(algorithm, claims);
            assert_eq!(verifier.verify(&token, NOW).is_ok(), valid, "{token}");
        };
        check(Algorithm::RS512, &|_| {}, true); // a fraction of a second is left
        check(Algorithm::RS256, &|_| {}, false);
        check(Algorithm::PS512, &|_| {}, false);
        check(Algorithm::HS512, &|_| {}, false);
        check(Algorithm::RS512, &|claims| claims["exp"] = NOW.into(), false);
        check(Algorithm::RS512, &|claims| claims["exp"] = "never".into(), false);
        check(Algorithm::RS512, &|claims| claims["iss"] = "other".into(), false);
        check(Algorithm::RS512, &|claims| claims["sub"] = "me".into(), false);
        for claim in ["exp", "iss", "sub", "clientip"] {
            let remove = |claims: &mut serde_json::Value| {
                claims.as_object_mut().unwrap().shift_remove(claim);
            };
            check(Algorithm::RS512, &remove, false);
        }
    }
}
