//! The machine: which programs are installed and which core each process gets.

use std::fmt;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tokio::process::Command;

/// The core proxies have to themselves.
const PROXY_CORE: &str = "0";
/// The core of everything else: load, upstream, this process.
const LOAD_CORE: &str = "1";

/// Where the measurements are taken.
#[derive(Serialize)]
pub(crate) struct Machine {
    cores: usize,
    /// Whether proxies and load have cores of their own.
    pinned: bool,
    /// The version of nginx, where there is one.
    pub(crate) nginx: Option<String>,
}

impl Machine {
    /// Looks around and moves this process, with all it will start, to the core for the load.
    ///
    /// # Errors
    ///
    /// When there are two cores and `taskset` fails.
    pub(crate) fn here() -> Result<Self> {
        let cores = std::thread::available_parallelism()?.get();
        let pinned = cores > 1 && is_installed("taskset");
        if pinned {
            let own = std::process::id().to_string();
            let status = std::process::Command::new("taskset")
                .args(["--pid", "--cpu-list", LOAD_CORE, &own])
                .stdout(Stdio::null())
                .status()
                .context("taskset")?;
            ensure!(status.success(), "taskset: {status}");
        }
        let nginx = is_installed("nginx").then(|| {
            let told = std::process::Command::new("nginx").arg("-v").output();
            let told = told.map(|told| String::from_utf8_lossy(&told.stderr).trim().to_owned());
            told.unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned()
        });
        Ok(Self { cores, pinned, nginx })
    }

    /// A command that will run on the core of the proxies.
    pub(crate) fn proxy_command(&self, program: &Path) -> Command {
        if !self.pinned {
            return Command::new(program);
        }
        // It becomes the program, so the child's id is the program's.
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", PROXY_CORE]).arg(program);
        command
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pinned = if self.pinned { "proxies alone on the first" } else { "not pinned" };
        let nginx = self.nginx.as_deref().unwrap_or("not installed");
        write!(f, "{} cores, {pinned}; nginx {nginx}", self.cores)
    }
}

/// Whether the search path leads to a program of that name.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers out of the path of ordinary users.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.into_iter().any(|folder| folder.join(program).is_file())
}
