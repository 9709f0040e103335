#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Mutex;
use std::time::Duration;

use futures::FutureExt;
use serde_json::json;

use super::*;
use crate::contract::Setup;
use crate::test_kit::{Rig, rig};

const PARAMETERS: Parameters = Parameters {
    max_batch_size: 1,
    max_coalescing_delay: Duration::from_secs(1),
    max_entries: 100,
    max_bytes: usize::MAX,
    max_retry_time: Duration::from_secs(60),
    initial_retry_delay: Duration::from_millis(10),
    max_retry_delay: Duration::from_secs(60),
    concurrent: false,
};

/// What was delivered, when (milliseconds since the start), and what the receiver says to it.
#[derive(Clone)]
struct Receiver {
    began: Instant,
    seen: Arc<Mutex<Vec<(u128, String)>>>,
    /// Attempts refused before the first is accepted.
    refusals: Arc<AtomicUsize>,
    /// How long an attempt takes.
    takes: Duration,
}

impl Receiver {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            seen: Arc::default(),
            refusals: Arc::default(),
            takes: Duration::ZERO,
        }
    }

    fn deliver(&self) -> Deliver {
        let receiver = self.clone();
        Arc::new(move |batch| {
            let receiver = receiver.clone();
            async move {
                let at = receiver.began.elapsed().as_millis();
                let texts: Vec<&str> =
                    batch.iter().map(|entry| std::str::from_utf8(entry).unwrap()).collect();
                receiver.seen.lock().unwrap().push((at, texts.join(",")));
                tokio::time::sleep(receiver.takes).await;
                let one_less = |left: usize| left.checked_sub(1);
                let refused = receiver
                    .refusals
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                    .is_ok();
                if refused { Err("refused".into()) } else { Ok(()) }
            }
            .boxed()
        })
    }

    /// Everything so far: `at:texts`.
    fn seen(&self) -> String {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|(at, texts)| format!("{at}:{texts}")).collect::<Vec<_>>().join(" ")
    }
}

fn queue(rig: &mut Rig, parameters: Parameters, receiver: &Receiver) -> Arc<Queue> {
    let stored = rig
        .insert("plugins", json!({"name": "http-log", "config": {"http_endpoint": "http://h/"}}));
    let instance = gateway_model::Item::new(&stored).unwrap();
    let setup = Setup { instance: &instance, catalog: &rig.catalog, tools: &rig.tools };
    Queues::of(&setup, parameters, || Ok(receiver.deliver())).unwrap()
}

fn push(queue: &Queue, texts: &str) {
    for text in texts.split(' ') {
        queue.push(Bytes::copy_from_slice(text.as_bytes()));
    }
}

#[tokio::test(start_paused = true)]
async fn batches_leave_when_full_or_when_their_time_has_come() {
    let (mut rig, receiver) = (rig(), Receiver::new());
    let queue = queue(&mut rig, Parameters { max_batch_size: 3, ..PARAMETERS }, &receiver);
    push(&queue, "a b c d");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(receiver.seen(), "0:a,b,c");
    push(&queue, "e");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(receiver.seen(), "0:a,b,c 1000:d,e");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_tried_again_after_growing_delays() {
    let (mut rig, receiver) = (rig(), Receiver::new());
    receiver.refusals.store(4, Ordering::Relaxed);
    let delays = Parameters { max_retry_delay: Duration::from_millis(30), ..PARAMETERS };
    let queue = queue(&mut rig, delays, &receiver);
    push(&queue, "a b");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(receiver.seen(), "0:a 10:a 30:a 60:a 90:a 90:b");
    assert_eq!(crate::drain(&rig.tools, Duration::from_secs(1)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn no_delay_is_longer_than_the_longest() {
    let (mut rig, receiver) = (rig(), Receiver::new());
    receiver.refusals.store(2, Ordering::Relaxed);
    let delays = Parameters {
        initial_retry_delay: Duration::from_millis(100),
        max_retry_delay: Duration::from_millis(30),
        ..PARAMETERS
    };
    let queue = queue(&mut rig, delays, &receiver);
    push(&queue, "a");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(receiver.seen(), "0:a 30:a 60:a");
}

#[tokio::test(start_paused = true)]
async fn a_batch_too_old_is_given_up() {
    let (mut rig, receiver) = (rig(), Receiver::new());
    receiver.refusals.store(3, Ordering::Relaxed);
    let short = Parameters { max_retry_time: Duration::from_millis(35), ..PARAMETERS };
    let queue = queue(&mut rig, short, &receiver);
    push(&queue, "a b");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(receiver.seen(), "0:a 10:a 30:a 30:b");
    assert_eq!(
        crate::drain(&rig.tools, Duration::from_secs(1)).await,
        0,
        "given up is not pending"
    );
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_loses_its_oldest_entries() {
    let (mut rig, receiver) = (rig(), Receiver::new());
    let few = Parameters { max_entries: 2, max_batch_size: 9, ..PARAMETERS };
    let queue = queue(&mut rig, few, &receiver);
    push(&queue, "a b c d");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(receiver.seen(), "1000:c,d");

    let (mut rig, receiver) = (self::rig(), Receiver::new());
    let small = Parameters { max_bytes: 7, max_batch_size: 9, ..PARAMETERS };
    let queue = self::queue(&mut rig, small, &receiver);
    push(&queue, "aaa bbb ccc toolongforthisqueue ddd");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(receiver.seen(), "1000:ddd");
    assert_eq!(crate::drain(&rig.tools, Duration::ZERO).await, 0);
}

#[tokio::test(start_paused = true)]
async fn batches_wait_for_one_another_unless_told() {
    for (concurrent, wanted) in [(false, "0:a 100:b 200:c"), (true, "0:a 0:b 0:c")] {
        let mut receiver = Receiver::new();
        receiver.takes = Duration::from_millis(100);
        let mut rig = rig();
        let queue = queue(&mut rig, Parameters { concurrent, ..PARAMETERS }, &receiver);
        push(&queue, "a b c");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(receiver.seen(), wanted);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_leaves_at_once_when_the_handlers_are_gone() {
    let (mut rig, receiver) = (rig(), Receiver::new());
    let many = Parameters { max_batch_size: 9, ..PARAMETERS };
    let queue = queue(&mut rig, many, &receiver);
    push(&queue, "a b");
    tokio::time::sleep(Duration::from_millis(1)).await;
    drop(queue);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(receiver.seen(), "1:a,b");
}

#[tokio::test(start_paused = true)]
async fn draining_delivers_what_is_left_and_counts_what_cannot_be() {
    let (mut rig, receiver) = (rig(), Receiver::new());
    let many = Parameters { max_batch_size: 9, ..PARAMETERS };
    let good = queue(&mut rig, many.clone(), &receiver);
    push(&good, "a b c");
    assert_eq!(crate::drain(&rig.tools, Duration::from_secs(5)).await, 0);
    assert_eq!(receiver.seen(), "0:a,b,c");

    let (mut rig, receiver) = (self::rig(), Receiver::new());
    receiver.refusals.store(usize::MAX, Ordering::Relaxed);
    let bad = queue(&mut rig, many, &receiver);
    push(&bad, "a b c");
    let began = Instant::now();
    assert_eq!(crate::drain(&rig.tools, Duration::from_secs(5)).await, 3);
    assert_eq!(began.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_queue_stays_while_its_instance_does() {
    let (mut rig, receiver) = (rig(), Receiver::new());
    let stored = rig
        .insert("plugins", json!({"name": "http-log", "config": {"http_endpoint": "http://h/"}}));
    let of = |rig: &Rig, stored| {
        let instance = gateway_model::Item::new(stored).unwrap();
        let setup = Setup { instance: &instance, catalog: &rig.catalog, tools: &rig.tools };
        Queues::of(&setup, PARAMETERS, || Ok(receiver.deliver())).unwrap()
    };
    let first = of(&rig, &stored);
    assert!(Arc::ptr_eq(&first, &of(&rig, &stored)));
    rig.patch("plugins", stored.id(), json!({"tags": ["t"]}));
    let changed = rig.catalog.collection("plugins").unwrap().get(stored.id()).unwrap().clone();
    assert!(!Arc::ptr_eq(&first, &of(&rig, &changed)));
}
