//! A child process, what it has started, and what they have used together.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// A running child in a process group of its own; dropping it kills the group by its id.
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
        let child = command.stdin(Stdio::null()).process_group(0).kill_on_drop(true).spawn();
        let name = command.as_std().get_program().display();
        let child = child.with_context(|| format!("starting {name}"))?;
        let id = child.id().context("it ended at once")?;
        Ok(Self { child, id })
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Kills it with all it started and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When it had already ended: whatever was measured last is worth nothing.
    pub(crate) async fn stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("it ended by itself: {status}");
        }
        self.kill_group();
        let gone = tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await;
        gone.context("it cannot be killed")??;
        Ok(())
    }

    /// CPU time of all its threads and children so far, in microseconds, by the system's clock
    /// ticks.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub(crate) fn cpu_micros(&self) -> Result<u64> {
        let used = |stat: &Stat| stat.ticks;
        let ticks: u64 = self.family()?.iter().map(used).sum();
        Ok(ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
    }

    /// The most memory it and its children ever had resident, in KiB.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub(crate) fn peak_rss_kib(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// The memory it and its children have resident now, in KiB.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub(crate) fn rss_kib(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    fn memory(&self, field: &str) -> Result<u64> {
        let mut sum = 0;
        for Stat { id, .. } in self.family()? {
            let path = format!("/proc/{id}/status");
            let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let number = line.and_then(|line| line.split_whitespace().next());
            sum += number.with_context(|| format!("{path} without {field}"))?.parse::<u64>()?;
        }
        Ok(sum)
    }

    /// It and its living descendants.
    fn family(&self) -> Result<Vec<Stat>> {
        let own = Stat::of(self.id).context("it has ended")?;
        let mut others = Vec::new();
        for entry in std::fs::read_dir("/proc")? {
            let id = entry?.file_name().to_str().and_then(|name| name.parse().ok());
            // One that ended meanwhile is left out.
            others.extend(id.and_then(Stat::of));
        }
        let mut family = vec![own];
        let mut at = 0;
        while let Some(parent) = family.get(at).map(|stat| stat.id) {
            let (children, rest) =
                others.into_iter().partition(|stat: &Stat| stat.parent == parent);
            others = rest;
            family.extend::<Vec<_>>(children);
            at += 1;
        }
        Ok(family)
    }

    fn kill_group(&self) {
        // Its id is its own until it was waited for.
        if self.child.id().is_some()
            && let Some(group) = i32::try_from(self.id).ok().and_then(Pid::from_raw)
        {
            // It may have ended a moment ago.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// What `/proc/PID/stat` says.
struct Stat {
    id: u32,
    parent: u32,
    /// CPU time of its threads, and of those of its children that were waited for.
    ticks: u64,
}

impl Stat {
    fn of(id: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The second field is a name in parentheses that may contain anything.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        let ticks = (11..15).map(number).sum::<Option<u64>>()?;
        Some(Self { id, parent: number(1)?.try_into().ok()?, ticks })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn children_count_and_end_with_their_parent() {
        let busy = "while :; do :; done & echo $!; wait";
        let mut command = Command::new("sh");
        let mut process =
            Process::start(command.args(["-c", busy]).stdout(Stdio::piped())).unwrap();
        let out = process.child().stdout.take().unwrap();
        let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(out));
        let child = lines.next_line().await.unwrap().unwrap().parse().unwrap();

        tokio::time::timeout(Duration::from_secs(30), async {
            while process.cpu_micros().unwrap() == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
        let alone = std::fs::read_to_string(format!("/proc/{}/status", process.id)).unwrap();
        let alone = alone.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let alone: u64 = alone.split_whitespace().next().unwrap().parse().unwrap();
        assert!(process.rss_kib().unwrap() > alone);
        assert!(process.peak_rss_kib().unwrap() >= process.rss_kib().unwrap());

        process.stop().await.unwrap();
        tokio::time::timeout(Duration::from_secs(10), async {
            // A zombie until whoever inherited it looks.
            let gone = || {
                let stat = std::fs::read_to_string(format!("/proc/{child}/stat"));
                stat.map_or(true, |stat| stat.contains(") Z "))
            };
            while !gone() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
        let _: u32 = child;
    }
}
