//! The signals that tell a running gateway something.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::CertificateFiles;
use super::store::Declared;
use crate::log_file::LogFiles;

/// The signals that tell a running gateway something.
pub(super) struct Signals {
    term: Signal,
    quit: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
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
            user1: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for one that ends the process; HUP reads the certificate files and the declarative
    /// configuration again, USR1 opens the log files anew.
    pub(super) async fn stopped(
        &mut self,
        certificates: &CertificateFiles,
        declared: &Declared,
        logs: &LogFiles,
    ) {
        loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.quit.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.user1.recv() => logs.reopen(),
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
    /// Waits for one that asks not to wait for requests in flight any longer.
    pub(super) async fn hurried(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
