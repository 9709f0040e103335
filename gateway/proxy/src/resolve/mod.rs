//! [`Resolver`]: names to addresses, for everything the data plane connects to.
//!
//! It asks the hosts file and the servers (`source.rs`) and keeps what they say (`answer.rs`) as
//! Kong's client does (kong/resty/dns/client.lua, the `dns_*` keys): for the time the records tell
//! or `dns_valid_ttl`; beyond that, while a new answer is fetched, for `dns_stale_ttl`; absence for
//! `dns_not_found_ttl`; a failure for `dns_error_ttl`. Nobody waits while there is an answer that
//! may be used, and equal questions at one time are sent once, unless `dns_no_sync` says otherwise.
//!
//! Of SRV records those of the lowest priority count. An answer of TTL 0 is kept for a second.

mod answer;
mod source;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use gateway_model::Clock;
use quick_cache::sync::Cache;
use tokio::runtime::Handle;

pub(crate) use answer::{Answer, Endpoint, Failure};
use source::{Look, Source};

/// How names are resolved (the `dns_*` keys).
#[derive(Clone, Debug)]
pub struct NameOptions {
    /// Servers to ask; empty for the system's.
    pub servers: Vec<SocketAddr>,
    /// Names that need no server.
    pub hosts_file: PathBuf,
    /// What is asked for, in order.
    pub order: Vec<Step>,
    /// How long an answer is kept whatever it says itself.
    pub valid: Option<Duration>,
    /// How long an expired answer is used while a new one is fetched.
    pub stale: Duration,
    /// Names kept.
    pub cache_size: usize,
    /// How long an absent name is remembered.
    pub not_found: Duration,
    /// How long a failure is remembered.
    pub error: Duration,
    /// Whether equal questions at one time are sent each for itself.
    pub no_sync: bool,
}

impl Default for NameOptions {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            hosts_file: "/etc/hosts".into(),
            order: vec![
                Step::Last,
                Step::Ask(Kind::Srv),
                Step::Ask(Kind::A),
                Step::Ask(Kind::Cname),
            ],
            valid: None,
            stale: Duration::from_secs(3600),
            cache_size: 10_000,
            not_found: Duration::from_secs(30),
            error: Duration::from_secs(1),
            no_sync: false,
        }
    }
}

/// One step in the order of questions (`dns_order`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// What had an answer last time.
    Last,
    /// Records of this kind.
    Ask(Kind),
}

/// A kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A service: host, port, priority and weight.
    Srv,
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Another name.
    Cname,
}

/// Resolves names, and remembers. Clones share what is known.
#[derive(Clone)]
pub struct Resolver(Arc<Shared>);

struct Shared {
    options: NameOptions,
    clock: Clock,
    /// Where questions are asked: an asker that leaves ends none.
    runtime: Handle,
    source: ArcSwap<Box<dyn Look>>,
    names: Cache<String, Arc<Known>>,
}

/// What is known of a name.
#[derive(Debug)]
struct Known {
    answer: Result<Arc<Answer>, Failure>,
    /// Until then nobody asks, Unix milliseconds.
    fresh_ms: u64,
    /// Until then it may be used all the same.
    usable_ms: u64,
    /// What kind of record there was last.
    kind: Option<Kind>,
    renewing: AtomicBool,
}

/// The least time between two questions about a name that has an answer.
const LEAST: Duration = Duration::from_secs(1);

impl Resolver {
    /// A resolver that knows nothing yet and asks on `runtime`. Reads the hosts file and
    /// `resolv.conf`.
    pub fn new(options: NameOptions, clock: Clock, runtime: Handle) -> Self {
        let source = Source::read(&options);
        Self::asking(Box::new(source), options, clock, runtime)
    }

    fn asking(source: Box<dyn Look>, options: NameOptions, clock: Clock, runtime: Handle) -> Self {
        let names = Cache::new(options.cache_size.max(1));
        let source = ArcSwap::from_pointee(source);
        Self(Arc::new(Shared { options, clock, runtime, source, names }))
    }

    /// Reads the hosts file and `resolv.conf` again, and forgets what the old ones said.
    pub fn reload(&self) {
        self.0.source.store(Arc::new(Box::new(Source::read(&self.0.options))));
        self.0.names.clear();
    }

    /// The addresses of `host`: a name, or an address with or without brackets.
    ///
    /// # Errors
    ///
    /// When it has none.
    pub async fn addresses(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        if let Some(ip) = literal(host) {
            return Ok(vec![ip]);
        }
        let answer = self.answer(host).await.map_err(std::io::Error::other)?;
        Ok(answer.endpoints.iter().map(|one| one.ip).collect())
    }

    /// The endpoint of `host` whose turn it is, if possible one `tried` knows nothing of. Waits only
    /// for a name nothing is known of.
    pub(crate) async fn endpoint(
        &self,
        host: &str,
        tried: impl Fn(&Endpoint) -> bool,
    ) -> Result<Endpoint, Failure> {
        match literal(host) {
            Some(ip) => Ok(Endpoint::of(ip)),
            None => Ok(self.answer(host).await?.next(tried).clone()),
        }
    }

    /// Everything `host` stands for, fetched anew when it has expired, and how long that holds:
    /// `None` for good.
    pub(crate) async fn all(
        &self,
        host: &str,
    ) -> (Result<Vec<Endpoint>, Failure>, Option<Duration>) {
        if let Some(ip) = literal(host) {
            return (Ok(vec![Endpoint::of(ip)]), None);
        }
        let now = self.0.clock.unix_ms();
        let known = match self.0.names.get(host) {
            Some(known) if now < known.fresh_ms || !known.claim() => known,
            known => self.ask(host, known).await,
        };
        let holds = known.fresh_ms.saturating_sub(self.0.clock.unix_ms());
        let answer = known.answer.as_ref().map(|answer| answer.endpoints.to_vec());
        (answer.map_err(Clone::clone), Some(Duration::from_millis(holds).max(LEAST)))
    }

    async fn answer(&self, name: &str) -> Result<Arc<Answer>, Failure> {
        let now = self.0.clock.unix_ms();
        let known = self.0.names.get(name);
        if let Some(known) = &known {
            if now < known.fresh_ms {
                return known.answer.clone();
            }
            if now < known.usable_ms {
                if known.claim() {
                    drop(self.ask(name, Some(Arc::clone(known))));
                }
                return known.answer.clone();
            }
        }
        self.ask(name, known).await.answer.clone()
    }

    /// Asks in a task of its own, which goes on when nobody waits any more.
    fn ask(
        &self,
        name: &str,
        before: Option<Arc<Known>>,
    ) -> impl Future<Output = Arc<Known>> + use<> {
        let (shared, name) = (Arc::clone(&self.0), name.to_owned());
        let task = self.0.runtime.spawn(async move { shared.ask(name, before).await });
        async move {
            task.await.unwrap_or_else(|_| Arc::new(Known::failed("the gateway is stopping".into())))
        }
    }
}

impl Shared {
    async fn ask(&self, name: String, before: Option<Arc<Known>>) -> Arc<Known> {
        let usable = before.as_ref().is_some_and(|known| self.clock.unix_ms() < known.usable_ms);
        if usable || self.options.no_sync {
            let known = self.look(&name, before.as_deref()).await;
            self.names.insert(name, Arc::clone(&known));
            return known;
        }
        // Who comes first asks, the others wait for what it learns.
        if let Some(before) = &before {
            self.names.remove_if(name.as_str(), |known| Arc::ptr_eq(known, before));
        }
        match self.names.get_value_or_guard_async(name.as_str()).await {
            Ok(known) => known,
            Err(first) => {
                let known = self.look(&name, before.as_deref()).await;
                // Refused only when the names were cleared meanwhile.
                let _ = first.insert(Arc::clone(&known));
                known
            }
        }
    }

    async fn look(&self, name: &str, before: Option<&Known>) -> Arc<Known> {
        let source = self.source.load_full();
        let last = before.and_then(|known| known.kind);
        let found = source.look(name, last).await;
        Arc::new(self.judge(name, found, before))
    }

    /// How long what was found holds. A server that fails is no reason to drop an answer that may
    /// still be used; one that says there is none is.
    fn judge(&self, name: &str, found: Result<Answer, Failure>, before: Option<&Known>) -> Known {
        let now = self.clock.unix_ms();
        let after = |wait: Duration| {
            now.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
        };
        let renewing = AtomicBool::new(false);
        let last = before.and_then(|known| known.kind);
        let error = match found {
            Ok(answer) => {
                let fresh = self.options.valid.unwrap_or(answer.ttl).max(LEAST);
                return Known {
                    kind: answer.kind.or(last),
                    answer: Ok(Arc::new(answer)),
                    fresh_ms: after(fresh),
                    usable_ms: after(fresh.saturating_add(self.options.stale)),
                    renewing,
                };
            }
            Err(error) => error,
        };
        let wait = match error {
            Failure::Absent => self.options.not_found,
            Failure::Failed(_) => self.options.error,
        };
        tracing::warn!(name, "a name does not resolve: {error}");
        match before {
            Some(before)
                if error != Failure::Absent && before.answer.is_ok() && now < before.usable_ms =>
            {
                Known {
                    answer: before.answer.clone(),
                    fresh_ms: after(wait).min(before.usable_ms),
                    usable_ms: before.usable_ms,
                    kind: last,
                    renewing,
                }
            }
            _ => Known {
                answer: Err(error),
                fresh_ms: after(wait),
                usable_ms: 0,
                kind: last,
                renewing,
            },
        }
    }
}

impl Known {
    /// Whether the caller is the one to ask anew.
    fn claim(&self) -> bool {
        !self.renewing.swap(true, Ordering::Relaxed)
    }

    fn failed(why: Arc<str>) -> Self {
        Self {
            answer: Err(Failure::Failed(why)),
            fresh_ms: 0,
            usable_ms: 0,
            kind: None,
            renewing: AtomicBool::new(false),
        }
    }
}

/// The address a host is, if it is one.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resolver({} names)", self.0.names.len())
    }
}
