//! [`Synced`]: counting here, and exchanging counts with a [`CounterStore`] now and then.
//!
//! A counter is read from the store when it is met first. From then on a use costs no call; what was
//! used is added in the store by a task, which learns what others used. So nodes may together let
//! pass more than a limit: what they take between two exchanges.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once, Weak};
use std::time::Duration;

use crossbeam_queue::SegQueue;
use quick_cache::sync::Cache;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::{Clock, CounterStep, CounterStore, Taken, Window};

/// Counters exchanged with one store, at one rate.
pub(crate) struct Synced {
    store: Arc<dyn CounterStore>,
    every: Duration,
    counters: Cache<String, Arc<Counter>>,
    /// Those with something to tell.
    changed: Arc<SegQueue<Arc<Counter>>>,
    clock: Clock,
    runtime: Handle,
    started: Once,
    began: Instant,
}

struct Counter {
    key: Box<str>,
    expires: u64,
    /// What all nodes had used when the store was last asked.
    known: AtomicU64,
    /// What was used here since.
    since: AtomicU64,
    /// Whether it is among the changed.
    told: AtomicBool,
    /// When the store was last asked, milliseconds after the start.
    asked: AtomicU64,
}

/// Counters remembered. One costs some 300 bytes.
const CAPACITY: usize = 200_000;
/// Counters exchanged in one call.
const BATCH: usize = 1000;

impl Synced {
    pub(super) fn new(
        store: Arc<dyn CounterStore>,
        every: Duration,
        clock: Clock,
        runtime: Handle,
    ) -> Self {
        Self {
            store,
            every,
            counters: Cache::new(CAPACITY),
            changed: Arc::default(),
            clock,
            runtime,
            started: Once::new(),
            began: Instant::now(),
        }
    }

    /// Milliseconds after the start.
    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) async fn take(
        self: &Arc<Self>,
        windows: &[Window],
        now: u64,
    ) -> Result<Taken, String> {
        let counters = self.counters(windows, now).await?;
        let mut left = [0; 6];
        let mut granted = true;
        for ((counter, window), left) in counters.iter().zip(windows).zip(&mut left) {
            *left = window.uses.saturating_sub(counter.used());
            granted &= *left > 0;
        }
        if !granted {
            return Ok(Taken { granted, left });
        }
        for (at, (counter, window)) in counters.iter().zip(windows).enumerate() {
            counter.since.fetch_add(1, Ordering::Relaxed);
            let used = counter.used();
            if used > window.uses {
                // Somebody else took the last use just now.
                for counter in &counters[..=at] {
                    counter.since.fetch_sub(1, Ordering::Relaxed);
                }
                left[at] = 0;
                return Ok(Taken { granted: false, left });
            }
            left[at] = window.uses - used;
        }
        for counter in counters {
            self.tell(counter);
        }
        Ok(Taken { granted, left })
    }

    pub(super) async fn used(
        self: &Arc<Self>,
        windows: &[Window],
        now: u64,
    ) -> Result<Vec<u64>, String> {
        let counters = self.counters(windows, now).await?;
        Ok(counters.iter().map(|counter| counter.used()).collect())
    }

    /// Counts where a counter was met before; it was, by whoever asked how much was used.
    pub(super) fn add(self: &Arc<Self>, steps: Vec<CounterStep>) {
        for step in steps {
            if let Some(counter) = self.counters.get(step.key.as_str()) {
                counter.since.fetch_add(step.by, Ordering::Relaxed);
                self.tell(counter);
            }
        }
    }

    /// The counters of windows; those not met before are read, in one call.
    async fn counters(
        self: &Arc<Self>,
        windows: &[Window],
        now: u64,
    ) -> Result<Vec<Arc<Counter>>, String> {
        let known: Vec<Option<Arc<Counter>>> =
            windows.iter().map(|window| self.counters.get(window.key.as_str())).collect();
        let new: Vec<&Window> =
            windows.iter().zip(&known).filter(|(_, one)| one.is_none()).map(|(w, _)| w).collect();
        let mut read = Vec::new();
        if !new.is_empty() {
            let step = |window: &&Window| CounterStep {
                key: window.key.clone(),
                by: 0,
                expires: window.expires,
            };
            read = self
                .store
                .add(new.iter().map(step).collect(), now)
                .await
                .map_err(|why| why.to_string())?;
        }
        let mut read = read.into_iter();
        let mut all = Vec::with_capacity(windows.len());
        for (window, known) in windows.iter().zip(known) {
            all.push(match known {
                Some(counter) => {
                    self.follow(&counter);
                    counter
                }
                None => self.remember(window, read.next().unwrap_or_default()),
            });
        }
        Ok(all)
    }

    fn remember(&self, window: &Window, known: u64) -> Arc<Counter> {
        let made = || {
            Ok::<_, std::convert::Infallible>(Arc::new(Counter {
                key: window.key.as_str().into(),
                expires: window.expires,
                known: AtomicU64::new(known),
                since: AtomicU64::new(0),
                told: AtomicBool::new(false),
                asked: AtomicU64::new(self.elapsed()),
            }))
        };
        // Somebody else may have been faster: that one counts.
        let Ok(counter) = self.counters.get_or_insert_with(window.key.as_str(), made);
        counter
    }

    /// Has a counter read that is in use and was not for a while: others may have used more.
    fn follow(self: &Arc<Self>, counter: &Arc<Counter>) {
        let since = self.elapsed().saturating_sub(counter.asked.load(Ordering::Relaxed));
        if u128::from(since) > self.every.as_millis() {
            self.tell(Arc::clone(counter));
        }
    }

    /// Has a counter exchanged; the task starts with the first.
    fn tell(self: &Arc<Self>, counter: Arc<Counter>) {
        if !counter.told.swap(true, Ordering::AcqRel) {
            self.changed.push(counter);
        }
        self.started.call_once(|| {
            self.runtime.spawn(exchange(Arc::downgrade(self), self.every));
        });
    }

    /// Tells the store what was used here, and learns what was used by all.
    async fn exchange(&self) {
        loop {
            let mut batch = Vec::new();
            while batch.len() < BATCH {
                let Some(counter) = self.changed.pop() else { break };
                counter.told.store(false, Ordering::Release);
                let by = counter.since.load(Ordering::Relaxed);
                batch.push((counter, by));
            }
            if batch.is_empty() {
                return;
            }
            let step = |(counter, by): &(Arc<Counter>, u64)| CounterStep {
                key: counter.key.to_string(),
                by: *by,
                expires: counter.expires,
            };
            let steps = batch.iter().map(step).collect();
            match self.store.add(steps, self.clock.unix_seconds()).await {
                Ok(values) => {
                    for ((counter, by), value) in batch.into_iter().zip(values) {
                        // Known first: between the two a use may be counted double, never lost.
                        counter.known.store(value, Ordering::Relaxed);
                        counter.since.fetch_sub(by, Ordering::Relaxed);
                        counter.asked.store(self.elapsed(), Ordering::Relaxed);
                    }
                }
                Err(why) => {
                    tracing::warn!(%why, "counts could not be exchanged: {why}");
                    for (counter, _) in batch {
                        if !counter.told.swap(true, Ordering::AcqRel) {
                            self.changed.push(counter);
                        }
                    }
                    return;
                }
            }
        }
    }
}

impl Counter {
    fn used(&self) -> u64 {
        self.known.load(Ordering::Relaxed).saturating_add(self.since.load(Ordering::Relaxed))
    }
}

async fn exchange(synced: Weak<Synced>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(synced) = synced.upgrade() else { return };
        synced.exchange().await;
    }
}
