//! Code in configurations: what pre-function and post-function run.

use std::sync::Arc;

use gateway_model::Violations;
use mlua::{Function, Result};
use serde_json::Value;

use super::engine::Engine;
use super::handler::{Code, Mentions, Script};
use super::phase::Phase;
use super::vm::Vm;
use crate::contract::Setup;

/// The chunks of each phase.
pub(crate) type Chunks = Vec<(Phase, Vec<String>)>;

struct InConfiguration(Chunks);

impl Code for InConfiguration {
    fn load(&self, vm: &Vm) -> Result<Vec<(Phase, Function)>> {
        self.0.iter().map(|(phase, codes)| Ok((*phase, vm.chain(codes)?))).collect()
    }
}

/// An instance that runs these chunks.
///
/// # Errors
///
/// Code that cannot be read, told in Kong's words at its place, or that may not run here
/// (kong/plugins/pre-function/schema.lua).
pub(crate) fn build(
    name: &str,
    chunks: Chunks,
    setup: &Setup<'_>,
) -> std::result::Result<Script, Violations> {
    let engine = Engine::of(setup.tools);
    let mut violations = Violations::new();
    let mut mentions = Mentions::default();
    for (phase, codes) in &chunks {
        let problems: Vec<Value> = codes.iter().map(|code| problem(&engine, name, code)).collect();
        if problems.iter().any(|problem| !problem.is_null()) {
            violations.add(phase.name(), problems.into());
        }
        mentions = codes.iter().fold(mentions, |mentions, code| mentions.read(code));
    }
    if !violations.is_empty() {
        return Err(violations);
    }
    let used: Chunks = chunks.into_iter().filter(|(_, codes)| !codes.is_empty()).collect();
    let phases: Vec<Phase> = used.iter().map(|(phase, _)| *phase).collect();
    let id = setup.instance.id();
    Ok(Script::new(engine, (name, id), phases, mentions, Box::new(InConfiguration(used))))
}

/// What is wrong with a chunk; null when nothing is.
fn problem(engine: &Arc<Engine>, name: &str, code: &str) -> Value {
    let checked = engine.permits().and_then(|()| engine.parses(code));
    checked.err().map_or(Value::Null, |why| format!("error parsing {name}: {why}").into())
}
