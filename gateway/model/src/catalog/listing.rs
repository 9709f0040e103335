//! Entities listed by name in another: the member `snis` of a certificate.
//!
//! The list is no field: it is read from the entities that refer to its owner, and writing it
//! writes them, in the same set of changes.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{Catalog, Edit, Stored};
use crate::{Change, Document, EntityType, Id, Key, Rejection, Violations};

impl Catalog {
    /// An entity as answers show it at `now` (Unix milliseconds): deprecated names beside the new
    /// ones, its list, and how many seconds it still lasts.
    pub fn shown(&self, stored: &Stored, now: u64) -> Document {
        let mut shown = self.registry().shown(stored.kind(), stored.document());
        if let (Some(field), Some(end)) = (stored.kind().expiry(), stored.ends()) {
            // Whole seconds; the one that runs is not counted.
            let left = end.saturating_sub(now).saturating_sub(1) / 1000;
            shown.insert(field.to_owned(), left.into());
        }
        if let Some(listing) = stored.kind().listing {
            shown.insert(listing.member.to_owned(), self.names(stored).into());
        }
        shown
    }

    /// What [`Self::shown`] shows, as compact JSON text. Of most kinds that is what is stored.
    pub fn shown_text<'s>(&self, stored: &'s Stored, now: u64) -> Cow<'s, str> {
        let kind = stored.kind();
        if kind.listing.is_none() && stored.ends().is_none() && !self.registry().adds_to(kind) {
            return Cow::Borrowed(stored.json());
        }
        Cow::Owned(Value::Object(self.shown(stored, now)).to_string())
    }

    /// The names of an entity's list, sorted; none when its kind has no list.
    pub fn names(&self, stored: &Stored) -> Vec<String> {
        let Some(listing) = stored.kind().listing else { return Vec::new() };
        let listed = self.collection(listing.kind).into_iter();
        let mut names: Vec<String> = listed
            .flat_map(|all| all.children(listing.field, stored.id()))
            .filter_map(|child| child.text(listing.key))
            .collect();
        names.sort_unstable();
        names
    }
}

impl Edit {
    /// Takes the names off a document; `own` is the entity that may have them already.
    pub(super) fn listed_in(
        &self,
        kind: &EntityType,
        document: &mut Document,
        own: Option<Id>,
    ) -> Result<Option<Vec<String>>, Rejection> {
        let Some(listing) = kind.listing else { return Ok(None) };
        let refuse = |text: String| Err(Rejection::Invalid(Violations::one(listing.member, text)));
        let values = match document.shift_remove(listing.member) {
            None => return Ok(None),
            Some(Value::Null) => Vec::new(),
            // A form with one name gives a text.
            Some(text @ Value::String(_)) => vec![text],
            Some(Value::Array(values)) => values,
            Some(_) => return refuse("expected an array".into()),
        };
        let mut names: Vec<String> = Vec::with_capacity(values.len());
        for value in values {
            let Value::String(name) = value else { return refuse("expected a string".into()) };
            if names.contains(&name) {
                return refuse(format!("{name} is duplicated"));
            }
            let holder =
                self.next.collection(listing.kind).and_then(|all| all.by(listing.key, &name));
            let holder = holder.and_then(|child| child.reference(listing.field));
            if let Some(holder) = holder.filter(|holder| Some(*holder) != own) {
                return refuse(format!(
                    "{name} already associated with existing {} '{holder}'",
                    listing.field
                ));
            }
            names.push(name);
        }
        Ok(Some(names))
    }

    /// Makes the list of `owner` these names; `None` leaves it as it is.
    pub(super) fn list(
        &mut self,
        owner: &Stored,
        names: Option<Vec<String>>,
    ) -> Result<(), Rejection> {
        let (Some(listing), Some(names)) = (owner.kind().listing, names) else { return Ok(()) };
        let present = self.next.names(owner);
        let gone = present.iter().filter(|name| !names.contains(name));
        let deletes = gone.map(|name| {
            let key = Key::Unique(listing.key, name.clone());
            Change::Delete { kind: listing.kind, key }
        });
        let new = names.iter().filter(|name| !present.contains(name));
        let inserts = new.map(|name| {
            let reference = json!({ "id": owner.id() });
            let document = Document::from_iter([
                (listing.key.to_owned(), name.as_str().into()),
                (listing.field.to_owned(), reference),
            ]);
            Change::Insert { kind: listing.kind, document }
        });
        let changes: Vec<Change> = deletes.chain(inserts).collect();
        changes.iter().try_for_each(|change| self.change(change).map(drop))
    }
}
