//! The signals that tell a running gateway something.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Served;
use super::store::Declared;

/// The signals that tell a running gateway something.
pub(super) struct Signals {
    term: Signal,
    quit: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From here on none of them kills the process.
    ///
    /// # Errors
    ///
    /// When the system takes no handler.
    pub(super) fn listen() -> Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one that ends the process; HUP reads the certificate files and the declarative
    /// configuration again.
    pub(super) async fn stopped(&mut self, certificates: &Served, declared: &Declared) {
        loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.quit.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    match certificates.reload() {
                        Ok(()) => tracing::info!("certificates were read again"),
                        Err(error) => tracing::error!("the certificates in use stay: {error:#}"),
                    }
                    match declared.load().await {
                        Ok(()) => tracing::info!("the declarative configuration was read again"),
                        Err(error) => tracing::error!("the configuration in use stays: {error:#}"),
                    }
                }
            }
        }
    }
}
