//! Names to addresses.
//!
//! Uses the system's resolver and keeps what it says for half a minute; a name that cannot be
//! refreshed keeps its old addresses. Absent: SRV records, the `dns_*` keys and TTLs of single
//! records.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use gateway_model::Clock;

/// Resolves host names, with a cache.
#[derive(Debug, Default)]
pub struct Resolver {
    clock: Clock,
    names: DashMap<String, Arc<Resolved>>,
    turn: AtomicUsize,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Addresses {
    /// It was an address.
    Literal(IpAddr),
    Resolved(Arc<Resolved>),
}

#[derive(Debug)]
pub(crate) struct Resolved {
    ips: Vec<IpAddr>,
    until_ms: u64,
}

impl Addresses {
    pub(crate) fn ips(&self) -> Vec<IpAddr> {
        match self {
            Self::Literal(ip) => vec![*ip],
            Self::Resolved(resolved) => resolved.ips.clone(),
        }
    }

    /// How long this holds, `None` for good.
    pub(crate) fn holds(&self, clock: &Clock) -> Option<Duration> {
        match self {
            Self::Literal(_) => None,
            Self::Resolved(resolved) => {
                Some(Duration::from_millis(resolved.until_ms.saturating_sub(clock.unix_ms())))
            }
        }
    }
}

const KEEP_MS: u64 = 30_000;
/// More names than this are not kept: a service host is configuration, so this is generous.
const MOST_NAMES: usize = 10_000;

impl Resolver {
    /// A resolver with nothing cached.
    pub fn new(clock: Clock) -> Self {
        Self { clock, ..Self::default() }
    }

    /// One address of `host`. Successive calls and tries go round the addresses.
    ///
    /// # Errors
    ///
    /// When the name has no address.
    pub async fn address(
        &self,
        host: &str,
        port: u16,
        attempt: usize,
    ) -> std::io::Result<SocketAddr> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(SocketAddr::new(ip, port));
        }
        let resolved = self.resolved(host).await?;
        let first = if resolved.ips.len() > 1 && attempt == 0 {
            self.turn.fetch_add(1, Ordering::Relaxed)
        } else {
            self.turn.load(Ordering::Relaxed)
        };
        let ip = resolved.ips[first.wrapping_add(attempt) % resolved.ips.len()];
        Ok(SocketAddr::new(ip, port))
    }

    /// All addresses of `host`, a name or an address without brackets.
    pub(crate) async fn addresses(&self, host: &str) -> std::io::Result<Addresses> {
        match host.parse() {
            Ok(ip) => Ok(Addresses::Literal(ip)),
            Err(_) => Ok(Addresses::Resolved(self.resolved(host).await?)),
        }
    }

    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    async fn resolved(&self, host: &str) -> std::io::Result<Arc<Resolved>> {
        let now = self.clock.unix_ms();
        let known = self.names.get(host).map(|entry| Arc::clone(&entry));
        if let Some(known) = known.as_ref().filter(|known| known.until_ms > now) {
            return Ok(Arc::clone(known));
        }
        match (tokio::net::lookup_host((host, 0)).await, known) {
            (Ok(found), known) => {
                let mut ips: Vec<IpAddr> = found.map(|address| address.ip()).collect();
                ips.dedup();
                if ips.is_empty() {
                    return known.ok_or_else(|| std::io::Error::other("the name has no address"));
                }
                let resolved = Arc::new(Resolved { ips, until_ms: now + KEEP_MS });
                if self.names.len() < MOST_NAMES {
                    self.names.insert(host.to_owned(), Arc::clone(&resolved));
                }
                Ok(resolved)
            }
            (Err(_), Some(known)) => Ok(known),
            (Err(why), None) => Err(why),
        }
    }
}
