//! Writes on the Admin API: how long until one is acknowledged, which is when it is durable and in
//! force, and how many there are in a second.

use anyhow::Result;
use serde_json::{Value, json};

use super::measured;
use crate::Bench;
use crate::gateway::Gateway;
use crate::load::{Bound, CONNECTIONS, drive};
use crate::report::{Row, Subject};

/// For each number of entities already there, a row of one writer and a row of many.
pub(super) async fn run(bench: &Bench, name: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for &present in bench.sizes.present {
        let gateway = Gateway::start(&bench.gateway, &bench.machine).await?;
        if present > 0 {
            let fill = gateway.creations("/services", |number| service("present", number))?;
            drive(CONNECTIONS, Bound::Count(present.try_into()?), 201, fill).await?;
        }
        for writers in [1, CONNECTIONS] {
            let name = format!("{name}-{present}-by-{writers}");
            let mut rounds = Vec::new();
            for round in 0..bench.rounds {
                let prefix = format!("w{writers}r{round}");
                let make = gateway.creations("/services", |number| service(&prefix, number))?;
                let load = drive(writers, Bound::Time(bench.length), 201, make);
                rounds.push(measured(&name, Subject::Gateway, &gateway.process, load).await?);
            }
            rows.push(Row::new(&name, Subject::Gateway, rounds, &gateway.process)?);
        }
        gateway.process.stop().await?;
    }
    Ok(rows)
}

fn service(prefix: &str, number: u64) -> Value {
    json!({"name": format!("{prefix}-{number}"), "url": "http://127.0.0.1:9/base"})
}
