//! A real Redis for tests: on a free port, with a password, and over TLS on another.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{eventually, missing, openssl};

/// A running Redis, whose password is `pass`; dropping it kills it.
pub(crate) struct Redis {
    process: Child,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    folder: TempDir,
}

const PROGRAM: &str = "/usr/bin/redis-server";

impl Redis {
    /// Starts one; `None` where it is not installed, which in CI is a failure.
    pub(crate) async fn start() -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            missing("redis-server (Debian package redis)");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("redis-").tempdir().expect("a folder");
        let words = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 \
                     -subj /CN=redis.test";
        openssl(folder.path(), words).await;
        // The ports are free now; whoever takes one before Redis does makes this test fail, rarely.
        let free = || TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (one, two) = (free(), free());
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let (port, tls_port) = (port(&one), port(&two));
        drop((one, two));
        let conf = format!(
            "bind 127.0.0.1\nport {port}\ntls-port {tls_port}\ntls-cert-file cert.pem\n\
             tls-key-file key.pem\ntls-auth-clients no\nrequirepass pass\nsave \"\"\n\
             user limiter on >word ~* &* +@all\n"
        );
        std::fs::write(folder.path().join("redis.conf"), conf).expect("a file in the folder");
        let process = Self::spawn(folder.path());
        let redis = Self { process, port, tls_port, folder };
        redis.answers().await;
        Some(redis)
    }

    fn spawn(folder: &Path) -> Child {
        Command::new(PROGRAM)
            .arg("redis.conf")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server starts")
    }

    async fn answers(&self) {
        eventually("Redis answers", async || {
            (self.ask("PING", 0).await.trim() == "PONG").then_some(())
        })
        .await;
    }

    /// What a command gives, in a database.
    pub(crate) async fn ask(&self, words: &str, database: u32) -> String {
        let output = Command::new("/usr/bin/redis-cli")
            .args(["-p", &self.port.to_string(), "-a", "pass", "--no-auth-warning"])
            .args(["-n", &database.to_string()])
            .args(words.split(' '))
            .output()
            .await
            .expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Ends it; what it held is gone.
    pub(crate) async fn stop(&mut self) {
        self.process.kill().await.expect("it runs");
    }

    /// Starts it again, at the same ports.
    pub(crate) async fn start_again(&mut self) {
        self.process = Self::spawn(self.folder.path());
        self.answers().await;
    }
}
