//! [`Kept`]: connections to upstreams that were made by `dial.rs` and rest between two requests.
//!
//! pingora's own pool knows connections by their socket, which one whose TLS is made here does not
//! show. It tells apart what may be kept and what may not, all the same: when a request is over it
//! looks at the connection once more, and only if it would keep it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::oneshot::{self, Receiver, Sender};
use tokio_rustls::client::TlsStream;

/// A connection, and how many requests it has carried.
pub(super) struct Rested {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) uses: u32,
}

/// Asks whoever holds a connection for it.
type Ask = Sender<Sender<Rested>>;

/// Connections that rest, by what they were made for.
pub(crate) struct Kept {
    most: usize,
    idle: Option<Duration>,
    resting: DashMap<u64, Vec<Ask>>,
    count: AtomicUsize,
}

impl Kept {
    /// Keeps at most so many, each for so long.
    pub(crate) fn new(most: usize, idle: Option<Duration>) -> Arc<Self> {
        Arc::new(Self { most, idle, resting: DashMap::new(), count: AtomicUsize::new(0) })
    }

    /// Takes a connection out; nobody else has it then.
    pub(super) async fn take(&self, key: u64) -> Option<Rested> {
        loop {
            let ask = self.resting.get_mut(&key)?.pop()?;
            let (give, given) = oneshot::channel();
            // One that has ended meanwhile does not answer.
            if ask.send(give).is_ok()
                && let Ok(rested) = given.await
            {
                return Some(rested);
            }
        }
    }

    /// Lets a connection rest until somebody takes it, the other end closes it or its time is over.
    pub(super) fn put(self: &Arc<Self>, key: u64, rested: Rested) {
        // A runtime that ends takes its connections along.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let (ask, asked) = oneshot::channel();
        self.resting.entry(key).or_default().push(ask);
        let kept = Arc::clone(self);
        runtime.spawn(async move {
            kept.rest(rested, asked).await;
            kept.count.fetch_sub(1, Ordering::Relaxed);
            if let Some(mut asks) = kept.resting.get_mut(&key) {
                asks.retain(|ask| !ask.is_closed());
            }
            kept.resting.remove_if(&key, |_, asks| asks.is_empty());
        });
    }

    async fn rest(&self, mut rested: Rested, mut asked: Receiver<Sender<Rested>>) {
        let over = async {
            match self.idle {
                Some(idle) => tokio::time::sleep(idle).await,
                None => std::future::pending().await,
            }
        };
        let mut byte = [0];
        tokio::select! {
            biased;
            give = &mut asked => {
                if let Ok(give) = give {
                    let _ = give.send(rested);
                }
            }
            // It is closed, or says something nobody asked for.
            _ = rested.stream.read(&mut byte) => {}
            () = over => {}
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({})", self.count.load(Ordering::Relaxed))
    }
}

/// One request's hold on a connection that was made by `dial.rs`.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    pub(super) reused: AtomicBool,
    /// How many requests the connection has carried before.
    pub(super) uses: AtomicU32,
    pub(super) over: AtomicBool,
}

impl Lease {
    /// Whether the connection carried a request before.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused.load(Ordering::Relaxed)
    }

    /// Whether this is the last request of `most`, 0 for no limit, that the connection carries.
    pub(crate) fn is_last(&self, most: u32) -> bool {
        most > 0 && self.uses.load(Ordering::Relaxed).saturating_add(1) >= most
    }

    /// Says that the answer was read to its end.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
