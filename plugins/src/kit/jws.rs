//! JSON Web Signatures in compact form (RFC 7515): taking tokens apart, checking signatures.
//!
//! Absent from here: what claims mean, where keys come from, and every header member but `alg`. A
//! token's own idea of a key (`jwk`, `jku`, `x5c`) is never looked at.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use gateway_model::Document;
use gateway_model::schema::Record;
use serde::Deserialize;
use serde_json::Value;

/// How a token is signed. Spelled as in RFC 7518 and RFC 8037.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Record)]
pub(crate) enum Algorithm {
    #[default]
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    ES256,
    ES384,
    ES512,
    PS256,
    PS384,
    PS512,
    EdDSA,
}

/// How an algorithm checks a signature.
enum Method {
    Shared(hmac::Algorithm),
    Public(&'static dyn VerificationAlgorithm),
}

impl Algorithm {
    fn method(self) -> Method {
        match self {
            Self::HS256 => Method::Shared(hmac::HMAC_SHA256),
            Self::HS384 => Method::Shared(hmac::HMAC_SHA384),
            Self::HS512 => Method::Shared(hmac::HMAC_SHA512),
            Self::RS256 => Method::Public(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::RS384 => Method::Public(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::RS512 => Method::Public(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::ES256 => Method::Public(&signature::ECDSA_P256_SHA256_FIXED),
            Self::ES384 => Method::Public(&signature::ECDSA_P384_SHA384_FIXED),
            Self::ES512 => Method::Public(&signature::ECDSA_P521_SHA512_FIXED),
            Self::PS256 => Method::Public(&signature::RSA_PSS_2048_8192_SHA256),
            Self::PS384 => Method::Public(&signature::RSA_PSS_2048_8192_SHA384),
            Self::PS512 => Method::Public(&signature::RSA_PSS_2048_8192_SHA512),
            Self::EdDSA => Method::Public(&signature::ED25519),
        }
    }

    /// Whether signer and verifier share one secret.
    pub(crate) fn is_shared(self) -> bool {
        matches!(self.method(), Method::Shared(_))
    }
}

/// A key made ready for one algorithm.
pub(crate) enum Key {
    Shared(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl Key {
    /// A shared secret; `None` when the algorithm wants a public key.
    pub(crate) fn shared(algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        match algorithm.method() {
            Method::Shared(digest) => Some(Self::Shared(Box::new(hmac::Key::new(digest, secret)))),
            Method::Public(_) => None,
        }
    }

    /// A public key in PEM; `None` when it is none, or one of another kind.
    pub(crate) fn public(algorithm: Algorithm, pem: &str) -> Option<Self> {
        match algorithm.method() {
            Method::Shared(_) => None,
            Method::Public(method) => {
                ParsedPublicKey::new(method, public_der(pem)?).ok().map(Self::Public)
            }
        }
    }
}

/// Whether a text is a public key in PEM that some algorithm of ours can use: RSA (PKCS#1 or
/// SPKI), P-256, P-384, P-521 or Ed25519.
pub(crate) fn is_public_key(pem: &str) -> bool {
    use Algorithm::{ES256, ES384, ES512, EdDSA, RS256};
    [RS256, ES256, ES384, ES512, EdDSA]
        .into_iter()
        .any(|algorithm| Key::public(algorithm, pem).is_some())
}

/// The DER inside a PEM public key. Certificates and private keys are not public keys.
fn public_der(pem: &str) -> Option<Vec<u8>> {
    let block = pem::parse(pem).ok()?;
    matches!(block.tag(), "PUBLIC KEY" | "RSA PUBLIC KEY").then(|| block.into_contents())
}

/// A token taken apart. Nothing in it may be believed before [`Token::is_signed_by`].
pub(crate) struct Token<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) header: Document,
    pub(crate) claims: Document,
    signed: &'a [u8],
    signature: Vec<u8>,
}

/// Why a text is no token. The texts are Kong's (kong/plugins/jwt/jwt_parser.lua, decode_token).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    Json,
    Algorithm,
    Claims,
    Signature,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "invalid JSON",
            Self::Algorithm => "invalid alg",
            Self::Claims => "invalid claims",
            Self::Signature => "invalid signature",
        })
    }
}

/// RFC 7515 has no padding; some issuers write it all the same. Anything else that decodes to the
/// same bytes by accident (stray bits, the other alphabet) is refused, so that a token has one
/// spelling.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl<'a> Token<'a> {
    /// Takes a text apart.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, in the order header, algorithm, claims, signature.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Malformed> {
        let (signed, signature) = text.rsplit_once('.').ok_or(Malformed::Json)?;
        let (header, claims) = signed.split_once('.').ok_or(Malformed::Json)?;
        let header = json(header).ok_or(Malformed::Json)?;
        let claims = json(claims).ok_or(Malformed::Json)?;
        let algorithm = header
            .get("alg")
            .and_then(|name| Algorithm::deserialize(name).ok())
            .ok_or(Malformed::Algorithm)?;
        let (Value::Object(header), Value::Object(claims)) = (header, claims) else {
            return Err(Malformed::Claims);
        };
        let signature = BASE64.decode(signature).map_err(|_| Malformed::Signature)?;
        Ok(Self { algorithm, header, claims, signed: signed.as_bytes(), signature })
    }

    /// Whether this key made the signature. The caller has checked that the key's algorithm is
    /// the token's.
    pub(crate) fn is_signed_by(&self, key: &Key) -> bool {
        match key {
            Key::Shared(key) => hmac::verify(key, self.signed, &self.signature).is_ok(),
            Key::Public(key) => key.verify_sig(self.signed, &self.signature).is_ok(),
        }
    }
}

fn json(part: &str) -> Option<Value> {
    serde_json::from_slice(&BASE64.decode(part).ok()?).ok()
}

#[cfg(test)]
mod tests;
