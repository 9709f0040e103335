//! [`Keyring`]: certificates, server names and authorities of the catalog, ready for handshakes.

use std::fmt;
use std::sync::Arc;

use gateway_model::entities::{CaCertificate, Certificate, Service, Sni};
use gateway_model::reference::Reference;
use gateway_model::{Catalog, Entity, Id, Item, Rejection, Violations, Write};
use rustls::SignatureAlgorithm;
use rustls::SignatureScheme;
use rustls::sign::CertifiedKey;
use serde_json::Value;

use super::pair::{PairError, certified_key};
use super::upstream::{ClientPair, Trust};

/// A certificate of the catalog: what a client is shown, one pair for each kind of key.
#[derive(Clone, Debug)]
pub struct Shown(Vec<Arc<CertifiedKey>>);

impl Shown {
    /// These pairs, those with ECDSA keys first: cheaper for us, and clients that verify only RSA
    /// get the other.
    pub fn new(mut pairs: Vec<Arc<CertifiedKey>>) -> Self {
        pairs.sort_by_key(|pair| pair.key.algorithm() == SignatureAlgorithm::RSA);
        Self(pairs)
    }

    /// The first pair whose key signs in a way the client verifies; the first at all otherwise, so
    /// that the handshake fails with an alert that says so.
    pub fn for_client(&self, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let usable = self.0.iter().find(|pair| pair.key.choose_scheme(schemes).is_some());
        usable.or_else(|| self.0.first()).cloned()
    }
}

/// One certificate entity, compiled.
struct Compiled {
    entity: Item<Certificate>,
    shown: Shown,
    client: Arc<ClientPair>,
}

/// What the catalog holds for handshakes. Cloning costs nothing; so does changing a clone.
#[derive(Clone, Default)]
pub struct Keyring {
    certificates: imbl::HashMap<Id, Arc<Compiled>>,
    /// By server name, in lower case; a wildcard stands for one label, `*` alone for any name.
    names: imbl::HashMap<Box<str>, Id>,
    /// The authorities of services that name theirs.
    trusts: imbl::HashMap<Id, Arc<Trust>>,
}

impl Keyring {
    /// What a client is shown that asks for `name`: by the whole name, then with `*` for its first
    /// label, then for its last, then `*` alone (kong/runloop/certificate.lua, produce_wild_snis).
    pub fn shown(&self, name: &str) -> Option<&Shown> {
        if self.names.is_empty() {
            return None;
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let first = name.find('.').map(|at| format!("*{}", &name[at..]));
        let last = name.rfind('.').map(|at| format!("{}*", &name[..=at]));
        let spellings = [Some(name), first, last, Some("*".to_owned())];
        spellings.into_iter().flatten().find_map(|name| {
            let id = self.names.get(name.as_str())?;
            self.certificates.get(id).map(|compiled| &compiled.shown)
        })
    }

    /// The pair of a certificate entity, to be shown to upstreams.
    pub(crate) fn client(&self, certificate: Id) -> Option<&Arc<ClientPair>> {
        self.certificates.get(&certificate).map(|compiled| &compiled.client)
    }

    /// The authorities a service names; `None` when it names none.
    pub(crate) fn trust(&self, service: Id) -> Option<&Arc<Trust>> {
        // Most gateways have none, and hashing an id is not free.
        if self.trusts.is_empty() { None } else { self.trusts.get(&service) }
    }

    /// The whole catalog.
    pub(crate) fn everything(catalog: &Catalog, previous: &Self) -> Result<Self, Rejection> {
        let mut next = Self::default();
        for entity in catalog.all::<Certificate>() {
            next.put_certificate(&entity, previous)?;
        }
        for sni in catalog.all::<Sni>() {
            next.put_name(&sni);
        }
        for service in catalog.all::<Service>() {
            next.put_trust(&service, catalog);
        }
        Ok(next)
    }

    /// What follows when `writes` lead to `catalog`.
    pub(crate) fn changed(&self, catalog: &Catalog, writes: &[Write]) -> Result<Self, Rejection> {
        let mut next = self.clone();
        // All old names go before any new one comes: a name may move between entities.
        for write in writes.iter().filter(|write| write.kind == Sni::KIND) {
            if let Some(sni) = write.before.as_ref().and_then(Item::<Sni>::new) {
                next.names.remove(&*key(&sni.name));
            }
        }
        for write in writes {
            match write.kind {
                Certificate::KIND => match catalog.get::<Certificate>(write.id) {
                    Some(entity) => next.put_certificate(&entity, self)?,
                    None => drop(next.certificates.remove(&write.id)),
                },
                Sni::KIND => {
                    if let Some(sni) = catalog.get::<Sni>(write.id) {
                        next.put_name(&sni);
                    }
                }
                Service::KIND => match catalog.get::<Service>(write.id) {
                    Some(service) => next.put_trust(&service, catalog),
                    None => drop(next.trusts.remove(&write.id)),
                },
                CaCertificate::KIND => {
                    let users = catalog.all::<Service>().filter(|service| {
                        service.ca_certificates.iter().flatten().any(|id| *id == write.id)
                    });
                    for service in users.collect::<Vec<_>>() {
                        next.put_trust(&service, catalog);
                    }
                }
                _ => {}
            }
        }
        Ok(next)
    }

    fn put_name(&mut self, sni: &Sni) {
        self.names.insert(key(&sni.name), sni.certificate.id);
    }

    fn put_trust(&mut self, service: &Item<Service>, catalog: &Catalog) {
        let listed = service.ca_certificates.as_deref().unwrap_or_default();
        if listed.is_empty() {
            self.trusts.remove(&service.id());
            return;
        }
        let authorities: Vec<_> =
            listed.iter().filter_map(|id| catalog.get::<CaCertificate>(*id)).collect();
        let texts = authorities.iter().map(|authority| authority.cert.as_str());
        self.trusts.insert(service.id(), Arc::new(Trust::new(texts)));
    }

    fn put_certificate(
        &mut self,
        entity: &Item<Certificate>,
        previous: &Self,
    ) -> Result<(), Rejection> {
        let id = entity.id();
        let known = previous.certificates.get(&id).filter(|known| known.entity.same(entity));
        let compiled = match known {
            Some(known) => Arc::clone(known),
            None => match compile(entity)? {
                Some(compiled) => Arc::new(compiled),
                None => {
                    self.certificates.remove(&id);
                    return Ok(());
                }
            },
        };
        self.certificates.insert(id, compiled);
        Ok(())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} certificates, {} names)", self.certificates.len(), self.names.len())
    }
}

fn key(name: &str) -> Box<str> {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()
}

/// `None` for a certificate with parts in a vault that cannot be used: what is there may change
/// without a write, so this is no reason to refuse one, nor to serve nothing at all.
fn compile(entity: &Item<Certificate>) -> Result<Option<Compiled>, Rejection> {
    let missing = entity.stored().unresolved();
    if !missing.is_empty() {
        let why = missing.join("; ");
        tracing::warn!(certificate.id = %entity.id(), "a certificate is not served: {why}");
        return Ok(None);
    }
    match compile_parts(entity) {
        Ok(compiled) => Ok(Some(compiled)),
        Err(why) if is_in_vault(entity) => {
            tracing::warn!(certificate.id = %entity.id(), "a certificate is not served: {why}");
            Ok(None)
        }
        Err(why) => Err(why),
    }
}

fn is_in_vault(entity: &Item<Certificate>) -> bool {
    let document = entity.document();
    let members = ["cert", "key", "cert_alt", "key_alt"].map(|name| document.get(name));
    let texts = members.into_iter().flatten().filter_map(Value::as_str);
    texts.into_iter().any(Reference::is)
}

fn compile_parts(entity: &Item<Certificate>) -> Result<Compiled, Rejection> {
    let first = pair("cert", "key", &entity.cert, entity.key.expose())?;
    let client =
        ClientPair::new(&first, entity.key.expose()).map_err(|why| refused("key", &why))?;
    let mut pairs = vec![first];
    if let (Some(cert), Some(key)) = (&entity.cert_alt, &entity.key_alt) {
        pairs.push(pair("cert_alt", "key_alt", cert, key.expose())?);
    }
    Ok(Compiled { entity: entity.clone(), shown: Shown::new(pairs), client: Arc::new(client) })
}

fn pair(
    cert_field: &'static str,
    key_field: &'static str,
    cert: &str,
    key: &str,
) -> Result<Arc<CertifiedKey>, Rejection> {
    certified_key(cert, key)
        .map(Arc::new)
        .map_err(|why| refused(if why.is_about_key() { key_field } else { cert_field }, &why))
}

fn refused(field: &'static str, why: &PairError) -> Rejection {
    Rejection::Invalid(Violations::one(field, why.to_string()))
}
