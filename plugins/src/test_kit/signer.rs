//! Makes tokens: what an issuer would do.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaKeyPair, RsaSignatureEncoding,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::kit::jws::Algorithm;

/// A private key with the algorithm it signs by.
pub(crate) enum Signer {
    Shared(Box<hmac::Key>),
    Rsa(Box<RsaKeyPair>, &'static RsaSignatureEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    /// A new key; `secret` is used by the algorithms that share one.
    pub(crate) fn new(algorithm: Algorithm, secret: &str) -> Self {
        let shared = |digest| Self::Shared(Box::new(hmac::Key::new(digest, secret.as_bytes())));
        let rsa = |encoding| {
            Self::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()), encoding)
        };
        let ecdsa = |curve: &'static EcdsaSigningAlgorithm| {
            Self::Ecdsa(EcdsaKeyPair::generate(curve).unwrap())
        };
        match algorithm {
            Algorithm::HS256 => shared(hmac::HMAC_SHA256),
            Algorithm::HS384 => shared(hmac::HMAC_SHA384),
            Algorithm::HS512 => shared(hmac::HMAC_SHA512),
            Algorithm::RS256 => rsa(&RSA_PKCS1_SHA256),
            Algorithm::RS384 => rsa(&RSA_PKCS1_SHA384),
            Algorithm::RS512 => rsa(&RSA_PKCS1_SHA512),
            Algorithm::PS256 => rsa(&RSA_PSS_SHA256),
            Algorithm::PS384 => rsa(&RSA_PSS_SHA384),
            Algorithm::PS512 => rsa(&RSA_PSS_SHA512),
            Algorithm::ES256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::ES384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::ES512 => ecdsa(&ECDSA_P521_SHA512_FIXED_SIGNING),
            Algorithm::EdDSA => Self::Ed(Ed25519KeyPair::generate().unwrap()),
        }
    }

    /// The public key as PEM; none for a shared secret.
    pub(crate) fn public_pem(&self) -> Option<String> {
        let der = match self {
            Self::Shared(_) => return None,
            Self::Rsa(pair, _) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Ecdsa(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
        };
        Some(pem::encode(&pem::Pem::new("PUBLIC KEY", der)))
    }

    /// A token of these claims; the header says `algorithm`, whatever the key is.
    pub(crate) fn token(&self, algorithm: Algorithm, claims: &Value) -> String {
        self.sign(&json!({"typ": "JWT", "alg": format!("{algorithm:?}")}), claims)
    }

    /// A token of exactly these parts.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let message = signed.as_bytes();
        let random = SystemRandom::new();
        let signature = match self {
            Self::Shared(key) => hmac::sign(key, message).as_ref().to_vec(),
            Self::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Ecdsa(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        };
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}
