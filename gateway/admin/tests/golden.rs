//! The recorded Admin API, replayed against the router.
//!
//! Every step of every scenario is sent. Steps that may differ are listed below with the reason;
//! a listed step that stops differing fails the test, so the list can only shrink.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod replay;
mod subject;

use std::ops::RangeInclusive;
use std::path::PathBuf;

use replay::{Difference, Scenario};
use subject::Subject;

/// Scenario, steps, and why they differ.
type Exceptions = &'static [(&'static str, &'static [RangeInclusive<usize>], &'static str)];

/// Plugins are in a crate this one may not know; the same recording is replayed with them
/// against the binary.
const PLUGINS: &str = "the plugin is not in this test's registry";
const NO_KIND: &str = "the kind does not exist yet";

const EXCEPTIONS: Exceptions = &[
    ("consumers and credentials", &[28..=47], "only jwt credentials are declared here"),
    ("plugins crud", &[3..=17, 20..=42, 49..=57], PLUGINS),
    ("plugins crud", &[43..=43], "the plugin of this test lists other protocols"),
    ("plugins crud", &[44..=45], "spellings of older versions are accepted, by intent"),
    ("upstreams and targets", &[0..=24, 26..=31, 33..=37, 39..=39, 43..=43], NO_KIND),
    (
        "certificates, snis, ca_certificates",
        &[0..=5, 8..=15, 17..=19, 21..=24, 26..=26],
        "PEM files are not checked yet, and a certificate has no member snis",
    ),
    ("certificates, snis, ca_certificates", &[28..=33, 35..=35], NO_KIND),
    ("vaults, keys, key-sets", &[0..=14], NO_KIND),
    ("bodies and content types", &[2..=2], "a text as body is a client's error, not ours"),
    ("bodies and content types", &[16..=16], NO_KIND),
    ("information endpoints", &[3..=4], "other kinds and plugins"),
    ("information endpoints", &[5..=5], "a schema does not show what every text field has"),
    ("information endpoints", &[8..=8, 10..=10], PLUGINS),
    ("information endpoints", &[9..=9], NO_KIND),
    ("information endpoints", &[24..=26], "the log level is not changed by this API yet"),
    ("information endpoints", &[27..=27], "the proxy's resolver is not shown yet"),
];

fn recording() -> Vec<Scenario> {
    let spec = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/spec/kong/golden");
    replay::read(&spec.join("admin.jsonl"))
}

fn run(scenario: &Scenario) -> Vec<Difference> {
    let subject = Subject::start();
    replay::run(scenario, &mut |to, sent| to.is_none().then(|| subject.send(sent)))
}

#[test]
fn the_admin_api_is_the_recorded_one() {
    let mut report = String::new();
    for scenario in recording() {
        let name = scenario.scenario.as_str();
        let differences = run(&scenario);
        let excepted = |step: usize| {
            let here = EXCEPTIONS.iter().filter(|(scenario, ..)| *scenario == name);
            here.flat_map(|(_, steps, _)| *steps).any(|range| range.contains(&step))
        };
        for difference in differences.iter().filter(|difference| !excepted(difference.step)) {
            report.push_str(&format!("{name}, {difference}"));
        }
        for (_, steps, reason) in EXCEPTIONS.iter().filter(|(scenario, ..)| *scenario == name) {
            for step in steps.iter().cloned().flatten() {
                if !differences.iter().any(|difference| difference.step == step) {
                    report.push_str(&format!("{name}, step {step} no longer differs: {reason}\n"));
                }
            }
        }
    }
    assert!(report.is_empty(), "\n{report}");
}
