//! [`CaCertificate`]: whom to believe about other certificates.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::schema::{Check, Record};
use crate::{Catalog, Document, Entity, Id, Rejection, Stored, Violations, pem};

/// A certificate of an authority (kong/db/schema/entities/ca_certificates.lua).
#[derive(Clone, Debug, Deserialize, Record)]
#[record(check = Check::Custom(one_living_authority))]
pub struct CaCertificate {
    /// Primary key.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// Unix seconds of creation.
    #[record(auto = Auto::CreatedAt)]
    pub created_at: u64,
    /// Unix seconds of the last write.
    #[record(auto = Auto::UpdatedAt)]
    pub updated_at: u64,
    /// The certificate, PEM.
    #[record(is("certificate", types::certificate))]
    pub cert: String,
    /// SHA-256 of its DER form, lower-case hexadecimal; computed.
    #[record(unique)]
    pub cert_digest: Option<String>,
    /// Free labels.
    #[record(set, elements(|e| e.is("tag", types::tag)))]
    pub tags: Option<Vec<String>>,
}

impl Entity for CaCertificate {
    const KIND: &'static str = "ca_certificates";
}

/// The time of the write stands in the document already, so this needs no clock.
fn one_living_authority(document: &Map<String, Value>, violations: &mut Violations) {
    let text = document.get("cert").and_then(Value::as_str).unwrap_or_default();
    let Ok(certificates) = pem::certificates(text) else { return };
    let [certificate] = certificates.as_slice() else {
        violations.add_entity("please submit only one certificate at a time");
        return;
    };
    let now = document.get("updated_at").and_then(Value::as_i64);
    if now.is_some_and(|now| certificate.not_after < now) {
        violations.add_entity("certificate expired, \"Not After\" time is in the past");
    }
    if !certificate.is_ca {
        violations.add_entity(
            "certificate does not appear to be a CA because it is missing the \"CA\" basic \
             constraint",
        );
    }
}

/// Computes the digest, whatever was sent.
pub(super) fn normalise(document: &mut Document) -> Result<(), Violations> {
    let text = document.get("cert").and_then(Value::as_str).unwrap_or_default();
    let certificates = pem::certificates(text);
    let digest = certificates.ok().and_then(|all| Some(all.first()?.digest.clone()));
    let digest = digest.ok_or_else(|| {
        Violations::one("cert_digest", "cannot create digest value of certificate")
    })?;
    document.insert("cert_digest".to_owned(), digest.into());
    Ok(())
}

/// Services name authorities in a list, which is no reference: looked through before a delete.
pub(super) fn unused(catalog: &Catalog, authority: &Stored) -> Result<(), Rejection> {
    let mut services = catalog.all::<super::Service>();
    let user = services.find(|service| {
        service.ca_certificates.as_ref().is_some_and(|all| all.contains(&authority.id()))
    });
    user.map_or(Ok(()), |service| {
        Err(Rejection::InUse {
            what: "ca certificate",
            id: authority.id(),
            by: "services",
            by_id: service.id(),
        })
    })
}
