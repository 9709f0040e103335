//! [`Queue`]: entries on their way out of the process, in batches, in the background.
//!
//! Putting an entry in never waits: a full queue loses its oldest entries. One task a queue takes
//! batches out and delivers them, again and again until a batch is through or too old. A queue
//! belongs to a plugin instance and lives until the last handler of that instance is gone; what it
//! then holds is still delivered (kong/tools/queue.lua).
//!
//! Absent from here: what an entry is and how it travels.

mod config;
mod registry;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use crossbeam_queue::SegQueue;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use config::{QueueConfig, milliseconds};
pub(crate) use registry::Queues;
pub use registry::drain;

/// How a queue behaves.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    /// Entries delivered together, at most.
    pub(crate) max_batch_size: usize,
    /// How long a batch waits for more entries after its first.
    pub(crate) max_coalescing_delay: Duration,
    /// Entries waiting, at most.
    pub(crate) max_entries: usize,
    /// Bytes waiting, at most.
    pub(crate) max_bytes: usize,
    /// How long after its first attempt a batch is tried again.
    pub(crate) max_retry_time: Duration,
    /// Before the second attempt; doubles with each, up to `max_retry_delay`.
    pub(crate) initial_retry_delay: Duration,
    /// Between two attempts, at most.
    pub(crate) max_retry_delay: Duration,
    /// Whether batches may overtake one another.
    pub(crate) concurrent: bool,
}

/// Delivers a batch; the text says why it could not.
pub(crate) type Deliver =
    Arc<dyn Fn(Vec<Bytes>) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The end of a queue that handlers hold. The queue closes when the last one drops it.
pub(crate) struct Queue {
    shared: Arc<Shared>,
    queues: Arc<Queues>,
    runtime: Handle,
    /// The task starts with the first entry: making a queue has no effect.
    started: Once,
}

struct Shared {
    /// For logs: plugin and instance.
    name: String,
    parameters: Parameters,
    deliver: Deliver,
    entries: SegQueue<Bytes>,
    /// How many and how large they are. Never less than what is in `entries`.
    waiting: AtomicUsize,
    bytes: AtomicUsize,
    /// Entries not yet delivered or lost, of all queues of the process.
    pending: Arc<AtomicUsize>,
    overflowing: AtomicBool,
    more: Notify,
    /// No entry will follow: the handlers are gone, or the process is about to.
    closed: CancellationToken,
}

impl Queue {
    fn new(
        name: String,
        parameters: Parameters,
        deliver: Deliver,
        queues: Arc<Queues>,
        runtime: Handle,
    ) -> Self {
        let shared = Arc::new(Shared {
            name,
            parameters,
            deliver,
            entries: SegQueue::new(),
            waiting: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            pending: Arc::clone(&queues.pending),
            overflowing: AtomicBool::new(false),
            more: Notify::new(),
            closed: queues.closing.child_token(),
        });
        Self { shared, queues, runtime, started: Once::new() }
    }

    /// Puts an entry in. Never waits.
    pub(crate) fn push(&self, entry: Bytes) {
        self.shared.push(entry);
        self.started.call_once(|| {
            let worker = Arc::clone(&self.shared).run(Arc::clone(&self.queues));
            self.queues.tasks.spawn_on(worker, &self.runtime);
        });
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shared.closed.cancel();
    }
}

impl Shared {
    fn push(&self, entry: Bytes) {
        self.pending.fetch_add(1, Ordering::Relaxed);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(entry.len(), Ordering::Relaxed);
        self.entries.push(entry);
        while self.waiting.load(Ordering::Relaxed) > self.parameters.max_entries
            || self.bytes.load(Ordering::Relaxed) > self.parameters.max_bytes
        {
            if self.pop().is_none() {
                break;
            }
            self.pending.fetch_sub(1, Ordering::Relaxed);
            if !self.overflowing.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    queue = self.name,
                    "{}: queue is full, losing old entries",
                    self.name
                );
            }
        }
        self.more.notify_one();
    }

    fn pop(&self) -> Option<Bytes> {
        let entry = self.entries.pop()?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(entry.len(), Ordering::Relaxed);
        Some(entry)
    }

    async fn run(self: Arc<Self>, queues: Arc<Queues>) {
        while let Some(batch) = self.batch().await {
            let delivery = Arc::clone(&self).deliver(batch);
            if self.parameters.concurrent {
                queues.tasks.spawn(delivery);
            } else {
                delivery.await;
            }
        }
    }

    /// The next batch, `None` when the queue is closed and empty.
    async fn batch(&self) -> Option<Vec<Bytes>> {
        let first = loop {
            // Asked before looking: what is put in after the look is seen next time.
            let closed = self.closed.is_cancelled();
            match self.pop() {
                Some(entry) => break entry,
                None if closed => return None,
                None => {
                    self.overflowing.store(false, Ordering::Relaxed);
                    tokio::select! {
                        () = self.more.notified() => {}
                        () = self.closed.cancelled() => {}
                    }
                }
            }
        };
        let mut batch = vec![first];
        let full_at = Instant::now() + self.parameters.max_coalescing_delay;
        while batch.len() < self.parameters.max_batch_size {
            let closed = self.closed.is_cancelled();
            match self.pop() {
                Some(entry) => batch.push(entry),
                None if closed => break,
                None => tokio::select! {
                    () = self.more.notified() => {}
                    () = self.closed.cancelled() => {}
                    () = tokio::time::sleep_until(full_at) => break,
                },
            }
        }
        Some(batch)
    }

    async fn deliver(self: Arc<Self>, batch: Vec<Bytes>) {
        let parameters = &self.parameters;
        let mut delays = ExponentialBuilder::new()
            // backon gives the first delay as it is, however long.
            .with_min_delay(parameters.initial_retry_delay.min(parameters.max_retry_delay))
            .with_max_delay(parameters.max_retry_delay)
            .with_factor(2.0)
            .without_max_times()
            .build();
        let entries = batch.len();
        let began = Instant::now();
        while let Err(why) = (self.deliver)(batch.clone()).await {
            let delay = delays.next().unwrap_or(parameters.max_retry_delay);
            if began.elapsed() + delay > parameters.max_retry_time {
                tracing::error!(
                    queue = self.name,
                    entries,
                    why,
                    "{}: giving up on {entries} entries: {why}",
                    self.name
                );
                break;
            }
            tracing::warn!(
                queue = self.name,
                entries,
                why,
                "{}: could not deliver {entries} entries, trying again: {why}",
                self.name
            );
            tokio::time::sleep(delay).await;
        }
        self.pending.fetch_sub(entries, Ordering::Relaxed);
    }
}
