//! Load by wrk: one thread, its requests from a file, its figures as one JSON line.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

use super::{CONNECTIONS, Get, Outcome, Traffic, apart};

/// Sends the requests named in its argument, a path and a token on each line, in turn.
const SCRIPT: &str = include_str!("wrk.lua");

/// The line the script prints at its end.
#[derive(Deserialize)]
struct Told {
    requests: u64,
    micros: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    /// Answers of 400 and above.
    status: u64,
    /// Answers that are not the ones wanted, where those are not of 200.
    wrong: u64,
    /// Connections that failed, and answers that did not come.
    lost: u64,
}

/// Runs wrk for whole seconds, one at least.
pub(super) async fn send(traffic: &Traffic, origin: &str, length: Duration) -> Result<Outcome> {
    let folder = tempfile::Builder::new().prefix("wrk-bench-").tempdir()?;
    let (script, list) = (folder.path().join("wrk.lua"), folder.path().join("requests"));
    std::fs::write(&script, SCRIPT)?;
    let mut lines = String::new();
    for Get { path, token } in &traffic.requests {
        writeln!(lines, "{path} {}", token.as_deref().unwrap_or_default())?;
    }
    std::fs::write(&list, lines)?;

    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "1", "--connections", &CONNECTIONS.to_string()])
        .args(["--duration", &format!("{}s", length.as_secs().max(1)), "--script"])
        .arg(&script)
        .args([origin, "--"])
        .arg(&list)
        .args([traffic.upload.to_string(), traffic.wanted.to_string(), apart().to_string()])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(length + Duration::from_secs(30), wrk.output());
    let output = output.await.context("wrk does not end")?.context("wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.lines().find_map(|line| line.strip_prefix("told "));
    let told = told.with_context(|| format!("wrk said: {text}"))?;
    let told: Told = serde_json::from_str(told)?;
    ensure!(told.requests > 0, "nothing was answered, {} connections or answers lost", told.lost);
    let errors = if traffic.wanted == 200 { told.status } else { told.wrong };
    Ok(Outcome {
        requests: told.requests,
        seconds: told.micros / 1e6,
        p50_us: told.p50,
        p99_us: told.p99,
        p999_us: told.p999,
        errors: errors + told.lost,
    })
}
