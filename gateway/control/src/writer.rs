//! [`Writer`]: the one task that moves the catalog.
//!
//! The write path: take every request that waits, apply each to the catalog in the making (each
//! refused alone), have the data planes compile the result once, commit it once, publish it,
//! answer. So a hundred concurrent writers cost one compile and one sync of the disk.
//!
//! Compiling comes before storing: what cannot be served is never stored, so a restart can always
//! load what it finds. When the data planes refuse a batch it is halved until the request they
//! object to stands alone; so is one that other nodes keep outrunning.
//!
//! What does not last is removed when its time is over, as a write like any other.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_model::catalog::Collection;
use gateway_model::ports::{DataPlane, Publish};
use gateway_model::{Catalog, Change, Clock, Document, Id, Rejection, Revision, Stored, Write};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::compiler::Compiler;
use crate::control::{Applied, Committed, Shared, revision_gauge, warn_of_unresolved};
use crate::metrics::result;
use crate::store::{Delta, Row, Store, StoreError};

/// One set of changes and who waits for it.
pub(crate) struct Request {
    pub(crate) changes: Arc<[Change]>,
    pub(crate) answer: oneshot::Sender<Outcome>,
}

type Outcome = Result<Applied, Rejection>;

/// The one task that moves the catalog.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    planes: Arc<[Arc<dyn DataPlane>]>,
    clock: Clock,
    compiler: Compiler,
}

/// Kind, id and document of an entity another node wrote; `None` for one it deleted.
type Changed = (String, Id, Option<Document>);

/// Requests in one commit.
const BATCH: usize = 1024;

/// How often a batch may lose to other nodes before it is halved: less to compile is sooner
/// stored.
const LOSSES: usize = 4;

/// How long a single request may go on losing to other nodes before it is refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause before a store that could not be read is read again.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest the writer sleeps while something is to end: its clock may be another than the
/// one it sleeps by.
const NAP: Duration = Duration::from_secs(1);

/// What the writer wakes for.
enum Event {
    Close,
    Requests(usize),
    Moved,
    Look,
}

async fn asked(closing: &mut watch::Receiver<bool>) {
    // An error means that nobody is left to ask; then the queue is closed too.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// A batch applied and compiled, ready to be stored.
struct Compiled {
    catalog: Arc<Catalog>,
    writes: Arc<[Write]>,
    entities: Vec<Result<Vec<Option<Arc<Stored>>>, Rejection>>,
    prepared: Vec<Box<dyn Publish>>,
}

impl Writer {
    /// # Errors
    ///
    /// When the system has no thread to give.
    pub(crate) fn new(
        shared: Arc<Shared>,
        store: Arc<dyn Store>,
        planes: Vec<Arc<dyn DataPlane>>,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let compiler = Compiler::start()?;
        Ok(Self { shared, store, planes: planes.into(), clock, compiler })
    }

    /// Runs until the queue is closed and empty.
    pub(crate) async fn run(self, mut queue: mpsc::Receiver<Request>) {
        let mut closing = self.shared.closing.subscribe();
        let mut seen = self.shared.catalog.load().revision();
        let mut batch = Vec::new();
        loop {
            let event = tokio::select! {
                biased;
                () = asked(&mut closing), if !queue.is_closed() => Event::Close,
                taken = queue.recv_many(&mut batch, BATCH) => Event::Requests(taken),
                () = self.store.moved(seen) => Event::Moved,
                () = self.first_end() => Event::Look,
            };
            match event {
                Event::Close => queue.close(),
                Event::Requests(0) => return,
                Event::Requests(_) => {
                    self.settle(std::mem::take(&mut batch)).await;
                    seen = seen.max(self.shared.catalog.load().revision());
                }
                Event::Moved => seen = self.follow(seen).await,
                Event::Look => {
                    self.expire().await;
                    seen = seen.max(self.shared.catalog.load().revision());
                }
            }
        }
    }

    /// Waits until something ends, or might.
    async fn first_end(&self) {
        match self.shared.catalog.load().next_end() {
            Some(end) => {
                let left = Duration::from_millis(end.saturating_sub(self.clock.unix_ms()));
                tokio::time::sleep(left.min(NAP)).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Removes what has ended.
    async fn expire(&self) {
        let catalog = self.shared.catalog.load_full();
        if catalog.next_end().is_none_or(|end| end > self.clock.unix_ms()) {
            return;
        }
        let (answer, outcome) = oneshot::channel();
        self.settle(vec![Request { changes: [Change::Expire].into(), answer }]).await;
        if let Ok(Err(why)) = outcome.await {
            warn!("what has ended is still there: {why}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Answers every request of a batch.
    async fn settle(&self, batch: Vec<Request>) {
        let mut batches = VecDeque::from([batch]);
        while let Some(batch) = batches.pop_front() {
            match self.commit(&batch).await {
                Ok(outcomes) => answer(batch, outcomes),
                Err(Failure::Refused(why)) if batch.len() == 1 => answer(batch, vec![Err(why)]),
                Err(Failure::Refused(_) | Failure::Outrun) => {
                    let mut first = batch;
                    let second = first.split_off(first.len() / 2);
                    batches.push_front(second);
                    batches.push_front(first);
                }
                Err(Failure::Store(why)) => {
                    error!(requests = batch.len(), "a write was not stored: {why}");
                    let outcomes = batch.iter().map(|_| Err(Rejection::Store(why.clone())));
                    let outcomes = outcomes.collect();
                    answer(batch, outcomes);
                }
            }
        }
    }

    /// Steps 3 to 7 of the write path, again from the start when another node was faster.
    async fn commit(&self, batch: &[Request]) -> Result<Vec<Outcome>, Failure> {
        let begun = Instant::now();
        for tries in 1.. {
            let base = self.shared.catalog.load_full();
            let compiled = self.compile(Arc::clone(&base), batch).await?;
            if compiled.writes.is_empty() {
                return Ok(compiled.outcomes(&base));
            }
            let rows: Vec<Row<'_>> = compiled.writes.iter().map(Row::from).collect();
            let next = compiled.catalog.revision();
            match self.store.commit(base.revision(), next, &rows).await {
                Ok(()) => {
                    self.count(result::COMMITTED);
                    #[expect(clippy::cast_precision_loss, reason = "at most 1024")]
                    self.shared.metrics.requests.observe(batch.len() as f64);
                    let outcomes = compiled.outcomes(&compiled.catalog);
                    self.publish(compiled.catalog, compiled.writes, compiled.prepared, true);
                    return Ok(outcomes);
                }
                Err(StoreError::Conflict { current }) => {
                    self.count(result::CONFLICT);
                    info!(ours = %base.revision(), theirs = %current, "another node wrote first");
                    self.reload().await.map_err(|stuck| Failure::Store(stuck.why))?;
                    if batch.len() > 1 && tries >= LOSSES {
                        return Err(Failure::Outrun);
                    }
                    if begun.elapsed() > PATIENCE {
                        break;
                    }
                }
                Err(why) => {
                    self.count(result::FAILED);
                    return Err(Failure::Store(why.in_full()));
                }
            }
        }
        Err(Failure::Store("other nodes kept writing first; try again".to_owned()))
    }

    /// Applies and compiles a batch, on the thread for it.
    async fn compile(&self, base: Arc<Catalog>, batch: &[Request]) -> Result<Compiled, Failure> {
        let started = Instant::now();
        let now = self.clock.unix_ms();
        let changes: Vec<Arc<[Change]>> =
            batch.iter().map(|request| Arc::clone(&request.changes)).collect();
        let planes = Arc::clone(&self.planes);
        let work = move || {
            let mut edit = base.edit(now);
            let entities = changes.iter().map(|changes| edit.apply(changes)).collect();
            let (catalog, writes) = edit.finish();
            let catalog = Arc::new(catalog);
            let prepared =
                if writes.is_empty() { Vec::new() } else { prepare(&planes, &catalog, &writes)? };
            Ok(Compiled { catalog, writes: writes.into(), entities, prepared })
        };
        let compiled = self.compiler.run(work).await;
        self.shared.metrics.compile_seconds.observe(started.elapsed().as_secs_f64());
        compiled.map_err(|why| {
            self.count(result::REFUSED);
            Failure::Refused(why)
        })
    }

    /// One step nobody can see the middle of: first the catalog, then each data plane.
    fn publish(
        &self,
        catalog: Arc<Catalog>,
        writes: Arc<[Write]>,
        prepared: Vec<Box<dyn Publish>>,
        ours: bool,
    ) {
        let revision = catalog.revision();
        self.shared.catalog.store(Arc::clone(&catalog));
        prepared.into_iter().for_each(Publish::publish);
        self.shared.metrics.revision.set(revision_gauge(revision));
        info!(%revision, writes = writes.len(), "published revision {revision}");
        writes.iter().filter_map(|write| write.after.as_ref()).for_each(|one| {
            warn_of_unresolved(one);
        });
        // An error means that nobody listens.
        let _ = self.shared.feed.send(Arc::new(Committed { revision, writes, catalog, ours }));
    }

    /// Takes over what another node committed; gives the revision to wait beyond. What cannot be
    /// taken over is logged and counted; what is served stays.
    async fn follow(&self, seen: Revision) -> Revision {
        match self.reload().await {
            Ok(revision) => revision,
            Err(Stuck { at, why }) => {
                self.count(result::FAILED);
                warn!("another node's configuration is not taken over: {why}");
                if at.is_none() {
                    tokio::time::sleep(PAUSE).await;
                }
                at.unwrap_or(seen)
            }
        }
    }

    async fn reload(&self) -> Result<Revision, Stuck> {
        let base = self.shared.catalog.load_full();
        let delta = self.store.load_since(base.revision()).await;
        let delta = delta.map_err(|why| Stuck { at: None, why: why.in_full() })?;
        let revision = delta.revision();
        if revision == base.revision() {
            return Ok(revision);
        }
        let planes = Arc::clone(&self.planes);
        let work = move || {
            let (catalog, writes) = base.follow(revision, changes(&base, delta))?;
            let catalog = Arc::new(catalog);
            let prepared = prepare(&planes, &catalog, &writes)?;
            Ok((catalog, writes, prepared))
        };
        let (catalog, writes, prepared) = self
            .compiler
            .run(work)
            .await
            .map_err(|why| Stuck { at: Some(revision), why: why.to_string() })?;
        self.publish(catalog, writes.into(), prepared, false);
        Ok(revision)
    }

    fn count(&self, result: &str) {
        self.shared.metrics.commits.with_label_values(&[result]).inc();
    }
}

/// Why a whole batch came to nothing.
enum Failure {
    /// A data plane objects to something in it.
    Refused(Rejection),
    /// Other nodes keep writing before it is compiled; never said of a single request.
    Outrun,
    /// It could not be made durable.
    Store(String),
}

/// Why another node's configuration is not served here.
struct Stuck {
    /// The revision that cannot be served; `None` when the store could not even be read.
    at: Option<Revision>,
    why: String,
}

impl Compiled {
    /// What each request is told, with the catalog that holds its changes.
    fn outcomes(&self, catalog: &Arc<Catalog>) -> Vec<Outcome> {
        let applied = |entities: &Vec<_>| Applied {
            catalog: Arc::clone(catalog),
            entities: entities.clone(),
            writes: Arc::clone(&self.writes),
        };
        self.entities
            .iter()
            .map(|entities| entities.as_ref().map(applied).map_err(Clone::clone))
            .collect()
    }
}

fn prepare(
    planes: &[Arc<dyn DataPlane>],
    catalog: &Arc<Catalog>,
    writes: &[Write],
) -> Result<Vec<Box<dyn Publish>>, Rejection> {
    planes.iter().map(|plane| plane.prepare(catalog, writes)).collect()
}

fn answer(batch: Vec<Request>, outcomes: Vec<Outcome>) {
    for (request, outcome) in batch.into_iter().zip(outcomes) {
        // An error means that the caller stopped waiting.
        let _ = request.answer.send(outcome);
    }
}

/// What a store told, as changes only.
fn changes(base: &Catalog, delta: Delta) -> Vec<Changed> {
    let loaded = match delta {
        Delta::Changes { rows, .. } => return rows,
        Delta::Everything(loaded) => loaded,
    };
    let mut present = HashSet::new();
    let mut rows: Vec<Changed> = Vec::with_capacity(loaded.documents.len());
    for (kind, document) in loaded.documents {
        let id = document.get("id").and_then(serde_json::Value::as_str).and_then(Id::parse);
        // One without an id is for the catalog to refuse.
        let id = id.unwrap_or_else(|| Id::from_bytes([0; 16]));
        present.insert((kind.clone(), id));
        rows.push((kind, id, Some(document)));
    }
    for kind in base.registry().kinds() {
        let all = base.collection(kind.kind).into_iter().flat_map(Collection::iter);
        let gone = all.map(|stored| (kind.kind.to_owned(), stored.id(), None));
        rows.extend(gone.filter(|(kind, id, _)| !present.contains(&(kind.clone(), *id))));
    }
    rows
}
