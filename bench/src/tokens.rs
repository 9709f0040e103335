//! Tokens as the platform issues them, signed with the key in its prefix.
//!
//! Signing here leaves out the token API, whose cost is a signature and not the proxy's.

use std::path::Path;

use anyhow::{Context as _, Result};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// Seconds a token is good for: longer than any run.
const LIFETIME: i64 = 24 * 3600;

/// Signs for applications.
pub(crate) struct Signer(EncodingKey);

impl Signer {
    /// With the private key of the gateway that has this prefix.
    ///
    /// # Errors
    ///
    /// When the key is not there.
    pub(crate) fn of(prefix: &Path) -> Result<Self> {
        let file = prefix.join("keys/jwt_privatekey");
        let pem = std::fs::read(&file).with_context(|| file.display().to_string())?;
        Ok(Self(EncodingKey::from_rsa_pem(&pem)?))
    }

    /// The key its tokens are verified with, as a JSON Web Key Set.
    ///
    /// # Errors
    ///
    /// When the library refuses.
    pub(crate) fn key_set(&self) -> Result<Value> {
        Ok(json!({"keys": [Jwk::from_encoding_key(&self.0, Algorithm::RS512)?]}))
    }

    /// A token for that app, called from 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When the library refuses.
    pub(crate) fn token(&self, app: &str) -> Result<String> {
        let claims = json!({
            "exp": jiff::Timestamp::now().as_second() + LIFETIME,
            "iss": "mepauth",
            "sub": app,
            "clientip": "127.0.0.1",
        });
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::RS512), &claims, &self.0)?)
    }
}

/// The id of the `number`th application instance.
pub(crate) fn app(number: usize) -> String {
    format!("5abe4782-2c70-4e47-9a4e-{number:012x}")
}
