//! What the platform needs in the catalog before anybody calls it: its own services behind the
//! gateway ([`gateway`]) and an app to begin with ([`bootstrap`]).
//!
//! Everything seeded into the gateway is an ordinary entity, visible and editable. The platform
//! remembers what it seeded and how ([`Seed`]), so that a later start updates what is still as it
//! left it and leaves alone what an operator edited or deleted.

mod bootstrap;
mod gateway;

use std::sync::Arc;

use gateway_model::{Catalog, Change, Document, Id, Key, Rejection, Stored};
use serde_json::Value;

use crate::Platform;
use crate::commit::{Refused, commit};
use crate::entities::{self, Seed};
use crate::settings::Bootstrap;

/// What a start has put in.
#[derive(Clone, Debug, Default)]
pub struct Seeded {
    /// The bootstrap app that was made up on this first start, to be shown once.
    pub generated: Option<Bootstrap>,
}

/// Why the platform could not put in what it needs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// The catalog refused.
    #[error("the gateway refused what the platform needs")]
    Rejected(#[source] Rejection),
    /// The public half of the token key could not be written out.
    #[error("the token key has no readable public half")]
    TokenKey,
    /// The configured bootstrap app breaks a rule.
    #[error("the bootstrap app")]
    Bootstrap(#[source] crate::auth::credential::InvalidCredential),
    /// The configured bootstrap app is the one everybody knows.
    #[error(
        "the bootstrap app has the key pair that EdgeGallery published; \
         set mep_allow_default_credentials to use it all the same"
    )]
    PublishedDefault,
    /// Another app has the access key of the bootstrap app.
    #[error("the access key of the bootstrap app belongs to another app")]
    AccessKeyTaken,
    /// No random key pair could be made, or none be sealed.
    #[error("the bootstrap app's key pair could not be made")]
    KeyPair,
}

pub(crate) async fn seed(platform: &Platform) -> Result<Seeded, SeedError> {
    let public_key = platform.issuer.key().public_key_pem().map_err(|_| SeedError::TokenKey)?;
    let wanted = gateway::wanted(&public_key, &platform.settings);
    let planned: Result<(), Refused<std::convert::Infallible>> =
        commit(&platform.control, |catalog| Ok((plan(catalog, &wanted), ()))).await;
    if let Err(Refused::Rejection(rejection)) = planned {
        return Err(SeedError::Rejected(rejection));
    }
    bootstrap::seed(platform).await
}

/// One entity the platform wants in the gateway.
struct Wanted {
    kind: &'static str,
    id: Id,
    /// How to find one that is there under another id.
    same: Same,
    /// Its members, without the id.
    document: Document,
    /// References to others of the list: member, kind, id.
    parents: Vec<(&'static str, &'static str, Id)>,
    /// Whether one found there for the first time is brought into line instead of left alone.
    overrides: bool,
}

/// How an entity is recognised that somebody else made.
enum Same {
    /// By a unique member.
    Unique(&'static str, &'static str),
    /// By plugin name, on what it is wanted on: that member of it and no other.
    PluginOf(&'static str, &'static str),
}

/// What has to change; nothing when everything is as it should be.
fn plan(catalog: &Catalog, wanted: &[Wanted]) -> Vec<Change> {
    let mut changes = Vec::new();
    // Where each wanted entity is or will be; those an operator deleted are nowhere.
    let mut places: Vec<(&str, Id, Id)> = Vec::new();
    for one in wanted {
        let Some(parents) = one.resolve(&places) else { continue };
        let memory_id = Seed::id_of(one.kind, one.id);
        let memory = catalog.get::<Seed>(memory_id);
        let present = one.present(catalog, &parents);
        let place = present.as_ref().map_or(one.id, |stored| stored.id());
        let document: Document = one.document.clone().into_iter().chain(parents).collect();
        let mut remembers = true;
        match (&memory, &present) {
            (None, None) => {
                let mut document = document.clone();
                document.insert("id".to_owned(), one.id.to_string().into());
                changes.push(Change::Insert { kind: one.kind, document });
            }
            (None, Some(_)) if one.overrides => changes.push(patch(one.kind, place, &document)),
            (None, Some(_)) => {}
            (Some(memory), Some(present)) => {
                let untouched = holds(&present.document().into(), &memory.document);
                remembers = memory.document != document && untouched;
                if remembers {
                    changes.push(patch(one.kind, place, &document));
                }
            }
            (Some(_), None) => continue,
        }
        places.push((one.kind, one.id, place));
        if remembers {
            changes.push(entities::put(memory_id, &Seed { id: memory_id, document }));
        }
    }
    changes
}

fn patch(kind: &'static str, id: Id, document: &Document) -> Change {
    Change::Patch { kind, key: Key::Id(id), document: document.clone() }
}

impl Wanted {
    /// Its references as members, `None` when one of those it refers to is nowhere.
    fn resolve(&self, places: &[(&str, Id, Id)]) -> Option<Document> {
        self.parents
            .iter()
            .map(|(member, kind, id)| {
                let place = places.iter().find(|place| (place.0, place.1) == (*kind, *id))?.2;
                Some(((*member).to_owned(), serde_json::json!({"id": place})))
            })
            .collect()
    }

    fn present(&self, catalog: &Catalog, parents: &Document) -> Option<Arc<Stored>> {
        let all = catalog.collection(self.kind)?;
        all.get(self.id)
            .or_else(|| match self.same {
                Same::Unique(member, value) => all.by(member, value),
                Same::PluginOf(member, name) => {
                    let parent = parents.get(member)?.get("id")?.as_str()?;
                    all.children(member, Id::parse(parent)?).find(|stored| {
                        let elsewhere = ["service", "route", "consumer"]
                            .into_iter()
                            .any(|other| other != member && stored.reference(other).is_some());
                        stored.text("name").as_deref() == Some(name) && !elsewhere
                    })
                }
            })
            .cloned()
    }
}

/// Whether a document still has every member as it was seeded.
fn holds(present: &Value, seeded: &Document) -> bool {
    seeded.iter().all(|(name, value)| match (present.get(name), value) {
        (Some(present @ Value::Object(_)), Value::Object(value)) => holds(present, value),
        (present, value) => present == Some(value),
    })
}
