//! Spreading requests over targets, and finding dead ones.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use gateway_model::entities::{Algorithm, Upstream};
use gateway_model::ports::{Health, MarkError, TargetHealth};
use gateway_model::{Clock, Entity, Id};
use plugins::contract::Tools;
use rustix::io::Errno;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::health::Outcome;
use super::live::{InUse, Live};
use super::probe::outcome_of;
use super::ring::{Choice, Member, Ring, hash};
use crate::failure::not_connected;
use crate::resolve::{NameOptions, Resolver};
use crate::router::Flavour;
use crate::snapshot::test_kit::{World, delete, id, insert, patch};
use crate::snapshot::{Current, ProxyPlane, Snapshot};

/// A ring of targets with these weights; the n-th has port n + 1.
fn ring(live: &Live, weights: &[u32], algorithm: Algorithm, threshold: f64) -> Ring {
    let member = |(target, weight): (usize, &u32)| {
        let socket = socket(target);
        let address = live.address(&socket.to_string(), socket);
        Member { address, weight: *weight, target, called: None }
    };
    let members = weights.iter().enumerate().map(member).collect();
    Ring::new(members, algorithm, 1000, true, threshold)
}

fn socket(target: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], u16::try_from(target).unwrap() + 1))
}

fn choose(ring: &Ring, turn: &AtomicUsize, hash: Option<u64>, tried: &[usize]) -> Option<usize> {
    ring.choose(&Choice { turn, hash, tried })
}

/// How often each target is chosen in `times`.
fn spread(ring: &Ring, times: usize, hashed: bool) -> BTreeMap<usize, usize> {
    let turn = AtomicUsize::new(0);
    let mut counts = BTreeMap::new();
    for n in 0..times {
        let hash = hashed.then(|| hash(format!("client {n}").as_bytes()));
        *counts.entry(choose(ring, &turn, hash, &[]).unwrap()).or_default() += 1;
    }
    counts
}

#[test]
fn turns_are_as_weights_say() {
    for (weights, times, wanted) in [
        (&[100, 100][..], 10, &[5, 5][..]),
        (&[100, 200, 300], 12, &[2, 4, 6]),
        (&[5, 1, 1], 14, &[10, 2, 2]),
        (&[1, 0, 1], 10, &[5, 0, 5]),
        (&[65535, 65534, 1], 65536, &[32768, 32767, 1]),
    ] {
        let live = Live::new();
        let counts = spread(&ring(&live, weights, Algorithm::RoundRobin, 0.0), times, false);
        let counts: Vec<usize> =
            (0..weights.len()).map(|at| counts.get(&at).copied().unwrap_or(0)).collect();
        for (count, wanted) in counts.iter().zip(wanted) {
            assert!(count.abs_diff(*wanted) <= usize::from(times > 100), "{weights:?}: {counts:?}");
        }
    }
}

#[test]
fn turns_of_a_heavy_target_are_spread_out() {
    let live = Live::new();
    let ring = ring(&live, &[2, 1, 1], Algorithm::RoundRobin, 0.0);
    let turn = AtomicUsize::new(0);
    let order: Vec<usize> = (0..8).map(|_| choose(&ring, &turn, None, &[]).unwrap()).collect();
    assert!(order.windows(2).all(|pair| pair != [0, 0]), "{order:?}");
}

#[test]
fn what_we_lack_says_nothing_about_a_target() {
    for (errno, wanted) in [
        (Errno::MFILE, None),
        (Errno::NFILE, None),
        (Errno::ADDRNOTAVAIL, None),
        (Errno::CONNREFUSED, Some(Outcome::TcpFailure)),
        (Errno::HOSTUNREACH, Some(Outcome::TcpFailure)),
        (Errno::TIMEDOUT, Some(Outcome::Timeout)),
    ] {
        assert_eq!(outcome_of(&not_connected(errno.into())), wanted, "{errno:?}");
    }
}

#[test]
fn failed_and_unhealthy_targets_are_passed_over() {
    for algorithm in [
        Algorithm::RoundRobin,
        Algorithm::ConsistentHashing,
        Algorithm::LeastConnections,
        Algorithm::Latency,
    ] {
        let live = Live::new();
        let ring = ring(&live, &[100, 100, 100, 0], algorithm, 0.0);
        let turn = AtomicUsize::new(0);
        for n in 0..50_u8 {
            let key = Some(hash(&[n]));
            let first = choose(&ring, &turn, key, &[]).unwrap();
            let second = choose(&ring, &turn, key, &[first]).unwrap();
            let third = choose(&ring, &turn, key, &[first, second]).unwrap();
            let mut all = [first, second, third];
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2], "{algorithm:?}: none twice, and none of weight 0");
            assert!(choose(&ring, &turn, key, &all).is_some(), "all failed: any again");
            ring.members[1].address.health.set(false);
            assert_eq!(choose(&ring, &turn, key, &[0]), Some(2), "{algorithm:?}");
            ring.members[1].address.health.set(true);
        }
        for member in &ring.members {
            member.address.health.set(false);
        }
        assert_eq!(choose(&ring, &turn, None, &[]), None, "{algorithm:?}");
        assert_eq!(choose(&ring, &turn, Some(7), &[0]), None, "{algorithm:?}");
    }
}

#[test]
fn no_targets_no_choice() {
    let live = Live::new();
    for algorithm in [Algorithm::RoundRobin, Algorithm::ConsistentHashing, Algorithm::Latency] {
        for weights in [&[][..], &[0]] {
            let ring = ring(&live, weights, algorithm, 0.0);
            assert_eq!(choose(&ring, &AtomicUsize::new(0), Some(1), &[]), None);
        }
    }
}

#[test]
fn hashes_keep_their_target_when_others_come_and_go() {
    let live = Live::new();
    let three = ring(&live, &[100, 100, 100], Algorithm::ConsistentHashing, 0.0);
    let four = ring(&live, &[100, 100, 100, 100], Algorithm::ConsistentHashing, 0.0);
    let turn = AtomicUsize::new(0);
    let (mut moved, all) = (0, 4000);
    for n in 0..all {
        let key = Some(hash(format!("client {n}").as_bytes()));
        let before = choose(&three, &turn, key, &[]).unwrap();
        assert_eq!(Some(before), choose(&three, &turn, key, &[]), "the same each time");
        moved += usize::from(choose(&four, &turn, key, &[]) != Some(before));
    }
    // A quarter must move; placing all anew would move three quarters.
    assert!((all / 8..all * 2 / 5).contains(&moved), "{moved} of {all} moved");
}

#[test]
fn hashes_are_spread_by_weight() {
    let live = Live::new();
    let counts = spread(&ring(&live, &[100, 300], Algorithm::ConsistentHashing, 0.0), 8000, true);
    assert!((1400..2600).contains(&counts[&0]), "{counts:?}");
}

#[test]
fn the_least_connections_for_the_weight() {
    let live = Live::new();
    let ring = ring(&live, &[100, 200], Algorithm::LeastConnections, 0.0);
    let turn = AtomicUsize::new(0);
    let mut open = Vec::new();
    for _ in 0..30 {
        let at = choose(&ring, &turn, None, &[]).unwrap();
        open.push(InUse::begin(Arc::clone(&ring.members[at].address)));
    }
    let connections: Vec<usize> =
        ring.members.iter().map(|member| member.address.connections()).collect();
    assert_eq!(connections, [10, 20]);
    open.clear();
    assert_eq!(ring.members[0].address.connections(), 0, "ended exchanges do not count");
}

#[test]
fn the_fastest_of_late() {
    let live = Live::new();
    let ring = ring(&live, &[100, 100], Algorithm::Latency, 0.0);
    let turn = AtomicUsize::new(0);
    let now = Instant::now();
    ring.members[0].address.observe(0.5, now);
    ring.members[1].address.observe(0.1, now);
    assert_eq!(choose(&ring, &turn, None, &[]), Some(1));
    // Slowness counts at once, and is forgotten gradually.
    ring.members[1].address.observe(2.0, now);
    assert_eq!(choose(&ring, &turn, None, &[]), Some(0));
    ring.members[1].address.observe(0.1, now);
    assert_eq!(choose(&ring, &turn, None, &[]), Some(0));
    ring.members[1].address.observe(0.1, now + Duration::from_secs(60));
    assert_eq!(choose(&ring, &turn, None, &[]), Some(1));
}

#[test]
fn below_the_threshold_nobody_serves() {
    let live = Live::new();
    let ring = ring(&live, &[100, 100, 200], Algorithm::RoundRobin, 60.0);
    let turn = AtomicUsize::new(0);
    ring.members[0].address.health.set(false);
    assert!(choose(&ring, &turn, None, &[]).is_some(), "75 percent");
    ring.members[1].address.health.set(false);
    assert_eq!(choose(&ring, &turn, None, &[]), None, "50 percent");
}

/// A plane whose background work runs on the test's runtime.
struct Plane {
    world: World,
    plane: ProxyPlane,
    current: Current,
}

impl Plane {
    fn new() -> Self {
        let world = World::new();
        let runtime = tokio::runtime::Handle::current();
        let metrics = prometheus::Registry::new();
        let resolver = Resolver::new(NameOptions::default(), Clock::fixed(0), runtime.clone());
        let tools = Arc::new(Tools::new(Clock::fixed(0), runtime, reqwest::Client::new(), metrics));
        let flavour = Flavour::default();
        let first = Snapshot::empty(Arc::clone(world.catalog.registry()), flavour);
        let current = Current::new(first);
        let plane = ProxyPlane::new(&[], tools, current.clone(), flavour, resolver);
        Self { world, plane, current }
    }

    fn write(&mut self, changes: &[gateway_model::Change]) {
        use gateway_model::ports::DataPlane;
        let writes = self.world.write(changes);
        self.plane.prepare(&self.world.catalog, &writes).unwrap().publish();
    }

    fn health(&self, target: u32) -> Option<Health> {
        self.current.target(UPSTREAM(), id(target)).map(|state| state.health)
    }

    /// The one upstream there is.
    fn upstream(&self) -> Arc<super::CompiledUpstream> {
        Arc::clone(self.current.load_full().upstream("up").unwrap())
    }
}

#[allow(non_snake_case, reason = "a constant, but for the parsing")]
fn UPSTREAM() -> Id {
    id(1)
}

fn upstream(healthchecks: Value) -> gateway_model::Change {
    let value = json!({ "id": UPSTREAM(), "name": "up", "healthchecks": healthchecks });
    insert("upstreams", value)
}

fn target(n: u32, target: &str) -> gateway_model::Change {
    insert("targets", json!({ "id": id(n), "upstream": { "id": UPSTREAM() }, "target": target }))
}

/// Waits until the condition holds; fails after ten seconds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A server that answers every connection with a status, and counts them.
async fn serve(status: Arc<AtomicUsize>) -> (SocketAddr, Arc<AtomicUsize>, impl Future) {
    use std::sync::atomic::Ordering::Relaxed;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&seen);
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            let mut piece = [0; 1024];
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read(&mut piece).await {
                    Ok(0) | Err(_) => break,
                    Ok(n) => head.extend_from_slice(&piece[..n]),
                }
            }
            let head = String::from_utf8(head).unwrap();
            let expected = head.starts_with("GET /alive HTTP/1.1\r\n")
                && head.contains(&format!("Host: {address}\r\n"))
                && head.contains("X-Probe: 1\r\n");
            let status = if expected { status.load(Relaxed) } else { 400 };
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
            counted.fetch_add(1, Relaxed);
        }
    });
    (address, seen, task)
}

/// As long as it takes to probe another upstream so many times, at the pace of these tests.
async fn others_are_probed(times: usize) {
    let (address, seen, _task) = serve(Arc::new(AtomicUsize::new(200))).await;
    let mut plane = Plane::new();
    let check = json!({ "active": { "healthy": { "interval": 0.02 } } });
    plane.write(&[upstream(check), target(11, &address.to_string())]);
    until("probes of another", || seen.load(std::sync::atomic::Ordering::Relaxed) >= times).await;
}

#[tokio::test]
async fn probes_find_targets_dead_and_alive() {
    use std::sync::atomic::Ordering::Relaxed;
    let status = Arc::new(AtomicUsize::new(200));
    let (address, seen, _task) = serve(Arc::clone(&status)).await;
    let mut plane = Plane::new();
    let check = json!({ "active": {
        "http_path": "/alive",
        "headers": { "X-Probe": ["1"] },
        "healthy": { "interval": 0.02, "successes": 2 },
        "unhealthy": { "interval": 0.02, "http_failures": 2, "http_statuses": [500] },
    } });
    plane.write(&[upstream(check), target(11, &address.to_string())]);
    until("a probe", || seen.load(Relaxed) > 1).await;
    assert_eq!(plane.health(11), Some(Health::Healthy));
    status.store(500, Relaxed);
    until("dead", || plane.health(11) == Some(Health::Unhealthy)).await;
    assert_eq!(
        plane.upstream().ring().await.choose(&Choice {
            turn: &AtomicUsize::new(0),
            hash: None,
            tried: &[],
        }),
        None
    );
    status.store(200, Relaxed);
    until("alive", || plane.health(11) == Some(Health::Healthy)).await;
    // When the upstream goes, so do its probes: at most one round is under way.
    plane.write(&[delete(Upstream::KIND, UPSTREAM())]);
    let after = seen.load(Relaxed);
    others_are_probed(10).await;
    assert!(seen.load(Relaxed) <= after + 1, "probes go on");
}

#[tokio::test]
async fn a_port_nobody_listens_on_is_a_failed_probe() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for kind in ["http", "tcp"] {
        let mut plane = Plane::new();
        let check = json!({ "active": {
            "type": kind,
            "healthy": { "interval": 0.02 },
            "unhealthy": { "tcp_failures": 2 },
        } });
        plane.write(&[upstream(check), target(11, &closed.to_string())]);
        until("dead", || plane.health(11) == Some(Health::Unhealthy)).await;
    }
}

#[tokio::test]
async fn a_silent_target_times_out_and_an_accepting_one_is_alive_to_tcp() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for (kind, wanted) in [("http", Health::Unhealthy), ("tcp", Health::Healthy)] {
        let mut plane = Plane::new();
        let check = json!({ "active": {
            "type": kind,
            "timeout": 0.05,
            "healthy": { "interval": 0.02, "successes": 1 },
            "unhealthy": { "interval": 0.02, "timeouts": 1 },
        } });
        plane.write(&[upstream(check), target(11, &address)]);
        until("known", || plane.health(11).is_some()).await;
        if kind == "tcp" {
            plane.current.mark(UPSTREAM(), id(11), None, false).unwrap();
        }
        until(kind, || plane.health(11) == Some(wanted)).await;
    }
}

#[tokio::test]
async fn what_is_known_of_targets_outlives_publishes() {
    let mut plane = Plane::new();
    let passive = json!({ "passive": { "unhealthy": { "tcp_failures": 1 } } });
    plane.write(&[upstream(passive), target(11, "127.0.0.1:1"), target(12, "127.0.0.1:2")]);
    let before = plane.upstream();
    let ring = before.ring().await;
    let dead = ring.members.iter().find(|one| one.address.socket.port() == 1).unwrap();
    before.note(&dead.address, Outcome::TcpFailure, &before.passive, "the test");
    assert_eq!(plane.health(11), Some(Health::Unhealthy));

    // A write elsewhere keeps the very form, one here its state.
    plane.write(&[insert("consumers", json!({ "username": "c" }))]);
    assert!(Arc::ptr_eq(&before, &plane.upstream()));
    plane.write(&[target(13, "127.0.0.1:3"), patch("upstreams", UPSTREAM(), json!({"slots": 50}))]);
    // At once: nobody meets an upstream without the addresses that are known.
    let states: HashMap<u32, Option<Health>> =
        [11, 12, 13].map(|target| (target, plane.health(target))).into();
    assert_eq!(states[&11], Some(Health::Unhealthy));
    assert_eq!(states[&12], Some(Health::Healthy));
    assert_eq!(states[&13], Some(Health::Healthy));
    // A renamed upstream is found under its new name only.
    plane.write(&[patch("upstreams", UPSTREAM(), json!({ "name": "other" }))]);
    assert!(plane.current.load_full().upstream("up").is_none());
    assert!(plane.current.load_full().upstream("other").is_some());
    assert_eq!(plane.health(11), Some(Health::Unhealthy));
}

#[tokio::test]
async fn marks_need_checks_and_a_target() {
    let mut plane = Plane::new();
    plane.write(&[upstream(json!({})), target(11, "127.0.0.1:1")]);
    until("known", || plane.health(11) == Some(Health::Off)).await;
    let mark = |plane: &Plane, target: u32, port: Option<u16>| {
        let address = port.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        plane.current.mark(UPSTREAM(), id(target), address, false)
    };
    assert_eq!(mark(&plane, 11, None), Err(MarkError::Unchecked));
    let checks = json!({ "healthchecks": { "passive": { "unhealthy": { "timeouts": 1 } } } });
    plane.write(&[patch("upstreams", UPSTREAM(), checks)]);
    until("checked", || plane.health(11) == Some(Health::Healthy)).await;
    assert_eq!(mark(&plane, 12, None), Err(MarkError::Unknown));
    assert_eq!(mark(&plane, 11, Some(2)), Err(MarkError::Unknown));
    assert_eq!(mark(&plane, 11, Some(1)), Ok(()));
    assert_eq!(plane.health(11), Some(Health::Unhealthy));
}

#[tokio::test]
async fn names_are_resolved_and_unknown_ones_are_passed_over() {
    let mut plane = Plane::new();
    let targets = [target(11, "localhost:1"), target(12, "no-such-name.invalid:2")];
    plane.write(&[upstream(json!({}))]);
    plane.write(&targets);
    until("resolved", || plane.health(11) == Some(Health::Off)).await;
    assert_eq!(plane.health(12), Some(Health::DnsError));
    assert!(plane.upstream().ring().await.members.iter().all(|one| one.address.socket.port() == 1));
}

#[tokio::test]
async fn a_plane_that_serves_nobody_leaves_targets_alone() {
    use std::sync::atomic::Ordering::Relaxed;
    let (address, seen, _task) = serve(Arc::new(AtomicUsize::new(200))).await;
    let mut plane = Plane::new();
    plane.plane = plane.plane.without_targets();
    let check = json!({ "active": { "healthy": { "interval": 0.01 } } });
    plane.write(&[upstream(check), target(11, &address.to_string())]);
    others_are_probed(10).await;
    assert_eq!(seen.load(Relaxed), 0);
    assert_eq!(plane.health(11), None);
}
