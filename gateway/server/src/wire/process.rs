//! What the system lets this process have, and who comes after it.

use std::path::Path;

use anyhow::Context as _;
use rustix::process::{Resource, getrlimit, setrlimit};

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

/// Client connections the proxy takes at one time: those of all workers, but no more than there may
/// be files, as each may need a second one to an upstream.
pub(super) fn most_connections(process: &Process) -> usize {
    let configured = process.connections.saturating_mul(process.workers.threads().get());
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let possible = usize::try_from(files.saturating_sub(OTHERS) / 2).unwrap_or(usize::MAX);
    configured.min(possible).clamp(1, tokio::sync::Semaphore::MAX_PERMITS)
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
