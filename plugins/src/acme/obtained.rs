//! [`obtained`]: what stays when a declarative configuration replaces what was configured.

use std::collections::HashSet;

use gateway_model::entities::{Certificate, Sni};
use gateway_model::{Catalog, Change, Entity, Id};

use super::entity::AcmeStorage;
use super::keeper::{TAG, is_ours};

/// The certificates that were obtained, with their names, and what is known of authorities: all that
/// a declarative configuration does not hold itself. Without a database they are nowhere else, and
/// authorities issue only so many a week.
pub fn obtained(catalog: &Catalog, declared: &[Change]) -> HashSet<Id> {
    let is_declared = |kind: &str, id: Id, unique: (&str, &str)| {
        let id = id.to_string();
        let mut documents = declared.iter().filter_map(|change| match change {
            Change::Insert { kind: of, document } | Change::Restore { kind: of, document } => {
                (*of == kind).then_some(document)
            }
            _ => None,
        });
        documents.any(|document| {
            [("id", &*id), unique].iter().any(|(field, text)| {
                document.get(*field).is_some_and(|value| value.as_str() == Some(text))
            })
        })
    };
    let mut stay = HashSet::new();
    for sni in catalog.all::<Sni>() {
        let is_obtained = sni.tags.iter().flatten().any(|tag| tag == TAG);
        if !is_obtained || is_declared(Sni::KIND, sni.id(), ("name", &sni.name)) {
            continue;
        }
        let certificate = catalog.get::<Certificate>(sni.certificate.id);
        let certificate = certificate.filter(|one| is_ours(one)).map(|one| one.id());
        // One that is declared comes anew, and with it what leads to it.
        let stays = certificate.filter(|id| !is_declared(Certificate::KIND, *id, ("id", "")));
        stay.extend(stays.into_iter().flat_map(|id| [id, sni.id()]));
    }
    let known = catalog.all::<AcmeStorage>();
    let known = known.filter(|one| !is_declared(AcmeStorage::KIND, one.id(), ("key", &one.key)));
    stay.extend(known.map(|one| one.id()));
    stay
}
