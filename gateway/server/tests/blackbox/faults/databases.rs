//! Databases that die under load and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use super::{lost, publish, status, write};
use crate::cluster::Pair;
use crate::harness::{Answered as _, Gateway, Load, Redis, Upstream, eventually, plain};

/// Writers that note what was acknowledged.
struct Writers {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<(Vec<String>, usize)>>,
}

impl Writers {
    fn begin(node: &Gateway, names: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let url = node.url("admin", "/consumers");
        let tasks = (0..4).map(|writer| {
            let (stop, url) = (Arc::clone(&stop), url.clone());
            let acknowledged = Arc::clone(&acknowledged);
            tokio::spawn(async move {
                let (mut made, mut refused) = (Vec::new(), 0);
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("{names}-{writer}-{n}");
                    let body = json!({"username": name});
                    match plain().post(&url).json(&body).answer().await.status {
                        201 => {
                            made.push(name);
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                        503 => refused += 1,
                        other => panic!("{name}: {other}"),
                    }
                }
                (made, refused)
            })
        });
        Self { tasks: tasks.collect(), stop, acknowledged }
    }

    /// Waits until so many more writes were acknowledged.
    async fn more(&self, wanted: usize) {
        let enough = self.acknowledged.load(Ordering::Relaxed) + wanted;
        eventually("more writes", async || {
            (self.acknowledged.load(Ordering::Relaxed) >= enough).then_some(())
        })
        .await;
    }

    /// What was acknowledged, and how many writes were refused.
    async fn end(self) -> (Vec<String>, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut made, mut refused) = (Vec::new(), 0);
        for task in self.tasks {
            let (some, others) = task.await.unwrap();
            made.extend(some);
            refused += others;
        }
        (made, refused)
    }
}

/// PostgreSQL is killed while two nodes write and serve: no request of a client fails, nothing
/// acknowledged is lost, and both nodes agree afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_dies_under_load() {
    let Some(mut pair) = Pair::start().await else { return };
    let upstream = Upstream::start().await;
    let [a, b] = &pair.nodes;
    publish(a, "a", &upstream.url(), json!({})).await;
    for node in [a, b] {
        eventually("it is served", async || (status(node, "/a").await == 200).then_some(())).await;
    }
    let loads = [Load::begin(a, "/a/x"), Load::begin(b, "/a/x")];
    let writers = [Writers::begin(a, "a"), Writers::begin(b, "b")];
    for _ in 0..3 {
        for writers in &writers {
            writers.more(20).await;
        }
        pair.server.kill();
        eventually("a write is refused", async || (write(a, &uuid()).await.0 == 503).then_some(()))
            .await;
        pair.server.restart().await;
        for node in [a, b] {
            eventually("writes are taken again", async || {
                (write(node, &uuid()).await.0 == 201).then_some(())
            })
            .await;
        }
    }
    let mut acknowledged = Vec::new();
    for writers in writers {
        let (made, refused) = writers.end().await;
        assert!(!made.is_empty() && refused > 0, "{} made, {refused} refused", made.len());
        acknowledged.extend(made);
    }
    for load in loads {
        assert!(load.end().await > 0);
    }
    for node in [a, b] {
        eventually("the node has everything acknowledged", async || {
            lost(node, &acknowledged).await.is_empty().then_some(())
        })
        .await;
    }
}

fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Redis is killed while it counts: requests pass, and are counted when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_dies_under_load() {
    let Some(mut redis) = Redis::start().await else { return };
    let upstream = Upstream::start().await;
    let gateway = Gateway::start().await;
    publish(&gateway, "a", &upstream.url(), json!({})).await;
    let config = json!({
        "day": 1_000_000, "policy": "redis", "limit_by": "ip",
        "redis": {"host": "127.0.0.1", "port": redis.port, "password": "pass", "timeout": 500},
    });
    let plugin = json!({"name": "rate-limiting", "config": config});
    let plugins = gateway.url("admin", "/services/a/plugins");
    plain().post(plugins).json(&plugin).answer().await.expect(201);
    let counted = async || {
        let answer = plain().get(gateway.url("proxy", "/a/x")).answer().await.expect(200);
        answer.header("x-ratelimit-remaining-day").is_some()
    };
    assert!(counted().await);
    let load = Load::begin(&gateway, "/a/x");
    for _ in 0..3 {
        redis.stop().await;
        assert!(!counted().await, "counted by nobody");
        redis.start_again().await;
        eventually("counting goes on", async || counted().await.then_some(())).await;
    }
    assert!(load.end().await > 0, "no request failed");
}
