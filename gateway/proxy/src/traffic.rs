//! [`Traffic`]: how many requests there were and are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much the proxy has done and is doing.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: AtomicU64,
    in_flight: AtomicU64,
}

impl Traffic {
    /// Requests since the start.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that were begun and are not answered yet.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request until the returned value is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

/// One request being counted.
pub(crate) struct InFlight(Arc<Traffic>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
