//! [`UnservedNames`]: names clients want a certificate for and that have none.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use tokio::sync::mpsc;

/// Names clients ask for in handshakes and that no certificate is for, told to whoever may get one
/// (in Kong, a plugin's `certificate` phase). There is one in a process, among the things
/// [shared](super::Tools::shared).
#[derive(Debug, Default)]
pub struct UnservedNames {
    listeners: DashMap<u64, mpsc::Sender<String>>,
    next: AtomicU64,
}

impl UnservedNames {
    /// Tells names from now on; gives what [`leave`](Self::leave) ends it by. A listener that does
    /// not keep up misses some: their clients come again.
    pub fn listen(&self, to: mpsc::Sender<String>) -> u64 {
        let listener = self.next.fetch_add(1, Ordering::Relaxed);
        self.listeners.insert(listener, to);
        listener
    }

    /// Tells a listener nothing more.
    pub fn leave(&self, listener: u64) {
        self.listeners.remove(&listener);
    }

    /// A client asked for this name, in whatever case.
    pub fn report(&self, name: &str) {
        for listener in &self.listeners {
            // A full one is told by the next client.
            let _ = listener.try_send(name.to_ascii_lowercase());
        }
    }
}
