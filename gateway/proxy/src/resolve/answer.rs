//! [`Answer`]: what a name stands for, and the turns its addresses take.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Kind;
use crate::upstream::turns;

/// One place a name leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    pub(crate) ip: IpAddr,
    /// What an SRV record says beside the address.
    pub(crate) service: Option<ServiceRecord>,
}

/// An SRV record: it names a host, and decides the port and the share of requests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServiceRecord {
    pub(crate) port: u16,
    /// 0 stands for the least share, not for none (kong/runloop/balancer, SRV_0_WEIGHT).
    pub(crate) weight: u16,
    pub(crate) name: Arc<str>,
}

impl Endpoint {
    /// A bare address.
    pub(crate) const fn of(ip: IpAddr) -> Self {
        Self { ip, service: None }
    }

    /// Where to connect; a service record knows the port better than who asks.
    pub(crate) fn socket(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, self.service.as_ref().map_or(port, |service| service.port))
    }
}

/// What a name stands for.
#[derive(Debug)]
pub(crate) struct Answer {
    /// In an order of their own, so that equal answers are equal. Never empty.
    pub(crate) endpoints: Box<[Endpoint]>,
    /// What kind of record gave it; `None` when the hosts file did.
    pub(crate) kind: Option<Kind>,
    /// How long it holds, as the records say.
    pub(crate) ttl: Duration,
    /// Positions of endpoints, each as often as its weight says.
    turns: Box<[u32]>,
    turn: AtomicUsize,
}

impl Answer {
    /// An answer of these endpoints, `None` when there are none.
    pub(crate) fn new(
        mut endpoints: Vec<Endpoint>,
        kind: Option<Kind>,
        ttl: Duration,
    ) -> Option<Self> {
        endpoints.sort_unstable();
        endpoints.dedup();
        if endpoints.is_empty() {
            return None;
        }
        let weight = |one: &Endpoint| one.service.as_ref().map_or(1, |service| service.weight);
        let turns = turns(endpoints.iter().map(|one| u32::from(weight(one).max(1))));
        Some(Self { endpoints: endpoints.into(), kind, ttl, turns, turn: AtomicUsize::new(0) })
    }

    /// The endpoint of the next turn, one that was not tried if there is one.
    pub(crate) fn next(&self, tried: impl Fn(&Endpoint) -> bool) -> &Endpoint {
        let turn = || self.turn.fetch_add(1, Ordering::Relaxed) % self.turns.len();
        let mut chosen = &self.endpoints[self.turns[turn()] as usize];
        for _ in 1..self.turns.len() {
            if !tried(chosen) {
                break;
            }
            chosen = &self.endpoints[self.turns[turn()] as usize];
        }
        chosen
    }
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The servers say that there is none.
    Absent,
    /// No server could say.
    Failed(Arc<str>),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("the name has no address"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Failure {}
