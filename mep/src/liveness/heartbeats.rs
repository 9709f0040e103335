//! [`Heartbeats`]: when services were heard of; [`Herald`]: telling the other nodes.
//!
//! A heartbeat comes to one node and counts on all. It is not stored for that: each node tells the
//! others from time to time of whom it heard. A service nobody has heard of on this node gets a
//! little more patience, so that what is on its way from another node arrives first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use dashmap::DashMap;
use gateway_control::{Control, News, Peers};
use gateway_model::{Clock, Id};
use tokio::sync::watch;

use crate::entities::{ServiceInstance, State};
use crate::peers::listen;
use crate::platform::over;

/// When each service was heard of last, in Unix milliseconds.
///
/// Only heartbeats are kept here; registrations and turns stand in the catalog.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    beats: DashMap<Id, Beat>,
    /// Whom the other nodes have to be told of.
    untold: DashMap<Id, ()>,
    /// Whether there may be other nodes.
    shared: bool,
    /// What came before was not heard.
    listening_ms: AtomicU64,
    /// What time it was when it was last asked.
    now_ms: AtomicU64,
    /// Moments after this one are from before the clock was set back, and tell nothing.
    latest_ms: AtomicU64,
}

/// The last heartbeats of one service.
#[derive(Clone, Copy, Debug, Default)]
struct Beat {
    /// The last one that came to this node.
    own_ms: u64,
    /// When another node told of one.
    told_ms: u64,
}

/// Between words to the other nodes.
const TELL: Duration = Duration::from_millis(200);

/// More patience for what other nodes may have heard: one such pause, and the way.
const GRACE_MS: u64 = 500;

/// The time is told more often than this.
const ASKED_WITHIN_MS: u64 = 10_000;

/// How much faster than time a clock may be without having been set: it may be slewed.
const LEAP_MS: u64 = 2_000;

/// What a line about a heartbeat begins with; the id follows.
const WORD: &str = "heartbeat ";

impl Heartbeats {
    /// Nothing heard yet; the platform starts now.
    pub(crate) fn new(started_ms: u64, shared: bool) -> Self {
        Self {
            beats: DashMap::new(),
            untold: DashMap::new(),
            shared,
            listening_ms: AtomicU64::new(started_ms),
            now_ms: AtomicU64::new(started_ms),
            latest_ms: AtomicU64::new(u64::MAX),
        }
    }

    /// Tells what time it is. When the clock was set back, which is then said, everybody has a whole
    /// interval again: by the moments noted before, a silent service would live until they come again.
    pub(super) fn at(&self, now_ms: u64) -> bool {
        let set_back = now_ms < self.now_ms.swap(now_ms, Relaxed);
        if set_back {
            self.missed(now_ms);
        }
        if set_back || self.latest_ms.load(Relaxed) != u64::MAX {
            self.latest_ms.store(now_ms + ASKED_WITHIN_MS, Relaxed);
        }
        set_back
    }

    /// Whether the clock was set forward: it is now further on than the time that passed since it was
    /// asked last. Nobody was silent for that long, so everybody has a whole interval again.
    pub(super) fn leapt(&self, now_ms: u64, passed: Duration) -> bool {
        let passed_ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        let most = self.now_ms.load(Relaxed).saturating_add(passed_ms).saturating_add(LEAP_MS);
        let leapt = now_ms > most;
        if leapt {
            self.missed(now_ms);
        }
        leapt
    }

    /// Notes a heartbeat.
    pub(crate) fn beat(&self, id: Id, now_ms: u64, control: &Control) {
        self.beats.entry(id).or_default().own_ms = now_ms;
        if self.shared {
            self.untold.insert(id, ());
        }
        // The service may have gone in between, after which nobody would forget it here.
        if control.catalog().get::<ServiceInstance>(id).is_none() {
            self.forget(id);
        }
    }

    /// Notes that another node heard of a service.
    fn told(&self, id: Id, now_ms: u64, control: &Control) {
        if control.catalog().get::<ServiceInstance>(id).is_some() {
            self.beats.entry(id).or_default().told_ms = now_ms;
        }
    }

    /// Other nodes may have heard of anybody: everybody has a whole interval again.
    fn missed(&self, now_ms: u64) {
        self.listening_ms.store(now_ms, Relaxed);
    }

    pub(super) fn forget(&self, id: Id) {
        self.beats.remove(&id);
        self.untold.remove(&id);
    }

    pub(super) fn retain(&self, known: impl Fn(Id) -> bool) {
        self.beats.retain(|id, _| known(*id));
        self.untold.retain(|id, ()| known(*id));
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.beats.is_empty() && self.untold.is_empty()
    }

    fn of(&self, id: Id) -> Beat {
        self.beats.get(&id).map_or_else(Beat::default, |beat| *beat)
    }

    /// When a service was heard of last.
    pub(crate) fn last(&self, instance: &ServiceInstance) -> u64 {
        let Beat { own_ms, told_ms } = self.of(instance.id);
        own_ms.max(told_ms).max(instance.renewed_at_ms)
    }

    /// When an active service counts as suspended, unless it is heard of before.
    pub(super) fn deadline(&self, instance: &ServiceInstance) -> Option<u64> {
        let patience = instance.patience_ms().filter(|_| instance.state == State::Active)?;
        let latest_ms = self.latest_ms.load(Relaxed);
        let past = |moment: u64| if moment > latest_ms { 0 } else { moment };
        let Beat { own_ms, told_ms } = self.of(instance.id);
        let (own_ms, told_ms) = (past(own_ms), past(told_ms));
        let elsewhere = told_ms.max(past(instance.renewed_at_ms));
        let elsewhere = elsewhere.max(self.listening_ms.load(Relaxed));
        let grace = if self.shared { GRACE_MS } else { 0 };
        Some(own_ms.max(elsewhere + grace) + patience)
    }

    /// Whether a suspended service was heard of here so lately that another node, which suspended
    /// it, cannot have known.
    pub(super) fn wrongly_suspended(&self, instance: &ServiceInstance, now_ms: u64) -> bool {
        let patience = instance.patience_ms().filter(|_| instance.state == State::Suspended);
        self.shared
            && patience.is_some_and(|patience| self.of(instance.id).own_ms + patience > now_ms)
    }
}

/// Tells the other nodes whom this one heard of, and listens to them.
pub(crate) struct Herald {
    pub(crate) peers: Option<Arc<dyn Peers>>,
    pub(crate) control: Control,
    pub(crate) clock: Clock,
    pub(crate) heartbeats: Arc<Heartbeats>,
}

impl Herald {
    /// Tells and listens until `shutdown` says so; there may be nobody.
    pub(crate) async fn run(self, mut shutdown: watch::Receiver<bool>) {
        let Some(peers) = self.peers.clone() else { return };
        tokio::select! {
            () = over(&mut shutdown) => {}
            () = self.tell(&*peers) => {}
            () = listen(peers.heard(), |news| self.hear(news)) => {}
        }
    }

    async fn tell(&self, peers: &dyn Peers) {
        let mut tick = tokio::time::interval(TELL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let untold = &self.heartbeats.untold;
            let told: Vec<Id> = untold.iter().map(|one| *one.key()).collect();
            // Before telling: who is heard of meanwhile is told of again.
            for id in &told {
                untold.remove(id);
            }
            let lines: Vec<String> = told.iter().map(|id| format!("{WORD}{id}")).collect();
            if let Err(why) = peers.tell(&lines).await {
                tracing::debug!(why = why.in_full(), "other nodes were not told of heartbeats");
                for id in told {
                    untold.insert(id, ());
                }
            }
        }
    }

    fn hear(&self, news: News) {
        let now_ms = self.clock.unix_ms();
        match news {
            News::Line(line) => {
                if let Some(id) = line.strip_prefix(WORD).and_then(Id::parse) {
                    self.heartbeats.told(id, now_ms, &self.control);
                }
            }
            News::Missed => self.heartbeats.missed(now_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::test_kit;

    fn beating(state: State, renewed_at_ms: u64) -> ServiceInstance {
        let mut instance = ServiceInstance { state, renewed_at_ms, ..test_kit::instance("x") };
        instance.info.liveness_interval = 60;
        instance
    }

    #[test]
    fn deadlines() {
        for (registered_ms, beat_ms, started_ms, state, wanted) in [
            (1_000, None, 0, State::Active, Some(64_000)),
            (1_000, Some(5_000), 0, State::Active, Some(68_000)),
            // A replacement after the last heartbeat counts as one.
            (9_000, Some(5_000), 0, State::Active, Some(72_000)),
            // After a restart everybody has a whole interval.
            (1_000, None, 3_600_000, State::Active, Some(3_663_000)),
            (1_000, None, 0, State::Suspended, None),
            (1_000, None, 0, State::Inactive, None),
        ] {
            let heartbeats = Heartbeats::new(started_ms, false);
            let instance = beating(state, registered_ms);
            if let Some(own_ms) = beat_ms {
                heartbeats.beats.insert(instance.id, Beat { own_ms, told_ms: 0 });
            }
            let row = (registered_ms, beat_ms, started_ms, state);
            assert_eq!(heartbeats.deadline(&instance), wanted, "{row:?}");
        }
    }

    #[test]
    fn deadlines_where_others_hear_too() {
        let instance = beating(State::Active, 1_000);
        let heartbeats = Heartbeats::new(0, true);
        let check = |own_ms, told_ms, wanted| {
            heartbeats.beats.insert(instance.id, Beat { own_ms, told_ms });
            assert_eq!(heartbeats.deadline(&instance), Some(wanted), "{own_ms} {told_ms}");
        };
        check(0, 0, 64_500);
        check(5_000, 0, 68_000);
        check(5_000, 9_000, 72_500);
        check(9_400, 9_000, 72_500);
        check(9_600, 9_000, 72_600);
        heartbeats.missed(20_000);
        check(9_600, 9_000, 83_500);

        let suspended = beating(State::Suspended, 30_000);
        heartbeats.beats.insert(suspended.id, Beat { own_ms: 29_900, told_ms: 0 });
        assert!(heartbeats.wrongly_suspended(&suspended, 30_010));
        assert!(!heartbeats.wrongly_suspended(&suspended, 92_900));
        assert!(!heartbeats.wrongly_suspended(&beating(State::Inactive, 0), 1));
    }

    /// Two nodes: what one heard, the other knows, unless the service is gone.
    #[tokio::test]
    async fn a_word_to_the_other_node() {
        let control = test_kit::control().await;
        let instance = beating(State::Active, 0);
        control.apply(test_kit::register(&instance)).await.unwrap();
        let store = Arc::new(gateway_control::store::memory::Memory::new());
        let node = |clock: u64| Herald {
            peers: Some(Arc::clone(&store) as Arc<dyn Peers>),
            control: control.clone(),
            clock: Clock::fixed(clock),
            heartbeats: Arc::new(Heartbeats::new(0, true)),
        };
        let (a, b) = (node(7_000), node(9_000));
        let (told, known) = (Arc::clone(&a.heartbeats), Arc::clone(&b.heartbeats));
        let (stop, shutdown) = watch::channel(false);
        let running = [tokio::spawn(b.run(shutdown.clone())), tokio::spawn(a.run(shutdown))];
        let gone = Id::random();
        told.untold.insert(gone, ());
        told.beat(instance.id, 7_000, &control);
        let arrived = async {
            while known.last(&instance) != 9_000 {
                tokio::time::sleep(Duration::from_millis(5)).await;
                told.beat(instance.id, 7_000, &control);
            }
        };
        tokio::time::timeout(Duration::from_secs(20), arrived).await.unwrap();
        assert!(known.beats.get(&gone).is_none());
        stop.send(true).unwrap();
        for one in running {
            one.await.unwrap();
        }
    }
}
