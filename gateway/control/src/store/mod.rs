//! [`Store`]: where the catalog is kept between two lives of the process.
//!
//! A store knows rows, revisions and nothing else: what a document means is the catalog's.
//! Every store passes the one suite in `tests/store.rs`.

pub mod memory;
pub mod sealed;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use std::borrow::Cow;

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

/// One entity to be written.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// The kind: `services`.
    pub kind: &'static str,
    /// Which one.
    pub id: Id,
    /// The whole document; `None` leaves a tombstone.
    pub document: Option<Cow<'a, Document>>,
}

impl<'a> From<&'a Write> for Row<'a> {
    fn from(write: &'a Write) -> Self {
        let document = write.after.as_ref().map(|stored| Cow::Borrowed(stored.document()));
        Self { kind: write.kind, id: write.id, document }
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
