//! A run in one table: a line for each scenario, a column for each proxy.

use std::fmt::Write as _;

use serde_json::Value;

use super::{DIRECT, GATEWAY};

/// The CPU microseconds of a request where several proxies took part, from a run's JSON, as a
/// Markdown table; in brackets what was measured of a proxy that checks nothing.
pub(super) fn table(run: &Value) -> String {
    let all: &[Value] = run["rows"].as_array().map_or(&[], Vec::as_slice);
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let mut scenarios: Vec<String> = Vec::new();
    let mut subjects = vec![GATEWAY.to_owned()];
    for row in all.iter().filter(|row| row["subject"] != DIRECT) {
        let (scenario, subject) = (text(row, "scenario"), text(row, "subject"));
        if !scenarios.contains(&scenario) {
            scenarios.push(scenario);
        }
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    let cell = |scenario: &str, subject: &str| {
        let row =
            all.iter().find(|row| row["scenario"] == scenario && row["subject"] == subject)?;
        let cost = row["medians"]["cpu_us_per_request"].as_f64()?;
        Some(match row["unguarded"] == true {
            true => format!("({cost:.1})"),
            false => format!("{cost:.1}"),
        })
    };
    let mut out = format!(
        "| scenario | {} |\n|---|{}\n",
        subjects.join(" | "),
        "---:|".repeat(subjects.len())
    );
    for scenario in scenarios {
        let cells: Vec<_> = subjects.iter().map(|subject| cell(&scenario, subject)).collect();
        if cells.iter().flatten().count() > 1 {
            let cells: Vec<_> = cells.into_iter().map(Option::unwrap_or_default).collect();
            let _ = writeln!(out, "| {scenario} | {} |", cells.join(" | "));
        }
    }
    out
}
