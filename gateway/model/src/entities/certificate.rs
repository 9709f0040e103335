//! [`Certificate`]: a certificate chain and its key.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::pem::{self, PublicKey};
use crate::schema::{Check, Record};
use crate::{Entity, Id, Secret, Violations};

/// A certificate chain and its key, PEM (kong/db/schema/entities/certificates.lua).
///
/// The names it is shown for are entities of their own ([`super::Sni`]); the member `snis` lists
/// them.
#[derive(Clone, Debug, Deserialize, Record)]
#[record(check = Check::MutuallyRequired(&["cert_alt", "key_alt"]))]
#[record(check = Check::Custom(pairs))]
pub struct Certificate {
    /// Primary key.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    pub created_at: u64,
    /// Unix seconds of the last write.
    #[record(auto = Auto::UpdatedAt)]
    pub updated_at: u64,
    /// The chain, leaf first.
    #[record(referenceable, is("certificate", types::certificate))]
    pub cert: String,
    /// The private key of the leaf.
    #[record(referenceable, encrypted, is("private_or_public_key", types::private_key))]
    pub key: Secret<String>,
    /// A second chain with a key of the other type (RSA and ECDSA).
    #[record(referenceable, is("certificate", types::certificate))]
    pub cert_alt: Option<String>,
    /// The private key of the second leaf.
    #[record(referenceable, encrypted, is("private_or_public_key", types::private_key))]
    pub key_alt: Option<Secret<String>>,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    pub tags: Option<Vec<String>>,
}

impl Entity for Certificate {
    const KIND: &'static str = "certificates";
}

/// Each key belongs to its certificate, and the two certificates have keys of different types.
/// What cannot be read was complained about already; references to a vault are not looked into.
fn pairs(document: &Map<String, Value>, violations: &mut Violations) {
    let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
    let leaf = |name: &str| -> Option<PublicKey> {
        pem::certificates(text(name)).ok()?.into_iter().next().map(|facts| facts.public_key)
    };
    let (cert, cert_alt) = (leaf("cert"), leaf("cert_alt"));
    for (certificate, key, complaint) in [
        (&cert, "key", "certificate does not match key"),
        (&cert_alt, "key_alt", "alternative certificate does not match key"),
    ] {
        if let (Some(certificate), Ok(key)) = (certificate, pem::private_key(text(key)))
            && *certificate != key
        {
            violations.add_entity(complaint);
        }
    }
    if let (Some(cert), Some(cert_alt)) = (cert, cert_alt)
        && cert.kind == cert_alt.kind
    {
        violations.add_entity(
            "certificate and alternative certificate need to have different type (e.g. RSA and \
             ECDSA), the provided certificates were both of the same type",
        );
    }
}
