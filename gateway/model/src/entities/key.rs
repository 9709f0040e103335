//! [`Key`] and [`KeySet`]: keys that plugins look up by `kid`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::schema::{Check, Record};
use crate::{Entity, Id, Ref, Secret, Violations, pem};

/// Keys that belong together (kong/db/schema/entities/key_sets.lua).
#[derive(Clone, Debug, Deserialize, Record)]
pub struct KeySet {
    /// Primary key.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// A name to address it by.
    #[record(unique)]
    pub name: Option<String>,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    pub tags: Option<Vec<String>>,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    pub created_at: u64,
    /// Unix seconds of the last write.
    #[record(auto = Auto::UpdatedAt)]
    pub updated_at: u64,
}

impl Entity for KeySet {
    const KIND: &'static str = "key_sets";
}

/// A key, as JWK or as PEM (kong/db/schema/entities/keys.lua).
#[derive(Clone, Debug, Deserialize, Record)]
#[record(check = Check::MutuallyExclusive(&["jwk", "pem"]))]
#[record(check = Check::AtLeastOneOf(&["jwk", "pem"]))]
#[record(check = Check::Custom(jwk))]
pub struct Key {
    /// Primary key.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// The set it belongs to.
    #[record(cascade)]
    pub set: Option<Ref<KeySet>>,
    /// A name to address it by.
    #[record(unique)]
    pub name: Option<String>,
    /// Names it in a token.
    pub kid: String,
    /// The key as the text of a JSON Web Key.
    #[record(referenceable, encrypted)]
    pub jwk: Option<Secret<String>>,
    /// The key as PEM.
    #[record(is("pem_pair", pair))]
    pub pem: Option<PemPair>,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    pub tags: Option<Vec<String>>,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    pub created_at: u64,
    /// Unix seconds of the last write.
    #[record(auto = Auto::UpdatedAt)]
    pub updated_at: u64,
}

impl Entity for Key {
    const KIND: &'static str = "keys";
}

/// One or both halves of a key pair.
#[derive(Clone, Debug, Deserialize, Record)]
#[record(check = Check::AtLeastOneOf(&["private_key", "public_key"]))]
pub struct PemPair {
    /// The private half.
    #[record(referenceable, encrypted)]
    pub private_key: Option<Secret<String>>,
    /// The public half.
    #[record(referenceable)]
    pub public_key: Option<String>,
}

/// Both halves can be read and belong together.
fn pair(value: &Value) -> Result<(), String> {
    let text = |name: &str| {
        let text = value.get(name).and_then(Value::as_str);
        text.filter(|text| !crate::reference::Reference::is(text))
    };
    let public = text("public_key").map(pem::public_key).transpose();
    let private = text("private_key").map(pem::private_key).transpose();
    let public = public.map_err(|_| "could not load public key".to_owned())?;
    let private = private.map_err(|why| format!("could not load private key: {why}"))?;
    match (public, private) {
        (Some(public), Some(private)) if public != private => {
            Err("public key does not match private key".to_owned())
        }
        _ => Ok(()),
    }
}

/// A JWK is JSON, names the same `kid`, and has the members of its type (RFC 7518, section 6).
fn jwk(document: &Map<String, Value>, violations: &mut Violations) {
    let Some(text) = document.get("jwk").and_then(Value::as_str) else { return };
    if crate::reference::Reference::is(text) {
        return;
    }
    let Ok(jwk) = serde_json::from_str::<Map<String, Value>>(text) else {
        violations.add_entity("could not json decode jwk string");
        return;
    };
    if jwk.get("kid") != document.get("kid") {
        violations.add_entity("kid in jwk.kid must be equal to keys.kid");
        return;
    }
    let bits = |name: &&str| {
        let text = jwk.get(*name).and_then(Value::as_str);
        text.is_some_and(|text| !text.is_empty() && URL_SAFE_NO_PAD.decode(text).is_ok())
    };
    let loads = match jwk.get("kty").and_then(Value::as_str) {
        Some("RSA") => ["n", "e"].iter().all(bits),
        Some("EC") => jwk.contains_key("crv") && ["x", "y"].iter().all(bits),
        Some("OKP") => jwk.contains_key("crv") && bits(&"x"),
        Some("oct") => bits(&"k"),
        _ => false,
    };
    if !loads {
        violations.add_entity("could not load JWK, likely not a valid key");
    }
}
