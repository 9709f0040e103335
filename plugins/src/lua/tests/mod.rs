//! Lua code on exchanges, without a network.

#![allow(clippy::unwrap_used, reason = "tests")]

mod custom;
mod language;
mod limits;
mod pdk;
mod phases;
mod presence;
mod sandbox;

use serde_json::{Value, json};

use super::Settings;
use crate::test_kit::{Exchange, Instance, Rig, rig, rig_with};

/// An instance of pre-function with this code in the access phase.
fn function(rig: &mut Rig, code: &str) -> Instance {
    rig.plugin("pre-function", json!({ "access": [code] }))
}

/// What a client gets of code that runs on a request: status and body.
fn run_on(exchange: impl FnOnce(&Rig) -> Exchange, code: &str) -> (u16, Value) {
    run_by(Settings::default(), exchange, code)
}

fn run_by(settings: Settings, exchange: impl FnOnce(&Rig) -> Exchange, code: &str) -> (u16, Value) {
    let mut rig = rig_with(settings, &[]).unwrap();
    let plugin = function(&mut rig, code);
    let answer = exchange(&rig).access(&plugin);
    let answer = answer.unwrap_or_else(|| panic!("no answer of {code}"));
    (answer.status, answer.body)
}

/// What an expression is, as text.
fn value(expression: &str) -> String {
    let code = format!("ngx.print(tostring({expression}))");
    match run_on(|rig| rig.get("/"), &code) {
        (200, Value::String(text)) => text,
        (200, other) => other.to_string(),
        other => panic!("{expression}: {other:?}"),
    }
}

fn check(rows: &[(&str, &str)]) {
    for (expression, wanted) in rows {
        assert_eq!(value(expression), *wanted, "{expression}");
    }
}

/// The answer when code fails.
fn is_failure(answer: &(u16, Value)) -> bool {
    *answer == (500, json!({"message": ""}))
}
