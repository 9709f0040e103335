//! [`Clock`]: where "now" comes from, so that tests can set it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Wall-clock time in Unix milliseconds.
///
/// Cheap to clone. Every component that compares times takes one of these instead of reading the
/// system clock.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicU64>>);

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `unix_ms` until it is moved.
    pub fn fixed(unix_ms: u64) -> Self {
        Self(Some(Arc::new(AtomicU64::new(unix_ms))))
    }

    /// Milliseconds since the Unix epoch.
    pub fn unix_ms(&self) -> u64 {
        match &self.0 {
            Some(set) => set.load(Ordering::Relaxed),
            None => {
                #[expect(clippy::disallowed_methods, reason = "this is the place it is read")]
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
            }
        }
    }

    /// Whole seconds since the Unix epoch.
    pub fn unix_seconds(&self) -> u64 {
        self.unix_ms() / 1000
    }

    /// Moves a fixed clock forward; a system clock is left alone.
    pub fn advance_ms(&self, by: u64) {
        if let Some(set) = &self.0 {
            set.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// Sets a fixed clock; a system clock is left alone.
    pub fn set_unix_ms(&self, unix_ms: u64) {
        if let Some(set) = &self.0 {
            set.store(unix_ms, Ordering::Relaxed);
        }
    }
}
