//! A child process and what it has used.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};

/// A running child; dropping it kills it by its id.
pub(crate) struct Process {
    child: Child,
    id: u32,
}

impl Process {
    /// Starts a command that runs until it is stopped.
    ///
    /// # Errors
    ///
    /// When the system cannot start it.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::null()).kill_on_drop(true).spawn();
        let name = command.as_std().get_program().display();
        let child = child.with_context(|| format!("starting {name}"))?;
        let id = child.id().context("it ended at once")?;
        Ok(Self { child, id })
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When it had already ended: whatever was measured last is worth nothing.
    pub(crate) async fn stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("it ended by itself: {status}");
        }
        let killed = tokio::time::timeout(Duration::from_secs(10), self.child.kill()).await;
        Ok(killed.context("it cannot be killed")??)
    }

    /// CPU time of all its threads so far, in microseconds, by the system's clock ticks.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub(crate) fn cpu_micros(&self) -> Result<u64> {
        let stat = self.proc("stat")?;
        // The second field is a name in parentheses that may contain anything.
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat without a name")?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks = || -> Result<u64> { Ok(fields.next().context("a short stat")?.parse()?) };
        let (user, system) = (ticks()?, ticks()?);
        Ok((user + system) * 1_000_000 / rustix::param::clock_ticks_per_second())
    }

    /// The most memory it ever had resident, in KiB.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub(crate) fn peak_rss_kib(&self) -> Result<u64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.context("no VmHWM")?.parse()?)
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.id);
        std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))
    }
}
