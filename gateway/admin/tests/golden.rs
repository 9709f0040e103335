//! The recorded Admin API, replayed against the router.
//!
//! Every step of every scenario is sent. Steps that may differ are listed below with the reason;
//! a listed step that stops differing fails the test, so the list can only shrink.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod pems;
mod replay;
mod subject;

use std::ops::RangeInclusive;
use std::path::PathBuf;

use replay::{Difference, Scenario};
use serde_json::Value;
use subject::Subject;

/// Scenario, steps, and why they differ.
type Exceptions = &'static [(&'static str, &'static [RangeInclusive<usize>], &'static str)];

/// Plugins are in a crate this one may not know; the same recording is replayed with them
/// against the binary.
const PLUGINS: &str = "the plugin is not in this test's registry";

const EXCEPTIONS: Exceptions = &[
    ("consumers and credentials", &[28..=47], "only jwt credentials are declared here"),
    ("plugins crud", &[3..=17, 20..=42, 49..=57], PLUGINS),
    ("plugins crud", &[43..=43], "the plugin of this test lists other protocols"),
    ("plugins crud", &[44..=45], "spellings of older versions are accepted, by intent"),
    (
        "certificates, snis, ca_certificates",
        &[2..=2],
        "what is wrong with a PEM text is not told in the words of OpenSSL",
    ),
    ("bodies and content types", &[16..=16], "acls are declared by a plugin"),
    ("information endpoints", &[3..=4], "other kinds and plugins"),
    ("information endpoints", &[8..=8, 10..=10], PLUGINS),
];

fn recording() -> Vec<Scenario> {
    let spec = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/spec/kong/golden");
    replay::read(&spec.join("admin.jsonl"))
}

fn run(scenario: &Scenario) -> Vec<Difference> {
    let subject = Subject::start();
    replay::run(scenario, pems::names(), &mut |to, sent| {
        to.is_none().then(|| without_descriptions(sent, subject.send(sent)))
    })
}

/// Descriptions in schemas are free text; the recording has none.
fn without_descriptions(sent: &replay::Sent, mut reply: replay::Reply) -> replay::Reply {
    if sent.path.contains("schema")
        && let Ok(mut body) = serde_json::from_slice(&reply.body)
    {
        strip(&mut body);
        reply.body = body.to_string().into_bytes();
    }
    reply
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("description");
            members.values_mut().for_each(strip);
        }
        Value::Array(elements) => elements.iter_mut().for_each(strip),
        _ => {}
    }
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
