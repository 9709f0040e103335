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

/// The key, as the ACME library takes it.
///
/// # Errors
///
/// A key that is not there or has no private half, and one that is not of P-256.
pub(super) fn find(
    catalog: &Catalog,
    named: &AccountKey,
) -> Result<(AccountKeyPair, PrivateKeyDer<'static>), String> {
    let set = match &named.key_set {
        None => None,
        Some(name) => Some(
            catalog.by::<KeySet>("name", name).ok_or_else(|| format!("no key set {name}"))?.id(),
        ),
    };
    let key = catalog
        .all::<Key>()
        .find(|key| key.kid == named.key_id && key.set.map(|set| set.id) == set)
        .ok_or_else(|| format!("no key {}", named.key_id))?;
    let pem = key.pem.as_ref().and_then(|pem| pem.private_key.as_ref());
    let der = match (pem, &key.jwk) {
        (Some(pem), _) => {
            rcgen::KeyPair::from_pem(pem.expose()).map_err(|why| why.to_string())?.serialize_der()
        }
        (None, Some(jwk)) => of_jwk(jwk.expose())?,
        (None, None) => return Err(format!("the key {} has no private half", named.key_id)),
    };
    let told = |_| format!("the key {} is not of the curve P-256", named.key_id);
    let pair = AccountKeyPair::from_pkcs8_der(der.as_slice().into()).map_err(told)?;
    Ok((pair, PrivateKeyDer::Pkcs8(der.into())))
}

/// The PKCS #8 form of a JWK of P-256 (RFC 7518, section 6.2).
fn of_jwk(text: &str) -> Result<Vec<u8>, String> {
    let jwk: Value = serde_json::from_str(text).map_err(|why| why.to_string())?;
    let member = |name: &str| {
        let text = jwk[name].as_str().unwrap_or_default();
        BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|why| format!("{name}: {why}"))
    };
    if jwk["crv"] != "P-256" {
        return Err("not of the curve P-256".to_owned());
    }
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
