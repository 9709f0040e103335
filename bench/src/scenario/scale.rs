//! Ten thousand services with heartbeats, discoveries of all of them and registrations, each at
//! its own pace and all at once; some services fall silent and have to be suspended in time.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::stream::{self, FuturesUnordered};
use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::mp1::{Apps, MP1};
use crate::Bench;
use crate::gateway::Gateway;
use crate::load::Outcome;
use crate::report::{Figures, GATEWAY, Row};

/// How much there is of everything.
pub(super) struct Population {
    /// Services that send heartbeats.
    services: usize,
    /// Services that stop doing so, beside those.
    silent: usize,
    /// Seconds between heartbeats.
    interval: u32,
    /// A second.
    discoveries: u32,
    /// A second.
    registrations: u32,
}

impl Population {
    pub(super) const FULL: Self =
        Self { services: 10_000, silent: 200, interval: 60, discoveries: 50, registrations: 100 };
    pub(super) const SMOKE: Self =
        Self { services: 100, silent: 5, interval: 3, discoveries: 5, registrations: 10 };

    /// Services that send heartbeats, and as many subscriptions where those are asked for.
    pub(super) const fn services(&self) -> usize {
        self.services
    }

    /// How long a service may be silent: a little more than its interval.
    fn patience(&self) -> Duration {
        Duration::from_secs((self.interval + self.interval.div_ceil(20).min(5)).into())
    }
}

/// Late by more than this is missed.
const IN_TIME: Duration = Duration::from_secs(1);
/// After this long nobody waits any more.
const GIVEN_UP: Duration = Duration::from_secs(30);
/// Between looks at a service that is about to be suspended.
const LOOK: Duration = Duration::from_millis(50);
/// Between looks for heartbeats that are due.
const BEAT: Duration = Duration::from_millis(5);
/// A request this much behind its time is not sent.
const BACKLOG: Duration = Duration::from_secs(2);
/// Requests of one kind under way at a time.
const TOGETHER: usize = 64;

/// One row for each kind of request; the CPU time in each is that of the whole process.
pub(super) async fn run(bench: &Bench, name: &str) -> Result<Vec<Row>> {
    let population = &bench.sizes.population;
    let interval = population.interval.to_string();
    let settings = [("MEP_LIVENESS_INTERVAL", interval.as_str())];
    let gateway = Gateway::start_with(bench, 1, &settings).await?;
    let apps = Apps::of(&gateway, bench)?;
    apps.announce(&gateway, 0, &["service-discovery"]).await?;
    let heart = Heart::new(&apps, population);
    let register = async |keep: &dyn Fn(Service)| register(&apps, keep).await;

    // A service lives from its registration on: the first ones send heartbeats while others come.
    let settled = Cell::new(false);
    let populate = async {
        let came = pace(None, population.services, async || register(&|it| heart.add(it)).await);
        let came = came.await;
        settled.set(true);
        came
    };
    let (came, _) = futures::try_join!(populate, heart.beat(|| settled.get()))?;
    println!("  {} services in {:.1} s", population.services, came.seconds);
    let silent = RefCell::new(Vec::new());
    let keep = |service| silent.borrow_mut().push(service);
    pace(None, population.silent, async || register(&keep).await).await?;
    let silent = silent.into_inner();

    let patience = population.patience();
    let length = bench.length.max(patience + Duration::from_secs(5));
    let began = Instant::now();
    let before = gateway.process.cpu_micros()?;
    let count = |rate: u32| usize::try_from(u64::from(rate) * length.as_secs()).unwrap_or(0);
    let (discoveries, registrations) = (population.discoveries, population.registrations);
    let over = Cell::new(false);
    let load = async {
        let load = futures::try_join!(
            pace(Some(discoveries), count(discoveries), async || discover(&apps).await),
            pace(Some(registrations), count(registrations), async || visit(&apps).await),
            suspensions(&apps, &silent, patience),
        );
        // What was registered under load sends no heartbeats.
        let wrong = suspended(&apps).await?.saturating_sub(silent.len());
        over.set(true);
        anyhow::Ok((load?, wrong))
    };
    // Nobody who beats may be lost while others are waited for.
    let (((discoveries, registrations, lateness), wrong), beats) =
        futures::try_join!(load, heart.beat(|| over.get()))?;
    let cpu = gateway.process.cpu_micros()?.saturating_sub(before);
    let beats = Outcome::of(beats, began.elapsed())?;

    let missed = lateness.iter().filter(|late| **late > IN_TIME).count();
    println!(
        "  {} suspensions, the last {} ms after its time, {missed} more than {} ms",
        lateness.len(),
        lateness.iter().max().copied().unwrap_or_default().as_millis(),
        IN_TIME.as_millis(),
    );
    ensure!(missed == 0, "{missed} suspensions came too late");
    let late = heart.late.get();
    ensure!(wrong <= late, "{wrong} suspended whose heartbeats came, {late} of them late");
    println!("  {late} heartbeats were sent late by this program, {wrong} services lost by that");

    let mut rows = Vec::new();
    let kinds =
        [("heartbeats", beats), ("discoveries", discoveries), ("registrations", registrations)];
    for (kind, outcome) in kinds {
        let figures = Figures::new(outcome, cpu);
        let name = format!("{name}-{kind}");
        println!("  {name:<18} {:<8} {figures}", GATEWAY);
        rows.push(Row::new(&name, GATEWAY, vec![figures], Some(&gateway.process))?);
    }
    gateway.process.stop().await?;
    Ok(rows)
}

/// A service as its app knows it.
struct Service {
    /// The number of its app.
    app: usize,
    /// Where it is below [`MP1`].
    path: String,
    /// Just before it was registered.
    registered: Instant,
}

/// Registers a service that is to send heartbeats.
async fn register(apps: &Apps, keep: &dyn Fn(Service)) -> Result<()> {
    let registered = Instant::now();
    let (app, request) = apps.beating()?;
    let told: Value = serde_json::from_str(&answered(request, 201).await?)?;
    let link = told["_links"]["self"]["liveness"].as_str().context("a link to its liveness")?;
    let path = link.strip_prefix(MP1).and_then(|path| path.strip_suffix("/liveness"));
    let path = path.with_context(|| format!("a liveness below Mp1: {link}"))?.to_owned();
    keep(Service { app, path, registered });
    Ok(())
}

/// Registers a service that sends no heartbeats.
async fn visit(apps: &Apps) -> Result<()> {
    answered(apps.registration("visiting")?, 201).await.map(drop)
}

/// Discovers every service there is.
async fn discover(apps: &Apps) -> Result<()> {
    let mut answer = apps.request(Method::GET, 0, "/services")?.send().await?;
    ensure!(answer.status() == 200, "a discovery: {}", answer.status());
    // Read and dropped: it is large.
    let mut last = None;
    while let Some(chunk) = answer.chunk().await? {
        last = chunk.last().copied();
    }
    ensure!(last == Some(b'\n'), "a discovery that was cut off");
    Ok(())
}

/// How many services are suspended.
async fn suspended(apps: &Apps) -> Result<usize> {
    let body = answered(apps.request(Method::GET, 0, "/services")?, 200).await?;
    let all: Vec<Value> = serde_json::from_str(&body)?;
    Ok(all.iter().filter(|one| one["state"] == "SUSPENDED").count())
}

/// The body of an answer, which must have this status.
pub(super) async fn answered(request: RequestBuilder, wanted: u16) -> Result<String> {
    let answer = request.send().await?;
    let (status, body) = (answer.status(), answer.text().await?);
    ensure!(status == wanted, "{status} {}", body.chars().take(300).collect::<String>());
    Ok(body)
}

/// Sends `count` requests, so many a second or as soon as others are answered. What is not sent when
/// its time is long over is left out.
pub(super) async fn pace(
    rate: Option<u32>,
    count: usize,
    send: impl AsyncFn() -> Result<()>,
) -> Result<Outcome> {
    let began = Instant::now();
    let send = &send;
    let one = |number: usize| async move {
        if let Some(rate) = rate {
            let at = Duration::from_secs_f64(number as f64 / f64::from(rate));
            tokio::time::sleep_until((began + at).into()).await;
            if began.elapsed() > at + BACKLOG {
                return anyhow::Ok(None);
            }
        }
        let sent = Instant::now();
        send().await?;
        Ok(Some(u64::try_from(sent.elapsed().as_micros())?))
    };
    let times = stream::iter(0..count).map(one).buffer_unordered(TOGETHER);
    let times: Vec<Option<u64>> = times.try_collect().await?;
    Outcome::of(times.into_iter().flatten().collect(), began.elapsed())
}

/// How late each silent service was seen to be suspended.
async fn suspensions(apps: &Apps, all: &[Service], patience: Duration) -> Result<Vec<Duration>> {
    let watch = |service: &Service| {
        let due = service.registered + patience;
        let request = apps.request(Method::GET, service.app, &service.path);
        async move {
            tokio::time::sleep_until(due.into()).await;
            let request = request?;
            loop {
                let again = request.try_clone().context("a request without a body")?;
                let shown: Value = serde_json::from_str(&answered(again, 200).await?)?;
                if shown["state"] == "SUSPENDED" {
                    return Ok(due.elapsed());
                }
                ensure!(due.elapsed() < GIVEN_UP, "not suspended: {shown}");
                tokio::time::sleep(LOOK).await;
            }
        }
    };
    futures::future::try_join_all(all.iter().map(watch)).await
}

/// Sends the heartbeats of all services.
struct Heart<'a> {
    apps: &'a Apps,
    interval: Duration,
    due: RefCell<BinaryHeap<Reverse<(Instant, usize)>>>,
    services: RefCell<Vec<(usize, String)>>,
    /// Heartbeats that were sent so late that the platform may have given up.
    late: Cell<usize>,
}

impl<'a> Heart<'a> {
    fn new(apps: &'a Apps, population: &Population) -> Self {
        Self {
            apps,
            interval: Duration::from_secs(population.interval.into()),
            due: RefCell::default(),
            services: RefCell::default(),
            late: Cell::default(),
        }
    }

    fn add(&self, service: Service) {
        let mut services = self.services.borrow_mut();
        let first = service.registered + self.interval;
        self.due.borrow_mut().push(Reverse((first, services.len())));
        services.push((service.app, service.path));
    }

    /// The next heartbeat that is due by now: when it was, and of whom it is.
    fn next(&self) -> Option<(Instant, usize)> {
        let mut due = self.due.borrow_mut();
        let Reverse((at, _)) = due.peek()?;
        (*at <= Instant::now()).then(|| due.pop().map(|Reverse(next)| next)).flatten()
    }

    /// Sends those that are due, until `over`.
    async fn beat(&self, over: impl Fn() -> bool) -> Result<Vec<u64>> {
        let mut times = Vec::new();
        let mut under_way = FuturesUnordered::new();
        while !over() {
            while under_way.len() < TOGETHER
                && let Some((at, number)) = self.next()
            {
                under_way.push(self.one(at, number));
            }
            tokio::select! {
                Some(time) = under_way.next() => times.push(time?),
                () = tokio::time::sleep(BEAT) => {}
            }
        }
        while let Some(time) = under_way.next().await {
            times.push(time?);
        }
        Ok(times)
    }

    async fn one(&self, due: Instant, number: usize) -> Result<u64> {
        let (app, path) = self.services.borrow()[number].clone();
        let request = self.apps.request(Method::PUT, app, &format!("{path}/liveness"))?;
        let sent = Instant::now();
        answered(request.json(&json!({"state": "ACTIVE"})), 204).await?;
        // Half of the smallest grace.
        if due.elapsed() > Duration::from_millis(500) {
            self.late.set(self.late.get() + 1);
        }
        self.due.borrow_mut().push(Reverse((due + self.interval, number)));
        Ok(u64::try_from(sent.elapsed().as_micros())?)
    }
}
