//! Operations on the entities of any kind: list, create, read, upsert, patch, delete.
//!
//! Reads take the catalog of the moment; writes become changes for the control plane, whose
//! writer checks everything again in its turn.

use std::borrow::Cow;
use std::sync::Arc;

use gateway_model::{Change, Document, EntityType, Id, Key, Stored};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::body::Payload;
use crate::dispatch::Call;
use crate::form::Shape;
use crate::nested::Scope;
use crate::page::Window;
use crate::tags::Filter;
use crate::{Writes, error};

/// Kinds whose `PUT` changes what is there and creates nothing (kong/api/routes/upstreams.lua).
const UPDATED_BY_PUT: [&str; 1] = ["targets"];

/// `GET` and `POST` of a collection.
pub(crate) async fn collection(
    call: &Call<'_>,
    scope: &Scope,
    payload: &Payload,
) -> Result<Answer, Answer> {
    let parent = parent(call, scope)?;
    if call.method == Method::GET {
        return list(call, scope, parent.as_deref());
    }
    writable(call, "create", scope.kind, None)?;
    let document = document(call, scope, parent.as_deref(), payload, None);
    let created = write(call, Change::Insert { kind: scope.kind.kind, document }).await?;
    Ok(Answer::json(StatusCode::CREATED, created))
}

/// `GET` of a collection under a path of its own.
pub(crate) fn all(call: &Call<'_>, scope: &Scope) -> Result<Answer, Answer> {
    list(call, scope, parent(call, scope)?.as_deref())
}

/// `GET`, `PATCH`, `PUT` and `DELETE` of one entity.
pub(crate) async fn entity(
    call: &Call<'_>,
    scope: &Scope,
    key: &str,
    payload: &Payload,
) -> Result<Answer, Answer> {
    let parent = parent(call, scope)?;
    let Address { key, implied } = address(call, scope, parent.as_deref(), key)?;
    let kind = scope.kind.kind;
    let updates = *call.method == Method::PATCH || UPDATED_BY_PUT.contains(&kind);
    let present = call.catalog.find(kind, &key).filter(|entity| belongs(entity, scope, &parent));
    // Below a parent only what is there can be read, changed or deleted.
    if parent.is_some() && present.is_none() && (updates || call.method != Method::PUT) {
        return Err(Answer::not_found());
    }
    match *call.method {
        Method::GET => {
            present.map(|entity| Answer::stored(shown(call, entity))).ok_or_else(Answer::not_found)
        }
        Method::DELETE => {
            if present.is_some() {
                writable(call, "remove", scope.kind, Some(&key))?;
                call.admin.control.apply(vec![Change::Delete { kind, key }]).await?;
            }
            Ok(Answer::no_content())
        }
        _ if updates => {
            writable(call, "update", scope.kind, Some(&key))?;
            let document =
                document(call, scope, None, payload, present.map(|e| e.document()).as_ref());
            write(call, Change::Patch { kind, key, document }).await.map(Answer::ok)
        }
        _ => {
            writable(call, "create or update", scope.kind, Some(&key))?;
            let mut document = document(call, scope, parent.as_deref(), payload, None);
            document.extend(implied);
            write(call, Change::Upsert { kind, key, document }).await.map(Answer::ok)
        }
    }
}

/// `GET`, `PATCH` and `PUT` of the entity a field refers to. `PUT` on an empty field creates the
/// entity and attaches it.
pub(crate) async fn referenced(
    call: &Call<'_>,
    (kind, key): (&'static EntityType, &str),
    field: &'static str,
    target: &'static EntityType,
    payload: &Payload,
) -> Result<Answer, Answer> {
    let holder = found(call, kind, key)?;
    let present = holder.reference(field);
    let scope = Scope { kind: target, parent: None };
    let current = present.and_then(|id| call.catalog.find(target.kind, &Key::Id(id)));
    if *call.method == Method::GET {
        let entity = current.ok_or_else(Answer::not_found)?;
        return Ok(Answer::stored(shown(call, entity)));
    }
    if *call.method == Method::PATCH {
        let id = present.ok_or_else(Answer::not_found)?;
        writable(call, "update", target, Some(&Key::Id(id)))?;
        let document =
            document(call, &scope, None, payload, current.map(|e| e.document()).as_ref());
        let change = Change::Patch { kind: target.kind, key: Key::Id(id), document };
        return write(call, change).await.map(Answer::ok);
    }
    let id = present.unwrap_or_else(Id::random);
    writable(call, "create or update", target, Some(&Key::Id(id)))?;
    let document = document(call, &scope, None, payload, None);
    let mut changes = vec![Change::Upsert { kind: target.kind, key: Key::Id(id), document }];
    if present.is_none() {
        let attach = Document::from_iter([(field.to_owned(), json!({ "id": id }))]);
        let key = Key::Id(holder.id());
        changes.push(Change::Patch { kind: kind.kind, key, document: attach });
    }
    let applied = call.admin.control.apply(changes).await?;
    let entity = applied.entities.first().and_then(Option::as_ref);
    let entity = entity.ok_or_else(Answer::not_found)?;
    Ok(Answer::ok(applied.catalog.shown(entity, call.admin.control.now())))
}

/// An entity as answers show it. Without a database nothing ends, and no time is told
/// (kong/db/strategies/off).
///
/// It is JSON text: for most kinds the one kept, which need not be read.
fn shown<'e>(call: &Call<'_>, entity: &'e Stored) -> Cow<'e, str> {
    if let (Writes::Declarative, Some(expiry), None) =
        (call.admin.writes, entity.kind().expiry(), entity.ends())
    {
        let mut shown = call.catalog.shown(entity, call.admin.control.now());
        shown.shift_remove(expiry);
        return Cow::Owned(Value::Object(shown).to_string());
    }
    call.catalog.shown_text(entity, call.admin.control.now())
}

fn list(call: &Call<'_>, scope: &Scope, parent: Option<&Stored>) -> Result<Answer, Answer> {
    let window = Window::read(call)?;
    let filter = Filter::read(call)?;
    let Some(all) = call.catalog.collection(scope.kind.kind) else {
        return Err(Answer::not_found());
    };
    if scope.kind.kind == "consumers"
        && parent.is_none()
        && let Some(custom_id) = call.parameter("custom_id")
    {
        if custom_id.is_empty() {
            return Err(Answer::bad_request("custom_id must be an unempty string"));
        }
        let row = all.by("custom_id", custom_id).map(|entity| shown(call, entity));
        let row = row.as_deref().unwrap_or_default();
        return Ok(Answer::stored(format!("{{\"data\":[{row}],\"next\":null}}")));
    }
    let rows: Box<dyn Iterator<Item = &Arc<Stored>>> = match (parent, &scope.parent) {
        (Some(parent), Some(scope)) => {
            let later =
                move |entity: &&Arc<Stored>| window.after.is_none_or(|after| entity.id() > after);
            Box::new(all.children(scope.field, parent.id()).filter(later))
        }
        _ => Box::new(all.after(window.after)),
    };
    let rows = rows.filter(|entity| filter.accepts(entity));
    Ok(window.answer(call, rows, |entity| shown(call, entity)))
}

/// The entity a nested collection is below of; unknown ones are not found, whatever is asked.
fn parent(call: &Call<'_>, scope: &Scope) -> Result<Option<Arc<Stored>>, Answer> {
    let Some(parent) = &scope.parent else { return Ok(None) };
    found(call, parent.kind, &parent.key).map(Some)
}

/// The entity a path segment names.
pub(crate) fn found(
    call: &Call<'_>,
    kind: &'static EntityType,
    key: &str,
) -> Result<Arc<Stored>, Answer> {
    let Address { key, .. } = address(call, &Scope { kind, parent: None }, None, key)?;
    call.catalog.find(kind.kind, &key).cloned().ok_or_else(Answer::not_found)
}

/// The entity a path segment names among those of a parent.
pub(crate) fn found_below(
    call: &Call<'_>,
    scope: &Scope,
    parent: &Stored,
    key: &str,
) -> Result<Arc<Stored>, Answer> {
    let Address { key, .. } = address(call, scope, Some(parent), key)?;
    let present = call.catalog.find(scope.kind.kind, &key);
    let present = present.filter(|entity| below(entity, scope, parent));
    present.cloned().ok_or_else(Answer::not_found)
}

fn belongs(entity: &Stored, scope: &Scope, parent: &Option<Arc<Stored>>) -> bool {
    parent.as_ref().is_none_or(|parent| below(entity, scope, parent))
}

fn below(entity: &Stored, scope: &Scope, parent: &Stored) -> bool {
    scope.parent.as_ref().is_none_or(|scope| entity.reference(scope.field) == Some(parent.id()))
}

/// How a path addresses an entity.
struct Address {
    key: Key,
    /// The member a `PUT` that creates takes from the path.
    implied: Option<(String, Value)>,
}

impl From<Key> for Address {
    fn from(key: Key) -> Self {
        Self { key, implied: None }
    }
}

/// How a path segment addresses an entity: a UUID is an id, all else the endpoint key, or one of
/// the names the entity lists.
fn address(
    call: &Call<'_>,
    scope: &Scope,
    parent: Option<&Stored>,
    text: &str,
) -> Result<Address, Answer> {
    let kind = scope.kind;
    if let Some(id) = Id::parse(text) {
        return Ok(Key::Id(id).into());
    }
    if let Some(listing) = kind.listing {
        let named = call.catalog.collection(listing.kind).and_then(|all| all.by(listing.key, text));
        return match named.and_then(|named| named.reference(listing.field)) {
            Some(id) => Ok(Key::Id(id).into()),
            None if *call.method == Method::PUT => Ok(Key::Id(Id::random()).into()),
            None => Err(Answer::message(StatusCode::NOT_FOUND, "SNI not found")),
        };
    }
    let field = kind.endpoint_key.or_else(|| parent.and(kind.nested_key));
    let field = field.ok_or_else(error::invalid_primary_key)?;
    let rules = kind.record().at(field).ok_or_else(Answer::not_found)?;
    if let Some(problem) = rules.problem(&text.into()) {
        // Below a parent anything may be asked for, and is not there.
        return Err(match parent {
            Some(_) if !rules.unique => Answer::not_found(),
            _ => error::invalid_unique(field, &problem),
        });
    }
    if rules.unique {
        return Ok(Key::Unique(field, text.to_owned()).into());
    }
    // The key is unique among the children of one parent only.
    let (Some(parent), Some(above)) = (parent, &scope.parent) else {
        return Err(error::invalid_primary_key());
    };
    let mut wanted = Document::from_iter([(field.to_owned(), text.into())]);
    if let Some(normalise) = kind.normalise {
        normalise(&mut wanted).map_err(error::invalid)?;
    }
    let siblings = call.catalog.collection(kind.kind).into_iter();
    let named = siblings
        .flat_map(|all| all.children(above.field, parent.id()))
        .find(|child| child.document().get(field) == wanted.get(field));
    let id = named.map_or_else(Id::random, |named| named.id());
    Ok(Address { key: Key::Id(id), implied: wanted.into_iter().next() })
}

/// What was sent, with the reference a nested path sets. `current` is the entity it changes.
fn document(
    call: &Call<'_>,
    scope: &Scope,
    parent: Option<&Stored>,
    payload: &Payload,
    current: Option<&Document>,
) -> Document {
    let shape = Shape::new(call.registry(), scope.kind, current);
    let mut document = payload.document(&shape);
    if let (Some(scope), Some(parent)) = (&scope.parent, parent) {
        document.insert(scope.field.to_owned(), json!({ "id": parent.id() }));
    }
    document
}

/// Applies one change and gives the entity as answers show it.
async fn write(call: &Call<'_>, change: Change) -> Result<Value, Answer> {
    let applied = call.admin.control.apply(vec![change]).await?;
    let entity = applied.entities.first().and_then(Option::as_ref);
    let entity = entity.ok_or_else(Answer::not_found)?;
    Ok(Value::Object(applied.catalog.shown(entity, call.admin.control.now())))
}

/// Refuses writes while the configuration is a file (kong/db/strategies/off/init.lua).
fn writable(
    call: &Call<'_>,
    doing: &str,
    kind: &EntityType,
    key: Option<&Key>,
) -> Result<(), Answer> {
    if call.admin.writes == Writes::Store {
        return Ok(());
    }
    let by = match key {
        Some(Key::Unique(field, _)) => format!(" by '{field}'"),
        _ => String::new(),
    };
    let kind = kind.kind;
    Err(error::unsupported(format!(
        "cannot {doing} '{kind}' entities{by} when not using a database"
    )))
}
