//! What the system lets this process have, and who comes after it.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::Semaphore;

use crate::handover::Legacy;
use crate::settings::process::Process;
use crate::{daemon, startup};

/// Raises the limit of open files to what is configured, or as far as the system allows.
pub(super) fn raise_open_files(process: &Process) {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let wanted = process.open_files.map_or(most, |files| files.min(most));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!("the limit of open files stays: {error}");
        }
    }
}

/// Files that are open beside connections: logs, the store, listeners.
const OTHERS: u64 = 256;
/// Clients of routers: operators, scrapers, applications that do not come through the proxy.
const OF_ROUTERS: usize = 1024;

/// How many client connections there may be at one time.
pub(super) struct Room {
    pub(super) proxy: Arc<Semaphore>,
    pub(super) routers: Arc<Semaphore>,
}

impl Room {
    /// For the proxy those of all workers, but no more than two thirds of the files there may be. The
    /// rest is for upstreams, as most clients that keep a connection rest, and a little of it for
    /// routers.
    pub(super) fn of(process: &Process) -> Self {
        let configured = process.connections.saturating_mul(process.workers.threads().get());
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(OTHERS);
        let part = |files: u64| usize::try_from(files).unwrap_or(usize::MAX);
        let room = |most: usize| Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            proxy: room(configured.min(part(files / 3 * 2))),
            routers: room(OF_ROUTERS.min(part(files / 12))),
        }
    }
}

/// Starts a process that takes over; false when it fails and this one goes on.
pub(super) async fn upgrade(legacy: &Legacy<'_>, prefix: &Path) -> bool {
    tracing::info!("upgrading: a new process takes over");
    let done = async {
        let bequest = legacy.copied().context("copying sockets")?;
        tokio::task::spawn_blocking(move || bequest.hand_over()).await.context("handing over")?
    };
    match done.await {
        Ok(()) => true,
        Err(error) => {
            tracing::error!("the upgrade failed, this process goes on: {error:#}");
            let _ = startup::write_private(
                &daemon::upgrade_error(prefix),
                format!("{error:#}\n").as_bytes(),
            );
            false
        }
    }
}
