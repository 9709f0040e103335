//! What came out: a line for each measurement as it is made, a table of medians, the targets, JSON,
//! a plot.

mod matrix;
mod plot;
mod targets;

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::Bench;
use crate::load::{Generator, Outcome};
use crate::machine::Machine;
use crate::process::Process;
use crate::scenario::Measured;
pub(crate) use targets::SCENARIOS as BEHIND_TARGETS;

/// The subject that is the gateway.
pub(crate) const GATEWAY: &str = "gateway";
/// The subject that is no proxy at all.
pub(crate) const DIRECT: &str = "direct";

/// A whole run.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    /// When it began, by the system's clock.
    taken: String,
    machine: &'a Machine,
    load: Generator,
    /// Of each measurement.
    seconds: u64,
    rounds: u32,
    /// Few requests and few entities: the figures mean nothing.
    smoke: bool,
    /// What is known of each peer.
    peers: &'a BTreeMap<String, String>,
    rows: Vec<Row>,
    facts: Vec<Fact>,
    /// Scenarios of which nothing is told, because an answer was wrong.
    pub(crate) failed: Vec<&'static str>,
}

/// One subject in one scenario.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    pub(crate) subject: String,
    /// Whether it did less than the others, for it cannot check tokens.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unguarded: bool,
    medians: Figures,
    /// In the order they were measured.
    rounds: Vec<Figures>,
    /// The most memory the process had resident, in MiB; `None` where there is none.
    peak_rss_mib: Option<f64>,
}

impl Row {
    /// The figures of `process`, which still runs.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub(crate) fn new(
        scenario: &str,
        subject: &str,
        rounds: Vec<Figures>,
        process: Option<&Process>,
    ) -> Result<Self> {
        let peak = process.map(Process::peak_rss_kib).transpose()?;
        Ok(Self {
            scenario: scenario.to_owned(),
            subject: subject.to_owned(),
            unguarded: false,
            medians: Figures::medians(&rounds),
            rounds,
            peak_rss_mib: peak.map(|kib| kib as f64 / 1024.0),
        })
    }
}

/// Something that is not a load.
#[derive(Serialize)]
pub(crate) struct Fact {
    name: String,
    subject: String,
    unit: &'static str,
    median: f64,
    rounds: Vec<f64>,
}

impl Fact {
    /// What was found in each round.
    pub(crate) fn new(name: &str, subject: &str, unit: &'static str, rounds: Vec<f64>) -> Self {
        let median = median(rounds.iter().copied());
        println!("  {name:<18} {subject:<10} {median:>8.1} {unit}");
        Self { name: name.to_owned(), subject: subject.to_owned(), unit, median, rounds }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    requests: u64,
    per_second: f64,
    /// CPU time of the process, its threads and its children, in microseconds.
    pub(crate) cpu_us_per_request: f64,
    /// The same in seconds for 10,000 requests.
    cpu_s_per_10000: f64,
    /// Cores the process kept busy. A request costs less the busier a proxy is, for it finds more
    /// work each time it looks: ratios of proxies that were not equally busy say less.
    cores_busy: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    /// Answers of another status than the wanted one, and answers that did not come.
    errors: u64,
    /// The CPU time of a request over that of nginx in the same round.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_to_nginx: Option<f64>,
}

impl Figures {
    pub(crate) fn new(outcome: Outcome, cpu_micros: u64) -> Self {
        // Both are far below the 53 bits that are exact.
        let requests = outcome.requests as f64;
        let cpu_us_per_request = cpu_micros as f64 / requests;
        Self {
            requests: outcome.requests,
            per_second: requests / outcome.seconds,
            cpu_us_per_request,
            cpu_s_per_10000: cpu_us_per_request / 100.0,
            cores_busy: cpu_micros as f64 / 1e6 / outcome.seconds,
            p50_us: outcome.p50_us,
            p99_us: outcome.p99_us,
            p999_us: outcome.p999_us,
            errors: outcome.errors,
            cpu_to_nginx: None,
        }
    }

    /// Sets what it took against what nginx took in the same round.
    pub(crate) fn compare(&mut self, nginx: &Self) {
        self.cpu_to_nginx = Some(self.cpu_us_per_request / nginx.cpu_us_per_request);
    }

    /// The median of each; errors are summed.
    fn medians(rounds: &[Self]) -> Self {
        let of = |of: fn(&Self) -> f64| median(rounds.iter().map(of));
        let ratios = rounds.iter().filter_map(|round| round.cpu_to_nginx);
        let ratio = median(ratios);
        Self {
            requests: of(|one| one.requests as f64) as u64,
            per_second: of(|one| one.per_second),
            cpu_us_per_request: of(|one| one.cpu_us_per_request),
            cpu_s_per_10000: of(|one| one.cpu_s_per_10000),
            cores_busy: of(|one| one.cores_busy),
            p50_us: of(|one| one.p50_us),
            p99_us: of(|one| one.p99_us),
            p999_us: of(|one| one.p999_us),
            errors: rounds.iter().map(|round| round.errors).sum(),
            cpu_to_nginx: (!ratio.is_nan()).then_some(ratio),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8.0}/s  {:>7.1} CPU us  {:.2} busy  p50 {:>7.0} us  p99 {:>7.0} us",
            self.per_second, self.cpu_us_per_request, self.cores_busy, self.p50_us, self.p99_us
        )?;
        match self.errors {
            0 => Ok(()),
            errors => write!(f, "  {errors} ERRORS"),
        }
    }
}

impl<'a> Report<'a> {
    /// An empty one, with what is known before anything is measured.
    ///
    /// # Errors
    ///
    /// When the gateway's program cannot be looked at.
    pub(crate) fn new(bench: &'a Bench) -> Result<Self> {
        let size = std::fs::metadata(&bench.gateway).context("the gateway")?.len();
        let size =
            Fact::new("program", GATEWAY, "MiB on disk", vec![size as f64 / 1024.0 / 1024.0]);
        Ok(Self {
            taken: jiff::Timestamp::now().round(jiff::Unit::Second)?.to_string(),
            machine: &bench.machine,
            load: bench.generator,
            seconds: bench.length.as_secs(),
            rounds: bench.rounds,
            smoke: bench.warm_up.is_none(),
            peers: &bench.peers.versions,
            rows: Vec::new(),
            facts: vec![size],
            failed: Vec::new(),
        })
    }

    pub(crate) fn add(&mut self, measured: Measured) {
        self.rows.extend(measured.rows);
        self.facts.extend(measured.facts);
    }

    /// Requests that failed in all of the run.
    pub(crate) fn errors(&self) -> u64 {
        self.rows.iter().map(|row| row.medians.errors).sum()
    }

    /// The medians, as Markdown tables.
    pub(crate) fn table(&self) -> String {
        let mut out = String::from(
            "| scenario | subject | requests/s | CPU us/request | CPU s/10,000 | x nginx | cores busy | p50 us | p99 us | p99.9 us | peak MiB | errors |\n\
             |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for Row { scenario, subject, unguarded, medians, peak_rss_mib, .. } in &self.rows {
            let or_none = |value: Option<f64>, digits: usize| {
                value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
            };
            let _ = writeln!(
                out,
                "| {scenario} | {subject}{} | {:.0} | {:.1} | {:.3} | {} | {:.2} | {:.0} | {:.0} | {:.0} | {} | {} |",
                if *unguarded { ", checking nothing" } else { "" },
                medians.per_second,
                medians.cpu_us_per_request,
                medians.cpu_s_per_10000,
                or_none(medians.cpu_to_nginx, 2),
                medians.cores_busy,
                medians.p50_us,
                medians.p99_us,
                medians.p999_us,
                or_none(*peak_rss_mib, 1),
                medians.errors,
            );
        }
        out += "\n| fact | subject | median | |\n|---|---|---:|---|\n";
        for Fact { name, subject, unit, median, .. } in &self.facts {
            let _ = writeln!(out, "| {name} | {subject} | {median:.1} | {unit} |");
        }
        out
    }

    /// The targets this run can tell about, as a Markdown table.
    pub(crate) fn judged(&self) -> String {
        targets::table(&targets::judge(self))
    }

    /// What a request cost each proxy, as a Markdown table.
    ///
    /// # Errors
    ///
    /// As [`Self::json`].
    pub(crate) fn compared(&self) -> Result<String> {
        Ok(matrix::table(&serde_json::to_value(self)?))
    }

    /// Everything, with the targets.
    ///
    /// # Errors
    ///
    /// When it cannot be written as JSON.
    pub(crate) fn json(&self) -> Result<Vec<u8>> {
        let mut json = serde_json::to_value(self)?;
        json["targets"] = serde_json::to_value(targets::judge(self))?;
        Ok(serde_json::to_vec_pretty(&json)?)
    }

    /// The CPU time of a request, in each scenario that more than one subject took part in, as SVG;
    /// `None` where there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be drawn.
    pub(crate) fn plot(&self) -> Result<Option<String>> {
        plot::draw(self)
    }

    fn row(&self, scenario: &str, subject: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.scenario == scenario && row.subject == subject)
    }

    fn fact(&self, name: &str, subject: &str) -> Option<f64> {
        let found = self.facts.iter().find(|fact| fact.name == name && fact.subject == subject);
        found.map(|fact| fact.median)
    }
}

/// The middle value, the lower of two; NaN of none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests;
