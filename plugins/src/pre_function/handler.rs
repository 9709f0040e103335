use gateway_model::{Scopes, Violations};
use http::HeaderValue;

use super::assignment::{self, Assignment};
use super::config::Config;
use crate::contract::{
    ANY, Chunk, Facts, Flow, ForwardedFor, Handler, Needs, Phases, Plugin, Request, Response,
    Setup, Summary,
};
use crate::lua::{self, Script};

/// One instance.
pub(crate) enum PreFunction {
    /// Only says what `X-Forwarded-For` becomes; `None` is not sent.
    Native(Option<ForwardedFor>),
    /// Anything else.
    Lua(Script),
}

impl Plugin for PreFunction {
    const NAME: &'static str = "pre-function";
    const PRIORITY: i32 = 1_000_000;
    const PHASES: Phases = Phases::ALL.and(Phases::CERTIFICATE);
    const SCOPES: Scopes = Scopes::NO_CONSUMER;
    const PROTOCOLS: &'static [&'static str] = ANY;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        match native(&config) {
            Some(forwarded_for) => Ok(Self::Native(forwarded_for)),
            None => lua::chunks::build(Self::NAME, config.chunks(), setup).map(Self::Lua),
        }
    }
}

/// What `X-Forwarded-For` becomes when every chunk does nothing but assign it.
fn native(config: &Config) -> Option<Option<ForwardedFor>> {
    let Config { certificate, rewrite, access, header_filter, body_filter, log } = config;
    let others = [certificate, rewrite, header_filter, body_filter, log];
    if access.is_empty() || others.iter().any(|chunks| !chunks.is_empty()) {
        return None;
    }
    // Every chunk assigns the same variable, so the last one decides.
    let read: Option<Vec<_>> = access.iter().map(|chunk| understand(chunk)).collect();
    read?.pop()
}

fn understand(chunk: &str) -> Option<Option<ForwardedFor>> {
    match assignment::parse(chunk)? {
        // nginx sends no header whose value is empty.
        Assignment::Nothing => Some(None),
        Assignment::Text(text) if text.is_empty() => Some(None),
        Assignment::Text(text) => {
            HeaderValue::try_from(text).ok().map(|value| Some(ForwardedFor(value)))
        }
    }
}

impl Handler for PreFunction {
    fn phases(&self) -> Phases {
        match self {
            Self::Native(_) => Phases::ACCESS,
            Self::Lua(script) => script.phases(),
        }
    }

    fn needs(&self) -> Needs {
        match self {
            Self::Native(_) => Needs::NOTHING,
            Self::Lua(script) => script.needs(),
        }
    }

    fn certificate<'a>(&'a self, facts: &'a mut Facts) -> Flow<'a> {
        match self {
            Self::Native(_) => Flow::Continue,
            Self::Lua(script) => script.certificate(facts),
        }
    }

    fn rewrite<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        match self {
            Self::Native(_) => Flow::Continue,
            Self::Lua(script) => script.rewrite(request),
        }
    }

    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        match self {
            Self::Native(forwarded_for) => {
                request.facts.send_forwarded_for = forwarded_for.is_some();
                if let Some(value) = forwarded_for {
                    request.facts.notes.insert(value.clone());
                }
                Flow::Continue
            }
            Self::Lua(script) => script.access(request),
        }
    }

    fn header_filter(&self, response: &mut Response<'_>) {
        if let Self::Lua(script) = self {
            script.header_filter(response);
        }
    }

    fn body_filter(&self, chunk: &mut Chunk<'_>) {
        if let Self::Lua(script) = self {
            script.body_filter(chunk);
        }
    }

    fn log(&self, summary: &Summary<'_>) {
        if let Self::Lua(script) = self {
            script.log(summary);
        }
    }
}
