//! [`Edit`]: the next catalog in the making.

use std::cell::LazyCell;
use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::{Catalog, Stored, resolve};
use crate::schema::{Auto, Kind, Mode, OnDelete};
use crate::{Change, Document, EntityType, Id, Key, Rejection, Write, merge};

/// The next catalog in the making. Sets of changes are applied one after the other, each whole or
/// not at all.
#[derive(Clone, Debug)]
pub struct Edit {
    base: Catalog,
    pub(super) next: Catalog,
    now: u64,
    touched: Vec<(usize, Id)>,
    known: HashSet<(usize, Id)>,
}

/// Where a document comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Somebody wrote it.
    Client,
    /// It was stored before.
    Store,
}

impl Edit {
    pub(super) fn new(base: Catalog, now: u64) -> Self {
        let next = Catalog { revision: base.revision.next(), ..base.clone() };
        Self { base, next, now, touched: Vec::new(), known: HashSet::new() }
    }

    /// Applies a set of changes. Gives, for each, the entity it ended as (`None` after a delete
    /// and for conditions).
    ///
    /// # Errors
    ///
    /// The first refusal; nothing of the set is applied then.
    pub fn apply(&mut self, changes: &[Change]) -> Result<Vec<Option<Arc<Stored>>>, Rejection> {
        let kept = (self.next.clone(), self.touched.len());
        let applied: Result<Vec<_>, Rejection> =
            changes.iter().map(|change| self.change(change)).collect();
        if applied.is_err() {
            self.next = kept.0;
            for lost in self.touched.drain(kept.1..) {
                self.known.remove(&lost);
            }
        }
        applied
    }

    /// Whether anything changed.
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// The catalog so far.
    pub const fn catalog(&self) -> &Catalog {
        &self.next
    }

    /// The next catalog, and what differs from the one it was begun on.
    pub fn finish(mut self) -> (Catalog, Vec<Write>) {
        self.renew_references();
        let writes = self
            .touched
            .iter()
            .map(|(index, id)| Write {
                kind: self.next.registry.kinds()[*index].kind,
                id: *id,
                before: self.base.collections[*index].get(*id).cloned(),
                after: self.next.collections[*index].get(*id).cloned(),
            })
            .filter(|write| write.before.is_some() || write.after.is_some())
            .collect();
        (self.next, writes)
    }

    /// What refers to a vault that was written gets its value anew.
    fn renew_references(&mut self) {
        let touched = self.touched.iter();
        let forms = touched.flat_map(|(at, id)| {
            [&self.base, &self.next].map(|catalog| catalog.collections[*at].get(*id))
        });
        let vaults = resolve::names(forms.flatten());
        // Nearly every write: there is no need to look at all entities then.
        if vaults.is_empty() {
            return;
        }
        for (at, id) in self.next.renew(|name| vaults.contains(name)) {
            self.touch(at, id);
        }
    }

    pub(super) fn change(&mut self, change: &Change) -> Result<Option<Arc<Stored>>, Rejection> {
        match change {
            Change::Insert { kind, document } => {
                let at = self.index(kind)?;
                let mut document = document.clone();
                let names = self.sent(at, &mut document, None)?;
                if let Some(id) = given_id(&document)
                    && self.next.collections[at].get(id).is_some()
                {
                    return Err(Rejection::PrimaryKey { id });
                }
                let stored = self.write(at, document, None, Mode::Create)?;
                self.list(&stored, names)?;
                Ok(Some(stored))
            }
            Change::Restore { kind, document } => {
                let at = self.index(kind)?;
                let present = given_id(document).and_then(|id| self.next.collections[at].get(id));
                let present = present.cloned();
                self.put(at, document.clone(), present, Mode::Create, Origin::Store).map(Some)
            }
            Change::Upsert { kind, key, document } => {
                let at = self.index(kind)?;
                let present = self.next.collections[at].find(key).cloned();
                let mut document = document.clone();
                let names = self.sent(at, &mut document, present.as_deref())?;
                if let Key::Unique(field, value) = key {
                    document.insert((*field).to_owned(), value.as_str().into());
                }
                let id = match (&present, key) {
                    (Some(stored), _) => Some(stored.id()),
                    (None, Key::Id(id)) => Some(*id),
                    (None, Key::Unique(..)) => given_id(&document),
                };
                if let Some(id) = id {
                    document.insert("id".to_owned(), id.to_string().into());
                }
                let stored = self.write(at, document, present, Mode::Create)?;
                self.list(&stored, Some(names.unwrap_or_default()))?;
                Ok(Some(stored))
            }
            Change::Patch { kind, key, document } => {
                let at = self.index(kind)?;
                let kind = self.next.registry.kinds()[at];
                let present = self.next.collections[at]
                    .find(key)
                    .cloned()
                    .ok_or_else(|| Rejection::NotFound { kind: kind.kind, key: key.clone() })?;
                let current = present.document();
                let mut update = document.clone();
                update.shift_remove("id");
                let names = self.sent(at, &mut update, Some(&present))?;
                let violations = self.next.registry.expand_update(kind, &mut update, &current);
                if !violations.is_empty() {
                    return Err(Rejection::Invalid(violations));
                }
                let mut merged = current.clone();
                let registry = Arc::clone(&self.next.registry);
                merge(&mut merged, update, &|path| registry.is_record(kind, &current, path));
                let stored = self.write(at, merged, Some(present), Mode::Update)?;
                self.list(&stored, names)?;
                Ok(Some(stored))
            }
            Change::Delete { kind, key } => {
                let at = self.index(kind)?;
                if let Some(stored) = self.next.collections[at].find(key).cloned() {
                    self.delete(at, &stored)?;
                }
                Ok(None)
            }
            Change::Expire => {
                for at in 0..self.next.collections.len() {
                    let ended: Vec<_> =
                        self.next.collections[at].ended(self.now).cloned().collect();
                    for stored in ended {
                        self.delete(at, &stored)?;
                    }
                }
                Ok(None)
            }
            Change::Require(condition) => {
                condition.check(&self.next).map(|()| None).map_err(Rejection::Condition)
            }
        }
    }

    /// What a document as sent implies, and the names it lists.
    fn sent(
        &self,
        at: usize,
        document: &mut Document,
        present: Option<&Stored>,
    ) -> Result<Option<Vec<String>>, Rejection> {
        let kind = self.next.registry.kinds()[at];
        if let Some(imply) = kind.input {
            imply(document);
        }
        self.set_end(kind, document)?;
        self.listed_in(kind, document, present.map(Stored::id))
    }

    /// Seconds to live, as sent, become the time of the end. 0 is for ever
    /// (kong/db/dao/init.lua, validate_ttl_type).
    fn set_end(&self, kind: &EntityType, document: &mut Document) -> Result<(), Rejection> {
        let Some(option) = kind.expiry() else { return Ok(()) };
        let Some(value) = document.get_mut(option).filter(|value| !value.is_null()) else {
            return Ok(());
        };
        let seconds = value.as_f64().filter(|n| n.fract() == 0.0 && (0.0..=LONGEST).contains(n));
        let seconds = seconds.ok_or_else(|| Rejection::Option {
            option,
            text: format!("must be an integer between 0 and {LONGEST}"),
        })?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in bounds")]
        let seconds = seconds as u64;
        *value = match seconds {
            0 => Value::Null,
            seconds => (self.now + seconds * 1000).into(),
        };
        Ok(())
    }

    fn index(&self, kind: &str) -> Result<usize, Rejection> {
        self.next
            .registry
            .index(kind)
            .ok_or_else(|| Rejection::Condition(format!("there is no kind '{kind}'")))
    }

    /// Completes, checks and puts one document that a client wrote.
    fn write(
        &mut self,
        at: usize,
        document: Document,
        present: Option<Arc<Stored>>,
        mode: Mode,
    ) -> Result<Arc<Stored>, Rejection> {
        self.put(at, document, present, mode, Origin::Client)
    }

    fn put(
        &mut self,
        at: usize,
        mut document: Document,
        present: Option<Arc<Stored>>,
        mode: Mode,
        origin: Origin,
    ) -> Result<Arc<Stored>, Rejection> {
        let kind = self.next.registry.kinds()[at];
        self.resolve_names(kind, &mut document)?;
        self.fill_auto(kind, &mut document, present.as_deref(), origin);
        let mut violations = self.next.registry.complete(kind, &mut document);
        violations.add_all(self.next.registry.check(kind, &document, mode));
        if !violations.is_empty() {
            return Err(Rejection::Invalid(violations));
        }
        let transform = kind.transform.filter(|_| origin == Origin::Client);
        for step in [kind.normalise, transform].into_iter().flatten() {
            step(&mut document).map_err(Rejection::Invalid)?;
        }
        let stored = self.next.typed(kind, document)?;
        self.check_references(kind, &stored)?;
        if let Some(fields) = self.next.collections[at].taken(&stored) {
            return Err(Rejection::Unique { kind: kind.kind, fields });
        }
        self.touch(at, stored.id());
        Arc::make_mut(&mut self.next.collections[at]).put(Arc::clone(&stored));
        Ok(stored)
    }

    /// `{"name": "s1"}` in a reference field becomes `{"id": …}`.
    fn resolve_names(&self, kind: &EntityType, document: &mut Document) -> Result<(), Rejection> {
        for (field, target, _) in kind.references() {
            let Some(Value::Object(members)) = document.get(field.name) else { continue };
            let key = self.next.registry.kind(target).and_then(|target| target.endpoint_key);
            let Some(name) = key.filter(|_| members.len() == 1) else { continue };
            let Some(Value::String(value)) = members.get(name) else { continue };
            let found = self.next.collection(target).and_then(|all| all.by(name, value));
            let id = found.map(|stored| stored.id()).ok_or_else(|| Rejection::Unresolved {
                field: field.name,
                name,
                value: value.clone(),
                kind: target,
            })?;
            document.insert(field.name.to_owned(), serde_json::json!({ "id": id }));
        }
        Ok(())
    }

    fn fill_auto(
        &self,
        kind: &EntityType,
        document: &mut Document,
        present: Option<&Stored>,
        origin: Origin,
    ) {
        let before = LazyCell::new(|| present.map(Stored::document));
        for field in &kind.record().fields {
            let absent = document.get(field.name).is_none_or(Value::is_null);
            let kept = || (*before).as_ref().and_then(|before| before.get(field.name)).cloned();
            let value = match field.auto {
                Some(Auto::Id) if absent => {
                    kept().unwrap_or_else(|| Id::random().to_string().into())
                }
                Some(Auto::CreatedAt)
                    if absent || (present.is_some() && origin == Origin::Client) =>
                {
                    kept().unwrap_or_else(|| self.seconds(&field.kind))
                }
                Some(Auto::UpdatedAt) if absent || origin == Origin::Client => {
                    self.seconds(&field.kind)
                }
                Some(Auto::RandomText) if absent => crate::random_text().into(),
                _ => continue,
            };
            document.insert(field.name.to_owned(), value);
        }
        self.next.registry.fill_random(kind, document);
    }

    /// Now, in whole seconds or, for kinds that keep fractions, with three decimals.
    fn seconds(&self, kind: &Kind) -> Value {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are below 2^53")]
        match kind {
            Kind::Number => (self.now as f64 / 1000.0).into(),
            _ => (self.now / 1000).into(),
        }
    }

    fn check_references(&self, kind: &EntityType, stored: &Stored) -> Result<(), Rejection> {
        for (field, target, _) in kind.references() {
            let Some(id) = stored.reference(field.name) else { continue };
            let exists = self.next.collection(target).is_some_and(|all| all.get(id).is_some());
            if !exists {
                return Err(Rejection::Reference { field: field.name, id, kind: target });
            }
        }
        Ok(())
    }

    fn delete(&mut self, at: usize, stored: &Stored) -> Result<(), Rejection> {
        let kind = stored.kind().kind;
        if let Some(guard) = stored.kind().guard {
            guard(&self.next, stored)?;
        }
        let registry = Arc::clone(&self.next.registry);
        for (child_at, child_kind) in registry.kinds().iter().enumerate() {
            for (field, target, on_delete) in child_kind.references() {
                if target != kind {
                    continue;
                }
                let children: Vec<Arc<Stored>> = self.next.collections[child_at]
                    .children(field.name, stored.id())
                    .cloned()
                    .collect();
                for child in children {
                    match on_delete {
                        OnDelete::Restrict => {
                            return Err(Rejection::Referenced { kind, by: child_kind.kind });
                        }
                        OnDelete::Cascade => self.delete(child_at, &child)?,
                        OnDelete::SetNull => {
                            let mut document = child.document();
                            document.insert(field.name.to_owned(), Value::Null);
                            self.write(child_at, document, Some(child), Mode::Update)?;
                        }
                    }
                }
            }
        }
        self.touch(at, stored.id());
        Arc::make_mut(&mut self.next.collections[at]).remove(stored.id());
        Ok(())
    }

    fn touch(&mut self, at: usize, id: Id) {
        if self.known.insert((at, id)) {
            self.touched.push((at, id));
        }
    }
}

/// Seconds an entity may be given to live, at most.
const LONGEST: f64 = 100_000_000.0;

fn given_id(document: &Document) -> Option<Id> {
    document.get("id").and_then(Value::as_str).and_then(Id::parse)
}
