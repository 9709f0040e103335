//! Writes on the Admin API: how long until one is acknowledged, which is when it is durable and in
//! force, and how many there are in a second.

use anyhow::Result;
use serde_json::{Value, json};

use super::measured;
use crate::Bench;
use crate::gateway::Gateway;
use crate::load::{Bound, CONNECTIONS, drive};
use crate::report::{GATEWAY, Row};

/// For each number of services, routes and plugins already there, a row of one writer and a row of
/// many, for services and for plugins that concern every request.
pub(super) async fn run(bench: &Bench, name: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &present in bench.sizes.present {
        let gateway = Gateway::start(bench).await?;
        fill(&gateway, present).await?;
        for writers in [1, CONNECTIONS] {
            let name = format!("{name}-{present}-by-{writers}");
            let mut rounds = Vec::new();
            for round in 0..bench.rounds {
                let prefix = format!("w{writers}r{round}");
                let make = gateway.creations("/services", |number| service(&prefix, number))?;
                let load = drive(writers, Bound::Time(bench.length), 201, make);
                rounds.push(measured(&name, GATEWAY, Some(&gateway.process), load).await?);
            }
            rows.push(Row::new(&name, GATEWAY, rounds, Some(&gateway.process))?);
        }
        let name = format!("{name}-{present}-global");
        let mut rounds = Vec::new();
        for round in 0..bench.rounds {
            let consumer = format!("c{round}");
            let consumers = gateway.creations(
                "/consumers",
                |number| json!({"username": format!("{consumer}-{number}")}),
            )?;
            let many = 200;
            drive(CONNECTIONS, Bound::Count(many), 201, consumers).await?;
            let make = gateway.creations("/plugins", |number| {
                let consumer = json!({"username": format!("{consumer}-{number}")});
                json!({"name": "correlation-id", "consumer": consumer})
            })?;
            let load = drive(1, Bound::Count(many), 201, make);
            rounds.push(measured(&name, GATEWAY, Some(&gateway.process), load).await?);
        }
        rows.push(Row::new(&name, GATEWAY, rounds, Some(&gateway.process))?);
        gateway.process.stop().await?;
    }
    Ok(rows)
}

/// As many services as asked for, with a route and a plugin each, from nothing, by many writers.
pub(super) async fn bulk(bench: &Bench, name: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &present in bench.sizes.present.iter().filter(|present| **present > 0) {
        let name = format!("{name}-{}", 3 * present);
        let gateway = Gateway::start(bench).await?;
        let mut rounds = Vec::new();
        for (path, make) in KINDS {
            let make = gateway.creations(path, make)?;
            let load = drive(CONNECTIONS, Bound::Count(present.try_into()?), 201, make);
            let name = format!("{name}{path}");
            rounds.push(measured(&name, GATEWAY, Some(&gateway.process), load).await?);
        }
        rows.push(Row::new(&name, GATEWAY, rounds, Some(&gateway.process))?);
        gateway.process.stop().await?;
    }
    Ok(rows)
}

type Make = fn(u64) -> Value;

/// What there is of everything, what others refer to first.
const KINDS: [(&str, Make); 3] = [
    ("/services", |number| service("present", number)),
    ("/routes", |number| {
        let service = json!({"name": format!("present-{number}")});
        let name = format!("present-{number}");
        json!({"name": name, "paths": [format!("/present/{number}")], "service": service})
    }),
    ("/plugins", |number| {
        let config = json!({"minute": 1000, "policy": "local"});
        let route = json!({"name": format!("present-{number}")});
        json!({"name": "rate-limiting", "config": config, "route": route})
    }),
];

async fn fill(gateway: &Gateway, present: usize) -> Result<()> {
    for (path, make) in KINDS.into_iter().filter(|_| present > 0) {
        let make = gateway.creations(path, make)?;
        drive(CONNECTIONS, Bound::Count(present.try_into()?), 201, make).await?;
    }
    Ok(())
}

fn service(prefix: &str, number: u64) -> Value {
    json!({"name": format!("{prefix}-{number}"), "url": "http://127.0.0.1:9/base"})
}
