use gateway_model::{Scopes, Violations};
use http::HeaderValue;
use serde_json::Value;

use super::assignment::{self, Assignment};
use super::config::Config;
use crate::contract::{ANY, Flow, ForwardedFor, Handler, Phases, Plugin, Request, Setup};

const NO_LUA: &str = "error parsing pre-function: Lua is not available yet";
const ACCEPTED: &str = "the only code accepted is `ngx.var.upstream_x_forwarded_for = VALUE`, VALUE \
                        being nil, an undefined name, or a quoted text without escapes";

/// One instance.
pub(crate) struct PreFunction {
    /// What `X-Forwarded-For` becomes; `None` is not sent.
    forwarded_for: Option<ForwardedFor>,
}

impl Plugin for PreFunction {
    const NAME: &'static str = "pre-function";
    const PRIORITY: i32 = 1_000_000;
    const PHASES: Phases = Phases::ACCESS;
    const SCOPES: Scopes = Scopes::NO_CONSUMER;
    const PROTOCOLS: &'static [&'static str] = ANY;
    type Config = Config;

    fn build(config: Config, _: &Setup<'_>) -> Result<Self, Violations> {
        let mut violations = Violations::new();
        for (phase, chunks) in [
            ("certificate", &config.certificate),
            ("rewrite", &config.rewrite),
            ("header_filter", &config.header_filter),
            ("body_filter", &config.body_filter),
            ("log", &config.log),
        ] {
            if !chunks.is_empty() {
                let problem = Value::from(format!("{NO_LUA}; no code is accepted in this phase"));
                violations.add(phase, vec![problem; chunks.len()].into());
            }
        }
        // Every chunk assigns the same variable, so the last one decides.
        let mut forwarded_for = None;
        let mut problems = Vec::with_capacity(config.access.len());
        for chunk in &config.access {
            problems.push(match understand(chunk) {
                Ok(value) => {
                    forwarded_for = value;
                    Value::Null
                }
                Err(text) => text.into(),
            });
        }
        if problems.iter().any(|problem| !problem.is_null()) {
            violations.add("access", problems.into());
        }
        if violations.is_empty() { Ok(Self { forwarded_for }) } else { Err(violations) }
    }
}

fn understand(chunk: &str) -> Result<Option<ForwardedFor>, String> {
    match assignment::parse(chunk) {
        // nginx sends no header whose value is empty.
        Some(Assignment::Nothing) => Ok(None),
        Some(Assignment::Text(text)) if text.is_empty() => Ok(None),
        Some(Assignment::Text(text)) => HeaderValue::try_from(text)
            .map(|value| Some(ForwardedFor(value)))
            .map_err(|_| format!("{NO_LUA}; the text is not usable in a header")),
        None => Err(format!("{NO_LUA}; {ACCEPTED}")),
    }
}

impl Handler for PreFunction {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        request.facts.send_forwarded_for = self.forwarded_for.is_some();
        if let Some(value) = &self.forwarded_for {
            request.facts.notes.insert(value.clone());
        }
        Flow::Continue
    }
}
