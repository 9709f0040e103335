//! A private PostgreSQL: made in a temporary folder, on a free port of the loopback and on a
//! Unix socket, with TLS and passwords, and ended with the test.
#![allow(dead_code, reason = "each suite uses its part")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gateway_control::store::postgres::{Options, Postgres, migrations};
use rustix::process::{Pid, Signal, kill_process};

/// A running server.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    binaries: PathBuf,
    owner: Option<(u32, u32)>,
    port: u16,
    process: Option<Child>,
}

const PASSWORD: &str = "it's 100% \"secret\"";
const DEADLINE: Duration = Duration::from_secs(60);

impl Server {
    /// Starts one; `None` where PostgreSQL is not installed, which CI does not accept.
    pub(crate) async fn start() -> Option<Self> {
        let Some(binaries) = binaries() else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "PostgreSQL is not installed");
            eprintln!("skipped: PostgreSQL is not installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // PostgreSQL refuses to run as root.
        let owner = (folder.path().metadata().unwrap().uid() == 0).then(unprivileged);
        let mut server = Self { folder, binaries, owner, port: 0, process: None };
        server.initialise();
        for _ in 0..5 {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if server.run().await {
                return Some(server);
            }
        }
        panic!("no server came up:\n{}", server.log());
    }

    /// How to reach it: role and database of its owner, over TCP with a password, without TLS.
    pub(crate) fn options(&self) -> Options {
        Options {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            user: "gateway".to_owned(),
            password: Some(PASSWORD.to_owned().into()),
            database: "postgres".to_owned(),
            schema: None,
            ssl: false,
            ssl_verify: false,
            ssl_trusted: None,
            pool_size: 2,
            timeout: Duration::from_secs(5),
            // So long that no test passes by it, but those that set another.
            poll: Duration::from_secs(3600),
        }
    }

    /// The folder of its Unix socket.
    pub(crate) fn socket(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// The certificate it shows, for the name localhost.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    /// A store in a database that was bootstrapped.
    pub(crate) async fn store(&self) -> Postgres {
        migrations::bootstrap(&self.options()).await.unwrap();
        Postgres::open(self.options()).await.unwrap()
    }

    /// Has its own client run statements.
    pub(crate) fn psql(&self, statements: &str) {
        self.client("psql", &["postgres", "-v", "ON_ERROR_STOP=1", "-q", "-c", statements]);
    }

    /// What `pg_dump` makes of its database.
    pub(crate) fn dump(&self, file: &Path) {
        let words = ["--no-owner", "--file", file.to_str().unwrap(), "postgres"];
        self.client("pg_dump", &words);
    }

    /// Has its own client run the statements of a file.
    pub(crate) fn run_file(&self, file: &Path) {
        let words = ["-v", "ON_ERROR_STOP=1", "-q", "-f", file.to_str().unwrap(), "postgres"];
        self.client("psql", &words);
    }

    /// Runs one of PostgreSQL's own clients.
    fn client(&self, name: &str, words: &[&str]) {
        let output = Command::new(self.binaries.join(name))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "gateway"])
            .args(words)
            .env("PGPASSWORD", PASSWORD)
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Ends it as a crash does: no session is finished.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let pid = Pid::from_child(&process);
            kill_process(pid, Signal::QUIT).unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts it again where it was.
    pub(crate) async fn restart(&mut self) {
        assert!(self.run().await, "the server did not come back:\n{}", self.log());
    }

    fn initialise(&self) {
        let folder = self.folder.path();
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(self.certificate(), certified.cert.pem()).unwrap();
        let key = folder.join("server.key");
        fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let password = folder.join("password");
        fs::write(&password, PASSWORD).unwrap();
        if let Some((user, group)) = self.owner {
            for path in [folder, &self.certificate(), &key, &password] {
                chown(path, Some(user), Some(group)).unwrap();
            }
        }
        let output = self
            .command("initdb")
            .args(["--username=gateway", "--auth=scram-sha-256", "--encoding=UTF8"])
            .args(["--no-locale", "--no-sync"])
            .arg(format!("--pwfile={}", password.display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Whether it came up.
    async fn run(&mut self) -> bool {
        let folder = self.folder.path();
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut process = self
            .command("postgres")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-k", &self.socket()])
            .args(["-c", "fsync=off", "-c", "ssl=on"])
            .arg("-c")
            .arg(format!("ssl_cert_file={}", self.certificate().display()))
            .arg("-c")
            .arg(format!("ssl_key_file={}", folder.join("server.key").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline && process.try_wait().unwrap().is_none() {
            if migrations::status(&self.options()).await.is_ok() {
                self.process = Some(process);
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _ = process.kill();
        let _ = process.wait();
        false
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.binaries.join(name));
        command.arg("-D").arg(self.folder.path().join("data")).current_dir(self.folder.path());
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The folder of the newest PostgreSQL, where Debian puts it or where the path leads.
fn binaries() -> Option<PathBuf> {
    let has =
        |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let packaged = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut packaged: Vec<PathBuf> =
        packaged.map(|version| version.path().join("bin")).filter(has).collect();
    packaged.sort();
    packaged.pop().or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).find(has)
    })
}

/// User and group for a server when the tests run as root.
fn unprivileged() -> (u32, u32) {
    let accounts = fs::read_to_string(Path::new("/etc/passwd")).unwrap();
    let ids = |name: &str| {
        let mut fields = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let account = fields.find(|fields| fields[0] == name)?;
        Some((account[2].parse().ok()?, account[3].parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody")).expect("an unprivileged account")
}
