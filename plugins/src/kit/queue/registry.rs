//! [`Queues`]: the queues of this process.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dashmap::DashMap;
use gateway_model::entities::PluginInstance;
use gateway_model::{Id, Item, Violations};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Deliver, Parameters, Queue};
use crate::contract::{Setup, Tools};

/// The instance a queue was made for, and the queue.
type Live = (Item<PluginInstance>, Weak<Queue>);

/// The queues of this process.
pub(crate) struct Queues {
    live: DashMap<(Id, &'static str), Live>,
    pub(super) tasks: TaskTracker,
    pub(super) closing: CancellationToken,
    /// Entries neither delivered nor lost.
    pub(super) pending: Arc<AtomicUsize>,
}

impl Queues {
    fn new() -> Self {
        Self {
            live: DashMap::new(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            pending: Arc::default(),
        }
    }

    /// The queue of an instance: the one there is while the instance is as it was, so that a
    /// recompile for another reason leaves waiting entries where they are; else a new one.
    ///
    /// # Errors
    ///
    /// Those of `deliver`, which makes the way out of a new queue.
    pub(crate) fn of(
        setup: &Setup<'_>,
        parameters: Parameters,
        deliver: impl FnOnce() -> Result<Deliver, Violations>,
    ) -> Result<Arc<Queue>, Violations> {
        Self::beside(setup, "", parameters, deliver)
    }

    /// As [`Queues::of`], of an instance with several queues.
    ///
    /// # Errors
    ///
    /// As [`Queues::of`].
    pub(crate) fn beside(
        setup: &Setup<'_>,
        which: &'static str,
        parameters: Parameters,
        deliver: impl FnOnce() -> Result<Deliver, Violations>,
    ) -> Result<Arc<Queue>, Violations> {
        let queues = setup.tools.shared(|_| Self::new());
        let instance = setup.instance;
        let present = queues.live.get(&(instance.id(), which));
        let same = present.filter(|entry| entry.0.same(instance));
        if let Some(queue) = same.and_then(|entry| entry.1.upgrade()) {
            return Ok(queue);
        }
        queues.live.retain(|_, (_, queue)| queue.strong_count() > 0);
        let name = format!("{} {}", instance.name, instance.id());
        let runtime = setup.tools.runtime.clone();
        let queue =
            Arc::new(Queue::new(name, parameters, deliver()?, Arc::clone(&queues), runtime));
        queues.live.insert((instance.id(), which), (instance.clone(), Arc::downgrade(&queue)));
        Ok(queue)
    }
}

/// Closes every queue and waits until what they hold is delivered, at most for `patience`. Called
/// once, when no request is in flight any more.
///
/// Gives the number of entries that could not be delivered in time; they are lost, and a log line
/// says so.
pub async fn drain(tools: &Tools, patience: Duration) -> usize {
    let queues = tools.shared(|_| Queues::new());
    queues.closing.cancel();
    queues.tasks.close();
    // Running out of patience is no error: what is left is counted.
    let _ = tokio::time::timeout(patience, queues.tasks.wait()).await;
    let lost = queues.pending.load(Ordering::Relaxed);
    if lost > 0 {
        tracing::warn!(entries = lost, "{lost} log entries could not be delivered in time");
    }
    lost
}
