//! `start`, `stop`, `reload`, `health`: a gateway in the background, found by its pid file.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::cli::Place;
use crate::settings::{Listen, Settings};

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);
/// The least a gateway is given to quit, whatever was asked.
const LEAST: Duration = Duration::from_secs(1);
const EXIT: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);
/// How often a claim is tried: who only looks whether there is one holds it for an instant.
const LOOKERS: u32 = 10;
/// How long the status listener may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// The pid file of a prefix, where Kong keeps it.
pub(crate) fn pid_file(prefix: &Path) -> PathBuf {
    prefix.join("pids").join("nginx.pid")
}

/// Starts a gateway and waits until it serves.
pub(crate) fn start(place: &Place) -> Result<()> {
    let settings = place.settings()?;
    if !settings.process.daemon {
        return crate::wire::run(settings);
    }
    let prefix = &settings.process.prefix;
    if running(prefix).is_some() {
        bail!("Kong is already running in {}", prefix.display());
    }
    let logs = prefix.join("logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("making {}", logs.display()))?;
    let out = crate::log_file::open(&logs.join("start.log"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").args(place.words());
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    // A group of its own: the terminal's interrupt does not reach it.
    let mut child = command.process_group(0).spawn().context("starting in the background")?;
    await_ready(&settings, &mut child)?;
    println!("Kong started");
    Ok(())
}

fn await_ready(settings: &Settings, child: &mut Child) -> Result<()> {
    let prefix = &settings.process.prefix;
    let deadline = Instant::now() + START;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            let log = std::fs::read_to_string(prefix.join("logs").join("start.log"));
            let told = log.unwrap_or_default();
            let told = told.lines().rev().find_map(|line| line.strip_prefix("Error: "));
            bail!("{}", told.map_or_else(|| format!("it ended with {status}"), str::to_owned));
        }
        // It is alive, and has the claim before it writes that.
        if named(prefix).is_some_and(|pid| pid.as_raw_nonzero().get().unsigned_abs() == child.id())
        {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
    let _ = child.kill();
    bail!("it was not ready within {} s", START.as_secs())
}

/// Stops the gateway of a prefix and waits until it is gone.
pub(crate) fn stop(place: &Place, done: &str) -> Result<()> {
    let prefix = place.prefix()?;
    let pid = running(&prefix).with_context(|| not_running(&prefix))?;
    kill_process(pid, Signal::TERM).context("telling it to stop")?;
    if !gone(&prefix, pid, STOP) {
        bail!("it did not stop within {} s", STOP.as_secs());
    }
    println!("{done}");
    Ok(())
}

/// Stops the gateway of a prefix and gives it `timeout` for the requests in flight.
pub(crate) fn quit(place: &Place, wait: Duration, timeout: Duration) -> Result<()> {
    let prefix = place.prefix()?;
    let pid = running(&prefix).with_context(|| not_running(&prefix))?;
    std::thread::sleep(wait);
    kill_process(pid, Signal::QUIT).context("telling it to quit")?;
    if gone(&prefix, pid, timeout.max(LEAST)) {
        println!("Kong stopped (gracefully)");
        return Ok(());
    }
    kill_process(pid, Signal::TERM).context("telling it to stop")?;
    if !gone(&prefix, pid, STOP) {
        bail!("it did not stop within {} s", STOP.as_secs());
    }
    println!("Timeout, Kong stopped forcefully");
    Ok(())
}

/// Waits until a gateway is gone, no longer than `limit`.
fn gone(prefix: &Path, pid: Pid, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    // The claim on the prefix ends with the process.
    while is_claimed(prefix) {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    // What is left of it is its exit, which a parent that does not look may leave undone.
    let deadline = Instant::now() + EXIT;
    while test_kill_process(pid).is_ok() && Instant::now() < deadline {
        std::thread::sleep(LOOK);
    }
    true
}

/// Where a gateway that could not be replaced says why.
pub(crate) fn upgrade_error(prefix: &Path) -> PathBuf {
    prefix.join("pids").join("upgrade.error")
}

/// Has the gateway of a prefix replaced by a new process, and waits until that serves.
pub(crate) fn upgrade(place: &Place) -> Result<()> {
    let prefix = place.settings()?.process.prefix;
    let old = running(&prefix).with_context(|| not_running(&prefix))?;
    let error = upgrade_error(&prefix);
    let _ = std::fs::remove_file(&error);
    kill_process(old, Signal::USR2).context("telling it to upgrade")?;
    let deadline = Instant::now() + STOP;
    loop {
        if running(&prefix).is_some_and(|now| now != old) {
            println!("Kong upgraded");
            return Ok(());
        }
        if let Ok(why) = std::fs::read_to_string(&error) {
            bail!("the running gateway goes on: {}", why.trim());
        }
        if Instant::now() > deadline {
            bail!("no new process serves after {} s", STOP.as_secs());
        }
        std::thread::sleep(LOOK);
    }
}

/// Stops the gateway of a prefix, if one runs, and starts one.
pub(crate) fn restart(place: &Place) -> Result<()> {
    if running(&place.prefix()?).is_some() {
        stop(place, "Kong stopped")?;
    }
    start(place)
}

/// Has the gateway of a prefix read its files again.
pub(crate) fn reload(place: &Place) -> Result<()> {
    let prefix = place.prefix()?;
    let pid = running(&prefix).with_context(|| not_running(&prefix))?;
    kill_process(pid, Signal::HUP).context("telling it to reload")?;
    println!("Kong reloaded");
    Ok(())
}

/// Tells whether the gateway of a prefix runs and, if that is asked for, whether it answers.
pub(crate) fn health(place: &Place, ask: bool) -> Result<()> {
    let prefix = place.prefix()?;
    if running(&prefix).is_none() {
        println!("nginx.......not running\n");
        bail!("Kong is not running at {}", prefix.display());
    }
    if ask {
        let listeners = place.settings()?.listeners.status;
        // One without TLS, at a port that is known from outside the process.
        let plain = |listen: &&Listen| !listen.ssl && listen.addr.port() > 0;
        if let Some(listen) = listeners.iter().find(plain) {
            status_answers(listen.addr)
                .with_context(|| format!("Kong does not answer at {}", listen.addr))?;
        }
    }
    println!("nginx.......running\n\nKong is healthy at {}", prefix.display());
    Ok(())
}

/// Asks the status listener at an address it was told to listen on.
fn status_answers(mut addr: SocketAddr) -> Result<()> {
    if addr.ip().is_unspecified() {
        addr.set_ip(match addr {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let mut stream = TcpStream::connect_timeout(&addr, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; b"HTTP/1.1 200".len()];
    stream.read_exact(&mut head)?;
    ensure!(head == *b"HTTP/1.1 200", "{}", head.escape_ascii());
    Ok(())
}

fn not_running(prefix: &Path) -> String {
    format!("nginx not running in prefix: {}", prefix.display())
}

/// Claims a prefix for this process. The claim ends with the file, hence with the process however
/// that ends; a pid file alone could name a process that is long gone, or come too late.
///
/// # Errors
///
/// When another gateway has the prefix.
pub(crate) fn claim(prefix: &Path) -> Result<File> {
    let path = lock_file(prefix);
    let claim = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    for _ in 0..LOOKERS {
        match claim.try_lock() {
            Ok(()) => return Ok(claim),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
        }
    }
    bail!("Kong is already running in {}", prefix.display())
}

/// Whether a process has the prefix, or takes it just now.
fn is_claimed(prefix: &Path) -> bool {
    // Shared, so that two who look do not take each other for a gateway.
    File::open(lock_file(prefix))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The process that has the prefix. A pid file alone says little: in a container the process it names
/// is alive whatever became of the gateway that wrote it, since every first process has the same id.
pub(crate) fn running(prefix: &Path) -> Option<Pid> {
    let pid = named(prefix).filter(|pid| test_kill_process(*pid).is_ok())?;
    is_claimed(prefix).then_some(pid)
}

/// The process a pid file names.
fn named(prefix: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(pid_file(prefix)).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}

/// What is locked by whoever has a prefix.
fn lock_file(prefix: &Path) -> PathBuf {
    prefix.join("pids").join("gateway.lock")
}
