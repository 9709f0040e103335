//! From exec to the first proxied request: with nothing there yet, when keys and certificates are
//! made too, and again with what the store holds.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::Client;
use serde_json::json;

use super::Measured;
use super::proxied::{configure, prefix};
use crate::Bench;
use crate::gateway::{Gateway, client};
use crate::peer::{Choice, Running, Setup};
use crate::report::{Fact, GATEWAY};

/// A fact for each kind of start, and one for the yardstick's.
pub(super) async fn run(bench: &Bench, name: &str) -> Result<Measured> {
    let client = client().build()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("routes.json");
    let url = format!("http://{}", bench.upstream.address);
    let route = json!({"name": "one", "paths": [prefix(0)]});
    let service = json!({"name": "one", "url": url, "routes": [route]});
    std::fs::write(&file, json!({"_format_version": "3.0", "services": [service]}).to_string())?;
    let declared = [("DATABASE", "off"), ("DECLARATIVE_CONFIG", file.to_str().context("a path")?)];

    let (mut firsts, mut agains, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    let mut idle = Vec::new();
    let mut kept = Gateway::start(bench).await?;
    configure(bench, &kept, false, 1).await?;
    for _ in 0..bench.rounds {
        for peer in bench.peers.chosen(Choice::Yardstick) {
            let setup = Setup::plain(bench, prefix(0));
            let began = Instant::now();
            let running = Running::start(peer, &bench.machine, &setup).await?;
            theirs.push((
                peer.name().to_owned(),
                first(&client, &running.origin("http"), began).await?,
            ));
            running.process.stop().await?;
        }
        let began = Instant::now();
        let gateway = Gateway::start_with(bench, 1, &declared).await?;
        firsts.push(first(&client, gateway.origin("proxy", "http")?, began).await?);
        gateway.process.stop().await?;

        kept.process.stop().await?;
        let began = Instant::now();
        kept = Gateway::start_in(bench, kept.prefix, 1, &[]).await?;
        agains.push(first(&client, kept.origin("proxy", "http")?, began).await?);
        idle.push(kept.process.rss_kib()? as f64 / 1024.0);
    }
    kept.process.stop().await?;
    let mut facts = vec![
        Fact::new(
            &format!("{name}-first"),
            GATEWAY,
            "ms from exec to a proxied request, keys made",
            firsts,
        ),
        Fact::new(name, GATEWAY, "ms from exec to a proxied request", agains),
        Fact::new("memory-after-start", GATEWAY, "MiB", idle),
    ];
    if let Some((peer, _)) = theirs.first().cloned() {
        let times = theirs.into_iter().map(|(_, time)| time).collect();
        facts.push(Fact::new(name, &peer, "ms from exec to a proxied request", times));
    }
    Ok(Measured { rows: Vec::new(), facts })
}

/// Milliseconds until a request is answered by the upstream.
async fn first(client: &Client, origin: &str, began: Instant) -> Result<f64> {
    let request = client.get(format!("{origin}{}one", prefix(0)));
    let answer = request.timeout(Duration::from_secs(10)).send().await?;
    ensure!(answer.status() == 200, "the first request: {}", answer.status());
    answer.bytes().await?;
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}
