//! Traffic while routes change: an open loop, the same with twenty writes a second, and with as many
//! as the Admin API takes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::json;

use super::measured;
use super::proxied::{RATE, configure, prefix};
use crate::Bench;
use crate::gateway::Gateway;
use crate::load::{Bound, Get, Load, Traffic};
use crate::report::{GATEWAY, Row};
use crate::tokens::{self, Signer};

/// Writes a second of someone who edits without pause.
const EDITS: u32 = 20;
/// Clients of the Admin API, each of which writes as soon as it is answered.
const WRITERS: usize = 4;
/// Routes that are there, of which one is changed with each write.
const ROUTES: u64 = 100;

/// A row without writes, one with [`EDITS`] and one with all there can be, taking turns.
pub(super) async fn run(bench: &Bench, name: &str) -> Result<Vec<Row>> {
    let gateway = Gateway::start(bench).await?;
    configure(bench, &gateway, true, ROUTES.try_into()?).await?;
    let token = Signer::of(gateway.prefix.path())?.token(&tokens::app(0))?;
    let get = Get { path: format!("{}one", prefix(0)), token: Some(token) };
    let traffic = Traffic::plain(vec![get]);
    let origin = gateway.origin("proxy", "http")?.to_owned();
    let length = match bench.bound {
        Bound::Time(length) => length,
        Bound::Count(count) => Duration::from_secs(count) / RATE,
    };
    if let Some(length) = bench.warm_up {
        bench.generator.send(Load::Paced(RATE), &traffic, &origin, Bound::Time(length)).await?;
    }
    let kinds = [("quiet", 0), ("edits", 1), ("all", WRITERS)];
    let mut rounds: [Vec<_>; 3] = Default::default();
    for _ in 0..bench.rounds {
        for ((kind, writers), rounds) in kinds.iter().zip(&mut rounds) {
            let name = format!("{name}-{kind}");
            let pause = (*writers == 1).then(|| Duration::from_secs(1) / EDITS);
            let load = async {
                let writes = (0..*writers).map(|writer| write(&gateway, writer, pause, length));
                let load = bench.generator.send(Load::Paced(RATE), &traffic, &origin, bench.bound);
                let (outcome, written) =
                    tokio::try_join!(load, futures::future::try_join_all(writes))?;
                println!("  {} writes", written.iter().sum::<u64>());
                Ok(outcome)
            };
            rounds.push(measured(&name, GATEWAY, Some(&gateway.process), load).await?);
        }
    }
    let mut rows = Vec::new();
    for ((kind, _), rounds) in kinds.iter().zip(rounds) {
        rows.push(Row::new(&format!("{name}-{kind}"), GATEWAY, rounds, Some(&gateway.process))?);
    }
    gateway.process.stop().await?;
    Ok(rows)
}

/// Changes the paths of one route after the other until the time is over, and tells how often.
async fn write(
    gateway: &Gateway,
    writer: usize,
    pause: Option<Duration>,
    length: Duration,
) -> Result<u64> {
    let began = Instant::now();
    let mut written = 0;
    while began.elapsed() < length {
        // The first route is the one that is asked for.
        let route = 1 + (written * WRITERS as u64 + writer as u64) % (ROUTES - 1);
        let path = format!("/changed{writer}-{written}/");
        let request = gateway.admin(Method::PATCH, &format!("/routes/r{route}"))?;
        let answer = request.json(&json!({"paths": [path]})).send().await?;
        let (status, body) = (answer.status(), answer.text().await?);
        ensure!(status == 200, "PATCH /routes/r{route}: {status} {body}");
        written += 1;
        if let Some(pause) = pause {
            let next = began + pause * u32::try_from(written)?;
            tokio::time::sleep_until(next.into()).await;
        }
    }
    Ok(written)
}
