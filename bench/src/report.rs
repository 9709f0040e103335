//! What came out: a line for each measurement as it is made, a table of medians, JSON.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::load::{Generator, Outcome};
use crate::machine::Machine;
use crate::process::Process;

/// A whole run.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    machine: &'a Machine,
    load: &'a Generator,
    seconds: u64,
    pub(crate) rows: Vec<Row>,
}

/// One subject in one scenario.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    pub(crate) subject: Subject,
    /// In the order they were measured.
    pub(crate) rounds: Vec<Figures>,
    /// The most memory the process had resident, in MiB.
    pub(crate) peak_rss_mib: f64,
}

impl Row {
    /// The figures of `process`, which still runs.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub(crate) fn new(
        scenario: &str,
        subject: Subject,
        rounds: Vec<Figures>,
        process: &Process,
    ) -> Result<Self> {
        let peak_rss_mib = process.peak_rss_kib()? as f64 / 1024.0;
        Ok(Self { scenario: scenario.to_owned(), subject, rounds, peak_rss_mib })
    }
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Subject {
    Gateway,
    Nginx,
}

/// One measurement.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    requests: u64,
    per_second: f64,
    /// CPU time of the process and all its threads, in microseconds.
    pub(crate) cpu_us_per_request: f64,
    /// Cores the process kept busy. A request costs less the busier a proxy is, for it finds more
    /// work each time it looks: ratios of proxies that were not equally busy say less.
    cores_busy: f64,
    p50_us: f64,
    p99_us: f64,
    /// The CPU time of a request over that of nginx in the same round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_to_nginx: Option<f64>,
}

impl Figures {
    pub(crate) fn new(outcome: Outcome, cpu_micros: u64) -> Self {
        // Both are far below the 53 bits that are exact.
        let requests = outcome.requests as f64;
        Self {
            requests: outcome.requests,
            per_second: requests / outcome.seconds,
            cpu_us_per_request: cpu_micros as f64 / requests,
            cores_busy: cpu_micros as f64 / 1e6 / outcome.seconds,
            p50_us: outcome.p50_us,
            p99_us: outcome.p99_us,
            cpu_to_nginx: None,
        }
    }

    /// Sets what it took against what nginx took in the same round.
    pub(crate) fn compare(&mut self, nginx: &Self) {
        self.cpu_to_nginx = Some(self.cpu_us_per_request / nginx.cpu_us_per_request);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>8.0}/s  {:>7.1} CPU us  {:.2} busy  p50 {:>7.0} us  p99 {:>7.0} us",
            self.per_second, self.cpu_us_per_request, self.cores_busy, self.p50_us, self.p99_us
        )
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gateway => "gateway",
            Self::Nginx => "nginx",
        })
    }
}

impl<'a> Report<'a> {
    pub(crate) fn new(machine: &'a Machine, load: &'a Generator, length: Duration) -> Self {
        Self { machine, load, seconds: length.as_secs(), rows: Vec::new() }
    }

    /// The medians, as a Markdown table.
    pub(crate) fn table(&self) -> String {
        let mut out = String::from(
            "| scenario | subject | requests/s | CPU us/request | x nginx | cores busy | p50 us | p99 us | peak MiB |\n\
             |---|---|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for row in &self.rows {
            let median = |of: fn(&Figures) -> f64| median(row.rounds.iter().map(of));
            let ratio = median(|round| round.cpu_to_nginx.unwrap_or(f64::NAN));
            let ratio = if ratio.is_nan() { "-".to_owned() } else { format!("{ratio:.2}") };
            let _ = writeln!(
                out,
                "| {} | {} | {:.0} | {:.1} | {ratio} | {:.2} | {:.0} | {:.0} | {:.1} |",
                row.scenario,
                row.subject,
                median(|round| round.per_second),
                median(|round| round.cpu_us_per_request),
                median(|round| round.cores_busy),
                median(|round| round.p50_us),
                median(|round| round.p99_us),
                row.peak_rss_mib,
            );
        }
        out
    }
}

/// The middle value, the lower of two.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_value() {
        let rows: [(&[f64], f64); 4] = [
            (&[3.0], 3.0),
            (&[9.0, 1.0, 5.0], 5.0),
            (&[2.0, 1.0], 1.0),
            (&[4.0, 3.0, 2.0, 1.0], 2.0),
        ];
        for (values, wanted) in rows {
            assert_eq!(median(values.iter().copied()), wanted, "{values:?}");
        }
        assert!(median(std::iter::empty()).is_nan());
    }
}
