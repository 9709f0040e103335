//! A closed loop of our own: for requests that differ each time, and where there is no wrk.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use reqwest::RequestBuilder;

use super::Outcome;

/// When a loop ends.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// No request begins after that long.
    Time(Duration),
    /// After so many requests.
    Count(u64),
}

/// Has `clients` send the numbered requests that `make` makes, each waiting for its answer.
///
/// # Errors
///
/// The first answer with another status than `wanted`, the first that does not come, and the first
/// request that cannot be made.
pub(crate) async fn drive(
    clients: usize,
    bound: Bound,
    wanted: u16,
    make: impl Fn(u64) -> Result<RequestBuilder>,
) -> Result<Outcome> {
    let began = Instant::now();
    let next = Cell::new(0);
    let client = async || -> Result<Vec<u64>> {
        let mut times = Vec::new();
        loop {
            let number = next.get();
            let over = match bound {
                Bound::Time(length) => began.elapsed() >= length,
                Bound::Count(count) => number >= count,
            };
            if over {
                return Ok(times);
            }
            next.set(number + 1);
            let sent = Instant::now();
            let answer = make(number)?.send().await?;
            let (status, body) = (answer.status(), answer.bytes().await?);
            times.push(u64::try_from(sent.elapsed().as_micros())?);
            let shown = String::from_utf8_lossy(&body);
            ensure!(status == wanted, "request {number}: {status} {shown}");
        }
    };
    let all = futures::future::try_join_all((0..clients).map(|_| client())).await?;
    Outcome::of(all.into_iter().flatten().collect(), began.elapsed())
}
