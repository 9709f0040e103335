//! Registrations while services change of which subscribers are told: first without any, then with
//! as many subscriptions as there are services otherwise, a tenth of which lead to somebody who
//! never answers. Neither subscribers nor their silence may slow a registration.

use std::cell::{Cell, RefCell};

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::mp1::Apps;
use super::scale::{answered, pace};
use crate::Bench;
use crate::gateway::{Gateway, client};
use crate::load::Outcome;
use crate::report::{Figures, GATEWAY, Row};
use crate::tokens;

/// Subscriptions one app may have.
const PER_APP: usize = 50;
/// Registrations a second, beside the changes.
const REGISTRATIONS: u32 = 100;
/// Registrations may take so many times as long with subscribers: what is brought to them is work
/// for the same two cores.
const TIMES: f64 = 2.0;
/// And this much more, microseconds, so that noise is no failure.
const NOISE_US: f64 = 2_000.0;

/// One row for each kind of request, alone and with subscribers.
pub(super) async fn run(bench: &Bench, name: &str) -> Result<Vec<Row>> {
    let subscriptions = bench.sizes.population.services();
    let changing = (subscriptions / 10).max(1);
    let gateway = Gateway::start(bench).await?;
    let apps = Apps::of(&gateway, bench)?;
    let services = RefCell::new(Vec::new());
    let number = Cell::new(0);
    let make = async || {
        let name = format!("changing{}", number.replace(number.get() + 1));
        let (app, request) = apps.numbered(&name)?;
        let told: Value = serde_json::from_str(&answered(request, 201).await?)?;
        let id = told["serInstanceId"].as_str().context("an id")?.to_owned();
        services.borrow_mut().push((app, name, id));
        anyhow::Ok(())
    };
    pace(None, changing, make).await?;
    let services = services.into_inner();

    let (mut rows, mut medians, mut told) = (Vec::new(), Vec::new(), 0);
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    // Counts on: a service that is written as it was has not changed.
    let turn = Cell::new(0);
    for subscribed in [false, true] {
        if subscribed {
            told = delivered(&gateway).await?;
            subscribe(&apps, subscriptions, bench, &silent).await?;
        }
        let before = gateway.process.cpu_micros()?;
        let change = async || {
            let at = turn.replace(turn.get() + 1);
            let (app, name, id) = &services[at % services.len()];
            let path = format!("/applications/{}/services/{id}", tokens::app(*app));
            let body = apps.body(name, &format!("{at}"));
            let request = apps.request(Method::PUT, *app, &path)?.json(&body);
            answered(request, 200).await.map(drop)
        };
        let visit = async || answered(apps.registration("visiting")?, 201).await.map(drop);
        let rate = u32::try_from(changing)?;
        let count = |rate: u32| usize::try_from(u64::from(rate) * bench.length.as_secs().max(1));
        let (changes, registrations): (Outcome, Outcome) = futures::try_join!(
            pace(Some(rate), count(rate)?, change),
            pace(Some(REGISTRATIONS), count(REGISTRATIONS)?, visit),
        )?;
        let cpu = gateway.process.cpu_micros()?.saturating_sub(before);
        medians.push(registrations.p50_us);
        let suffix = if subscribed { "subscribed" } else { "alone" };
        for (kind, outcome) in [("changes", changes), ("registrations", registrations)] {
            let figures = Figures::new(outcome, cpu);
            let name = format!("{name}-{kind}-{suffix}");
            println!("  {name:<30} {:<8} {figures}", GATEWAY);
            rows.push(Row::new(&name, GATEWAY, vec![figures], Some(&gateway.process))?);
        }
    }
    told = delivered(&gateway).await? - told;
    println!("  {told} notifications were delivered meanwhile");
    ensure!(told > 0, "nobody was notified");
    let bound = medians[0] * TIMES + NOISE_US;
    // A second of it shows that everything answers, and nothing about times.
    let judged = bench.warm_up.is_some();
    ensure!(!judged || medians[1] <= bound, "registrations are slowed: {medians:?} microseconds");
    gateway.process.stop().await?;
    Ok(rows)
}

/// How many notifications were delivered so far.
async fn delivered(gateway: &Gateway) -> Result<u64> {
    let url = format!("{}/metrics", gateway.origin("status", "http")?);
    let text = client().build()?.get(url).send().await?.text().await?;
    let family = "mep_notifications_total{result=\"delivered\"} ";
    let line = text.lines().find_map(|line| line.strip_prefix(family));
    Ok(line.context("the metric is there")?.parse()?)
}

/// Subscriptions to a service each, of which one in ten exists; every tenth of all leads to `silent`.
async fn subscribe(apps: &Apps, count: usize, bench: &Bench, silent: &TcpListener) -> Result<()> {
    let silent = silent.local_addr()?;
    let number = Cell::new(0);
    let one = async || {
        let number = number.replace(number.get() + 1);
        // Those who never answer are spread over services that exist and others.
        let to = if number % 10 == 3 { silent } else { bench.upstream.address };
        let body = json!({
            "subscriptionType": "SerAvailabilityNotificationSubscription",
            "callbackReference": format!("http://{to}/cb"),
            "filteringCriteria": {"serNames": [format!("changing{number}")]},
        });
        let app = number / PER_APP;
        let path = format!("/applications/{}/subscriptions", tokens::app(app));
        answered(apps.request(Method::POST, app, &path)?.json(&body), 201).await.map(drop)
    };
    let made = pace(None, count, one).await?;
    println!("  {count} subscriptions in {:.1} s", made.seconds);
    Ok(())
}
