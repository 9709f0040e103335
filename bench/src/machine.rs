//! The machine: what it is, and which core each process gets.

use std::fmt;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use tokio::process::Command;

/// Where the measurements are taken.
#[derive(Serialize)]
pub(crate) struct Machine {
    processor: String,
    kernel: String,
    pub(crate) cores: usize,
    /// Whether proxies and load have cores of their own: the first ones for a proxy, as many as it
    /// has workers; the last one for everything else.
    pinned: bool,
    /// Processes that wanted a core in the minute before, by the kernel's count.
    load_average: f64,
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
                .args(["--pid", "--cpu-list", &(cores - 1).to_string(), &own])
                .stdout(Stdio::null())
                .status()
                .context("taskset")?;
            ensure!(status.success(), "taskset: {status}");
        }
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let about = read("/proc/cpuinfo");
        let model = about.lines().find_map(|line| line.strip_prefix("model name"));
        let processor = model.unwrap_or_default().trim_start_matches([' ', '\t', ':']).to_owned();
        let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
        let load = read("/proc/loadavg");
        let load_average = load.split(' ').next().unwrap_or_default().parse().unwrap_or_default();
        Ok(Self { processor, kernel, cores, pinned, load_average })
    }

    /// A command that will run on the first cores, as many as its workers.
    pub(crate) fn proxy_command(&self, program: &Path, workers: usize) -> Command {
        if !self.pinned {
            return Command::new(program);
        }
        // It becomes the program, so the child's id is the program's.
        let mut command = Command::new("taskset");
        let last = workers.clamp(1, self.cores) - 1;
        command.args(["--cpu-list", &format!("0-{last}")]).arg(program);
        command
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pinned = if self.pinned { "load on the last" } else { "not pinned" };
        write!(f, "{}, {} cores, {pinned}; Linux {}", self.processor, self.cores, self.kernel)?;
        if self.load_average > 0.5 {
            write!(f, "; others work here (load {}): figures are rough", self.load_average)?;
        }
        Ok(())
    }
}

/// Whether the search path leads to a program of that name.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers out of the path of ordinary users.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.into_iter().any(|folder| folder.join(program).is_file())
}
