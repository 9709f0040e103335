//! The signals that tell a running gateway something.

use anyhow::Result;
use gateway_proxy::Resolver;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::certificates::CertificateFiles;
use super::store::Declared;
use crate::log_file::LogFiles;

/// The signals that tell a running gateway something.
pub(super) struct Signals {
    term: Signal,
    quit: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

/// Why a gateway ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was told to, and idle connections are not waited for.
    Stopped,
    /// It was told to; who keeps a connection may ask once more.
    Graceful,
    /// Another process serves; otherwise as [`Self::Graceful`].
    Replaced,
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
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for one that ends the process; HUP reads the certificate files, the hosts file and the
    /// declarative configuration again, USR1 opens the log files anew, USR2 calls `upgrade`, after
    /// whose success another process serves.
    pub(super) async fn stopped(
        &mut self,
        certificates: &CertificateFiles,
        declared: &Declared,
        logs: &LogFiles,
        names: &Resolver,
        upgrade: impl AsyncFn() -> bool,
    ) -> End {
        loop {
            tokio::select! {
                _ = self.term.recv() => return End::Stopped,
                _ = self.quit.recv() => return End::Graceful,
                _ = self.interrupt.recv() => return End::Stopped,
                _ = self.user1.recv() => logs.reopen(),
                _ = self.user2.recv() => {
                    if upgrade().await {
                        return End::Replaced;
                    }
                }
                _ = self.hangup.recv() => {
                    names.reload();
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
