//! [`Router`]: which route a request takes.
//!
//! Every route is entered under each host it names (or under "any host") at the literal beginning
//! of each of its paths. A lookup walks the trees of the hosts that fit, along the request's path,
//! and so meets a superset of the matching entries, and few others: what it costs depends on the
//! request, not on how many routes there are. Entries at one place lie in descending rank; the
//! rest of each entry's conditions is tested until one holds, and the highest rank wins. The ranks
//! are Kong's (`rank.rs`).
//!
//! A router never changes. [`Router::with`] gives the next one, which shares all it did not touch.
//!
//! Absent from here: what a request must be besides matching (https, gRPC), which the exchange
//! checks.
//!
//! Routes written as expressions (`expression.rs`) stand under "any host", at the beginning their
//! expression asks of the path, and rank above all others.

pub(crate) mod condition;
pub(crate) mod expression;
mod host;
pub mod path;
mod rank;
mod route;
mod tree;

#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderMap;
use plugins::contract::{Captures, Scheme};

pub use rank::Flavour;
pub use route::{CompiledRoute, CompiledService};

use host::HostPattern;
use route::{Entry, Hit, Place};
use tree::Tree;

/// The parts of a request that routes look at.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The method, as sent.
    pub method: &'a str,
    /// The Host header, as sent: any letter case, with or without a port. Empty when there is none.
    pub host: &'a str,
    /// The listener's port as seen outside (after `port_maps`): what a host without a port means.
    pub port: u16,
    /// The path in normal form, without query: see [`path::normal`].
    pub path: &'a str,
    /// The query as sent; only expressions look at it.
    pub query: Option<&'a str>,
    /// The client's end of the connection; only expressions look at it.
    pub source: SocketAddr,
    /// Our end of it.
    pub destination: IpAddr,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// How the client speaks.
    pub scheme: Scheme,
    /// The server name of the TLS handshake.
    pub sni: Option<&'a str>,
}

/// The outcome of a lookup.
#[derive(Clone, Debug)]
pub struct Found {
    /// The route.
    pub route: Arc<CompiledRoute>,
    /// How many bytes of the normalised path its prefix or regular expression matched; 0 for a
    /// route without paths.
    pub prefix: usize,
    /// Position of that path in the route.
    path: usize,
}

impl Found {
    /// The groups of the regular expression that matched, with group 0 the whole match. Runs the
    /// expression again, since few ask; `path` is the one the route was found with. `None` when a
    /// prefix matched.
    pub fn captures<'p>(&self, path: &'p str) -> Option<regex::Captures<'p>> {
        self.route.regex(self.path)?.captures(path)
    }

    /// As [`Self::captures`], for handlers to keep.
    pub(crate) fn captured(&self, path: &str) -> Option<Captures> {
        let captures = self.captures(path)?;
        let text = |group: Option<regex::Match<'_>>| Box::from(group.map_or("", |g| g.as_str()));
        let named = self.route.regex(self.path)?.capture_names().flatten();
        Some(Captures {
            named: named.map(|name| (name.into(), text(captures.name(name)))).collect(),
            numbered: captures.iter().map(text).collect(),
        })
    }
}

/// Every route that takes HTTP requests, ready to be looked up.
#[derive(Clone, Default)]
pub struct Router {
    flavour: Flavour,
    any_host: Tree,
    /// By whole name.
    exact: Hosts,
    /// By what follows `*`, beginning with a dot.
    ending: Hosts,
    /// By what precedes `*`, ending with a dot.
    beginning: Hosts,
}

/// Trees by host. Text compares as the bytes it is: Kong does not fold the case of hosts.
type Hosts = imbl::HashMap<Box<str>, Tree>;

impl Router {
    /// A router without routes.
    pub fn new(flavour: Flavour) -> Self {
        Self { flavour, ..Self::default() }
    }

    /// The route of a request, `None` when no one matches.
    pub fn find(&self, wanted: &Wanted<'_>) -> Option<Found> {
        let host = host::split(wanted.host);
        let mut search = Search { host, wanted, best: None };
        // What `*` stands for may be nothing in the newer flavour only: Kong's older one uses `.+`.
        let fits = |part: &&str| *part != host.name || self.flavour != Flavour::Traditional;
        search.walk_hosts(&self.exact, std::iter::once(host.name));
        search.walk_hosts(&self.ending, host::endings(host.name).filter(fits));
        search.walk_hosts(&self.beginning, host::beginnings(host.name).filter(fits));
        search.walk(&self.any_host);
        let (entry, hit) = search.best?;
        Some(Found { route: Arc::clone(&entry.route), prefix: hit.prefix, path: hit.path })
    }

    /// The router without `removed` and with `added`. Costs the number of routes named, times the
    /// logarithm of how many there are.
    #[must_use]
    pub fn with(&self, removed: &[Arc<CompiledRoute>], added: &[Arc<CompiledRoute>]) -> Self {
        let mut next = self.clone();
        for route in removed {
            for place in CompiledRoute::places(route) {
                next.change(&place, |tree| tree.remove(place.beginning, route.id()));
            }
        }
        for route in added {
            for place in CompiledRoute::places(route) {
                next.change(&place, |tree| tree.insert(place.beginning, place.entry.clone()));
            }
        }
        next
    }

    fn change(&mut self, place: &Place<'_>, change: impl FnOnce(&mut Tree)) {
        let (hosts, name) = match place.host {
            None => return change(&mut self.any_host),
            Some(HostPattern::Exact(name)) => (&mut self.exact, name),
            Some(HostPattern::Ending(name)) => (&mut self.ending, name),
            Some(HostPattern::Beginning(name)) => (&mut self.beginning, name),
        };
        let tree = hosts.entry(name.clone()).or_default();
        change(tree);
        if tree.is_empty() {
            hosts.remove(name);
        }
    }
}

/// One lookup: the best entry so far, and what of the path it matched.
struct Search<'h, 'w> {
    wanted: &'w Wanted<'w>,
    host: host::Host<'w>,
    best: Option<(&'h Entry, Hit)>,
}

impl<'h> Search<'h, '_> {
    fn walk_hosts<'n>(&mut self, hosts: &'h Hosts, names: impl Iterator<Item = &'n str>) {
        // Hashing a name is not free, and most gateways have routes without hosts only.
        if hosts.is_empty() {
            return;
        }
        for tree in names.filter_map(|name| hosts.get(name)) {
            self.walk(tree);
        }
    }

    fn walk(&mut self, tree: &'h Tree) {
        tree.along(self.wanted.path.as_bytes(), |entries| self.offer(entries));
    }

    /// Takes the first entry that matches, unless the best one ranks higher already.
    fn offer(&mut self, entries: &'h [Entry]) {
        for entry in entries {
            if self.best.is_some_and(|(best, _)| best.rank >= entry.rank) {
                return;
            }
            if let Some(hit) = entry.matches(self.wanted, &self.host) {
                self.best = Some((entry, hit));
                return;
            }
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.exact.len() + self.ending.len() + self.beginning.len();
        write!(f, "Router({hosts} hosts)")
    }
}
