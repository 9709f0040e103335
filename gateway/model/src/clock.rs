//! [`Clock`]: where "now" comes from, so that tests can set it.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall-clock time in Unix milliseconds.
///
/// Cheap to clone. Every component that compares times takes one of these instead of reading the
/// system clock.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Mutex<Moment>>>);

/// What a clock shows at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// The time that passed since some moment before, whatever the clock was set to meanwhile.
    pub passed: Duration,
}

/// What [`Moment::passed`] counts from.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `unix_ms` until it is moved.
    pub fn fixed(unix_ms: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(Moment { unix_ms, ..Moment::default() }))))
    }

    /// Milliseconds since the Unix epoch.
    pub fn unix_ms(&self) -> u64 {
        match &self.0 {
            Some(set) => held(set).unix_ms,
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

    /// The clock, and the time that passed besides.
    pub fn moment(&self) -> Moment {
        match &self.0 {
            Some(set) => *held(set),
            None => Moment { unix_ms: self.unix_ms(), passed: BEGAN.elapsed() },
        }
    }

    /// Has time pass on a fixed clock; a system clock is left alone.
    pub fn advance_ms(&self, by: u64) {
        if let Some(set) = &self.0 {
            let mut set = held(set);
            set.passed += Duration::from_millis(by);
            set.unix_ms += by;
        }
    }

    /// Sets a fixed clock, without any time passing; a system clock is left alone.
    pub fn set_unix_ms(&self, unix_ms: u64) {
        if let Some(set) = &self.0 {
            held(set).unix_ms = unix_ms;
        }
    }
}

/// Two numbers are never half written: a clock goes on when a test that held it failed.
fn held(moment: &Mutex<Moment>) -> MutexGuard<'_, Moment> {
    moment.lock().unwrap_or_else(PoisonError::into_inner)
}
