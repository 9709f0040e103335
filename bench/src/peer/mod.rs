//! The peers: other proxies of the same upstream, each asked to do the same work as the gateway.
//!
//! What they are asked is a [`Setup`]; how they say it is in a module for each. None is trusted to
//! do it: `scenario::verify` looks at its answers before anything is measured.

mod envoy;
mod haproxy;
mod lua;
mod nginx;
mod other;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::Bench;
use crate::certificate::Certificate;
use crate::machine::Machine;
use crate::process::Process;
pub(crate) use other::Other;

/// The name of the peer others are compared with.
pub(crate) const YARDSTICK: &str = nginx::NAME;
/// Where peers listen.
const PORTS: Range<u16> = 15_000..30_000;
/// The header of the upstream's answers that a guard removes.
pub(crate) const REMOVED: &str = "X-Powered-By";
/// The header a guard sets to the token's application, whatever the client sent.
pub(crate) const APPLICATION: &str = "X-AppinstanceID";
/// Requests of one application in a minute: a limit that is counted and never reached.
pub(crate) const LIMIT: u32 = 1_000_000_000;

/// What a proxy is asked to do.
pub(crate) struct Setup<'a> {
    pub(crate) upstream: SocketAddr,
    pub(crate) certificate: &'a Certificate,
    /// What is checked before a request goes on; `None` for nothing.
    pub(crate) guard: Option<Guard>,
    /// Prefixes of the paths that are let through, all to the same upstream.
    pub(crate) prefixes: Vec<String>,
    pub(crate) workers: usize,
}

impl<'a> Setup<'a> {
    /// One worker that lets a prefix through and checks nothing.
    pub(crate) fn plain(bench: &'a Bench, prefix: String) -> Self {
        Self {
            upstream: bench.upstream.address,
            certificate: &bench.certificate,
            guard: None,
            prefixes: vec![prefix],
            workers: 1,
        }
    }
}

/// A guard: lets through requests with a token signed with RS512 that has not ended, tells the
/// upstream its `sub` in [`APPLICATION`], counts requests up to [`LIMIT`] and removes [`REMOVED`]
/// from answers.
pub(crate) struct Guard {
    /// The PEM file of the key that tokens are verified with.
    pub(crate) public_key: PathBuf,
    /// The same key as a JSON Web Key Set.
    pub(crate) key_set: Value,
}

/// Where a proxy listens.
pub(crate) struct Ports {
    pub(crate) plain: SocketAddr,
    /// TLS 1.3, HTTP/1.1 and HTTP/2.
    pub(crate) tls: SocketAddr,
}

/// What a proxy is started with.
pub(crate) struct Start<'a> {
    machine: &'a Machine,
    setup: &'a Setup<'a>,
    /// A folder of its own.
    folder: &'a Path,
    ports: &'a Ports,
}

impl Start<'_> {
    /// Runs a program on the cores of the proxies.
    fn program(&self, program: &Path) -> Command {
        self.machine.proxy_command(program, self.setup.workers)
    }

    /// Writes a file of its folder.
    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.folder.join(name);
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
        Ok(file)
    }
}

/// A proxy that can be started.
pub(crate) trait Peer {
    fn name(&self) -> &str;

    /// The version that is installed.
    ///
    /// # Errors
    ///
    /// What to install, when there is none.
    fn version(&self) -> Result<String, String>;

    /// Whether it can be a [`Guard`]. One that cannot does the rest.
    fn guards(&self) -> bool {
        true
    }

    /// Whether it is left out, rather than the run ended, when it does not do what it is asked.
    fn may_be_unable(&self) -> bool {
        false
    }

    /// Writes its configuration to its folder and makes the command that runs it in the foreground.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    fn command(&self, start: &Start<'_>) -> Result<Command>;
}

/// The peers that are installed.
pub(crate) struct Peers {
    found: Vec<Box<dyn Peer>>,
    /// What is known about each: its version, or how to get it.
    pub(crate) versions: BTreeMap<String, String>,
}

impl Peers {
    /// Looks for those there are modules for, and adds others. With `only`, the rest is left out.
    pub(crate) fn find(others: Vec<Other>, only: Option<&[String]>) -> Self {
        let known: [Box<dyn Peer>; 4] = [
            Box::new(nginx::Nginx),
            Box::new(lua::Lua),
            Box::new(haproxy::HaProxy),
            Box::new(envoy::Envoy),
        ];
        let others = others.into_iter().map(|other| Box::new(other) as Box<dyn Peer>);
        let mut found = Vec::new();
        let mut versions = BTreeMap::new();
        let wanted =
            |peer: &dyn Peer| only.is_none_or(|names| names.iter().any(|n| n == peer.name()));
        for peer in known.into_iter().chain(others).filter(|peer| wanted(peer.as_ref())) {
            match peer.version() {
                Ok(version) => {
                    versions.insert(peer.name().to_owned(), version);
                    found.push(peer);
                }
                Err(missing) => {
                    versions.insert(peer.name().to_owned(), format!("not installed ({missing})"));
                }
            }
        }
        Self { found, versions }
    }

    /// Those a scenario asks for.
    pub(crate) fn chosen(&self, choice: Choice) -> impl Iterator<Item = &dyn Peer> {
        let peers = self.found.iter().map(AsRef::as_ref);
        peers.filter(move |peer| match choice {
            Choice::All => true,
            Choice::Guards => peer.guards(),
            Choice::Yardstick => peer.name() == YARDSTICK,
        })
    }
}

/// Which peers can do a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Each; one that cannot guard does the rest, as a measure of what guarding costs.
    All,
    /// Those that can tell a bad token.
    Guards,
    /// What others are compared with.
    Yardstick,
}

/// A peer that runs.
pub(crate) struct Running {
    pub(crate) name: String,
    // Before the folder: the process is gone before its files are.
    pub(crate) process: Process,
    /// Whether it checks tokens.
    pub(crate) guarded: bool,
    _folder: TempDir,
    ports: Ports,
}

impl Running {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    ///
    /// When it ends or does not listen in time, with what it said.
    pub(crate) async fn start(
        peer: &dyn Peer,
        machine: &Machine,
        setup: &Setup<'_>,
    ) -> Result<Self> {
        Self::started(peer, machine, setup).await.with_context(|| peer.name().to_owned())
    }

    async fn started(peer: &dyn Peer, machine: &Machine, setup: &Setup<'_>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("peer-bench-").tempdir()?;
        let ports = free_ports()?;
        let start = Start { machine, setup, folder: folder.path(), ports: &ports };
        let mut command = peer.command(&start)?;
        let log = folder.path().join("stderr.log");
        command.stdout(Stdio::null()).stderr(std::fs::File::create(&log)?);
        let mut process = Process::start(&mut command)?;
        let deadline = Instant::now() + Duration::from_secs(20);
        for port in [ports.plain, ports.tls] {
            while TcpStream::connect(port).await.is_err() {
                let ended = process.child().try_wait()?;
                if ended.is_some() || Instant::now() > deadline {
                    bail!("not listening: {}", std::fs::read_to_string(&log).unwrap_or_default());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let guarded = setup.guard.is_some() && peer.guards();
        Ok(Self { name: peer.name().to_owned(), process, guarded, _folder: folder, ports })
    }

    /// `http://HOST:PORT`, or with TLS.
    pub(crate) fn origin(&self, scheme: &str) -> String {
        let address = if scheme == "https" { self.ports.tls } else { self.ports.plain };
        format!("{scheme}://{address}")
    }
}

/// Two ports that were free a moment ago, for not every proxy can say which it took. They lie below
/// those the kernel gives to whoever asks for any, so that nobody is given them meanwhile.
fn free_ports() -> Result<Ports> {
    let (plain, tls) = (free_port()?, free_port()?);
    Ok(Ports { plain, tls })
}

fn free_port() -> Result<SocketAddr> {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Runs beside each other begin at different places.
    let first = std::process::id().wrapping_mul(101);
    for _ in 0..PORTS.len() {
        let offset = first.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % PORTS.len() as u32;
        let port = PORTS.start + u16::try_from(offset)?;
        if let Ok(free) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(free.local_addr()?);
        }
    }
    bail!("no port of {PORTS:?} is free")
}

/// The line of what a program says, to either output, that contains a word.
fn said(program: &Path, argument: &str, word: &str) -> Option<String> {
    let told = std::process::Command::new(program).arg(argument).output().ok()?;
    let text = [told.stdout, told.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().find(|line| line.contains(word)).map(|line| line.trim().to_owned())
}
