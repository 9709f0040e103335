//! Requests that a route takes to the upstream, with and without plugins.

use anyhow::Result;
use serde_json::{Value, json};

use super::turns::{Probe, Turns};
use crate::Bench;
use crate::gateway::Gateway;
use crate::load::{Bound, DISTINCT, Get, Load, Traffic, drive};
use crate::peer::{Choice, Guard, LIMIT, REMOVED, Setup};
use crate::report::Row;
use crate::tokens::{self, Signer};
use crate::upstream;

/// Requests a second of an open loop.
pub(super) const RATE: u32 = 2000;
/// Not more routes than this are asked for. Larger tables are left to the gateway: nginx, which would
/// take minutes to read them, has one location for all, as a measure of the machine.
const MANY: usize = 10_000;

/// What there is besides a route and its upstream.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// jwt, appid-header, rate-limiting and response-transformer, on the service.
    pub(super) guard: bool,
    pub(super) tokens: Tokens,
    pub(super) many_routes: bool,
    pub(super) tls: bool,
    pub(super) load: Load,
    pub(super) body: Body,
    /// Whether the upstream is measured without a proxy too.
    pub(super) direct: bool,
}

/// Which tokens a guard sees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tokens {
    One,
    /// Many in turn, again and again.
    Rotated,
    /// None is seen twice by one proxy.
    Fresh,
    /// Well formed, and none of the signatures is right or seen twice.
    Bad,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Usual,
    LargeUp,
    LargeDown,
}

impl Shape {
    pub(super) const PLAIN: Self = Self {
        guard: false,
        tokens: Tokens::One,
        many_routes: false,
        tls: false,
        load: Load::Kept,
        body: Body::Usual,
        direct: false,
    };
    pub(super) const JWT: Self = Self { guard: true, ..Self::PLAIN };

    fn choice(&self, routes: usize) -> Choice {
        match self.tokens {
            _ if routes > MANY => Choice::Yardstick,
            Tokens::Bad => Choice::Guards,
            _ => Choice::All,
        }
    }
}

/// One row for each number of routes.
pub(super) async fn run(bench: &Bench, name: &str, shape: &Shape) -> Result<Vec<Row>> {
    let counts = if shape.many_routes { bench.sizes.routes } else { &[1] };
    let mut rows = Vec::new();
    for &routes in counts {
        let name = if shape.many_routes { format!("{name}-{routes}") } else { name.to_owned() };
        rows.extend(one(bench, &name, shape, routes, 1).await?);
    }
    Ok(rows)
}

/// The plain proxy with one worker, with two and with one for each core.
pub(super) async fn cores(bench: &Bench, name: &str) -> Result<Vec<Row>> {
    let mut counts = vec![1, 2, bench.machine.cores];
    counts.sort_unstable();
    counts.dedup();
    let mut rows = Vec::new();
    for workers in counts.into_iter().filter(|count| *count <= bench.machine.cores) {
        rows.extend(one(bench, &format!("{name}-{workers}"), &Shape::PLAIN, 1, workers).await?);
    }
    Ok(rows)
}

async fn one(
    bench: &Bench,
    name: &str,
    shape: &Shape,
    routes: usize,
    workers: usize,
) -> Result<Vec<Row>> {
    let gateway = Gateway::start_with(bench, workers, &[]).await?;
    configure(bench, &gateway, shape.guard, routes).await?;
    let signer = Signer::of(gateway.prefix.path())?;
    let public_key = gateway.prefix.path().join("keys/jwt_publickey");
    let guard = Guard { public_key, key_set: signer.key_set()? };
    let prefixes: Vec<_> = (0..routes).map(prefix).collect();
    let setup = Setup {
        guard: shape.guard.then_some(guard),
        prefixes: if routes > MANY { vec!["/".to_owned()] } else { prefixes.clone() },
        workers,
        ..Setup::plain(bench, String::new())
    };
    let application = tokens::app(0);
    let token = if shape.guard { Some(signer.token(&application)?) } else { None };
    let probe = |prefix: &String| Probe {
        prefix: prefix.clone(),
        token: token.clone(),
        application: application.clone(),
    };
    let ends = prefixes.iter().take(1).chain(prefixes.iter().skip(1).last());
    let turns = Turns {
        name,
        choice: shape.choice(routes),
        load: shape.load,
        bound: match shape.tokens {
            Tokens::Fresh => Bound::Count(bench.sizes.fresh.try_into()?),
            _ => bench.bound,
        },
        direct: shape.direct,
        probes: ends.map(probe).collect(),
        setup,
    };
    let traffics = traffics(bench, shape, &signer, &prefixes)?;
    turns.take(bench, gateway, &traffics).await
}

/// Makes the routes and, with a guard, its plugins.
pub(super) async fn configure(
    bench: &Bench,
    gateway: &Gateway,
    guard: bool,
    routes: usize,
) -> Result<()> {
    let url = format!("http://{}", bench.upstream.address);
    gateway.create("/services", &json!({"name": "one", "url": url})).await?;
    if guard {
        for plugin in plugins() {
            gateway.create("/services/one/plugins", &plugin).await?;
        }
    }
    let route = |number: u64| {
        let path = prefix(usize::try_from(number).unwrap_or(0));
        json!({"name": format!("r{number}"), "paths": [path]})
    };
    let make = gateway.creations("/services/one/routes", route)?;
    drive(32, Bound::Count(routes.try_into()?), 201, make).await?;
    Ok(())
}

/// What EdgeGallery puts in front of its services.
fn plugins() -> [Value; 4] {
    [
        json!({"name": "jwt"}),
        json!({"name": "appid-header"}),
        json!({"name": "rate-limiting", "config": {"minute": LIMIT, "policy": "local"}}),
        json!({"name": "response-transformer", "config": {"remove": {"headers": [REMOVED]}}}),
    ]
}

/// The path of a route; none begins with another.
pub(super) fn prefix(number: usize) -> String {
    format!("/area{}/r{number}/", number % 100)
}

/// What is sent in the rounds.
fn traffics(
    bench: &Bench,
    shape: &Shape,
    signer: &Signer,
    prefixes: &[String],
) -> Result<Vec<Traffic>> {
    let end = if shape.body == Body::LargeDown { "large" } else { "one" };
    let traffic = |tokens: &[Option<String>]| {
        let mut requests = Vec::new();
        // Spread over all of them.
        for prefix in prefixes.iter().step_by(prefixes.len().div_ceil(MANY)) {
            let get = |token: &Option<String>| Get {
                path: format!("{prefix}{end}"),
                token: token.clone(),
            };
            requests.extend(tokens.iter().map(get));
        }
        Traffic {
            scheme: if shape.tls { "https" } else { "http" },
            authority: shape.tls.then(|| bench.certificate.pem.clone()),
            requests,
            upload: if shape.body == Body::LargeUp { upstream::LARGE } else { 0 },
            wanted: if shape.tokens == Tokens::Bad { 401 } else { 200 },
        }
    };
    if !shape.guard {
        return Ok(vec![traffic(&[None])]);
    }
    let signed = |numbers: std::ops::Range<usize>| -> Result<Vec<_>> {
        numbers.map(|app| signer.token(&tokens::app(app)).map(Some)).collect()
    };
    Ok(match shape.tokens {
        Tokens::One => vec![traffic(&signed(0..1)?)],
        Tokens::Rotated => vec![traffic(&signed(0..bench.sizes.tokens)?)],
        Tokens::Bad => vec![traffic(&[Some(forged(&signer.token(&tokens::app(0))?))])],
        Tokens::Fresh => {
            // One more for the warm-up; the first was shown by the probe.
            let loads = 0..=usize::try_from(bench.rounds)?;
            let count = bench.sizes.fresh;
            let range = |load: usize| 1 + load * count..1 + (load + 1) * count;
            loads.map(|load| Ok(traffic(&signed(range(load))?))).collect::<Result<_>>()?
        }
    })
}

/// A token whose signature differs in each request.
fn forged(token: &str) -> String {
    // Well behind the first digits, so that it stays a number that a signature can be.
    let at = token.len() - 100;
    format!("{}{DISTINCT}{}", &token[..at], &token[at + 12..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_token_is_as_long() {
        let token = "x".repeat(500);
        let made = forged(&token).replace(DISTINCT, "0123456789ab");
        assert_eq!(made.len(), token.len());
        assert!(made.ends_with("x") && made.starts_with("x") && made.contains("0123456789ab"));
    }
}
