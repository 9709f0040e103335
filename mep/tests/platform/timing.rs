//! The time, asked of a real NTP server.

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway_model::Clock;
use mep::timing::{Ntp, TimeSource as _};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tempfile::TempDir;

/// Knows one name, and who asked for which.
#[derive(Default)]
struct Names(Mutex<Vec<String>>);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        self.0.lock().unwrap().push(name.as_str().to_owned());
        let found = match name.as_str() {
            "time.test" => {
                Ok(Box::new(std::iter::once(([127_u8, 0, 0, 1], 0_u16).into())) as Addrs)
            }
            other => Err(format!("{other} is unknown").into()),
        };
        Box::pin(std::future::ready(found))
    }
}

fn source(host: &str, port: u16, now_ms: u64) -> Ntp {
    Ntp::new(host, port, Arc::new(Names::default()), Clock::fixed(now_ms))
}

/// A `chronyd` of our own that leaves the system's clock alone.
struct Chrony {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Chrony {
    /// `None` when the program is missing outside of CI.
    fn start(source: &str) -> Option<Self> {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let config = folder.path().join("chrony.conf");
        let text = format!(
            "port {port}\nbindaddress 127.0.0.1\nallow 127.0.0.1\ncmdport 0\n\
             bindcmdaddress /\npidfile {path}/pid\n{source}\n"
        );
        std::fs::write(&config, text).unwrap();
        let spawned = Command::new("chronyd")
            .args(["-d", "-x", "-U", "-u", "root", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match spawned {
            Ok(child) => Some(Self { child, port, _folder: folder }),
            Err(cause) => {
                let program = "the chronyd program (Debian package chrony)";
                assert!(std::env::var_os("CI").is_none(), "{program}: {cause}");
                eprintln!("skipped: {program} is missing");
                None
            }
        }
    }

    /// The first reading it gives.
    async fn reading(&self) -> mep::timing::Reading {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            // A source of its own each time: a failure is remembered for a moment.
            let source = source("127.0.0.1", self.port, 7_500);
            match source.now().await {
                Ok(reading) => return reading,
                Err(why) => assert!(Instant::now() < deadline, "{why}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Chrony {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_server_that_knows_the_time() {
    let Some(server) = Chrony::start("local stratum 3") else { return };
    let reading = server.reading().await;
    assert!(reading.traceable);
    // It serves this machine's clock.
    let off = Clock::system().unix_seconds().abs_diff(reading.seconds().into());
    assert!(off < 60, "{off} s apart");
}

#[tokio::test]
async fn a_server_that_does_not() {
    let Some(server) = Chrony::start("") else { return };
    let reading = server.reading().await;
    assert!(!reading.traceable);
    assert_eq!(reading.seconds(), 7, "the system's clock, as it was given");
}

#[tokio::test]
async fn no_server() {
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let source = source("127.0.0.1", gone, 0);
    let why = source.now().await.unwrap_err().to_string();
    assert!(why.contains("127.0.0.1"), "{why}");
    assert_eq!(source.server().unwrap().host, "127.0.0.1");
}

/// Its name is one the platform's own resolver knows, or nobody does.
#[tokio::test]
async fn a_server_by_its_name() {
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let names = Arc::new(Names::default());
    for (host, wanted) in [("time.test", "Connection refused"), ("localhost", "is unknown")] {
        let source = Ntp::new(host, gone, Arc::clone(&names) as _, Clock::fixed(0));
        let why = source.now().await.unwrap_err().to_string();
        assert!(why.contains(wanted), "{why}");
    }
    assert_eq!(*names.0.lock().unwrap(), ["time.test", "localhost"]);
    let Some(server) = Chrony::start("local stratum 3") else { return };
    server.reading().await;
    assert!(source("time.test", server.port, 0).now().await.unwrap().traceable);
}
