//! [`Live`]: what is known of an upstream's addresses from traffic.
//!
//! It outlives publishes: each compiled form of an upstream takes over that of the form before.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::health::Health;

/// What is known of one upstream's addresses.
#[derive(Debug)]
pub(crate) struct Live {
    addresses: Mutex<HashMap<Key, Arc<Address>>>,
    /// How many turns were taken.
    pub(super) turn: AtomicUsize,
    /// When probes of healthy and of unhealthy addresses began last.
    probed: Mutex<[Option<tokio::time::Instant>; 2]>,
}

/// A target in normal form, and one of the addresses its name stands for.
type Key = (Box<str>, SocketAddr);

/// What is known of one address.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) socket: SocketAddr,
    pub(crate) health: Health,
    connections: AtomicUsize,
    latency: Mutex<Option<Latency>>,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self { addresses: Mutex::default(), turn: AtomicUsize::new(0), probed: Mutex::default() }
    }

    /// The state of an address, new when it was not known.
    pub(crate) fn address(&self, target: &str, socket: SocketAddr) -> Arc<Address> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let address = addresses.entry((target.into(), socket)).or_insert_with(|| {
            Arc::new(Address {
                socket,
                health: Health::default(),
                connections: AtomicUsize::new(0),
                latency: Mutex::default(),
            })
        });
        Arc::clone(address)
    }

    /// Forgets addresses that nobody refers to any more.
    pub(crate) fn forget_unused(&self) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.retain(|_, address| Arc::strong_count(address) > 1);
    }

    /// Notes that probes begin.
    pub(crate) fn probes_begin(&self, of_healthy: bool) {
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        probed[usize::from(of_healthy)] = Some(tokio::time::Instant::now());
    }

    /// When probes are due: at once, unless an earlier form of the upstream just probed.
    pub(crate) fn probes_due(&self, of_healthy: bool, every: Duration) -> tokio::time::Instant {
        let probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        let last = probed[usize::from(of_healthy)];
        last.map_or_else(tokio::time::Instant::now, |last| last + every)
    }
}

impl Address {
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Weighted mean of the seconds answers took, `None` before the first.
    pub(crate) fn latency(&self, now: Instant) -> Option<f64> {
        let latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        latency.map(|latency| latency.seconds * weight_of_past(latency.at, now))
    }

    /// Takes the seconds of an exchange into the mean. A slow one counts at once, a fast one
    /// gradually, so that a target that has become slow is left soon.
    pub(crate) fn observe(&self, seconds: f64, now: Instant) {
        let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = match *latency {
            Some(past) if seconds < past.seconds => {
                let past_weight = weight_of_past(past.at, now);
                past.seconds * past_weight + seconds * (1.0 - past_weight)
            }
            _ => seconds,
        };
        *latency = Some(Latency { seconds, at: now });
    }
}

#[derive(Clone, Copy, Debug)]
struct Latency {
    seconds: f64,
    at: Instant,
}

/// Seconds after which what was measured counts a third (kong/runloop/balancer/latency.lua).
const DECAY: f64 = 10.0;

fn weight_of_past(at: Instant, now: Instant) -> f64 {
    (-now.saturating_duration_since(at).as_secs_f64() / DECAY).exp()
}

/// An address while a try uses it. Ends when dropped.
#[derive(Debug)]
pub(crate) struct InUse {
    pub(crate) address: Arc<Address>,
    began: Instant,
    answered: bool,
}

impl InUse {
    pub(crate) fn begin(address: Arc<Address>) -> Self {
        address.connections.fetch_add(1, Ordering::Relaxed);
        Self { address, began: Instant::now(), answered: false }
    }

    pub(crate) const fn is_answered(&self) -> bool {
        self.answered
    }

    /// From here on the time the try takes says something about the address.
    pub(crate) const fn answered(&mut self) {
        self.answered = true;
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.address.connections.fetch_sub(1, Ordering::Relaxed);
        if self.answered {
            let now = Instant::now();
            self.address.observe((now - self.began).as_secs_f64(), now);
        }
    }
}
