//! Bytes both ways between two connections.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

/// Most bytes held in one direction.
const PIECE: usize = 16 * 1024;

/// What went over a session.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Bytes from the client.
    pub(super) received: AtomicU64,
    /// Bytes to the client.
    pub(super) sent: AtomicU64,
    /// Bytes from the upstream.
    pub(super) upstream_received: AtomicU64,
    /// Bytes to the upstream.
    pub(super) upstream_sent: AtomicU64,
}

/// When anything last moved.
pub(super) struct Activity {
    began: Instant,
    /// Milliseconds after that.
    last: AtomicU64,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0) }
    }

    pub(super) fn note(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Waits until nothing moved for this long.
    pub(super) async fn silence(&self, limit: Duration) {
        loop {
            let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
            let due = self.began + last + limit;
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }
}

/// How a session of bytes ended.
#[derive(Debug)]
pub(super) enum End {
    /// Both sides said all they had to say.
    Done,
    /// Nothing moved for the time allowed.
    Silent,
    /// A side broke off.
    Broken(io::Error),
}

/// Copies both ways until both sides are done. One side may be done long before the other: what the
/// other still says is passed on.
pub(super) async fn pump(
    client: impl AsyncRead + AsyncWrite,
    upstream: impl AsyncRead + AsyncWrite,
    counts: &Counts,
    idle: Duration,
) -> End {
    let activity = Activity::new();
    let (from_client, to_client) = tokio::io::split(client);
    let (from_upstream, to_upstream) = tokio::io::split(upstream);
    let there = copy(from_client, to_upstream, &counts.received, &counts.upstream_sent, &activity);
    let back = copy(from_upstream, to_client, &counts.upstream_received, &counts.sent, &activity);
    let both = async { tokio::try_join!(there, back) };
    tokio::select! {
        outcome = both => match outcome {
            Ok(_) => End::Done,
            Err(error) => End::Broken(error),
        },
        () = activity.silence(idle) => End::Silent,
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    read: &AtomicU64,
    written: &AtomicU64,
    activity: &Activity,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let count = from.read(&mut piece).await?;
        if count == 0 {
            // A peer that is gone already needs no farewell.
            let _ = to.shutdown().await;
            return Ok(());
        }
        read.fetch_add(count as u64, Ordering::Relaxed);
        activity.note();
        to.write_all(&piece[..count]).await?;
        to.flush().await?;
        written.fetch_add(count as u64, Ordering::Relaxed);
        activity.note();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn a_side_may_be_done_before_the_other() {
        let (client, mut ours) = tokio::io::duplex(64);
        let (upstream, mut theirs) = tokio::io::duplex(64);
        let counts = Counts::default();
        let far = async {
            ours.write_all(b"question").await.unwrap();
            ours.shutdown().await.unwrap();
            let mut asked = String::new();
            theirs.read_to_string(&mut asked).await.unwrap();
            theirs.write_all(b"late answer").await.unwrap();
            drop(theirs);
            let mut answer = String::new();
            ours.read_to_string(&mut answer).await.unwrap();
            (asked, answer)
        };
        let idle = Duration::from_secs(60);
        let (end, (asked, answer)) = tokio::join!(pump(client, upstream, &counts, idle), far);
        assert!(matches!(end, End::Done), "{end:?}");
        assert_eq!((asked.as_str(), answer.as_str()), ("question", "late answer"));
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        assert_eq!((read(&counts.received), read(&counts.upstream_sent)), (8, 8));
        assert_eq!((read(&counts.upstream_received), read(&counts.sent)), (11, 11));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_session() {
        let (client, _ours) = tokio::io::duplex(64);
        let (upstream, _theirs) = tokio::io::duplex(64);
        let counts = Counts::default();
        let end = pump(client, upstream, &counts, Duration::from_secs(60)).await;
        assert!(matches!(end, End::Silent), "{end:?}");
    }
}
