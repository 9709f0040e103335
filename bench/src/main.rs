//! `cargo run --release -p bench -- SCENARIO…`: what a request costs, measured on the real program.
//!
//! Starts the gateway with a temporary prefix, an upstream, a load generator and, where it is
//! installed, nginx as a plain proxy of the same upstream. Proxies get the first core to
//! themselves, everything else runs on the second. In each round nginx and the gateway take the
//! same load one after the other, because the speed of a machine moves by more than what is
//! measured: figures are compared inside a round, as a ratio, and never across runs.
//!
//! A place for a new scenario is [`scenario::ALL`]. Only loopback is used, every loop is
//! bounded and whatever was started is stopped by its id, also after a failure.
//!
//! Deliberately absent: judging times. A run fails when an answer is wrong, not when it is slow.

mod gateway;
mod load;
mod machine;
mod nginx;
mod process;
mod report;
mod scenario;
mod tokens;
mod upstream;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use load::Generator;
use machine::Machine;
use report::Report;
use scenario::{Scenario, Sizes};

/// Measures the gateway under load.
#[derive(Parser)]
struct Arguments {
    /// What to measure: names of scenarios, or `all`.
    #[arg(required = true, value_name = "SCENARIO", value_parser = scenario::named)]
    scenarios: Vec<&'static [Scenario]>,
    /// Only shows that everything answers as it should: a second and few entities for each.
    #[arg(long)]
    smoke: bool,
    /// Seconds of load for each measurement.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds in which the proxies take turns.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Writes every figure of every round there, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The gateway to measure; without it the one of this workspace is built.
    #[arg(long, value_name = "FILE", env = "GATEWAY")]
    gateway: Option<PathBuf>,
}

/// What every scenario is run with.
struct Bench {
    gateway: PathBuf,
    machine: Machine,
    generator: Generator,
    upstream: upstream::Upstream,
    sizes: Sizes,
    length: Duration,
    /// Load before the first round, so that no round pays for what happens once.
    warm_up: Option<Duration>,
    rounds: u32,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let gateway = match &arguments.gateway {
        Some(file) => file.canonicalize().with_context(|| file.display().to_string())?,
        None => gateway::built()?,
    };
    // Before any thread or child is there, for both inherit it.
    let machine = Machine::here()?;
    let upstream = upstream::Upstream::start()?;
    let bench = Bench {
        gateway,
        generator: Generator::found(),
        machine,
        upstream,
        sizes: if arguments.smoke { Sizes::SMOKE } else { Sizes::FULL },
        length: Duration::from_secs(if arguments.smoke { 1 } else { arguments.seconds }),
        warm_up: (!arguments.smoke).then_some(Duration::from_secs(1)),
        rounds: if arguments.smoke { 1 } else { arguments.rounds },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = bench.run(arguments.scenarios.into_iter().flatten()) => report,
            // Dropping the run stops what it started.
            _ = interrupted() => bail!("interrupted"),
        }
    })?;
    print!("\n{}", report.table());
    if let Some(file) = &arguments.json {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(file, json).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

impl Bench {
    async fn run(&self, scenarios: impl Iterator<Item = &Scenario>) -> Result<Report<'_>> {
        println!("{}; load by {}", self.machine, self.generator);
        let mut report = Report::new(&self.machine, &self.generator, self.length);
        for scenario in scenarios {
            println!("{}: {}", scenario.name, scenario.about);
            let rows = scenario.run(self).await;
            report.rows.extend(rows.with_context(|| scenario.name)?);
        }
        Ok(report)
    }
}

/// Ends when this process is told to.
async fn interrupted() -> Result<()> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        told = tokio::signal::ctrl_c() => told?,
        _ = terminated.recv() => {}
    }
    Ok(())
}
