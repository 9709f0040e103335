//! Heartbeats: which services still live.
//!
//! A heartbeat costs one write to memory. The catalog changes only when a service turns: suspended
//! when its heartbeats stop, active when they come back. After a restart states are as they were
//! and every service has its whole interval again.
//!
//! Nodes that share a store all watch; whoever is first to see a service silent suspends it. Each
//! knows what the others heard ([`Herald`]).

mod heartbeats;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use gateway_control::{Committed, Control};
use gateway_model::{Change, Clock, Document, Entity, Id, Item, Key, Moment};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

pub(crate) use self::heartbeats::{Heartbeats, Herald};
use crate::Platform;
use crate::commit::{require, unchanged};
use crate::entities::{ServiceInstance, State};
use crate::metrics::Metrics;
use crate::platform::over;

/// Turns a service into another state, unless something else was written to it meanwhile.
/// `proviso` is checked in the writer's turn as well. Says whether it turned.
pub(crate) async fn turn(
    control: &Control,
    clock: &Clock,
    instance: &Item<ServiceInstance>,
    state: State,
    proviso: Option<Change>,
) -> bool {
    let members = Document::from_iter([
        ("state".to_owned(), state.as_str().into()),
        ("renewed_at_ms".to_owned(), clock.unix_ms().into()),
    ]);
    let key = Key::Id(instance.id());
    let patch = Change::Patch { kind: ServiceInstance::KIND, key, document: members };
    let changes = [unchanged(instance)].into_iter().chain(proviso).chain([patch]).collect();
    let turned = control.apply(changes).await;
    if let Err(why) = &turned {
        let service = instance.service_id();
        tracing::debug!(service.id = service, state = state.as_str(), %why, "did not turn");
    }
    turned.is_ok()
}

/// Why a heartbeat did not renew anything.
#[derive(Debug)]
pub(crate) enum Renewal<E> {
    /// There is no service it could renew.
    Refused(E),
    /// Its app says it cannot be used.
    Inactive,
    /// It turned again and again.
    Failed,
}

/// Notes a heartbeat of the service `find` gives, and turns it back when it was suspended. Nothing
/// is written as long as it is active.
pub(crate) async fn renewed<E>(
    platform: &Platform,
    find: impl Fn() -> Result<Item<ServiceInstance>, E>,
) -> Result<Item<ServiceInstance>, Renewal<E>> {
    // A service that turns in between is looked at again; one that turns more often than this
    // is not kept alive by one heartbeat.
    for _ in 0..4 {
        let instance = find().map_err(Renewal::Refused)?;
        if instance.state == State::Inactive {
            return Err(Renewal::Inactive);
        }
        let id = instance.id();
        platform.heartbeats.beat(id, platform.clock.unix_ms(), &platform.control);
        let kept = instance.state == State::Active
            || turn(&platform.control, &platform.clock, &instance, State::Active, None).await;
        // A suspension under way when the heartbeat was noted is undone in the next round.
        let now = platform.control.catalog().get::<ServiceInstance>(id);
        if kept && let Some(now) = now.filter(|now| now.state == State::Active) {
            platform.metrics.heartbeats.inc();
            return Ok(now);
        }
    }
    Err(Renewal::Failed)
}

/// Watches over the services that send heartbeats.
pub(crate) struct Watchman {
    pub(crate) control: Control,
    pub(crate) clock: Clock,
    pub(crate) heartbeats: Arc<Heartbeats>,
    pub(crate) metrics: Metrics,
    /// When to look at which service again. It may be too early: what counts is what the catalog
    /// and the heartbeats say when it is due.
    due: BinaryHeap<Reverse<(u64, Id)>>,
    /// The earliest entry of each service; later ones are void.
    scheduled: HashMap<Id, u64>,
    /// Services another node suspended that were heard of here.
    revived: Vec<Id>,
    /// When it looked last, in time that passes whatever the clock is set to.
    looked: Duration,
}

impl Watchman {
    pub(crate) fn new(
        control: Control,
        clock: Clock,
        heartbeats: Arc<Heartbeats>,
        metrics: Metrics,
    ) -> Self {
        Self {
            looked: clock.moment().passed,
            control,
            clock,
            heartbeats,
            metrics,
            due: BinaryHeap::new(),
            scheduled: HashMap::new(),
            revived: Vec::new(),
        }
    }

    /// Watches until `shutdown` says so.
    pub(crate) async fn run(
        mut self,
        mut feed: broadcast::Receiver<Arc<Committed>>,
        mut shutdown: watch::Receiver<bool>,
    ) {
        self.watch_all();
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = over(&mut shutdown) => return,
                _ = tick.tick() => {
                    let Moment { unix_ms, passed } = self.clock.moment();
                    let since = passed.saturating_sub(std::mem::replace(&mut self.looked, passed));
                    if self.heartbeats.leapt(unix_ms, since) {
                        self.watch_all();
                    }
                    self.look().await;
                }
                committed = feed.recv() => match committed {
                    Ok(committed) => self.follow(&committed),
                    Err(RecvError::Lagged(_)) => self.watch_all(),
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    fn watch_all(&mut self) {
        let catalog = self.control.catalog();
        self.due.clear();
        self.scheduled.clear();
        for instance in catalog.all::<ServiceInstance>() {
            self.watch(&instance);
        }
        self.heartbeats.retain(|id| catalog.get::<ServiceInstance>(id).is_some());
    }

    fn watch(&mut self, instance: &ServiceInstance) {
        let Some(deadline) = self.heartbeats.deadline(instance) else { return };
        // Heartbeats only move deadlines away, but a service may have got a shorter interval.
        if self.scheduled.get(&instance.id).is_none_or(|scheduled| deadline < *scheduled) {
            self.scheduled.insert(instance.id, deadline);
            self.due.push(Reverse((deadline, instance.id)));
        }
    }

    fn follow(&mut self, committed: &Committed) {
        for write in committed.writes.iter().filter(|write| write.kind == ServiceInstance::KIND) {
            match write.after.as_ref().and_then(|stored| stored.entity::<ServiceInstance>()) {
                Some(instance) => {
                    if self.heartbeats.wrongly_suspended(instance, self.clock.unix_ms()) {
                        self.revived.push(write.id);
                    }
                    self.watch(instance);
                }
                None => self.heartbeats.forget(write.id),
            }
        }
    }

    /// Suspends every service whose time is over. All turns are under way together, so that they
    /// share commits.
    async fn look(&mut self) {
        let now = self.clock.unix_ms();
        if self.heartbeats.at(now) {
            self.watch_all();
        }
        let catalog = self.control.catalog();
        for id in std::mem::take(&mut self.revived) {
            let instance = catalog.get::<ServiceInstance>(id);
            let instance = instance.filter(|it| self.heartbeats.wrongly_suspended(it, now));
            if let Some(instance) = instance {
                turn(&self.control, &self.clock, &instance, State::Active, None).await;
            }
        }
        let mut over = Vec::new();
        while let Some(Reverse((due, id))) = self.due.peek().copied() {
            if due > now {
                break;
            }
            self.due.pop();
            if self.scheduled.get(&id) != Some(&due) {
                continue;
            }
            self.scheduled.remove(&id);
            let Some(instance) = catalog.get::<ServiceInstance>(id) else { continue };
            match self.heartbeats.deadline(&instance) {
                Some(deadline) if deadline <= now => over.push(instance),
                _ => self.watch(&instance),
            }
        }
        let watchman = &*self;
        let turns = futures::stream::iter(
            over.iter().cloned().map(|instance| watchman.suspend(instance, now)),
        );
        let outcomes: Vec<bool> = turns.buffered(TOGETHER).collect().await;
        for (instance, suspended) in over.iter().zip(outcomes) {
            if suspended {
                self.metrics.suspensions.inc();
                let service = instance.service_id();
                tracing::info!(service.id = service, "no heartbeats: service suspended");
            } else if let Some(now) = self.control.catalog().get::<ServiceInstance>(instance.id()) {
                self.watch(&now);
            }
        }
    }

    async fn suspend(&self, instance: Item<ServiceInstance>, now: u64) -> bool {
        let heartbeats = Arc::clone(&self.heartbeats);
        let id = instance.id();
        let still_silent = require(move |catalog| {
            let instance = catalog.get::<ServiceInstance>(id);
            let deadline = instance.and_then(|instance| heartbeats.deadline(&instance));
            deadline.is_some_and(|deadline| deadline <= now)
        });
        turn(&self.control, &self.clock, &instance, State::Suspended, Some(still_silent)).await
    }
}

/// How often the watchman looks at what is due first: a service is suspended within a second of its
/// time, also where other nodes are waited for.
const LOOK: Duration = Duration::from_millis(250);

/// Turns under way together: as many as share one commit.
const TOGETHER: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::test_kit;

    /// An active service that sends heartbeats every `interval` seconds.
    fn beating(name: &str, interval: i64) -> ServiceInstance {
        let mut instance = test_kit::instance(name);
        instance.info.liveness_interval = interval;
        instance
    }

    async fn register(control: &Control, instance: &ServiceInstance) {
        control.apply(test_kit::register(instance)).await.unwrap();
    }

    async fn watchman() -> Watchman {
        let heartbeats = Arc::new(Heartbeats::new(0, false));
        let metrics = Metrics::new().unwrap();
        Watchman::new(test_kit::control().await, Clock::fixed(0), heartbeats, metrics)
    }

    fn states(control: &Control, wanted: State) -> usize {
        let catalog = control.catalog();
        catalog.all::<ServiceInstance>().filter(|instance| instance.state == wanted).count()
    }

    #[tokio::test]
    async fn the_last_millisecond_counts() {
        let mut watchman = watchman().await;
        register(&watchman.control, &beating("x", 60)).await;
        watchman.watch_all();
        for (now_ms, suspended) in [(62_999, 0), (63_000, 1)] {
            watchman.clock.set_unix_ms(now_ms);
            watchman.look().await;
            assert_eq!(states(&watchman.control, State::Suspended), suspended, "at {now_ms}");
        }
        assert_eq!(watchman.metrics.suspensions.get(), 1);
    }

    /// Set back by a day, the clock keeps nobody alive for a day; set forward, it does not end who is
    /// heard of again.
    #[tokio::test]
    async fn clocks_that_jump() {
        const DAY: u64 = 86_400_000;
        let mut watchman = watchman().await;
        let (silent, heard) = (beating("silent", 60), beating("heard", 60));
        for instance in [&silent, &heard] {
            let renewed_at_ms = DAY;
            let instance = ServiceInstance { renewed_at_ms, ..instance.clone() };
            register(&watchman.control, &instance).await;
        }
        watchman.clock.set_unix_ms(DAY);
        watchman.look().await;
        watchman.heartbeats.beat(silent.id, DAY + 100, &watchman.control);
        watchman.watch_all();
        for (now_ms, suspended) in [(1_000, 0), (63_999, 0), (64_000, 1)] {
            watchman.clock.set_unix_ms(now_ms);
            if now_ms == 63_999 {
                watchman.heartbeats.beat(heard.id, now_ms, &watchman.control);
            }
            watchman.look().await;
            assert_eq!(states(&watchman.control, State::Suspended), suspended, "at {now_ms}");
        }
        watchman.clock.set_unix_ms(DAY + 63_000);
        watchman.look().await;
        assert_eq!(states(&watchman.control, State::Suspended), 2, "nobody was heard for a day");
    }

    /// A clock that is set forward says nothing of silence; time that passed does.
    #[tokio::test]
    async fn clocks_that_are_set_forward() {
        let mut watchman = watchman().await;
        register(&watchman.control, &beating("x", 60)).await;
        watchman.watch_all();
        let seconds = Duration::from_secs;
        for (now_ms, passed, suspended) in [
            (1_000, seconds(1), 0),
            // A day within a second.
            (86_401_000, seconds(1), 0),
            (86_463_999, seconds(63), 0),
            (86_464_000, seconds(1), 1),
        ] {
            watchman.clock.set_unix_ms(now_ms);
            if watchman.heartbeats.leapt(now_ms, passed) {
                watchman.watch_all();
            }
            watchman.look().await;
            assert_eq!(states(&watchman.control, State::Suspended), suspended, "at {now_ms}");
        }
    }

    #[tokio::test]
    async fn a_shorter_interval_holds_at_once() {
        let mut watchman = watchman().await;
        let mut feed = watchman.control.feed();
        for interval in [60, 10] {
            register(&watchman.control, &beating("x", interval)).await;
            watchman.follow(&feed.recv().await.unwrap());
        }
        watchman.clock.set_unix_ms(11_000);
        watchman.look().await;
        assert_eq!(states(&watchman.control, State::Suspended), 1);
        // The entry of the longer interval is void.
        watchman.clock.set_unix_ms(63_000);
        watchman.look().await;
        assert!(watchman.due.is_empty() && watchman.scheduled.is_empty());
    }

    #[tokio::test]
    async fn what_goes_is_forgotten() {
        let mut watchman = watchman().await;
        let mut feed = watchman.control.feed();
        let instance = beating("x", 60);
        register(&watchman.control, &instance).await;
        watchman.follow(&feed.recv().await.unwrap());
        watchman.heartbeats.beat(instance.id, 1, &watchman.control);
        let gone = crate::entities::remove::<ServiceInstance>(instance.id);
        watchman.control.apply(vec![gone]).await.unwrap();
        watchman.follow(&feed.recv().await.unwrap());
        // A heartbeat that was on its way when it went.
        watchman.heartbeats.beat(instance.id, 2, &watchman.control);
        assert!(watchman.heartbeats.is_empty());
        watchman.clock.set_unix_ms(63_000);
        watchman.look().await;
        assert!(watchman.due.is_empty() && watchman.scheduled.is_empty());
    }

    /// Every one of ten thousand silent, as after a cut in the network, and every tenth heard of.
    #[tokio::test]
    async fn ten_thousand_at_once() {
        let mut watchman = watchman().await;
        let instances: Vec<_> = (0..10_000).map(|at| beating(&format!("s{at}"), 60)).collect();
        let all = instances.iter().flat_map(test_kit::register).collect();
        watchman.control.apply(all).await.unwrap();
        watchman.watch_all();
        for instance in instances.iter().step_by(10) {
            watchman.heartbeats.beat(instance.id, 30_000, &watchman.control);
        }
        let before = watchman.control.catalog().revision().0;
        watchman.clock.set_unix_ms(63_000);
        watchman.look().await;
        assert_eq!(states(&watchman.control, State::Suspended), 9_000);
        let commits = watchman.control.catalog().revision().0 - before;
        assert!(commits <= 100, "turns share commits, {commits}");
        assert_eq!(watchman.due.len(), 1_000);
    }
}
