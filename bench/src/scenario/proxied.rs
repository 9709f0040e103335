//! Requests that a route takes to the upstream, with and without plugins.

use anyhow::{Result, ensure};
use reqwest::header::{AUTHORIZATION, SERVER};
use serde_json::{Value, json};

use super::take_turns;
use crate::Bench;
use crate::gateway::Gateway;
use crate::load::{Bound, Get, Traffic, drive};
use crate::report::Row;
use crate::tokens::{self, Signer};
use crate::upstream;

/// What there is besides a route and its upstream.
pub(crate) struct Shape {
    /// jwt, appid-header, rate-limiting and response-transformer, on the service.
    pub(super) plugins: bool,
    pub(super) many_tokens: bool,
    pub(super) many_routes: bool,
    pub(super) tls: bool,
}

impl Shape {
    pub(super) const PLAIN: Self =
        Self { plugins: false, many_tokens: false, many_routes: false, tls: false };
    pub(super) const JWT: Self = Self { plugins: true, ..Self::PLAIN };
}

/// One row for each number of routes.
pub(super) async fn run(bench: &Bench, name: &str, shape: &Shape) -> Result<Vec<Row>> {
    let counts = if shape.many_routes { bench.sizes.routes } else { &[1] };
    let mut rows = Vec::new();
    for &count in counts {
        let name = if shape.many_routes { format!("{name}-{count}") } else { name.to_owned() };
        let gateway = Gateway::start(&bench.gateway, &bench.machine).await?;
        configure(bench, &gateway, shape, count).await?;
        let traffic = traffic(bench, &gateway, shape, count)?;
        check(&gateway, &traffic, shape).await?;
        rows.extend(take_turns(bench, &name, gateway, &traffic).await?);
    }
    Ok(rows)
}

async fn configure(bench: &Bench, gateway: &Gateway, shape: &Shape, routes: usize) -> Result<()> {
    let url = format!("http://{}", bench.upstream.address);
    gateway.create("/services", &json!({"name": "one", "url": url})).await?;
    if shape.plugins {
        for plugin in plugins() {
            gateway.create("/services/one/plugins", &plugin).await?;
        }
    }
    let route = |number: u64| json!({"name": format!("r{number}"), "paths": [path(number)]});
    let make = gateway.creations("/services/one/routes", route)?;
    drive(32, Bound::Count(routes.try_into()?), 201, make).await?;
    Ok(())
}

/// What EdgeGallery puts in front of its services.
fn plugins() -> [Value; 4] {
    [
        json!({"name": "jwt"}),
        json!({"name": "appid-header"}),
        // A limit that is counted and never reached.
        json!({"name": "rate-limiting", "config": {"minute": 1_000_000_000, "policy": "local"}}),
        json!({"name": "response-transformer", "config": {"remove": {"headers": ["server"]}}}),
    ]
}

fn path(number: u64) -> String {
    format!("/area{}/r{number}", number % 100)
}

fn traffic(bench: &Bench, gateway: &Gateway, shape: &Shape, routes: usize) -> Result<Traffic> {
    let mut requests = Vec::new();
    let tokens = match (shape.plugins, shape.many_tokens) {
        (false, _) => vec![None],
        (true, many) => {
            let signer = Signer::of(gateway.prefix.path())?;
            let apps = 0..if many { bench.sizes.tokens } else { 1 };
            apps.map(|app| signer.token(&tokens::app(app)).map(Some)).collect::<Result<_>>()?
        }
    };
    for number in 0..routes.try_into()? {
        let paths = std::iter::repeat(path(number));
        requests.extend(paths.zip(&tokens).map(|(path, token)| Get { path, token: token.clone() }));
    }
    Ok(match shape.tls {
        true => Traffic { scheme: "https", authority: Some(gateway.authority()?), requests },
        false => Traffic::plain(requests),
    })
}

/// Sends single requests to see that what is about to be measured is what it should be.
async fn check(gateway: &Gateway, traffic: &Traffic, shape: &Shape) -> Result<()> {
    let client = traffic.client()?;
    let origin = gateway.origin("proxy", traffic.scheme)?;
    let ends = traffic.requests.iter().take(1).chain(traffic.requests.last());
    for Get { path, token } in ends {
        let request = |path: &str| {
            let request = client.get(format!("{origin}{path}"));
            token.iter().fold(request, |request, token| request.bearer_auth(token))
        };
        let answer = request(path).send().await?;
        ensure!(answer.status() == 200, "{path}: {}", answer.status());
        // Without the upstream's own name the gateway gives its own, as Kong does.
        let theirs = answer.headers().get(SERVER).is_some_and(|name| name == upstream::SERVER);
        ensure!(theirs != shape.plugins, "{path}: {:?}", answer.headers());
        ensure!(answer.bytes().await?.len() == upstream::BODY, "{path}: another body");
        if !shape.plugins {
            continue;
        }
        let seen = request(&format!("{path}/seen")).header("X-AppinstanceID", "spoofed");
        let seen = seen.send().await?.text().await?.to_lowercase();
        ensure!(
            seen.contains("x-appinstanceid: 5abe4782-") && !seen.contains("spoofed"),
            "the upstream saw {seen}"
        );
        let bare = client.get(format!("{origin}{path}")).header(AUTHORIZATION, "Bearer x");
        let status = bare.send().await?.status();
        ensure!(status == 401, "{path} with a bad token: {status}");
    }
    Ok(())
}
