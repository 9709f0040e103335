//! An open loop: requests are due at fixed times, whether or not earlier ones were answered. Each
//! time is taken from when a request was due, so that those that wait behind a slow one count too
//! (no "coordinated omission").
//!
//! Threads that block, for the timers of an event loop are coarser than what is measured.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Bound, CONNECTIONS, Get, Outcome, Traffic};

/// The longest an answer may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between the start and the first request, for connections to be made.
const AHEAD: Duration = Duration::from_millis(50);

/// Sends requests over HTTP without TLS, so many a second.
pub(super) async fn send(
    traffic: &Traffic,
    origin: &str,
    rate: u32,
    bound: Bound,
) -> Result<Outcome> {
    ensure!(traffic.scheme == "http" && traffic.upload == 0, "only plain GETs are paced");
    let host = origin.strip_prefix("http://").context("an origin without TLS")?;
    let count = match bound {
        Bound::Count(count) => count,
        Bound::Time(length) => (length.as_secs_f64() * f64::from(rate)) as u64,
    };
    let head = |Get { path, token }: &Get| {
        let token = token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n"));
        let token = token.unwrap_or_default();
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{token}\r\n").into_bytes()
    };
    let requests: Vec<Vec<u8>> = traffic.requests.iter().map(head).collect();
    let plan = Plan {
        host: host.to_owned(),
        requests,
        wanted: traffic.wanted,
        began: Instant::now() + AHEAD,
        between: Duration::from_secs(1) / rate,
        count,
    };
    let times = tokio::task::spawn_blocking(move || plan.run()).await??;
    Outcome::of(times, Duration::from_secs_f64(count as f64 / f64::from(rate)))
}

struct Plan {
    host: String,
    requests: Vec<Vec<u8>>,
    wanted: u16,
    began: Instant,
    between: Duration,
    count: u64,
}

impl Plan {
    /// The times of all requests, in microseconds.
    fn run(&self) -> Result<Vec<u64>> {
        std::thread::scope(|scope| {
            let connections = (0..CONNECTIONS as u64).take_while(|first| *first < self.count);
            let threads: Vec<_> =
                connections.map(|first| scope.spawn(move || self.connection(first))).collect();
            let mut all = Vec::new();
            for thread in threads {
                match thread.join() {
                    Ok(times) => all.extend(times?),
                    Err(_) => bail!("a thread of the load panicked"),
                }
            }
            Ok(all)
        })
    }

    /// One connection, which sends each [`CONNECTIONS`]th request.
    fn connection(&self, first: u64) -> Result<Vec<u64>> {
        // The kernel would gather wake-ups that are 50 microseconds apart.
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        let mut connection = TcpStream::connect(&self.host)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(DEADLINE))?;
        let mut received = Vec::new();
        let mut times = Vec::new();
        for number in (first..self.count).step_by(CONNECTIONS) {
            let due = self.began + self.between * u32::try_from(number)?;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let at = usize::try_from(number)? % self.requests.len();
            connection.write_all(&self.requests[at])?;
            let status = read(&mut connection, &mut received)?;
            times.push(u64::try_from(due.elapsed().as_micros())?);
            ensure!(status == self.wanted, "request {number}: {status}");
        }
        Ok(times)
    }
}

/// Reads one answer to its end and tells its status.
fn read(connection: &mut TcpStream, received: &mut Vec<u8>) -> Result<u16> {
    let mut chunk = [0; 16 * 1024];
    received.clear();
    loop {
        let length = connection.read(&mut chunk)?;
        ensure!(length > 0, "the connection ended");
        received.extend_from_slice(&chunk[..length]);
        if let Some((status, length)) = answer(received)?
            && received.len() >= length
        {
            return Ok(status);
        }
    }
}

/// The status of an answer and its length, head and body together, as soon as its head is there.
///
/// # Errors
///
/// When it is no answer, or does not say how long it is.
pub(crate) fn answer(received: &[u8]) -> Result<Option<(u16, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(begin) = head.parse(received)? else { return Ok(None) };
    let length = head.headers.iter().find(|one| one.name.eq_ignore_ascii_case("content-length"));
    let length = length.context("an answer without its length")?.value;
    let length: usize = std::str::from_utf8(length)?.trim().parse()?;
    let status = head.code.context("an answer without a status")?;
    Ok(Some((status, begin + length)))
}
