//! One gateway process: on free ports, with a folder of its own, ended by its id.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::{Answered as _, DEADLINE, plain};

/// What a gateway is started with.
pub(crate) struct Options {
    prefix: TempDir,
    variables: Vec<(String, String)>,
}

impl Options {
    /// Every listener on a free port of loopback; nothing else differs from the defaults.
    pub(crate) fn new() -> Self {
        let prefix = tempfile::Builder::new().prefix("gateway-").tempdir().expect("a folder");
        let both = "127.0.0.1:0, 127.0.0.1:0 ssl http2";
        let options = Self { prefix, variables: Vec::new() };
        options
            .set("proxy_listen", both)
            .set("admin_listen", both)
            .set("status_listen", "127.0.0.1:0")
            .set("mep_listen", "127.0.0.1:0")
            .set("mep_auth_listen", "127.0.0.1:0")
            .set("nginx_worker_processes", "1")
    }

    /// Sets a key of the configuration by its variable.
    pub(crate) fn set(mut self, key: &str, value: impl Into<String>) -> Self {
        let name = format!("KONG_{}", key.to_uppercase());
        self.variables.retain(|(one, _)| *one != name);
        self.variables.push((name, value.into()));
        self
    }

    /// Sets another variable of its environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Whether a key was set so.
    pub(crate) fn is(&self, key: &str, value: &str) -> bool {
        let name = format!("KONG_{}", key.to_uppercase());
        self.variables.iter().any(|(one, set)| *one == name && set == value)
    }

    /// The folder the gateway will have; files may be put there before it starts.
    pub(crate) fn prefix(&self) -> &Path {
        self.prefix.path()
    }

    /// Puts a file into that folder and gives its path.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.prefix().join(name);
        std::fs::write(&path, content).expect("a file in the prefix");
        path
    }

    /// The program with this environment and no other, for any command.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command
            .env_clear()
            .env("KONG_PREFIX", self.prefix())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.prefix())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command of the program that ends by itself: its code, output and error output.
    pub(crate) async fn run(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let run = self.command().args(words).output();
        let output = tokio::time::timeout(DEADLINE, run).await.expect("it ends");
        let output = output.expect("the program starts");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// Starts the gateway and waits until it says that it is ready.
    pub(crate) async fn start(self) -> Gateway {
        let command = self.command();
        Gateway::from_command(self, command).await
    }
}

/// A running gateway; dropping it kills it and removes its folder.
pub(crate) struct Gateway {
    // Before the options: the process is gone before its folder is.
    process: Process,
    options: Options,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Options::new().start().await
    }

    /// One that calls back what listens on loopback.
    pub(crate) async fn calling_back() -> Self {
        Options::new().set("mep_ssrf_allow", "127.0.0.1").start().await
    }

    /// A gateway that was not started in the usual way.
    pub(crate) async fn from_command(options: Options, command: Command) -> Self {
        Self { process: Process::start(command).await, options }
    }

    pub(crate) fn prefix(&self) -> &Path {
        self.options.prefix()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// The address of a plain listener: `proxy`, `admin`, `status`, `mep`, `mep-auth`.
    pub(crate) fn addr(&self, listener: &str) -> SocketAddr {
        self.process.summary.listener(listener, "http://")
    }

    /// The address of the name server.
    pub(crate) fn dns_addr(&self) -> SocketAddr {
        self.process.summary.listener("mep-dns", "dns://")
    }

    /// The address of a listener with TLS.
    pub(crate) fn tls_addr(&self, listener: &str) -> SocketAddr {
        self.process.summary.listener(listener, "https://")
    }

    /// The address of the first listener for streams of this kind: `tcp`, `tls` or `udp`.
    pub(crate) fn stream_addr(&self, kind: &str) -> SocketAddr {
        self.process.summary.listener("stream", &format!("{kind}://"))
    }

    /// `http://HOST:PORT` of a plain listener followed by `path`.
    pub(crate) fn url(&self, listener: &str, path: &str) -> String {
        format!("http://{}{path}", self.addr(listener))
    }

    /// As [`Self::url`], of the listener with TLS.
    pub(crate) fn tls_url(&self, listener: &str, path: &str) -> String {
        format!("https://{}{path}", self.tls_addr(listener))
    }

    /// What the first start printed: `APP_INST_ID`, `ACCESS_KEY` or `SECRET_KEY`.
    pub(crate) fn printed(&self, name: &str) -> Option<&str> {
        let mut lines = self.process.summary.0.iter();
        lines.find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))
    }

    /// The start-up summary, as printed.
    pub(crate) fn summary(&self) -> String {
        self.process.summary.0.join("\n")
    }

    /// Everything written to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.process.log.borrow().join("\n")
    }

    /// What it wrote to its log file so far.
    pub(crate) fn log_file(&self) -> String {
        let file = self.prefix().join("logs/error.log");
        std::fs::read_to_string(&file).unwrap_or_else(|why| panic!("{}: {why}", file.display()))
    }

    /// Deletes every entity there is, those of the platform too.
    pub(crate) async fn forget_everything(&self) {
        // What names others comes before what it names.
        let kinds = [
            "plugins",
            "routes",
            "services",
            "consumers",
            "upstreams",
            "snis",
            "certificates",
            "ca_certificates",
            "keys",
            "key-sets",
            "vaults",
        ];
        for kind in kinds {
            loop {
                let url = self.url("admin", &format!("/{kind}?size=1000"));
                let page = plain().get(url).answer().await;
                let rows = page.json()["data"].as_array().cloned().unwrap_or_default();
                if rows.is_empty() {
                    break;
                }
                for row in rows {
                    let id = row["id"].as_str().expect("an id");
                    let url = self.url("admin", &format!("/{kind}/{id}"));
                    plain().delete(url).answer().await.expect(204);
                }
            }
        }
    }

    /// The id of the process that was started.
    pub(crate) fn pid(&self) -> i32 {
        self.process.pid.expect("it runs").as_raw_nonzero().get()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.process.pid.expect("it runs");
        kill_process(pid, signal).expect("it can be told");
    }

    /// Waits until the process has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(DEADLINE, self.process.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it still runs\n{}", self.log()));
        self.process.pid = None;
        status.expect("its status")
    }

    /// Kills it where it stands and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    /// Starts it again in the same folder; the ports are others.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.process.pid.is_none(), "it still runs");
        self.process = Process::start(self.options.command()).await;
    }
}

struct Process {
    child: Child,
    pid: Option<Pid>,
    summary: Summary,
    log: watch::Receiver<Vec<String>>,
}

impl Process {
    async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let log = lines(child.stderr.take().expect("piped"));
        let out = lines(child.stdout.take().expect("piped"));
        let mut waiting = out.clone();
        let ready = waiting.wait_for(|lines| lines.iter().any(|line| line == "Try next:"));
        let ready = tokio::time::timeout(DEADLINE, ready).await;
        let summary = match ready {
            Ok(Ok(lines)) => Summary(lines.clone()),
            _ => panic!(
                "it was not ready: {:?}\n{}\n{}",
                child.try_wait(),
                out.borrow().join("\n"),
                log.borrow().join("\n")
            ),
        };
        Self { child, pid, summary, log }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.log.borrow().join("\n"));
        }
        if self.pid.is_some() {
            let _ = self.child.start_kill();
            let deadline = Instant::now() + Duration::from_secs(2);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Collects lines until the other end is closed.
fn lines(from: impl AsyncRead + Send + Unpin + 'static) -> watch::Receiver<Vec<String>> {
    let (told, receiver) = watch::channel(Vec::new());
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            told.send_modify(|lines| lines.push(line));
        }
    });
    receiver
}

struct Summary(Vec<String>);

impl Summary {
    fn listener(&self, name: &str, scheme: &str) -> SocketAddr {
        let addr = self.0.iter().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next()? == name).then_some(())?;
            words.next()?.strip_prefix(scheme)?.parse().ok()
        });
        addr.unwrap_or_else(|| panic!("no {scheme} listener {name} in\n{}", self.0.join("\n")))
    }
}
