#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;

/// A store in memory that may be away.
#[derive(Default)]
struct Store {
    values: Mutex<HashMap<String, u64>>,
    away: AtomicBool,
}

impl CounterStore for Store {
    fn add(&self, steps: Vec<CounterStep>, _: u64) -> CounterFuture<'_> {
        let done = if self.away.load(Ordering::Relaxed) {
            Err(CounterError("the store is away".into()))
        } else {
            let mut values = self.values.lock().unwrap();
            let add = |step: CounterStep| {
                let value = values.entry(step.key).or_default();
                *value += step.by;
                *value
            };
            Ok(steps.into_iter().map(add).collect())
        };
        Box::pin(std::future::ready(done))
    }
}

fn node(store: &Arc<Store>) -> Arc<Synced> {
    let every = Duration::from_millis(200);
    let clock = Clock::fixed(1_767_225_630_000);
    let store: Arc<dyn CounterStore> = Arc::clone(store) as _;
    Arc::new(Synced::new(store, every, clock, tokio::runtime::Handle::current()))
}

fn windows(uses: &[u64]) -> Vec<Window> {
    let window = |(at, uses): (usize, &u64)| Window {
        key: format!("w{at}"),
        uses: *uses,
        expires: 2_000_000_000,
    };
    uses.iter().enumerate().map(window).collect()
}

async fn take(node: &Arc<Synced>, windows: &[Window]) -> Result<(bool, Vec<u64>), String> {
    let taken = node.take(windows, 1_767_225_630).await?;
    Ok((taken.granted, taken.left[..windows.len()].to_vec()))
}

#[tokio::test(start_paused = true)]
async fn nodes_learn_of_one_another() {
    let store = Arc::new(Store::default());
    let (one, two) = (node(&store), node(&store));
    let windows = windows(&[2, 10]);
    assert_eq!(take(&one, &windows).await, Ok((true, vec![1, 9])));
    // Not yet exchanged.
    assert_eq!(take(&two, &windows).await, Ok((true, vec![1, 9])));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(*store.values.lock().unwrap(), HashMap::from([("w0".into(), 2), ("w1".into(), 2)]));
    // A node learns when it has something to tell itself, or meets a counter first.
    assert_eq!(take(&node(&store), &windows).await, Ok((false, vec![0, 8])));
    assert_eq!(take(&two, &windows).await, Ok((false, vec![0, 8])));
}

#[tokio::test(start_paused = true)]
async fn who_uses_nothing_learns_too() {
    let store = Arc::new(Store::default());
    let (one, two) = (node(&store), node(&store));
    let windows = windows(&[9]);
    for node in [&one, &two] {
        assert_eq!(node.used(&windows, 0).await, Ok(vec![0]));
    }
    assert_eq!(take(&one, &windows).await, Ok((true, vec![8])));
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Asked, it has the counter read in the background.
    assert_eq!(two.used(&windows, 0).await, Ok(vec![0]));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(two.used(&windows, 0).await, Ok(vec![1]));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_told_is_told_later() {
    let store = Arc::new(Store::default());
    let node = node(&store);
    let windows = windows(&[5]);
    store.away.store(true, Ordering::Relaxed);
    assert_eq!(take(&node, &windows).await, Err("the store is away".into()));
    store.away.store(false, Ordering::Relaxed);
    assert_eq!(take(&node, &windows).await, Ok((true, vec![4])));
    store.away.store(true, Ordering::Relaxed);
    assert_eq!(take(&node, &windows).await, Ok((true, vec![3])));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(take(&node, &windows).await, Ok((true, vec![2])));
    store.away.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(store.values.lock().unwrap()["w0"], 3);
    assert_eq!(take(&node, &windows).await, Ok((true, vec![1])), "counted once");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_are_granted_than_there_are() {
    let store = Arc::new(Store::default());
    let node = node(&store);
    let all: Vec<_> = (0..200)
        .map(|_| {
            let node = Arc::clone(&node);
            tokio::spawn(async move { take(&node, &windows(&[50, 70])).await.unwrap().0 })
        })
        .collect();
    let mut granted = 0;
    for one in all {
        granted += usize::from(one.await.unwrap());
    }
    assert_eq!(granted, 50);
}

#[test]
fn counters_are_called_as_kong_calls_them() {
    let id = Id::parse("5f1cbf9c-8c4e-4f3c-9a3b-4f1e2a6f7d10");
    let now = Moment::new(1_767_225_630);
    let name = |period| counter_name("ratelimit", id, None, "u", &window_name(period, now));
    let head = "ratelimit:5f1cbf9c-8c4e-4f3c-9a3b-4f1e2a6f7d10:\
                00000000-0000-0000-0000-000000000000:u";
    assert_eq!(name(Period::Minute), format!("{head}:1767225600000:minute"));
    assert_eq!(name(Period::Year), format!("{head}:1767225600000:year"));
}
