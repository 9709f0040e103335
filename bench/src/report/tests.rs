#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

#[test]
fn the_middle_value() {
    let rows: [(&[f64], f64); 4] =
        [(&[3.0], 3.0), (&[9.0, 1.0, 5.0], 5.0), (&[2.0, 1.0], 1.0), (&[4.0, 3.0, 2.0, 1.0], 2.0)];
    for (values, wanted) in rows {
        assert_eq!(median(values.iter().copied()), wanted, "{values:?}");
    }
    assert!(median(std::iter::empty()).is_nan());
}

/// Rounds of a subject, by the CPU time of a request in each; the latency is ten times that.
fn row(scenario: &str, subject: &str, costs: &[f64], nginx: Option<&[f64]>) -> Row {
    let round = |(number, cost): (usize, &f64)| {
        let latency = cost * 10.0;
        let (p50_us, p99_us, p999_us) = (latency, latency, latency);
        let outcome = Outcome { requests: 1000, seconds: 1.0, p50_us, p99_us, p999_us, errors: 0 };
        let mut figures = Figures::new(outcome, (cost * 1000.0) as u64);
        figures.cpu_to_nginx = nginx.map(|nginx| cost / nginx[number]);
        figures
    };
    Row::new(scenario, subject, costs.iter().enumerate().map(round).collect(), None).unwrap()
}

fn report<'a>(machine: &'a Machine, peers: &'a BTreeMap<String, String>) -> Report<'a> {
    Report {
        taken: String::new(),
        machine,
        load: Generator::BuiltIn,
        seconds: 1,
        rounds: 3,
        smoke: false,
        peers,
        rows: Vec::new(),
        facts: Vec::new(),
        failed: Vec::new(),
    }
}

#[test]
fn targets_are_judged_inside_rounds() {
    let machine = Machine::here().unwrap();
    let peers = BTreeMap::new();
    let mut report = report(&machine, &peers);
    assert!(report.judged().is_empty());
    // The machine halves its speed in the second round, and in the next scenario.
    report.rows.push(row("plain", "nginx", &[10.0, 20.0, 10.0], Some(&[10.0, 20.0, 10.0])));
    report.rows.push(row("plain", "envoy", &[20.0, 40.0, 20.0], None));
    report.rows.push(row("plain", GATEWAY, &[16.0, 32.0, 16.0], Some(&[10.0, 20.0, 10.0])));
    report.rows.push(row("jwt", "nginx", &[20.0; 3], Some(&[20.0; 3])));
    report.rows.push(row("jwt", GATEWAY, &[35.2; 3], Some(&[20.0; 3])));
    for (subject, cost) in [(DIRECT, 1.0), ("envoy", 3.0), (GATEWAY, 4.0)] {
        report.rows.push(row("open-loop", subject, &[cost; 3], None));
    }
    report.facts.push(Fact::new("program", GATEWAY, "MiB on disk", vec![30.0]));
    let judged = report.judged();
    let wanted = [
        "| S1 plain proxy | <= 0.85 envoy | 0.80 | met | <= 1.2 nginx | 1.60 | not met |",
        "| S2 over S1 | <= 1.15 our plain | 1.10 | met | <= 1.05 our plain | 1.10 | not met |",
        "| S8 open loop, added p50 | <= 1 envoy | 1.50 | not met | <= 1 nginx+lua | - | not measured |",
        "| release binary | <= 40 MiB | 30.00 | met | <= 20 MiB | 30.00 | not met |",
    ];
    for line in wanted {
        assert!(judged.lines().any(|one| one == line), "{line}\n{judged}");
    }
    assert!(!judged.contains("S4"), "{judged}");
}

#[test]
fn panels_are_drawn_for_what_was_compared() {
    let machine = Machine::here().unwrap();
    let peers = BTreeMap::new();
    let mut report = report(&machine, &peers);
    report.rows.push(row("plain", GATEWAY, &[16.0], None));
    assert!(report.plot().unwrap().is_none());
    report.rows.push(row("plain", "nginx", &[10.0], None));
    let svg = report.plot().unwrap().unwrap();
    for part in ["<svg", "plain proxy, 1 KB", "16.0", "10.0", "nginx", "</svg>"] {
        assert!(svg.contains(part), "{part}: {svg}");
    }
}

#[test]
fn every_target_has_its_scenario() {
    for name in BEHIND_TARGETS {
        let found = crate::scenario::named(name).unwrap();
        assert_eq!(found.len(), 1, "{name}");
    }
}

#[test]
fn the_readme_shows_the_run_that_is_kept() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/results");
    let run = std::fs::read(format!("{folder}/bench.json")).unwrap();
    let run: serde_json::Value = serde_json::from_slice(&run).unwrap();
    assert_eq!(run["smoke"], false);
    let table = matrix::table(&run);
    assert!(table.lines().count() > 10, "{table}");
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    assert!(readme.contains(&table), "the README has another table than:\n{table}");
    let plot = std::fs::read_to_string(format!("{folder}/bench.svg")).unwrap();
    assert!(readme.contains("(bench/results/bench.svg)") && plot.contains("</svg>"));
}
