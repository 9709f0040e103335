//! The gateway the demo talks to: a running one, or one of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cli::Place;

/// A gateway, by its URLs.
pub(super) struct Instance {
    pub(super) proxy: String,
    pub(super) admin: String,
    pub(super) auth: String,
    pub(super) ca: Option<PathBuf>,
    own: Option<Own>,
}

struct Own {
    child: Child,
    folder: PathBuf,
}

const READY: Duration = Duration::from_secs(30);

impl Instance {
    /// A gateway that runs already.
    pub(super) const fn running(
        proxy: String,
        admin: String,
        auth: String,
        ca: Option<PathBuf>,
    ) -> Self {
        Self { proxy, admin, auth, ca, own: None }
    }

    /// Starts one on free loopback ports with a temporary folder. The only setting a production
    /// gateway would not have: services may live on loopback.
    pub(super) fn start(place: &Place) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("gateway-demo-{}", std::process::id()));
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("run")
            .env("KONG_PREFIX", &folder)
            .env("KONG_PROXY_LISTEN", "127.0.0.1:0, 127.0.0.1:0 ssl http2")
            .env("KONG_ADMIN_LISTEN", "127.0.0.1:0")
            .env("KONG_STATUS_LISTEN", "off")
            .env("KONG_MEP_LISTEN", "off")
            .env("KONG_MEP_AUTH_LISTEN", "127.0.0.1:0")
            .env("KONG_MEP_SSRF_ALLOW", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(file) = &place.conf {
            command.arg("-c").arg(file);
        }
        println!(
            "Starting a gateway of our own on free ports, with its state in {}",
            folder.display()
        );
        let child = command.spawn().context("starting a gateway")?;
        let mut own = Own { child, folder };
        match summary(&mut own.child) {
            Ok(lines) => Self::from_summary(&lines, own),
            Err(error) => {
                let _ = own.stop();
                Err(error)
            }
        }
    }

    fn from_summary(lines: &[String], own: Own) -> Result<Self> {
        let find = |name: &str, scheme: &str| {
            let mut words = lines.iter().map(|line| line.split_whitespace());
            words
                .find_map(|mut words| {
                    (words.next() == Some(name))
                        .then(|| words.next())
                        .flatten()
                        .filter(|url| url.starts_with(scheme))
                })
                .map(str::to_owned)
                .with_context(|| format!("the gateway names no {name} listener"))
        };
        Ok(Self {
            proxy: find("proxy", "https")?,
            admin: find("admin", "http")?,
            auth: find("mep-auth", "http")?,
            ca: Some(own.folder.join("certs").join("ca.crt")),
            own: Some(own),
        })
    }

    /// Stops it, if it is our own.
    pub(super) fn stop(self) -> Result<()> {
        self.own.map_or(Ok(()), Own::stop)
    }
}

impl Own {
    fn stop(mut self) -> Result<()> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself; the wait below tells.
            let _ = kill_process(pid, Signal::TERM);
        }
        self.child.wait().context("waiting for the gateway to end")?;
        let _ = std::fs::remove_dir_all(&self.folder);
        Ok(())
    }
}

/// The start-up summary, up to its last block.
fn summary(child: &mut Child) -> Result<Vec<String>> {
    let out = child.stdout.take().context("no output to read")?;
    let (lines, read) = mpsc::channel();
    // The thread goes on reading, so that the gateway never waits for us.
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    let deadline = Instant::now() + READY;
    let mut seen = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match read.recv_timeout(left) {
            Ok(line) if line.starts_with("Try next") => return Ok(seen),
            Ok(line) => seen.push(line),
            Err(_) => {
                let mut told = String::new();
                if child.try_wait()?.is_some()
                    && let Some(mut err) = child.stderr.take()
                {
                    let _ = err.read_to_string(&mut told);
                }
                bail!("the gateway did not start: {}", told.trim());
            }
        }
    }
}
