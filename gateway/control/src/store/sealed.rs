//! [`Sealed`]: a store that keeps secrets encrypted.
//!
//! Which values are secret is declared in the schema (`sealed`), for entity fields and for
//! plugin configuration alike. How they are encrypted, and with which key, is the [`Sealer`]'s.

use std::sync::Arc;

use async_trait::async_trait;
use gateway_model::schema::{Field, Kind, Record};
use gateway_model::{Document, Registry, Revision};
use serde_json::{Map, Value};

use super::{Delta, Loaded, Row, Store, StoreError};

/// Encrypts and decrypts single values.
pub trait Sealer: Send + Sync + 'static {
    /// The sealed form of a value, as text. Sealing twice may give two texts.
    ///
    /// # Errors
    ///
    /// When the key or the source of randomness fails.
    fn seal(&self, plain: &str) -> Result<String, SealError>;

    /// The value of a sealed text.
    ///
    /// # Errors
    ///
    /// When the text was not sealed with this key, or was altered.
    fn open(&self, sealed: &str) -> Result<String, SealError>;
}

/// Why a value could not be sealed or opened. Never holds the value.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SealError(pub String);

/// A store whose secrets are sealed before they reach the inner one.
///
/// A sealed value is `{"$sealed": text}` in place of a string, which no valid document has there.
/// A plain string found in its place is taken as it is and sealed with the next write.
pub struct Sealed<S> {
    inner: S,
    registry: Arc<Registry>,
    sealer: Arc<dyn Sealer>,
}

const MARK: &str = "$sealed";

impl<S: Store> Sealed<S> {
    /// Seals what `registry` declares secret.
    pub fn new(inner: S, registry: Arc<Registry>, sealer: Arc<dyn Sealer>) -> Self {
        Self { inner, registry, sealer }
    }

    fn seal<'a>(&self, row: &Row<'a>) -> Result<Row<'a>, SealError> {
        // Most kinds have no secret and are passed on unread.
        let Some(text) = row.text.as_deref().filter(|_| self.has_secrets(row.kind)) else {
            return Ok(row.clone());
        };
        let unread = |why: serde_json::Error| SealError(why.to_string());
        let mut document: Document = serde_json::from_str(text).map_err(unread)?;
        self.each_secret(row.kind, &mut document, &mut |value| {
            if let Value::String(plain) = value {
                let sealed = self.sealer.seal(plain)?;
                *value = Value::Object(Map::from_iter([(MARK.to_owned(), sealed.into())]));
            }
            Ok(())
        })?;
        Ok(Row::new(row.kind, row.id, Some(&document)))
    }

    fn open_all(&self, loaded: &mut Loaded) -> Result<(), StoreError> {
        loaded.documents.iter_mut().try_for_each(|(kind, document)| self.open(kind, document))
    }

    fn open(&self, kind: &str, document: &mut Document) -> Result<(), StoreError> {
        let opened = self.each_secret(kind, document, &mut |value| {
            if let Some(sealed) = value.get(MARK).and_then(Value::as_str) {
                *value = self.sealer.open(sealed)?.into();
            }
            Ok(())
        });
        opened.map_err(|why| {
            let id = document.get("id").and_then(Value::as_str).unwrap_or("?");
            StoreError::Damaged {
                place: format!("{kind}/{id}"),
                what: format!("a secret cannot be decrypted: {why}"),
            }
        })
    }

    fn has_secrets(&self, kind: &str) -> bool {
        fn any(record: &Record) -> bool {
            record.fields.iter().any(|field| {
                field.sealed
                    || match &field.kind {
                        // Whether a plugin's configuration holds one is seen when it is walked.
                        Kind::Abstract => true,
                        Kind::Record(inner) => any(inner),
                        Kind::Array(element) | Kind::Set(element) => match &element.kind {
                            Kind::Record(inner) => any(inner),
                            _ => element.sealed,
                        },
                        Kind::Map { values, .. } => values.sealed,
                        _ => false,
                    }
            })
        }
        self.registry.kind(kind).is_some_and(|kind| any(kind.record()))
    }

    fn each_secret(
        &self,
        kind: &str,
        document: &mut Document,
        edit: &mut dyn FnMut(&mut Value) -> Result<(), SealError>,
    ) -> Result<(), SealError> {
        let Some(kind) = self.registry.kind(kind) else { return Ok(()) };
        in_record(kind.record(), document, edit)?;
        let Some(config) = kind.record().fields.iter().find(|f| matches!(f.kind, Kind::Abstract))
        else {
            return Ok(());
        };
        // Also of plugins that are not enabled now: their secrets stay secrets.
        let name = document.get("name").and_then(Value::as_str);
        let plugin = self.registry.installed().find(|plugin| Some(plugin.name) == name);
        match (plugin, document.get_mut(config.name)) {
            (Some(plugin), Some(Value::Object(config))) => in_record(&plugin.record, config, edit),
            _ => Ok(()),
        }
    }
}

fn in_record(
    record: &Record,
    document: &mut Document,
    edit: &mut dyn FnMut(&mut Value) -> Result<(), SealError>,
) -> Result<(), SealError> {
    for field in &record.fields {
        if let Some(value) = document.get_mut(field.name) {
            in_value(field, value, field.sealed, edit)?;
        }
    }
    Ok(())
}

/// A secret container makes every text in it secret.
fn in_value(
    field: &Field,
    value: &mut Value,
    secret: bool,
    edit: &mut dyn FnMut(&mut Value) -> Result<(), SealError>,
) -> Result<(), SealError> {
    match (&field.kind, &mut *value) {
        (Kind::Array(element) | Kind::Set(element), Value::Array(list)) => list
            .iter_mut()
            .try_for_each(|one| in_value(element, one, secret || element.sealed, edit)),
        (Kind::Map { values, .. }, Value::Object(map)) => map
            .iter_mut()
            .try_for_each(|(_, one)| in_value(values, one, secret || values.sealed, edit)),
        (Kind::Record(record), Value::Object(inner)) => in_record(record, inner, edit),
        _ if secret => edit(value),
        _ => Ok(()),
    }
}

#[async_trait]
impl<S: Store> Store for Sealed<S> {
    async fn load(&self) -> Result<Loaded, StoreError> {
        let mut loaded = self.inner.load().await?;
        self.open_all(&mut loaded)?;
        Ok(loaded)
    }

    async fn load_since(&self, known: Revision) -> Result<Delta, StoreError> {
        let mut delta = self.inner.load_since(known).await?;
        match &mut delta {
            Delta::Everything(loaded) => self.open_all(loaded)?,
            Delta::Changes { rows, .. } => {
                for (kind, _, document) in rows {
                    document.iter_mut().try_for_each(|document| self.open(kind, document))?;
                }
            }
        }
        Ok(delta)
    }

    async fn commit(
        &self,
        base: Revision,
        next: Revision,
        rows: &[Row<'_>],
    ) -> Result<(), StoreError> {
        let sealed: Result<Vec<Row<'_>>, SealError> =
            rows.iter().map(|row| self.seal(row)).collect();
        let sealed = sealed.map_err(|why| StoreError::Unavailable {
            doing: "encrypting a secret",
            place: "the sealed store".into(),
            cause: why.into(),
        })?;
        self.inner.commit(base, next, &sealed).await
    }

    async fn moved(&self, known: Revision) {
        self.inner.moved(known).await;
    }
}
