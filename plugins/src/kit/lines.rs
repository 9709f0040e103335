//! Lines of the node's log, for those who send them on. They are told by whoever subscribes to
//! `tracing` in this process; while nobody listens that costs one look at a number.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use dashmap::DashMap;

/// A line of the log.
#[derive(Clone, Debug)]
pub struct Line {
    /// When, Unix nanoseconds.
    pub at_ns: u64,
    /// How grave it is.
    pub level: tracing::Level,
    /// The part of the program that says it.
    pub target: &'static str,
    /// What it says.
    pub text: String,
    /// The id of the request it is about.
    pub request: Option<String>,
}

/// Somebody who listens. Called by whoever writes a line: it must return at once.
pub(crate) trait Hear: Send + Sync {
    /// Hears a line.
    fn hear(&self, line: &Line);
}

static LISTENERS: LazyLock<DashMap<u64, Arc<dyn Hear>>> = LazyLock::new(DashMap::new);
static COUNT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether a line is being told on this thread: what listeners themselves say is not.
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

/// Whether anybody listens, and to this thread.
pub fn are_heard() -> bool {
    COUNT.load(Ordering::Relaxed) > 0 && !TELLING.get()
}

/// Tells a line to everybody who listens.
pub fn tell(line: &Line) {
    if TELLING.replace(true) {
        return;
    }
    // Outside the map: a listener may be the last to hold what ends a listening.
    let all: Vec<Arc<dyn Hear>> = LISTENERS.iter().map(|one| Arc::clone(one.value())).collect();
    all.iter().for_each(|one| one.hear(line));
    drop(all);
    TELLING.set(false);
}

/// Ends when it is dropped.
pub(crate) struct Listening(u64);

/// Has somebody hear every line from now on.
pub(crate) fn listen(who: Arc<dyn Hear>) -> Listening {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let at = NEXT.fetch_add(1, Ordering::Relaxed);
    LISTENERS.insert(at, who);
    COUNT.fetch_add(1, Ordering::Relaxed);
    Listening(at)
}

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENERS.remove(&self.0);
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }
}
