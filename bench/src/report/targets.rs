//! What the gateway is to reach, and whether a run says that it does.
//!
//! Everything is computed from the run: a target whose scenario or peer it does not have is "not
//! measured". Costs are medians of ratios inside rounds; where two scenarios are compared, each is
//! taken against nginx in its own rounds first, because machines change their speed meanwhile.

use std::fmt::Write as _;

use serde::Serialize;

use super::{DIRECT, Figures, GATEWAY, Report, median};
use crate::peer::YARDSTICK;

const LUA: &str = "nginx+lua";
const HAPROXY: &str = "haproxy";
const ENVOY: &str = "envoy";
const KONG2: &str = "kong2";

/// Scenarios that targets are about.
pub(crate) const SCENARIOS: &[&str] = &[
    "plain",
    "jwt",
    "jwt-rotate",
    "jwt-cold",
    "tls",
    "handshakes",
    "routes",
    "down",
    "up",
    "bad-tokens",
    "open-loop",
    "discover",
    "register",
    "storm",
    "start",
    "idle",
];

/// One target.
struct Target {
    what: &'static str,
    reach: Goal,
    dream: Goal,
}

/// A value, and what it has to be.
struct Goal {
    of: Of,
    limit: Limit,
}

#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}
use Limit::{AtLeast, AtMost};

/// A value that a run may have.
#[derive(Clone, Copy)]
enum Of {
    /// CPU time of a request over a peer's, in the same rounds of a scenario.
    Cost(&'static str, &'static str),
    /// CPU time of a request over our own in another scenario.
    Own(&'static str, &'static str),
    /// What we add to the latency of the upstream over what a peer adds.
    Added(fn(&Figures) -> f64, &'static str),
    /// A figure of ours over the same in another scenario.
    Over(fn(&Figures) -> f64, &'static str, &'static str),
    /// A figure of ours, in this unit.
    Figure(fn(&Figures) -> f64, &'static str, &'static str),
    /// The most memory, in MiB.
    Peak(&'static str),
    /// A fact, in this unit.
    Fact(&'static str, &'static str),
}
use Of::{Added, Cost, Fact, Figure, Over, Own, Peak};

const fn most(of: Of, limit: f64) -> Goal {
    Goal { of, limit: AtMost(limit) }
}

const fn least(of: Of, limit: f64) -> Goal {
    Goal { of, limit: AtLeast(limit) }
}

const fn both(what: &'static str, of: Of, reach: f64, dream: f64) -> Target {
    Target { what, reach: most(of, reach), dream: most(of, dream) }
}

const fn two(what: &'static str, reach: Goal, dream: Goal) -> Target {
    Target { what, reach, dream }
}

const P50: fn(&Figures) -> f64 = |it| it.p50_us;
const P99: fn(&Figures) -> f64 = |it| it.p99_us;
const P50_MS: fn(&Figures) -> f64 = |it| it.p50_us / 1000.0;
const PER_SECOND: fn(&Figures) -> f64 = |it| it.per_second;

const TARGETS: &[Target] = &[
    two("S1 plain proxy", most(Cost("plain", ENVOY), 0.85), most(Cost("plain", YARDSTICK), 1.2)),
    two(
        "S2 token, app id, rate limit, header removed",
        most(Cost("jwt", ENVOY), 0.9),
        most(Cost("jwt", LUA), 1.0),
    ),
    two("S2 against Kong 2", most(Cost("jwt", KONG2), 0.2), most(Cost("jwt", LUA), 1.0)),
    two(
        "S3 tokens in rotation",
        most(Own("jwt-rotate", "jwt"), 1.1),
        most(Cost("jwt-rotate", LUA), 1.0),
    ),
    two("S4 over TLS 1.3", most(Cost("tls", ENVOY), 1.0), most(Cost("tls", LUA), 1.0)),
    both("S4b full handshakes", Cost("handshakes", YARDSTICK), 1.0, 0.8),
    // Flat: what is measured twice differs by as much.
    both("S5 1,000 routes", Own("routes-1000", "jwt"), 1.1, 1.05),
    both("S5 100,000 routes", Own("routes-100000", "jwt"), 1.1, 1.05),
    two("S6d 1 MB down", most(Cost("down", ENVOY), 1.0), most(Cost("down", YARDSTICK), 1.0)),
    two("S6u 1 MB up", most(Cost("up", ENVOY), 1.0), most(Cost("up", YARDSTICK), 1.0)),
    both("S7 bad signatures", Cost("bad-tokens", HAPROXY), 1.0, 0.75),
    two("S8 open loop, added p50", most(Added(P50, ENVOY), 1.0), most(Added(P50, LUA), 1.0)),
    two("S8 open loop, added p99", most(Added(P99, ENVOY), 1.0), most(Added(P99, LUA), 1.0)),
    both("peak memory in S2", Peak("jwt"), 40.0, 20.0),
    both("S2 over S1", Own("jwt", "plain"), 1.15, 1.05),
    both("S2 with a cold token cache", Cost("jwt-cold", HAPROXY), 1.0, 0.75),
    both("discovery of 10 services, over S2", Own("discover", "jwt"), 1.0, 0.7),
    both("exec to first proxied request", Fact("start", "ms"), 250.0, 50.0),
    both(
        "a registration among 10,000 services, median",
        Figure(P50_MS, "register-10000-by-1", "ms"),
        10.0,
        3.0,
    ),
    two(
        "registrations by 32 clients among 10,000 services",
        least(Figure(PER_SECOND, "register-10000-by-32", "/s"), 500.0),
        least(Figure(PER_SECOND, "register-10000-by-32", "/s"), 5000.0),
    ),
    both(
        "p99 while 20 writes/s change routes, over quiet",
        Over(P99, "storm-edits", "storm-quiet"),
        1.2,
        1.0,
    ),
    both("an idle connection", Fact("idle-http", "KiB"), 20.0, 4.0),
    both("an idle connection with TLS", Fact("idle-https", "KiB"), 20.0, 4.0),
    both("release binary", Fact("program", "MiB"), 40.0, 20.0),
];

/// A target as a run judges it.
#[derive(Serialize)]
pub(super) struct Judged {
    what: &'static str,
    reach: Verdict,
    dream: Verdict,
}

#[derive(Serialize)]
struct Verdict {
    goal: String,
    /// `None` when the run does not tell.
    value: Option<f64>,
    met: Option<bool>,
}

/// Judges every target.
pub(super) fn judge(report: &Report<'_>) -> Vec<Judged> {
    let verdict = |goal: &Goal| {
        let value = goal.of.value(report).filter(|value| value.is_finite());
        let met = value.map(|value| match goal.limit {
            AtMost(limit) => value <= limit,
            AtLeast(limit) => value >= limit,
        });
        Verdict { goal: goal.text(), value, met }
    };
    let judged = |Target { what, reach, dream }: &Target| Judged {
        what,
        reach: verdict(reach),
        dream: verdict(dream),
    };
    TARGETS.iter().map(judged).collect()
}

/// Those the run tells about, as a Markdown table; empty when it tells of none.
pub(super) fn table(all: &[Judged]) -> String {
    let told = |judged: &&Judged| judged.reach.value.or(judged.dream.value).is_some();
    let mut out = String::new();
    for Judged { what, reach, dream } in all.iter().filter(told) {
        if out.is_empty() {
            out += "| target | reach | | | dream | | |\n|---|---|---:|---|---|---:|---|\n";
        }
        let _ = writeln!(out, "| {what} | {} | {} |", reach.cells(), dream.cells());
    }
    out
}

impl Verdict {
    fn cells(&self) -> String {
        let value = self.value.map_or("-".to_owned(), |value| match value {
            large if large >= 100.0 => format!("{large:.0}"),
            small => format!("{small:.2}"),
        });
        let met = match self.met {
            Some(true) => "met",
            Some(false) => "not met",
            None => "not measured",
        };
        format!("{} | {value} | {met}", self.goal)
    }
}

impl Goal {
    fn text(&self) -> String {
        let (sign, limit) = match self.limit {
            AtMost(limit) => ("<=", limit),
            AtLeast(limit) => (">=", limit),
        };
        match self.of {
            Cost(_, peer) | Added(_, peer) => format!("{sign} {limit} {peer}"),
            Own(_, other) | Over(_, _, other) => format!("{sign} {limit} our {other}"),
            Figure(_, _, unit) | Fact(_, unit) => format!("{sign} {limit} {unit}"),
            Peak(_) => format!("{sign} {limit} MiB"),
        }
    }
}

impl Of {
    fn value(self, report: &Report<'_>) -> Option<f64> {
        let ours = |scenario| report.row(scenario, GATEWAY);
        let figure = |scenario, of: fn(&Figures) -> f64| Some(of(&ours(scenario)?.medians));
        match self {
            Cost(scenario, peer) => {
                let pairs = ours(scenario)?.rounds.iter().zip(&report.row(scenario, peer)?.rounds);
                let ratio = |(own, other): (&Figures, &Figures)| {
                    own.cpu_us_per_request / other.cpu_us_per_request
                };
                Some(median(pairs.map(ratio)))
            }
            Own(scenario, other) => {
                let (own, other) = (&ours(scenario)?.medians, &ours(other)?.medians);
                Some(match (own.cpu_to_nginx, other.cpu_to_nginx) {
                    (Some(own), Some(other)) => own / other,
                    _ => own.cpu_us_per_request / other.cpu_us_per_request,
                })
            }
            Added(of, peer) => {
                let row = |subject| Some(&report.row("open-loop", subject)?.rounds);
                let (own, other, direct) = (row(GATEWAY)?, row(peer)?, row(DIRECT)?);
                let added = own.iter().zip(other).zip(direct);
                let ratio = |((own, other), direct): ((&Figures, &Figures), &Figures)| {
                    (of(own) - of(direct)) / (of(other) - of(direct))
                };
                Some(median(added.map(ratio)))
            }
            Over(of, scenario, other) => {
                let pairs = ours(scenario)?.rounds.iter().zip(&ours(other)?.rounds);
                Some(median(pairs.map(|(own, other)| of(own) / of(other))))
            }
            Figure(of, scenario, _) => figure(scenario, of),
            Peak(scenario) => ours(scenario)?.peak_rss_mib,
            Fact(name, _) => report.fact(name, GATEWAY),
        }
    }
}
