//! [`Memory`]: a store for tests, and for running from a declarative file.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use gateway_model::{Document, Id, Revision};
use tokio::sync::{broadcast, watch};

use super::{Loaded, Row, Store, StoreError};
use crate::peers::{BACKLOG, News, Peers};

/// Keeps everything for as long as the process lives.
#[derive(Debug, Default)]
pub struct Memory {
    state: Mutex<State>,
    moved: watch::Sender<Revision>,
    words: Words,
}

/// What is told.
#[derive(Debug)]
struct Words(broadcast::Sender<News>);

impl Default for Words {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

#[derive(Debug, Default)]
struct State {
    revision: Revision,
    documents: BTreeMap<(&'static str, Id), String>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code below leaves the state half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    async fn load(&self) -> Result<Loaded, StoreError> {
        let state = self.state();
        let documents = state
            .documents
            .iter()
            .map(|((kind, id), text)| match serde_json::from_str::<Document>(text) {
                Ok(document) => Ok(((*kind).to_owned(), document)),
                Err(why) => Err(StoreError::Damaged {
                    place: "memory".into(),
                    what: format!("{kind}/{id} is no JSON object: {why}"),
                }),
            })
            .collect::<Result<_, _>>()?;
        Ok(Loaded { revision: state.revision, documents })
    }

    async fn commit(
        &self,
        base: Revision,
        next: Revision,
        rows: &[Row<'_>],
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.revision != base {
            return Err(StoreError::Conflict { current: state.revision });
        }
        for row in rows {
            match &row.text {
                Some(text) => {
                    state.documents.insert((row.kind, row.id), text.clone().into_owned());
                }
                None => {
                    state.documents.remove(&(row.kind, row.id));
                }
            }
        }
        state.revision = next;
        self.moved.send_replace(next);
        Ok(())
    }

    /// Two controls over one memory store behave as two nodes.
    async fn moved(&self, known: Revision) {
        // The sender lives as long as `self`, so there is no error to come.
        let _ = self.moved.subscribe().wait_for(|revision| *revision != known).await;
    }
}

/// Nodes over one memory store hear themselves too: they have no names here.
#[async_trait]
impl Peers for Memory {
    async fn tell(&self, lines: &[String]) -> Result<(), StoreError> {
        // An error means that nobody listens.
        lines.iter().for_each(|line| drop(self.words.0.send(News::Line(line.as_str().into()))));
        Ok(())
    }

    fn heard(&self) -> broadcast::Receiver<News> {
        self.words.0.subscribe()
    }
}
