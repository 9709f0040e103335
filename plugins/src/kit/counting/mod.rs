//! Counting with other nodes: in Redis at once ([`exact`]), or in this process with an exchange of
//! counts now and then ([`synced`]), with Redis or the store.
//!
//! A counter is a text: what is counted, and in which window. So a new window is a new counter, and
//! nobody clears the old one. The texts are Kong's, whose nodes may count along
//! (kong/plugins/rate-limiting/policies/init.lua).

mod exact;
mod synced;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use gateway_model::ports::{CounterError, CounterFuture, CounterStep, CounterStore};
use gateway_model::{Clock, Id, Violations};

use super::counter::{Moment, Period, Taken};
use super::redis::{Redis, RedisConfig};
use crate::contract::Tools;
use exact::Exact;
use synced::Synced;

/// One window of a limit.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// The counter.
    pub(crate) key: String,
    /// Uses it has room for.
    pub(crate) uses: u64,
    /// When its counter is gone, Unix seconds.
    pub(crate) expires: u64,
}

/// Where uses are counted with other nodes.
#[derive(Clone)]
pub(crate) enum Shared {
    /// In Redis, at every use.
    Exact(Arc<Exact>),
    /// Here, exchanged now and then.
    Synced(Arc<Synced>),
}

impl Shared {
    /// Takes one use in each window, or none when one of them is used up.
    ///
    /// # Errors
    ///
    /// When nobody knows how many uses there were.
    pub(crate) async fn take(&self, windows: &[Window], now: u64) -> Result<Taken, String> {
        match self {
            Self::Exact(exact) => exact.take(windows).await,
            Self::Synced(synced) => synced.take(windows, now).await,
        }
    }

    /// How many uses there were in each window.
    ///
    /// # Errors
    ///
    /// When nobody knows.
    pub(crate) async fn used(&self, windows: &[Window], now: u64) -> Result<Vec<u64>, String> {
        match self {
            Self::Exact(exact) => exact.used(windows, now).await,
            Self::Synced(synced) => synced.used(windows, now).await,
        }
    }

    /// Counts uses, in the background. Failing is logged.
    pub(crate) fn add(&self, steps: Vec<CounterStep>, now: u64) {
        match self {
            Self::Exact(exact) => exact.add(steps, now),
            Self::Synced(synced) => synced.add(steps),
        }
    }
}

/// The counters this process shares with others, by where they are. They outlive the instances that
/// count in them.
#[derive(Default)]
pub(crate) struct Sharing {
    redis: DashMap<u64, Arc<Redis>>,
    synced: DashMap<(u64, Duration), Arc<Synced>>,
}

/// How often counts are exchanged with the store. Kong asks its database at every request; here
/// nodes may together let pass what they take in this time.
const STORE_SYNC: Duration = Duration::from_millis(200);

impl Sharing {
    /// Counters in a Redis; `sync_rate` in seconds, -1 for at every use.
    ///
    /// # Errors
    ///
    /// As [`RedisConfig::place`] and [`Redis::new`].
    pub(crate) fn in_redis(
        tools: &Arc<Tools>,
        config: RedisConfig,
        sync_rate: f64,
    ) -> Result<Shared, Violations> {
        let sharing = tools.shared(|_| Self::default());
        let place = config.place()?;
        let key = place.key();
        let known = sharing.redis.get(&key).map(|redis| Arc::clone(&redis));
        let redis = match known {
            Some(redis) => redis,
            None => {
                let made = Redis::new(place, tools)
                    .map_err(|why| Violations::one("redis.server_name", why))?;
                Arc::clone(&sharing.redis.entry(key).or_insert_with(|| Arc::new(made)))
            }
        };
        let exact = Arc::new(Exact::new(redis, tools.runtime.clone()));
        if sync_rate < 0.0 {
            return Ok(Shared::Exact(exact));
        }
        let every = Duration::try_from_secs_f64(sync_rate).unwrap_or(Duration::from_secs(1));
        Ok(Shared::Synced(sharing.synced(tools, key, every, || exact)))
    }

    /// Counters in the store, `None` when there is no durable one.
    pub(crate) fn in_store(tools: &Arc<Tools>) -> Option<Shared> {
        let store = tools.counters.clone()?;
        let sharing = tools.shared(|_| Self::default());
        Some(Shared::Synced(sharing.synced(tools, 0, STORE_SYNC, || store)))
    }

    fn synced(
        &self,
        tools: &Arc<Tools>,
        key: u64,
        every: Duration,
        store: impl FnOnce() -> Arc<dyn CounterStore>,
    ) -> Arc<Synced> {
        let made = || {
            let (clock, runtime) = (tools.clock.clone(), tools.runtime.clone());
            Arc::new(Synced::new(store(), every, clock, runtime))
        };
        Arc::clone(&self.synced.entry((key, every)).or_insert_with(made))
    }
}

/// The counter of a window: `ratelimit:ROUTE:SERVICE:WHO:START:PERIOD`, ids that do not count zero,
/// the start in milliseconds.
pub(crate) fn counter_name(
    prefix: &str,
    route: Option<Id>,
    service: Option<Id>,
    who: &str,
    window: &str,
) -> String {
    const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
    let id = |id: Option<Id>| id.map_or_else(|| NOBODY.to_owned(), |id| id.to_string());
    format!("{prefix}:{}:{}:{who}:{window}", id(route), id(service))
}

/// When the counter of a window that began is gone: its nominal length after now.
pub(crate) const fn expiry(period: Period, now: u64) -> u64 {
    now + period.seconds()
}

/// What Kong calls a window: its start in milliseconds, and its period.
pub(crate) fn window_name(period: Period, now: Moment) -> String {
    format!("{}:{}", now.window_start(period) * 1000, period.name())
}
