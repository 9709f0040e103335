//! What finding a route costs, from 10 to 100,000 prefix routes: requests that are answered without
//! an upstream, on paths spread over the table. The largest table should cost at most twice the
//! smallest (`cargo bench -p gateway-proxy` shows the lookup alone).

use anyhow::{Context as _, Result};
use serde_json::json;

use super::measured;
use crate::Bench;
use crate::gateway::Gateway;
use crate::load::{Bound, Get, Load, Traffic};
use crate::report::{GATEWAY, Row};

/// Different paths that are asked for, the same number whatever the size of the table.
const PATHS: usize = 10;

/// One row for each size.
pub(super) async fn run(bench: &Bench, name: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut costs: Vec<f64> = Vec::new();
    for &count in bench.sizes.tables {
        let name = format!("{name}-{count}");
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("routes.json");
        std::fs::write(&file, declared(count))?;
        let file = file.to_str().context("a path")?;
        let more = [("DATABASE", "off"), ("DECLARATIVE_CONFIG", file)];
        let gateway = Gateway::start_with(bench, 1, &more).await?;
        let path = |number: usize| format!("/service-{}/orders/7", number * (count / PATHS));
        let get = |number| Get { path: path(number), token: None };
        let traffic = Traffic::plain((0..PATHS).map(get).collect());
        let origin = gateway.origin("proxy", "http")?;
        if let Some(length) = bench.warm_up {
            bench.generator.send(Load::Kept, &traffic, origin, Bound::Time(length)).await?;
        }
        let mut rounds = Vec::new();
        for _ in 0..bench.rounds {
            let load = bench.generator.send(Load::Kept, &traffic, origin, bench.bound);
            rounds.push(measured(&name, GATEWAY, Some(&gateway.process), load).await?);
        }
        // The least a request cost: whatever else the machine did only adds.
        costs.push(rounds.iter().map(|one| one.cpu_us_per_request).fold(f64::NAN, f64::min));
        rows.push(Row::new(&name, GATEWAY, rounds, Some(&gateway.process))?);
        gateway.process.stop().await?;
    }
    if let (Some(smallest), Some(largest)) = (costs.first(), costs.last()) {
        println!("  {:.2} of the smallest table's CPU time", largest / smallest);
    }
    Ok(rows)
}

/// A file with so many routes, all of which are answered by a plugin.
fn declared(count: usize) -> String {
    let route =
        |number| json!({"name": format!("r{number}"), "paths": [format!("/service-{number}/")]});
    let routes: Vec<_> = (0..count).map(route).collect();
    let answer = json!({"name": "request-termination", "config": {"status_code": 200}});
    json!({"_format_version": "3.0", "routes": routes, "plugins": [answer]}).to_string()
}
