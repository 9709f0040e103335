//! [`Control`]: the handle on everything configured.

use std::sync::Arc;

use arc_swap::ArcSwap;
use gateway_model::catalog::Collection;
use gateway_model::ports::{self, DataPlane, Publish};
use gateway_model::{Catalog, Change, Clock, Registry, Rejection, Revision, Stored, Write};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tracing::warn;

use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use crate::writer::{Request, Writer};

/// The handle on everything configured. Cheap to clone.
///
/// The writer task lives until the last handle is dropped or [`Control::close`] is called, and
/// finishes what was queued before.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    ended: watch::Receiver<()>,
    clock: Clock,
}

/// What the writer publishes and everybody reads.
pub(crate) struct Shared {
    pub(crate) catalog: ArcSwap<Catalog>,
    pub(crate) feed: broadcast::Sender<Arc<Committed>>,
    pub(crate) metrics: Metrics,
    /// Set to ask the writer to finish what is queued and end.
    pub(crate) closing: watch::Sender<bool>,
}

/// What became of a set of changes.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The catalog that holds them. What is being served is this one or a later one.
    pub catalog: Arc<Catalog>,
    /// For each change the entity it ended as; `None` for deletes and conditions.
    pub entities: Vec<Option<Arc<Stored>>>,
    /// All writes of the commit: of these changes, of what cascaded, and of other requests that
    /// shared the commit. Empty when the changes changed nothing.
    pub writes: Arc<[Write]>,
}

/// One commit, as subscribers see it.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The catalog's number after it.
    pub revision: Revision,
    /// What changed.
    pub writes: Arc<[Write]>,
    /// The catalog after it.
    pub catalog: Arc<Catalog>,
    /// Whether this node wrote it. What another node of the store wrote is taken over, several
    /// commits at once where there were several; so is what this one wrote without knowing that it
    /// was stored.
    pub ours: bool,
}

/// Why control could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The store could not be read.
    #[error("reading the configuration")]
    Load(#[source] StoreError),
    /// What is stored makes no catalog.
    #[error("the stored configuration cannot be read by this version")]
    Catalog(#[source] Rejection),
    /// What is stored cannot be served.
    #[error("the stored configuration cannot be served")]
    Prepare(#[source] Rejection),
    /// The metric families could not be made.
    #[error("creating metrics")]
    Metrics(#[source] prometheus::Error),
    /// The system has no thread to compile on.
    #[error("starting a thread")]
    Thread(#[source] std::io::Error),
}

/// Write requests that wait for the writer before callers have to wait for a place.
const QUEUE: usize = 1024;

/// Commits a subscriber may be behind before it loses some (and is told).
const FEED: usize = 1024;

impl Control {
    /// Loads the store, has every data plane prepare and publish what it holds, and starts the
    /// writer on the current runtime.
    ///
    /// # Errors
    ///
    /// When the store cannot be read or what it holds cannot be served. Nothing runs then.
    pub async fn start(
        registry: Arc<Registry>,
        store: Arc<dyn Store>,
        planes: Vec<Arc<dyn DataPlane>>,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let loaded = store.load().await.map_err(StartError::Load)?;
        let catalog = Catalog::load(registry, loaded.revision, loaded.documents)
            .map_err(StartError::Catalog)?;
        let catalog = Arc::new(catalog);
        let prepared = planes
            .iter()
            .map(|plane| plane.prepare(&catalog, &[]))
            .collect::<Result<Vec<_>, _>>()
            .map_err(StartError::Prepare)?;
        prepared.into_iter().for_each(Publish::publish);
        for kind in catalog.registry().kinds() {
            let all = catalog.collection(kind.kind).into_iter().flat_map(Collection::iter);
            all.for_each(|stored| warn_of_unresolved(stored));
        }

        let metrics = Metrics::new().map_err(StartError::Metrics)?;
        metrics.revision.set(revision_gauge(catalog.revision()));
        let shared = Arc::new(Shared {
            catalog: ArcSwap::new(catalog),
            feed: broadcast::Sender::new(FEED),
            metrics,
            closing: watch::Sender::new(false),
        });
        let (requests, queue) = mpsc::channel(QUEUE);
        let (ending, ended) = watch::channel(());
        let writer = Writer::new(Arc::clone(&shared), store, planes, clock.clone())
            .map_err(StartError::Thread)?;
        tokio::spawn(async move {
            writer.run(queue).await;
            drop(ending);
        });
        Ok(Self { shared, requests, ended, clock })
    }

    /// What time it is for the writer, in Unix milliseconds.
    pub fn now(&self) -> u64 {
        self.clock.unix_ms()
    }

    /// The catalog being served now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.shared.catalog.load_full()
    }

    /// Applies a set of changes, all or none, and waits until they are durable and served.
    ///
    /// A caller that stops waiting does not undo them.
    ///
    /// # Errors
    ///
    /// Why the set was refused. Nothing of it is stored or served then, except that after
    /// [`Rejection::Store`] it cannot be ruled out that the store kept it.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<Applied, Rejection> {
        let closed = || Rejection::Store("the gateway is shutting down".to_owned());
        let (answer, outcome) = oneshot::channel();
        let request = Request { changes: changes.into(), answer };
        self.requests.send(request).await.map_err(|_| closed())?;
        outcome.await.map_err(|_| closed())?
    }

    /// Every commit from now on, in order. A subscriber that falls behind by more than 1,024
    /// commits loses the oldest and is told how many; it never holds up the writer.
    pub fn feed(&self) -> broadcast::Receiver<Arc<Committed>> {
        self.shared.feed.subscribe()
    }

    /// Adds the metric families of the control plane to `registry`.
    ///
    /// # Errors
    ///
    /// When families of these names are there already.
    pub fn register_metrics(
        &self,
        registry: &prometheus::Registry,
    ) -> Result<(), prometheus::Error> {
        self.shared.metrics.register(registry)
    }

    /// Takes no more changes, and waits until those queued are answered.
    pub async fn close(&self) {
        self.shared.closing.send_replace(true);
        // The writer holds the sender; an error means it is gone, which is what we wait for.
        let _ = self.ended.clone().changed().await;
    }
}

impl ports::Entities for Control {
    fn catalog(&self) -> Arc<Catalog> {
        Self::catalog(self)
    }

    fn apply(&self, changes: Vec<Change>) -> ports::Applying {
        let control = self.clone();
        Box::pin(async move {
            let Applied { catalog, entities, .. } = Self::apply(&control, changes).await?;
            Ok(ports::Applied { catalog, entities })
        })
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Control(revision {})", self.catalog().revision())
    }
}

/// Tells the operator of references that lead nowhere.
pub(crate) fn warn_of_unresolved(stored: &Stored) {
    for why in stored.unresolved() {
        warn!(entity = ?stored, "a reference to a vault is empty: {why}");
    }
}

pub(crate) fn revision_gauge(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}
