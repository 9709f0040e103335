//! [`Certificate`]: a certificate chain and its key.

use serde::Deserialize;

use crate::schema::{Check, Record};
use crate::{Entity, Id, Secret};

/// A certificate chain and its key, PEM (kong/db/schema/entities/certificates.lua).
#[derive(Clone, Debug, Deserialize, Record)]
#[record(check = Check::MutuallyRequired(&["cert_alt", "key_alt"]))]
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
    #[record(referenceable)]
    pub cert: String,
    /// The private key of the leaf.
    #[record(referenceable, encrypted)]
    pub key: Secret<String>,
    /// A second chain with a key of the other type (RSA and ECDSA).
    #[record(referenceable)]
    pub cert_alt: Option<String>,
    /// The private key of the second leaf.
    #[record(referenceable, encrypted)]
    pub key_alt: Option<Secret<String>>,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    pub tags: Option<Vec<String>>,
}

impl Entity for Certificate {
    const KIND: &'static str = "certificates";
}
