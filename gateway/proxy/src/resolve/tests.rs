//! What is kept, for how long, and how often is asked.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use gateway_model::Clock;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::answer::{Answer, Endpoint, Failure, ServiceRecord};
use super::source::Look;
use super::{Kind, NameOptions, Resolver};

/// A server that says what the test tells it to, and counts questions.
struct Told {
    says: Mutex<Result<(u8, u64), Failure>>,
    asked: AtomicUsize,
    last: Mutex<Option<Kind>>,
    /// A question is answered when there is a permit.
    open: Semaphore,
}

impl Told {
    /// Answers with the address 10.0.0.`ip` from now on, to be kept `ttl` seconds.
    fn says(&self, ip: u8, ttl: u64) {
        *self.says.lock().unwrap() = Ok((ip, ttl));
    }

    fn fails(&self, why: Failure) {
        *self.says.lock().unwrap() = Err(why);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

struct Teller(Arc<Told>);

impl Look for Teller {
    fn look<'a>(
        &'a self,
        _: &'a str,
        last: Option<Kind>,
    ) -> BoxFuture<'a, Result<Answer, Failure>> {
        async move {
            self.0.asked.fetch_add(1, Ordering::SeqCst);
            *self.0.last.lock().unwrap() = last;
            let _open = self.0.open.acquire().await.unwrap();
            let (ip, ttl) = self.0.says.lock().unwrap().clone()?;
            let endpoint = Endpoint::of(IpAddr::from([10, 0, 0, ip]));
            Ok(Answer::new(vec![endpoint], Some(Kind::A), Duration::from_secs(ttl)).unwrap())
        }
        .boxed()
    }
}

fn resolver(options: NameOptions) -> (Resolver, Arc<Told>, Clock) {
    let told = Arc::new(Told {
        says: Mutex::new(Ok((1, 10))),
        asked: AtomicUsize::new(0),
        last: Mutex::new(None),
        open: Semaphore::new(Semaphore::MAX_PERMITS),
    });
    let clock = Clock::fixed(1_000_000);
    let source = Box::new(Teller(Arc::clone(&told)));
    (Resolver::asking(source, options, clock.clone(), Handle::current()), told, clock)
}

/// The last part of the address a name has now.
async fn now(resolver: &Resolver) -> Result<u8, Failure> {
    match resolver.endpoint("a.test", |_| false).await?.ip {
        IpAddr::V4(ip) => Ok(ip.octets()[3]),
        IpAddr::V6(ip) => panic!("{ip}"),
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn answers_hold_for_their_time_then_serve_on_while_a_new_one_comes() {
    let (resolver, told, clock) = resolver(NameOptions::default());
    assert_eq!(now(&resolver).await, Ok(1));
    told.says(2, 10);
    clock.advance_ms(9_999);
    assert_eq!(now(&resolver).await, Ok(1));
    assert_eq!(told.asked(), 1, "fresh");
    clock.advance_ms(1);
    assert_eq!(now(&resolver).await, Ok(1), "expired, and nobody waits");
    until(|| told.asked() == 2).await;
    loop {
        if now(&resolver).await == Ok(2) {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(told.asked(), 2, "one question for all who met the expired one");
    assert_eq!(*told.last.lock().unwrap(), Some(Kind::A), "the kind that worked is known");
}

#[tokio::test]
async fn a_server_that_fails_leaves_what_is_usable_one_that_denies_does_not() {
    let options = NameOptions { stale: Duration::from_secs(60), ..NameOptions::default() };
    let (resolver, told, clock) = resolver(options);
    assert_eq!(now(&resolver).await, Ok(1));
    told.fails(Failure::Failed("no server".into()));
    for second in 1..=5_usize {
        clock.advance_ms(10_000);
        assert_eq!(now(&resolver).await, Ok(1));
        until(|| told.asked() == 1 + second).await;
        // The failure is remembered for a second, as dns_error_ttl says.
        resolver.all("a.test").await.0.unwrap();
    }
    clock.advance_ms(20_000);
    assert!(matches!(now(&resolver).await, Err(Failure::Failed(_))), "beyond dns_stale_ttl");
    told.says(3, 1);
    assert!(now(&resolver).await.is_err());
    clock.advance_ms(1_000);
    assert_eq!(now(&resolver).await, Ok(3));
    told.fails(Failure::Absent);
    clock.advance_ms(2_000);
    assert_eq!(resolver.all("a.test").await.0, Err(Failure::Absent));
    assert_eq!(now(&resolver).await, Err(Failure::Absent));
}

#[tokio::test]
async fn absence_is_remembered() {
    let (resolver, told, clock) = resolver(NameOptions::default());
    told.fails(Failure::Absent);
    assert_eq!(now(&resolver).await, Err(Failure::Absent));
    told.says(1, 10);
    clock.advance_ms(29_999);
    assert_eq!(now(&resolver).await, Err(Failure::Absent));
    assert_eq!(told.asked(), 1);
    clock.advance_ms(1);
    assert_eq!(now(&resolver).await, Ok(1));
}

#[tokio::test]
async fn a_time_of_our_own_replaces_that_of_the_records() {
    let options = NameOptions { valid: Some(Duration::from_secs(60)), ..NameOptions::default() };
    let (resolver, told, clock) = resolver(options);
    now(&resolver).await.unwrap();
    clock.advance_ms(59_999);
    now(&resolver).await.unwrap();
    assert_eq!(told.asked(), 1);
    assert_eq!(resolver.all("a.test").await.1, Some(Duration::from_secs(1)), "the least");
}

#[tokio::test]
async fn equal_questions_at_once_are_one() {
    for (no_sync, wanted) in [(false, 1), (true, 20)] {
        let (resolver, told, _) = resolver(NameOptions { no_sync, ..NameOptions::default() });
        told.open.forget_permits(Semaphore::MAX_PERMITS);
        let asking: Vec<_> = (0..20)
            .map(|_| {
                let resolver = resolver.clone();
                tokio::spawn(async move { now(&resolver).await })
            })
            .collect();
        until(|| told.asked() == wanted).await;
        // One of those who wait leaves; the question goes on for the others.
        asking[0].abort();
        told.open.add_permits(20);
        for (at, one) in asking.into_iter().enumerate() {
            match one.await {
                Ok(found) => assert_eq!(found, Ok(1)),
                Err(_) => assert_eq!(at, 0),
            }
        }
        assert_eq!(told.asked(), wanted, "no_sync {no_sync}");
    }
}

#[tokio::test]
async fn no_more_names_are_kept_than_allowed() {
    let (resolver, told, _) = resolver(NameOptions { cache_size: 4, ..NameOptions::default() });
    for n in 0..200 {
        resolver.endpoint(&format!("{n}.test"), |_| false).await.unwrap();
    }
    assert_eq!(told.asked(), 200);
    assert!(resolver.0.names.len() <= 4, "{}", resolver.0.names.len());
}

#[tokio::test]
async fn addresses_are_nobodys_question() {
    let (resolver, told, _) = resolver(NameOptions::default());
    for (host, ip) in [("10.1.2.3", "10.1.2.3"), ("[::1]", "::1"), ("::1", "::1")] {
        let wanted: IpAddr = ip.parse().unwrap();
        assert_eq!(resolver.endpoint(host, |_| false).await.unwrap(), Endpoint::of(wanted));
        assert_eq!(resolver.addresses(host).await.unwrap(), [wanted]);
        assert_eq!(resolver.all(host).await.1, None);
    }
    assert_eq!(told.asked(), 0);
}

#[test]
fn endpoints_take_turns_by_weight_and_tried_ones_wait() {
    let service = |n: u8, weight| Endpoint {
        ip: IpAddr::from([10, 0, 0, n]),
        service: Some(ServiceRecord { port: 80 + u16::from(n), weight, name: "s".into() }),
    };
    let endpoints = vec![service(1, 30), service(2, 10), service(3, 0)];
    let answer = Answer::new(endpoints, Some(Kind::Srv), Duration::ZERO).unwrap();
    let mut counts = BTreeMap::<u16, usize>::new();
    for _ in 0..410 {
        *counts.entry(answer.next(|_| false).socket(1).port()).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from([(81, 300), (82, 100), (83, 10)]));
    for _ in 0..20 {
        assert_eq!(answer.next(|one| one.socket(1).port() != 83).socket(1).port(), 83);
        answer.next(|_| true);
    }
}
