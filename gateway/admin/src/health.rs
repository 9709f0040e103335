//! Health of targets, as the balancer tells it.
//!
//! Without a balancer nothing is checked: a target that is an address is shown so, and one that
//! is a name without what only resolving would tell.

use std::net::{IpAddr, SocketAddr};

use gateway_model::entities::{Target, Upstream};
use gateway_model::ports::{AddressState, Health, MarkError, TargetState};
use gateway_model::schema::types;
use gateway_model::{Item, Stored};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::collection::{found, found_below};
use crate::dispatch::Call;
use crate::nested::{Mark, Parent, Scope};
use crate::page::Window;
use crate::{error, page};

/// `GET /upstreams/{u}/health`: a row for each target, or one for all of them.
pub(crate) fn show(call: &Call<'_>, upstream: &str) -> Result<Answer, Answer> {
    let upstream = upstream_of(call, upstream)?;
    let mut body = if call.parameter("balancer_health").is_some_and(|flag| flag != "0") {
        json!({ "data": whole(call, &upstream), "next": null })
    } else {
        let window = Window::read(call)?;
        let targets = call.catalog.children::<Target>("upstream", upstream.id());
        let mut later = targets.filter(|one| window.after.is_none_or(|after| one.id() > after));
        let shown: Vec<Item<Target>> = later.by_ref().take(window.size).collect();
        let last = shown.last().filter(|_| later.next().is_some());
        let token = last.map(|last| page::encode(&json!([last.id()])));
        page::body(call, shown.iter().map(|target| row(call, &upstream, target)).collect(), token)
    };
    body["node_id"] = json!(call.admin.node.id);
    Ok(Answer::ok(body))
}

/// `PUT /upstreams/{u}/targets/{t}/healthy`
pub(crate) fn mark(call: &Call<'_>, mark: &Mark) -> Result<Answer, Answer> {
    let upstream = upstream_of(call, &mark.upstream)?;
    let kind = call.registry().kind("targets").ok_or_else(Answer::not_found)?;
    let above = Parent { kind: upstream.stored().kind(), key: String::new(), field: "upstream" };
    let scope = Scope { kind, parent: Some(above) };
    let target = found_below(call, &scope, upstream.stored(), &mark.target)?;
    let address: Option<SocketAddr> = match &mark.address {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| Answer::not_found())?),
    };
    let marked = call.ports.targets.as_ref().map_or(Err(MarkError::Unchecked), |balancer| {
        balancer.mark(upstream.id(), target.id(), address, mark.healthy)
    });
    match marked {
        Ok(()) => Ok(Answer::no_content()),
        Err(MarkError::Unchecked) => {
            Err(Answer::bad_request(format!("no healthchecker found for {}", upstream.name)))
        }
        Err(_) => Err(Answer::not_found()),
    }
}

fn upstream_of(call: &Call<'_>, key: &str) -> Result<Item<Upstream>, Answer> {
    let kind = call.registry().kind("upstreams").ok_or_else(Answer::not_found)?;
    let stored: std::sync::Arc<Stored> = found(call, kind, key)?;
    Item::new(&stored).ok_or_else(error::invalid_primary_key)
}

fn row(call: &Call<'_>, upstream: &Upstream, target: &Item<Target>) -> Value {
    let mut row = Value::Object(target.document());
    if let Some(state) = state(call, upstream, target) {
        let address = |one: &AddressState| {
            let mut shown = place(one);
            shown["health"] = word(one.health).into();
            shown
        };
        row["health"] = word(state.health).into();
        row["data"] = host(target, &state, address);
    }
    row
}

/// All targets in one: the answer to whether the upstream serves.
fn whole(call: &Call<'_>, upstream: &Item<Upstream>) -> Value {
    let targets = call.catalog.children::<Target>("upstream", upstream.id());
    let known: Vec<(Item<Target>, TargetState)> = targets
        .filter_map(|target| state(call, upstream, &target).map(|state| (target, state)))
        .collect();
    let weight =
        known.iter().map(|(_, state)| Weight::of(state)).fold(Weight::default(), Weight::add);
    let threshold = upstream.healthchecks.threshold.unwrap_or_default();
    let share = weight.available as f64 * 100.0;
    let healthy = weight.available > 0 && share >= threshold * weight.total as f64;
    let balancer = if healthy { "HEALTHY" } else { "UNHEALTHY" };
    let address = |one: &AddressState| {
        let mut shown = place(one);
        shown["healthy"] = serves(one).into();
        shown
    };
    let hosts: Vec<Value> =
        known.iter().map(|(target, state)| host(target, state, address)).collect();
    json!({
        "id": upstream.id(),
        "health": if upstream.healthchecks.are_on() { balancer } else { word(Health::Off) },
        "balancer_health": balancer,
        "details": { "healthy": healthy, "weight": weight.shown(), "hosts": hosts },
    })
}

/// What the balancer says of a target; what is true of any address when there is no balancer.
fn state(call: &Call<'_>, upstream: &Upstream, target: &Item<Target>) -> Option<TargetState> {
    if let Some(balancer) = &call.ports.targets {
        return balancer.target(upstream.id, target.id());
    }
    let (host, port) = target.host_and_port();
    let address: IpAddr = host.parse().ok()?;
    let weight = target.weight.map_or(100, u32::from);
    let address = AddressState { address: (address, port).into(), weight, health: Health::Off };
    Some(TargetState { health: Health::Off, addresses: vec![address] })
}

fn host(target: &Target, state: &TargetState, address: impl Fn(&AddressState) -> Value) -> Value {
    let (host, port) = target.host_and_port();
    let host = host.parse().map_or_else(|_| host.to_owned(), types::in_full);
    let dns = match state.addresses.first().map(|one| one.address) {
        None => "dns server error: 3 name error",
        Some(SocketAddr::V4(_)) => "A",
        Some(SocketAddr::V6(_)) => "AAAA",
    };
    // An empty list is an empty object here, as clients of the reference know it.
    let addresses: Vec<Value> = state.addresses.iter().map(address).collect();
    let addresses = if addresses.is_empty() { json!({}) } else { addresses.into() };
    json!({
        "host": host,
        "port": port,
        "dns": dns,
        "nodeWeight": target.weight,
        "weight": Weight::of(state).shown(),
        "addresses": addresses,
    })
}

fn place(one: &AddressState) -> Value {
    let ip = types::in_full(one.address.ip());
    json!({ "ip": ip, "port": one.address.port(), "weight": one.weight })
}

const fn serves(one: &AddressState) -> bool {
    matches!(one.health, Health::Healthy | Health::Off)
}

const fn word(health: Health) -> &'static str {
    match health {
        Health::Healthy => "HEALTHY",
        Health::DnsError => "DNS_ERROR",
        Health::Off => "HEALTHCHECKS_OFF",
        _ => "UNHEALTHY",
    }
}

/// Shares of the load.
#[derive(Clone, Copy, Default)]
struct Weight {
    total: u64,
    available: u64,
}

impl Weight {
    fn of(state: &TargetState) -> Self {
        let all = state.addresses.iter();
        let total = all.clone().map(|one| u64::from(one.weight)).sum();
        let available = all.filter(|one| serves(one)).map(|one| u64::from(one.weight)).sum();
        Self { total, available }
    }

    const fn add(self, other: Self) -> Self {
        Self { total: self.total + other.total, available: self.available + other.available }
    }

    fn shown(self) -> Value {
        json!({
            "total": self.total,
            "available": self.available,
            "unavailable": self.total - self.available,
        })
    }
}
