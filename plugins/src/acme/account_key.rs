//! A key of the catalog as the key of an account (`account_key`).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use gateway_model::Catalog;
use gateway_model::entities::{Key, KeySet};
use instant_acme::Key as AccountKeyPair;
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;

use super::config::AccountKey;

/// Why a key is not used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(super) enum KeyError {
    #[error("no {0}")]
    Missing(String),
    #[error("the key {0} has no private half")]
    NotPrivate(String),
    /// The ACME library signs with no others.
    #[error("the key {0} is not of the curve P-256, the only kind account keys may have here")]
    Kind(String),
    #[error("the key {0}: {1}")]
    Damaged(String, String),
}

/// The key, as the ACME library takes it.
///
/// # Errors
///
/// A key that is not there or has no private half, and one that is not of P-256.
pub(super) fn find(
    catalog: &Catalog,
    named: &AccountKey,
) -> Result<(AccountKeyPair, PrivateKeyDer<'static>), KeyError> {
    let kid = &named.key_id;
    let damaged = |why: String| KeyError::Damaged(kid.clone(), why);
    let missing = |what: &str, name: &str| KeyError::Missing(format!("{what} {name}"));
    let set = match &named.key_set {
        None => None,
        Some(name) => {
            Some(catalog.by::<KeySet>("name", name).ok_or_else(|| missing("key set", name))?.id())
        }
    };
    let key = catalog
        .all::<Key>()
        .find(|key| key.kid == named.key_id && key.set.map(|set| set.id) == set)
        .ok_or_else(|| missing("key", kid))?;
    let pem = key.pem.as_ref().and_then(|pem| pem.private_key.as_ref());
    let der = match (pem, &key.jwk) {
        (Some(pem), _) => {
            let pair = rcgen::KeyPair::from_pem(pem.expose());
            pair.map_err(|why| damaged(why.to_string()))?.serialize_der()
        }
        (None, Some(jwk)) => {
            let jwk: Value =
                serde_json::from_str(jwk.expose()).map_err(|why| damaged(why.to_string()))?;
            if jwk["crv"] != "P-256" {
                return Err(KeyError::Kind(kid.clone()));
            }
            if jwk["d"].is_null() {
                return Err(KeyError::NotPrivate(kid.clone()));
            }
            of_jwk(&jwk).map_err(damaged)?
        }
        (None, None) => return Err(KeyError::NotPrivate(kid.clone())),
    };
    let pair = AccountKeyPair::from_pkcs8_der(der.as_slice().into());
    let pair = pair.map_err(|_| KeyError::Kind(kid.clone()))?;
    Ok((pair, PrivateKeyDer::Pkcs8(der.into())))
}

/// The PKCS #8 form of a JWK of P-256 (RFC 7518, section 6.2).
fn of_jwk(jwk: &Value) -> Result<Vec<u8>, String> {
    let member = |name: &str| {
        let text = jwk[name].as_str().unwrap_or_default();
        BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|why| format!("{name}: {why}"))
    };
    let public = [vec![4], member("x")?, member("y")?].concat();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        &member("d")?,
        &public,
    );
    let pair = pair.map_err(|why| why.to_string())?;
    let der = pair.to_pkcs8v1().map_err(|why| why.to_string())?;
    Ok(der.as_ref().to_vec())
}
