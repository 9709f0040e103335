//! Edits under load: routes, targets and certificates are written twenty times a second while
//! clients send, plain and over TLS. No request may fail, no write may be refused.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::measured;
use crate::Bench;
use crate::gateway::Gateway;
use crate::load::{Bound, CONNECTIONS, Get, Traffic, drive};
use crate::report::{GATEWAY, Row};
use crate::upstream::Upstream;

/// Between writes.
const EVERY: Duration = Duration::from_millis(50);
/// Entities of a kind that are there at one time, besides the first.
const KEPT: u64 = 20;

/// One row for plain requests, one for those over TLS; writes go on through both.
pub(super) async fn run(bench: &Bench, name: &str) -> Result<Vec<Row>> {
    let gateway = Gateway::start(bench).await?;
    let others = [Upstream::start()?, Upstream::start()?];
    configure(bench, &gateway).await?;
    let mut rows = Vec::new();
    for scheme in ["http", "https"] {
        let mut traffic = Traffic::plain(vec![Get { path: "/soak".to_owned(), token: None }]);
        if scheme == "https" {
            traffic.scheme = "https";
            traffic.authority = Some(bench.certificate.pem.clone());
        }
        let client = traffic.client()?;
        let url = format!("{}/soak", gateway.origin("proxy", scheme)?);
        let mut rounds = Vec::new();
        for _ in 0..bench.rounds {
            let load = async {
                let get = |_| Ok(client.get(&url));
                let load = drive(CONNECTIONS, Bound::Time(bench.length), 200, get);
                let writes = writes(bench, &gateway, &others);
                let (outcome, written) = tokio::try_join!(load, writes)?;
                println!("  {written} writes");
                Ok(outcome)
            };
            let name = format!("{name}-{scheme}");
            rounds.push(measured(&name, GATEWAY, Some(&gateway.process), load).await?);
        }
        rows.push(Row::new(&format!("{name}-{scheme}"), GATEWAY, rounds, Some(&gateway.process))?);
    }
    gateway.process.stop().await?;
    Ok(rows)
}

async fn configure(bench: &Bench, gateway: &Gateway) -> Result<()> {
    gateway.create("/upstreams", &json!({"name": "soaked"})).await?;
    let target = json!({"target": bench.upstream.address.to_string()});
    gateway.create("/upstreams/soaked/targets", &target).await?;
    gateway.create("/services", &json!({"name": "soak", "url": "http://soaked"})).await?;
    gateway.create("/services/soak/routes", &json!({"name": "soak", "paths": ["/soak"]})).await
}

/// Writes until the time is over and tells how often; what was made is removed again in turn.
async fn writes(bench: &Bench, gateway: &Gateway, others: &[Upstream; 2]) -> Result<u64> {
    let length = bench.length;
    let key = std::fs::read_to_string(bench.certificate.key()).context("its key")?;
    let pair = json!({"cert": bench.certificate.pem, "key": key});
    let began = Instant::now();
    let mut tick = tokio::time::interval(EVERY);
    let (mut written, mut certificates) = (0, Vec::new());
    while began.elapsed() < length {
        tick.tick().await;
        let round = written / 6;
        match written % 6 {
            0 => {
                let path =
                    json!({"name": format!("r{round}"), "paths": [format!("/soak/{round}")]});
                write(gateway, Method::POST, "/services/soak/routes", &path, 201).await?;
            }
            1 => {
                let target = others[usize::try_from(round % 2)?].address.to_string();
                let path = "/upstreams/soaked/targets";
                // A target that is there already is refused; so each is taken away again below.
                write(gateway, Method::POST, path, &json!({"target": target}), 201).await?;
            }
            2 => {
                let mut certificate = pair.clone();
                certificate["snis"] = json!([format!("s{round}.test")]);
                let made = write(gateway, Method::POST, "/certificates", &certificate, 201).await?;
                certificates.push(made["id"].as_str().context("an id")?.to_owned());
            }
            3 => {
                let path = format!("/routes/r{round}");
                write(gateway, Method::PATCH, &path, &json!({"tags": ["edited"]}), 200).await?;
            }
            4 => {
                let target = others[usize::try_from(round % 2)?].address;
                let path = format!("/upstreams/soaked/targets/{target}");
                write(gateway, Method::DELETE, &path, &Value::Null, 204).await?;
            }
            _ if round >= KEPT => {
                let gone = round - KEPT;
                write(gateway, Method::DELETE, &format!("/routes/r{gone}"), &Value::Null, 204)
                    .await?;
                let certificate = format!("/certificates/{}", certificates.remove(0));
                write(gateway, Method::DELETE, &certificate, &Value::Null, 204).await?;
            }
            _ => {
                let of_route = json!({"tags": ["soaked"]});
                write(gateway, Method::PATCH, "/routes/soak", &of_route, 200).await?;
            }
        }
        written += 1;
    }
    // Names are free for the next round.
    for round in (written / 6 + 1).saturating_sub(KEPT + 1)..=written / 6 {
        let _ = gateway.admin(Method::DELETE, &format!("/routes/r{round}"))?.send().await?;
    }
    for target in others {
        let path = format!("/upstreams/soaked/targets/{}", target.address);
        let _ = gateway.admin(Method::DELETE, &path)?.send().await?;
    }
    for certificate in certificates {
        let path = format!("/certificates/{certificate}");
        write(gateway, Method::DELETE, &path, &Value::Null, 204).await?;
    }
    Ok(written)
}

async fn write(
    gateway: &Gateway,
    method: Method,
    path: &str,
    body: &Value,
    wanted: u16,
) -> Result<Value> {
    let request = gateway.admin(method.clone(), path)?;
    let request = if body.is_null() { request } else { request.json(body) };
    let answer = request.send().await?;
    let (status, body) = (answer.status(), answer.bytes().await?);
    let shown = String::from_utf8_lossy(&body);
    ensure!(status == wanted, "{method} {path}: {status} {shown}");
    Ok(serde_json::from_slice(&body).unwrap_or_default())
}
