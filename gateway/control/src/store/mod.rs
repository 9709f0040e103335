//! [`Store`]: where the catalog is kept between two lives of the process.
//!
//! A store knows rows, revisions and nothing else: what a document means is the catalog's.
//! Every store passes the one suite in `tests/store.rs`.

pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod sealed;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use gateway_model::{Document, Id, Revision, Write};

/// Everything a store holds, at one revision.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The number of the last commit; 0 when nothing was ever written.
    pub revision: Revision,
    /// Kind and document of every entity, in no order.
    pub documents: Vec<(String, Document)>,
}

/// What a store tells somebody who knows an earlier revision of it.
#[derive(Clone, Debug)]
pub enum Delta {
    /// All there is: what was known and is not among it was deleted.
    Everything(Loaded),
    /// What was written since, and nothing else.
    Changes {
        /// The number of the last commit.
        revision: Revision,
        /// Kind, id and document of every entity written since, `None` for one deleted.
        rows: Vec<(String, Id, Option<Document>)>,
    },
}

impl Delta {
    /// The number of the last commit.
    pub const fn revision(&self) -> Revision {
        match self {
            Self::Everything(loaded) => loaded.revision,
            Self::Changes { revision, .. } => *revision,
        }
    }
}

/// One entity to be written.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// The kind: `services`.
    pub kind: &'static str,
    /// Which one.
    pub id: Id,
    /// The whole document as JSON text; `None` leaves a tombstone.
    pub text: Option<Cow<'a, str>>,
}

impl Row<'static> {
    /// A row of a document; `None` leaves a tombstone.
    pub fn new(kind: &'static str, id: Id, document: Option<&Document>) -> Self {
        // Writing a JSON object as text cannot fail: its keys are strings.
        let text = |document| serde_json::to_string(document).unwrap_or_default();
        Self { kind, id, text: document.map(text).map(Cow::Owned) }
    }
}

impl<'a> From<&'a Write> for Row<'a> {
    fn from(write: &'a Write) -> Self {
        let text = write.after.as_ref().map(|stored| Cow::Borrowed(stored.json()));
        Self { kind: write.kind, id: write.id, text }
    }
}

/// Where the catalog is kept.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads everything, consistent at one revision.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] and [`StoreError::Damaged`].
    async fn load(&self) -> Result<Loaded, StoreError>;

    /// Reads what was committed after `known`, or everything: whichever is less work. Everything,
    /// too, when the store is at an earlier revision than `known`.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    async fn load_since(&self, known: Revision) -> Result<Delta, StoreError> {
        let _ = known;
        self.load().await.map(Delta::Everything)
    }

    /// Makes rows durable and moves the store from `base` to `next`, all or nothing.
    ///
    /// When this returns `Ok`, the rows survive the end of the process and of the machine, as far
    /// as the store survives either. After an error other than a conflict the caller cannot know
    /// whether the rows were written; the next commit finds out.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when the store is not at `base`; nothing is written then.
    async fn commit(
        &self,
        base: Revision,
        next: Revision,
        rows: &[Row<'_>],
    ) -> Result<(), StoreError>;

    /// Waits until the store is, or may be, at another revision than `known` because another
    /// process committed. Safe to drop while waiting. Stores that belong to one process never
    /// wake.
    async fn moved(&self, known: Revision) {
        let _ = known;
        std::future::pending().await
    }
}

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    async fn load(&self) -> Result<Loaded, StoreError> {
        (**self).load().await
    }

    async fn load_since(&self, known: Revision) -> Result<Delta, StoreError> {
        (**self).load_since(known).await
    }

    async fn commit(
        &self,
        base: Revision,
        next: Revision,
        rows: &[Row<'_>],
    ) -> Result<(), StoreError> {
        (**self).commit(base, next, rows).await
    }

    async fn moved(&self, known: Revision) {
        (**self).moved(known).await;
    }
}

/// Why a store could not do its part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody else committed in between.
    #[error("the store moved to revision {current} while this write was prepared")]
    Conflict {
        /// Where the store is.
        current: Revision,
    },
    /// The store cannot be reached or refuses to work.
    #[error("{doing} in {place}")]
    Unavailable {
        /// What was tried: "opening the database".
        doing: &'static str,
        /// The file or address.
        place: String,
        /// What the database said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What is stored cannot be read.
    #[error("{place} is damaged: {what}")]
    Damaged {
        /// The file or address.
        place: String,
        /// What is wrong there.
        what: String,
    },
    /// The store was made by an earlier version, or not made yet (version 0).
    #[error("{place} has schema version {found}; this version needs {known}")]
    Older {
        /// The file or address.
        place: String,
        /// The version found.
        found: i64,
        /// The version needed here.
        known: i64,
    },
    /// The store was written by a later version.
    #[error("{place} has schema version {found}; this version knows up to {known}")]
    Newer {
        /// The file or address.
        place: String,
        /// The version found.
        found: i64,
        /// The last version known here.
        known: i64,
    },
}

impl StoreError {
    /// The error with its causes, on one line.
    pub fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        text
    }
}
