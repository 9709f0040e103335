//! The scenarios: what is configured, and which load it takes.
//!
//! A new one is a line in [`ALL`], with a kind of its own when no [`Kind`] fits.

mod idle;
mod mp1;
mod notify;
mod plugin;
mod proxied;
mod router;
mod scale;
mod soak;
mod start;
mod storm;
mod turns;
mod writes;

use anyhow::Result;

use crate::Bench;
use crate::load::{Load, Outcome};
use crate::process::Process;
use crate::report::{BEHIND_TARGETS, Fact, Figures, Row};
use proxied::{Body, RATE, Shape, Tokens};
use scale::Population;

/// One scenario.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    kind: Kind,
}

/// What a scenario found.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) rows: Vec<Row>,
    pub(crate) facts: Vec<Fact>,
}

impl From<Vec<Row>> for Measured {
    fn from(rows: Vec<Row>) -> Self {
        Self { rows, facts: Vec::new() }
    }
}

enum Kind {
    /// Requests that go to the upstream.
    Proxied(Shape),
    Cores,
    Plugins,
    Discover,
    Register,
    Writes,
    Bulk,
    Router,
    Scale,
    Notify,
    Soak,
    Storm,
    Start,
    Idle,
}

const fn proxied(name: &'static str, about: &'static str, shape: Shape) -> Scenario {
    Scenario { name, about, kind: Kind::Proxied(shape) }
}

/// Every scenario, in the order they are run.
pub(crate) const ALL: &[Scenario] = &[
    proxied("plain", "a route without plugins", Shape::PLAIN),
    proxied("jwt", "RS512 token, app id, rate limit, a response header removed", Shape::JWT),
    proxied(
        "jwt-rotate",
        "as jwt, many tokens in turn",
        Shape { tokens: Tokens::Rotated, ..Shape::JWT },
    ),
    proxied(
        "jwt-cold",
        "as jwt, tokens that were never seen",
        Shape { tokens: Tokens::Fresh, ..Shape::JWT },
    ),
    proxied(
        "bad-tokens",
        "as jwt, a bad signature in each request, answered with 401",
        Shape { tokens: Tokens::Bad, ..Shape::JWT },
    ),
    proxied("tls", "as jwt, over kept connections of TLS 1.3", Shape { tls: true, ..Shape::JWT }),
    proxied(
        "handshakes",
        "as plain, each on a new connection with a full handshake, RSA of 2048 bits",
        Shape { tls: true, load: Load::Handshakes, ..Shape::PLAIN },
    ),
    proxied(
        "h2",
        "as plain, 128 streams on 4 connections of HTTP/2 over TLS",
        Shape { tls: true, load: Load::Streams, ..Shape::PLAIN },
    ),
    proxied(
        "routes",
        "as jwt, many prefix routes in turn",
        Shape { many_routes: true, ..Shape::JWT },
    ),
    proxied("down", "as plain, 1 MiB down", Shape { body: Body::LargeDown, ..Shape::PLAIN }),
    proxied("up", "as plain, 1 MiB up", Shape { body: Body::LargeUp, ..Shape::PLAIN }),
    proxied(
        "open-loop",
        "as jwt, 2,000 requests a second whatever the answers take",
        Shape { load: Load::Paced(RATE), direct: true, ..Shape::JWT },
    ),
    Scenario {
        name: "cores",
        about: "as plain, with 1, 2 and all cores (the last is shared with the load)",
        kind: Kind::Cores,
    },
    Scenario {
        name: "router",
        about: "prefix routes, answered without an upstream: a row for each size of the table",
        kind: Kind::Router,
    },
    Scenario {
        name: "plugins",
        about: "as plain, with one plugin at a time: a row for each",
        kind: Kind::Plugins,
    },
    Scenario {
        name: "writes",
        about: "entities made by the Admin API among many, each durable and in force",
        kind: Kind::Writes,
    },
    Scenario {
        name: "bulk",
        about: "services, routes and plugins made from nothing by many writers",
        kind: Kind::Bulk,
    },
    Scenario {
        name: "register",
        about: "services registered over Mp1 through the gateway, each durable and routable",
        kind: Kind::Register,
    },
    Scenario {
        name: "discover",
        about: "10 services discovered over Mp1 through the gateway",
        kind: Kind::Discover,
    },
    Scenario {
        name: "scale",
        about: "10,000 services with heartbeats each minute, 50 discoveries of all of them and 100 \
                registrations a second; who is silent is suspended",
        kind: Kind::Scale,
    },
    Scenario {
        name: "notify",
        about: "100 registrations a second while 1,000 services change each second, without and \
                with 10,000 subscriptions; a tenth of those leads to nobody",
        kind: Kind::Notify,
    },
    Scenario {
        name: "soak",
        about: "requests while routes, targets and certificates are edited 20 times a second",
        kind: Kind::Soak,
    },
    Scenario {
        name: "storm",
        about: "as open-loop, while routes are changed 20 times a second, and without pause",
        kind: Kind::Storm,
    },
    Scenario { name: "start", about: "from exec to the first proxied request", kind: Kind::Start },
    Scenario {
        name: "idle",
        about: "10,000 connections that are kept and not used, without and with TLS",
        kind: Kind::Idle,
    },
];

/// The scenarios of that name; `all` for each of them, `targets` for those behind a target.
///
/// # Errors
///
/// The names there are.
pub(crate) fn named(name: &str) -> Result<Vec<&'static Scenario>, String> {
    let wanted = |scenario: &&Scenario| match name {
        "all" => true,
        "targets" => BEHIND_TARGETS.contains(&scenario.name),
        name => scenario.name == name,
    };
    let found: Vec<_> = ALL.iter().filter(wanted).collect();
    if found.is_empty() {
        let names: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
        return Err(format!("there are: all, targets, {}", names.join(", ")));
    }
    Ok(found)
}

/// How much of everything there is.
pub(crate) struct Sizes {
    /// Tokens in rotation.
    tokens: usize,
    /// Tokens of one load none of which was seen before.
    fresh: usize,
    /// Routes, one row for each.
    routes: &'static [usize],
    /// Prefix routes in a table, one row for each.
    tables: &'static [usize],
    /// Entities present while others are written, one row for each.
    present: &'static [usize],
    /// What the platform has to cope with.
    population: Population,
    /// Connections that are kept and not used.
    idle: usize,
}

impl Sizes {
    pub(crate) const FULL: Self = Self {
        tokens: 1000,
        fresh: 20_000,
        routes: &[1000, 10_000, 100_000],
        tables: &[10, 100, 1_000, 10_000, 100_000],
        present: &[0, 10_000],
        population: Population::FULL,
        idle: 10_000,
    };
    pub(crate) const SMOKE: Self = Self {
        tokens: 20,
        fresh: 100,
        routes: &[100],
        tables: &[10, 100],
        present: &[100],
        population: Population::SMOKE,
        idle: 200,
    };
}

impl Scenario {
    /// Runs every round of it.
    ///
    /// # Errors
    ///
    /// The first answer that is not as it should be.
    pub(crate) async fn run(&self, bench: &Bench) -> Result<Measured> {
        let rows = match &self.kind {
            Kind::Proxied(shape) => proxied::run(bench, self.name, shape).await,
            Kind::Cores => proxied::cores(bench, self.name).await,
            Kind::Plugins => plugin::run(bench).await,
            Kind::Discover => mp1::discover(bench, self.name).await,
            Kind::Register => mp1::register(bench, self.name).await,
            Kind::Writes => writes::run(bench, self.name).await,
            Kind::Bulk => writes::bulk(bench, self.name).await,
            Kind::Router => router::run(bench, self.name).await,
            Kind::Scale => scale::run(bench, self.name).await,
            Kind::Notify => notify::run(bench, self.name).await,
            Kind::Soak => soak::run(bench, self.name).await,
            Kind::Storm => storm::run(bench, self.name).await,
            Kind::Start => return start::run(bench, self.name).await,
            Kind::Idle => return idle::run(bench, self.name).await,
        };
        rows.map(Measured::from)
    }
}

/// Waits for the load and tells what it cost the process, where there is one.
async fn measured(
    name: &str,
    subject: &str,
    process: Option<&Process>,
    load: impl Future<Output = Result<Outcome>>,
) -> Result<Figures> {
    let used = || process.map_or(Ok(0), Process::cpu_micros);
    let before = used()?;
    let outcome = load.await?;
    let figures = Figures::new(outcome, used()?.saturating_sub(before));
    println!("  {name:<18} {subject:<10} {figures}");
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_found_by_name() {
        let found = |name| named(name).map(|found| found.len());
        assert_eq!(found("all"), Ok(ALL.len()));
        assert_eq!(found("targets"), Ok(BEHIND_TARGETS.len()));
        for scenario in ALL {
            assert_eq!(found(scenario.name), Ok(1), "{}", scenario.name);
        }
        let why = found("nothing").expect_err("no scenario");
        assert!(why.contains("all, targets, plain, jwt,"), "{why}");
    }
}
