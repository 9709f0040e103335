//! [`Peers`]: a word to the other nodes of one store, which is kept nowhere.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::store::StoreError;

/// The other nodes that share a store.
///
/// What is told is not stored: a node that does not listen just then never hears of it, and is told
/// only that it may have missed something. Stores that belong to one process have no peers.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// Tells every other node these lines, in any order. A line has no end of line in it and at
    /// most [`LINE`] bytes.
    ///
    /// # Errors
    ///
    /// When it is not known that the words were passed on.
    async fn tell(&self, lines: &[String]) -> Result<(), StoreError>;

    /// What others tell from now on.
    fn heard(&self) -> broadcast::Receiver<News>;
}

/// What a node hears of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A line one of them told.
    Line(Arc<str>),
    /// Nobody was heard for a while: there may have been more.
    Missed,
}

/// The longest line, bytes.
pub const LINE: usize = 512;

/// Lines somebody may be behind before it misses some.
pub(crate) const BACKLOG: usize = 16_384;
