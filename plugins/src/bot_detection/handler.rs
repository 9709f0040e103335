use std::sync::LazyLock;

use gateway_model::{Scopes, Violations};
use http::{StatusCode, header};
use quick_cache::sync::Cache;
use regex::bytes::{RegexSet, RegexSetBuilder};

use super::config::Config;
use crate::contract::{Flow, Handler, Phases, Plugin, Reply, Request, Setup};

/// One instance (kong/plugins/bot-detection/handler.lua).
pub(crate) struct BotDetection {
    allow: RegexSet,
    deny: RegexSet,
    /// Verdicts on user agents met before: whether one is let through.
    verdicts: Cache<Box<[u8]>, bool>,
}

impl Plugin for BotDetection {
    const NAME: &'static str = "bot-detection";
    const PRIORITY: i32 = 2500;
    const PHASES: Phases = Phases::ACCESS;
    const SCOPES: Scopes = Scopes::NO_CONSUMER;
    type Config = Config;

    fn build(config: Config, _: &Setup<'_>) -> Result<Self, Violations> {
        // Compiled here once, so that no request has to wait for it.
        LazyLock::force(&ROBOTS);
        Ok(Self {
            allow: set("allow", &config.allow.unwrap_or_default())?,
            deny: set("deny", &config.deny.unwrap_or_default())?,
            verdicts: Cache::new(REMEMBERED),
        })
    }
}

/// User agents an instance remembers, as Kong does; longer ones are examined every time.
const REMEMBERED: usize = 10_000;
const LONGEST: usize = 512;

static ROBOTS: LazyLock<RegexSet> = LazyLock::new(|| {
    let lines = include_str!("patterns.txt").lines();
    let patterns = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    bytes(patterns).expect("patterns of this program compile; a test does it")
});

/// Patterns on bytes: a user agent need not be UTF-8.
fn bytes<'a>(patterns: impl Iterator<Item = &'a str>) -> Result<RegexSet, regex::Error> {
    RegexSetBuilder::new(patterns).unicode(false).build()
}

fn set(field: &str, patterns: &[String]) -> Result<RegexSet, Violations> {
    bytes(patterns.iter().map(String::as_str))
        .map_err(|why| Violations::one(field, why.to_string()))
}

impl Handler for BotDetection {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        let mut agents = request.head.headers.get_all(header::USER_AGENT).iter();
        let Some(agent) = agents.next() else { return Flow::Continue };
        if agents.next().is_some() {
            let text = "Only one User-Agent header allowed";
            return Flow::reply(Reply::message(StatusCode::BAD_REQUEST, text));
        }
        if self.lets_in(agent.as_bytes().trim_ascii()) {
            return Flow::Continue;
        }
        Flow::reply(Reply::message(StatusCode::FORBIDDEN, "Forbidden"))
    }
}

impl BotDetection {
    fn lets_in(&self, agent: &[u8]) -> bool {
        if let Some(verdict) = self.verdicts.get(agent) {
            return verdict;
        }
        let verdict =
            self.allow.is_match(agent) || !self.deny.is_match(agent) && !ROBOTS.is_match(agent);
        if agent.len() <= LONGEST {
            self.verdicts.insert(agent.into(), verdict);
        }
        verdict
    }
}
