//! [`Ring`]: the addresses of an upstream, and the order in which they get requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use gateway_model::entities::Algorithm;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::called::Called;
use super::live::Address;

/// One address of a target, with its share.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) address: Arc<Address>,
    pub(crate) weight: u32,
    /// Position of its target in the upstream.
    pub(crate) target: usize,
    /// What it is called, where an SRV record says so and not the target.
    pub(crate) called: Option<Arc<Called>>,
}

/// The addresses of an upstream, spread by its algorithm.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) members: Vec<Member>,
    spread: Spread,
    /// Whether health counts; without checks nothing would bring an address back.
    checked: bool,
    /// Percent of the weight that must be available.
    threshold: f64,
}

#[derive(Debug)]
enum Spread {
    /// Members by turn.
    Turns(Box<[u32]>),
    /// Members by hash, ascending; and by turn for requests with nothing to hash.
    Hash {
        points: Box<[(u64, u32)]>,
        turns: Box<[u32]>,
    },
    Connections,
    Latency,
}

/// What the choice depends on besides the ring.
pub(crate) struct Choice<'a> {
    /// How many turns were taken.
    pub(crate) turn: &'a AtomicUsize,
    /// Hash of what the client keeps.
    pub(crate) hash: Option<u64>,
    /// Members that failed this exchange already.
    pub(crate) tried: &'a [usize],
}

impl Ring {
    pub(crate) fn new(
        members: Vec<Member>,
        algorithm: Algorithm,
        slots: u32,
        checked: bool,
        threshold: f64,
    ) -> Self {
        let spread = match algorithm {
            Algorithm::RoundRobin => Spread::Turns(turns(weights(&members))),
            Algorithm::ConsistentHashing => {
                Spread::Hash { points: points(&members, slots), turns: turns(weights(&members)) }
            }
            Algorithm::LeastConnections => Spread::Connections,
            Algorithm::Latency => Spread::Latency,
        };
        Self { members, spread, checked, threshold }
    }

    /// Whether these are its members.
    pub(crate) fn has(&self, members: &[Member]) -> bool {
        let same = |(a, b): (&Member, &Member)| {
            Arc::ptr_eq(&a.address, &b.address)
                && a.weight == b.weight
                && a.target == b.target
                && a.called == b.called
        };
        self.members.len() == members.len() && self.members.iter().zip(members).all(same)
    }

    /// Whether a member may get traffic.
    fn serves(&self, member: &Member) -> bool {
        member.weight > 0 && (!self.checked || member.address.health.is_good())
    }

    /// The member for the next try: one that was not tried, or any again when all were.
    pub(crate) fn choose(&self, choice: &Choice<'_>) -> Option<usize> {
        if self.threshold > 0.0 && !self.reaches_threshold() {
            return None;
        }
        let serves = |at: usize| self.serves(&self.members[at]);
        let fresh = |at: usize| !choice.tried.contains(&at) && serves(at);
        self.pick(choice, fresh).or_else(|| {
            let again = !choice.tried.is_empty();
            again.then(|| self.pick(choice, serves)).flatten()
        })
    }

    fn pick(&self, choice: &Choice<'_>, may: impl Fn(usize) -> bool) -> Option<usize> {
        match (&self.spread, choice.hash) {
            (Spread::Turns(turns), _) | (Spread::Hash { turns, .. }, None) => {
                take_turn(turns, choice.turn, may)
            }
            (Spread::Hash { points, .. }, Some(hash)) => {
                let start = points.partition_point(|(point, _)| *point < hash);
                let round = points[start..].iter().chain(&points[..start]);
                round.map(|(_, member)| *member as usize).find(|at| may(*at))
            }
            (Spread::Connections, _) => {
                let load = |member: &Member| {
                    (member.address.connections() + 1) as f64 / f64::from(member.weight)
                };
                self.least(choice.turn, load, may)
            }
            (Spread::Latency, _) => {
                let now = Instant::now();
                let known: Vec<f64> =
                    self.members.iter().filter_map(|one| one.address.latency(now)).collect();
                // One that was never measured counts as an average one: it gets its share without
                // being flooded.
                let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
                let load = |member: &Member| {
                    member.address.latency(now).unwrap_or(mean) / f64::from(member.weight)
                };
                self.least(choice.turn, load, may)
            }
        }
    }

    /// The member with the least load; among equals they take turns.
    fn least(
        &self,
        turn: &AtomicUsize,
        load: impl Fn(&Member) -> f64,
        may: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let count = self.members.len();
        let first = turn.fetch_add(1, Ordering::Relaxed);
        let candidates = (0..count).map(|at| first.wrapping_add(at) % count).filter(|at| may(*at));
        candidates
            .map(|at| (at, load(&self.members[at])))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(at, _)| at)
    }

    fn reaches_threshold(&self) -> bool {
        let weight = |member: &Member| f64::from(member.weight);
        let total: f64 = self.members.iter().map(weight).sum();
        let available: f64 =
            self.members.iter().filter(|member| self.serves(member)).map(weight).sum();
        available * 100.0 >= self.threshold * total
    }
}

/// Advances to the next turn whose member may be taken.
fn take_turn(turns: &[u32], turn: &AtomicUsize, may: impl Fn(usize) -> bool) -> Option<usize> {
    (0..turns.len())
        .map(|_| turns[turn.fetch_add(1, Ordering::Relaxed) % turns.len()] as usize)
        .find(|at| may(*at))
}

/// Longest order of turns. Weights that need more are rounded.
const MOST_TURNS: u64 = 1 << 16;

/// Spreads the beginnings of members over their first intervals: multiples of it, without the whole
/// part, never lie close together.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// An order in which every member comes as often as its weight says, evenly spaced: turn n of a
/// member of weight w is at (n + p) / w of the round, where p is the member's own.
pub(crate) fn turns(weights: impl Iterator<Item = u32> + Clone) -> Box<[u32]> {
    let divisor = weights.clone().fold(0, gcd).max(1);
    let total: u64 = weights.clone().map(|weight| u64::from(weight / divisor)).sum();
    let share = |weight: u32| {
        let weight = u64::from(weight / divisor);
        if total <= MOST_TURNS { weight } else { (weight * MOST_TURNS / total).max(weight.min(1)) }
    };
    let mut places: Vec<(f64, u32)> = Vec::new();
    for (at, weight) in (0u32..).zip(weights) {
        let share = share(weight);
        let phase = (f64::from(at) * GOLDEN).fract();
        places.extend((0..share).map(|n| ((n as f64 + phase) / share as f64, at)));
    }
    places.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    places.into_iter().map(|(_, at)| at).collect()
}

fn weights(members: &[Member]) -> impl Iterator<Item = u32> + Clone {
    members.iter().map(|member| member.weight)
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Points on the ring of hashes, as many for a member as its part of `slots`. Where they lie
/// depends on the address alone, so those of others stay when one comes or goes.
fn points(members: &[Member], slots: u32) -> Box<[(u64, u32)]> {
    let total: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
    let mut points = Vec::with_capacity(slots as usize + members.len());
    for (at, member) in (0u32..).zip(members).filter(|(_, member)| member.weight > 0) {
        let share = (u64::from(member.weight) * u64::from(slots) / total).max(1);
        let name = member.address.socket.to_string();
        points.extend((0..share).map(|n| (xxh3_64_with_seed(name.as_bytes(), n), at)));
    }
    points.sort_unstable();
    points.into_boxed_slice()
}

/// Where on the ring a value lies. The same on every node.
pub(crate) fn hash(value: &[u8]) -> u64 {
    xxh3_64(value)
}
