//! The scenarios: what is configured, and which load it takes.
//!
//! A new one is a line in [`ALL`], with a kind of its own when no [`Kind`] fits.

mod mp1;
mod notify;
mod plugin;
mod proxied;
mod router;
mod scale;
mod soak;
mod writes;

use anyhow::Result;

use crate::Bench;
use crate::gateway::Gateway;
use crate::load::{Outcome, Traffic};
use crate::nginx::Nginx;
use crate::process::Process;
use crate::report::{Figures, Row, Subject};
use proxied::Shape;
use scale::Population;

/// One scenario.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    kind: Kind,
}

enum Kind {
    /// A GET of 1 KiB from the upstream.
    Proxied(Shape),
    Plugins,
    Discover,
    Register,
    Writes,
    Bulk,
    Router,
    Scale,
    Notify,
    Soak,
}

/// Every scenario, in the order they are run.
pub(crate) const ALL: &[Scenario] = &[
    Scenario { name: "plain", about: "a route without plugins", kind: Kind::Proxied(Shape::PLAIN) },
    Scenario {
        name: "jwt",
        about: "RS512 token, app id, rate limit, a response header removed",
        kind: Kind::Proxied(Shape::JWT),
    },
    Scenario {
        name: "jwt-rotate",
        about: "as jwt, many tokens in turn",
        kind: Kind::Proxied(Shape { many_tokens: true, ..Shape::JWT }),
    },
    Scenario {
        name: "routes",
        about: "as jwt, many prefix routes in turn",
        kind: Kind::Proxied(Shape { many_routes: true, ..Shape::JWT }),
    },
    Scenario {
        name: "router",
        about: "prefix routes, answered without an upstream: a row for each size of the table",
        kind: Kind::Router,
    },
    Scenario {
        name: "tls",
        about: "as jwt, over kept connections of TLS 1.3",
        kind: Kind::Proxied(Shape { tls: true, ..Shape::JWT }),
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
];

/// The scenarios of that name; `all` for each of them.
///
/// # Errors
///
/// The names there are.
pub(crate) fn named(name: &str) -> Result<&'static [Scenario], String> {
    if name == "all" {
        return Ok(ALL);
    }
    let found = ALL.iter().find(|scenario| scenario.name == name).map(std::slice::from_ref);
    found.ok_or_else(|| {
        let names: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
        format!("there are: all, {}", names.join(", "))
    })
}

/// How much of everything there is.
pub(crate) struct Sizes {
    /// Tokens in rotation.
    tokens: usize,
    /// Routes, one row for each.
    routes: &'static [usize],
    /// Prefix routes in a table, one row for each.
    tables: &'static [usize],
    /// Entities present while others are written, one row for each.
    present: &'static [usize],
    /// What the platform has to cope with.
    population: Population,
}

impl Sizes {
    pub(crate) const FULL: Self = Self {
        tokens: 1000,
        routes: &[1000, 10_000],
        tables: &[10, 100, 1_000, 10_000, 100_000],
        present: &[0, 10_000],
        population: Population::FULL,
    };
    pub(crate) const SMOKE: Self = Self {
        tokens: 20,
        routes: &[100],
        tables: &[10, 100],
        present: &[100],
        population: Population::SMOKE,
    };
}

impl Scenario {
    /// Runs every round of it.
    ///
    /// # Errors
    ///
    /// The first answer that is not as it should be.
    pub(crate) async fn run(&self, bench: &Bench) -> Result<Vec<Row>> {
        match &self.kind {
            Kind::Proxied(shape) => proxied::run(bench, self.name, shape).await,
            Kind::Plugins => plugin::run(bench).await,
            Kind::Discover => mp1::discover(bench, self.name).await,
            Kind::Register => mp1::register(bench, self.name).await,
            Kind::Writes => writes::run(bench, self.name).await,
            Kind::Bulk => writes::bulk(bench, self.name).await,
            Kind::Router => router::run(bench, self.name).await,
            Kind::Scale => scale::run(bench, self.name).await,
            Kind::Notify => notify::run(bench, self.name).await,
            Kind::Soak => soak::run(bench, self.name).await,
        }
    }
}

/// Has the gateway and, where it is installed, nginx take the same traffic in turns.
async fn take_turns(
    bench: &Bench,
    name: &str,
    gateway: Gateway,
    traffic: &Traffic,
) -> Result<Vec<Row>> {
    let nginx = match bench.machine.nginx {
        Some(_) => {
            let certs = gateway.prefix.path().join("certs");
            Some(Nginx::start(&bench.machine, bench.upstream.address, &certs).await?)
        }
        None => None,
    };
    let ours = gateway.origin("proxy", traffic.scheme)?.to_owned();
    let theirs = nginx.as_ref().map(|nginx| (nginx, nginx.origin(traffic.scheme)));
    let measure = async |process: &Process, origin: &str, subject: Subject| {
        let load = bench.generator.send(traffic, origin, bench.length);
        measured(name, subject, process, load).await
    };
    if let Some(length) = bench.warm_up {
        bench.generator.send(traffic, &ours, length).await?;
        if let Some((_, origin)) = &theirs {
            bench.generator.send(traffic, origin, length).await?;
        }
    }
    let (mut our_rounds, mut their_rounds) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let peer = match &theirs {
            Some((nginx, origin)) => Some(measure(&nginx.process, origin, Subject::Nginx).await?),
            None => None,
        };
        let mut figures = measure(&gateway.process, &ours, Subject::Gateway).await?;
        if let Some(peer) = peer {
            figures.compare(&peer);
            println!("  {:.2} of nginx's CPU time", figures.cpu_to_nginx.unwrap_or(f64::NAN));
        }
        our_rounds.push(figures);
        their_rounds.extend(peer);
    }
    let mut rows = vec![Row::new(name, Subject::Gateway, our_rounds, &gateway.process)?];
    gateway.process.stop().await?;
    if let Some(nginx) = nginx {
        rows.push(Row::new(name, Subject::Nginx, their_rounds, &nginx.process)?);
        nginx.process.stop().await?;
    }
    Ok(rows)
}

/// Waits for the load and tells what it cost the process.
async fn measured(
    name: &str,
    subject: Subject,
    process: &Process,
    load: impl Future<Output = Result<Outcome>>,
) -> Result<Figures> {
    let before = process.cpu_micros()?;
    let outcome = load.await?;
    let figures = Figures::new(outcome, process.cpu_micros()?.saturating_sub(before));
    println!("  {name:<18} {subject:<8} {figures}");
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_found_by_name() {
        let found = |name| named(name).map(<[Scenario]>::len);
        assert_eq!(found("all"), Ok(ALL.len()));
        for scenario in ALL {
            assert_eq!(found(scenario.name), Ok(1), "{}", scenario.name);
        }
        let why = found("nothing").expect_err("no scenario");
        assert!(why.contains("all, plain, jwt,"), "{why}");
    }
}
