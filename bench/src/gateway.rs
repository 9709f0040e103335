//! The gateway under measurement: built, started on free ports, configured over its Admin API.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::Bench;
use crate::load::{Bound, drive};
use crate::process::Process;

/// The longest a start or one answer may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Builds the gateway in the profile of this program and gives its path.
///
/// # Errors
///
/// When it does not build.
pub(crate) fn built() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let file = own.with_file_name("gateway");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = std::process::Command::new(cargo);
    build.args(["build", "--quiet", "--package", "gateway-server"]);
    build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    if cfg!(debug_assertions) {
        eprintln!("built without optimisation: the figures mean nothing, use --release");
    } else {
        build.arg("--release");
    }
    let status = build.status().context("cargo build")?;
    ensure!(status.success(), "building the gateway: {status}");
    ensure!(file.is_file(), "{} is not there after building it", file.display());
    Ok(file)
}

/// A running gateway with one worker and a prefix of its own.
pub(crate) struct Gateway {
    // Before the prefix: the process is gone before its folder is.
    pub(crate) process: Process,
    pub(crate) prefix: TempDir,
    client: Client,
    /// Listeners as printed: `proxy http` to `http://127.0.0.1:40001`.
    listeners: HashMap<String, String>,
}

impl Gateway {
    /// Starts it and waits until it says that it is ready.
    ///
    /// # Errors
    ///
    /// When it ends or stays silent instead, with what it wrote to its log.
    pub(crate) async fn start(bench: &Bench) -> Result<Self> {
        Self::start_with(bench, 1, &[]).await
    }

    /// The same with more workers and settings.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub(crate) async fn start_with(
        bench: &Bench,
        workers: usize,
        more: &[(&str, &str)],
    ) -> Result<Self> {
        let prefix = tempfile::Builder::new().prefix("gateway-bench-").tempdir()?;
        Self::start_in(bench, prefix, workers, more).await
    }

    /// The same in a prefix where one may have been before.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub(crate) async fn start_in(
        bench: &Bench,
        prefix: TempDir,
        workers: usize,
        more: &[(&str, &str)],
    ) -> Result<Self> {
        let log = prefix.path().join("stderr.log");
        let mut command = bench.machine.proxy_command(&bench.gateway, workers);
        // Nothing of the environment but the way to `taskset`.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.env("KONG_PREFIX", prefix.path()).current_dir(prefix.path());
        for (key, value) in [
            ("PROXY_LISTEN", "127.0.0.1:0, 127.0.0.1:0 ssl http2"),
            ("ADMIN_LISTEN", "127.0.0.1:0"),
            ("STATUS_LISTEN", "127.0.0.1:0"),
            ("MEP_LISTEN", "off"),
            ("MEP_AUTH_LISTEN", "127.0.0.1:0"),
            ("NGINX_WORKER_PROCESSES", workers.to_string().as_str()),
            ("SSL_CERT", &bench.certificate.certificate().display().to_string()),
            ("SSL_CERT_KEY", &bench.certificate.key().display().to_string()),
            ("PROXY_ACCESS_LOG", "off"),
            ("ADMIN_ACCESS_LOG", "off"),
            // As the peers: no connection ends while it is measured.
            ("NGINX_HTTP_KEEPALIVE_REQUESTS", "1000000000"),
            ("NGINX_HTTP_KEEPALIVE_TIMEOUT", "3600s"),
            // Load from one application is what is measured.
            ("MEP_RATE_LIMIT_MP1", "0"),
            // The upstream of registered services is here.
            ("MEP_SSRF_ALLOW", "127.0.0.1"),
        ]
        .iter()
        .chain(more)
        {
            command.env(format!("KONG_{key}"), value);
        }
        command.stdout(Stdio::piped()).stderr(std::fs::File::create(&log)?);
        let mut process = Process::start(&mut command)?;
        let ready = tokio::time::timeout(DEADLINE, summary(&mut process)).await;
        let listeners = match ready {
            Ok(Ok(listeners)) => listeners,
            _ => bail!("not ready: {}", std::fs::read_to_string(&log).unwrap_or_default()),
        };
        let client = client().build()?;
        Ok(Self { process, prefix, client, listeners })
    }

    /// `http://HOST:PORT` of a listener.
    ///
    /// # Errors
    ///
    /// When it did not say that it has one.
    pub(crate) fn origin(&self, listener: &str, scheme: &str) -> Result<&str> {
        let found = self.listeners.get(&format!("{listener} {scheme}"));
        found.map(String::as_str).with_context(|| format!("no {scheme} listener {listener}"))
    }

    /// A request to the Admin API.
    ///
    /// # Errors
    ///
    /// When there is no Admin API.
    pub(crate) fn admin(&self, method: reqwest::Method, path: &str) -> Result<RequestBuilder> {
        let url = format!("{}{path}", self.origin("admin", "http")?);
        Ok(self.client.request(method, url))
    }

    /// Makes an entity at a path of the Admin API.
    ///
    /// # Errors
    ///
    /// Any answer but 201, with its body.
    pub(crate) async fn create(&self, path: &str, entity: &Value) -> Result<()> {
        let make = self.creations(path, |_| entity.clone())?;
        drive(1, Bound::Count(1), 201, make).await.map(drop).with_context(|| path.to_owned())
    }

    /// Requests that make numbered entities at a path of the Admin API.
    ///
    /// # Errors
    ///
    /// When there is no Admin API.
    pub(crate) fn creations(
        &self,
        path: &str,
        entity: impl Fn(u64) -> Value,
    ) -> Result<impl Fn(u64) -> Result<RequestBuilder>> {
        let url = format!("{}{path}", self.origin("admin", "http")?);
        Ok(move |number| Ok(self.client.post(&url).json(&entity(number))))
    }
}

/// A client that believes no authority and speaks HTTP/1.1.
pub(crate) fn client() -> reqwest::ClientBuilder {
    Client::builder().timeout(DEADLINE).http1_only().tls_certs_only([]).no_proxy()
}

/// Reads what it prints at its start; whatever comes later is read and dropped.
async fn summary(process: &mut Process) -> Result<HashMap<String, String>> {
    let out = process.child().stdout.take().context("its output")?;
    let mut lines = BufReader::new(out).lines();
    let mut listeners = HashMap::new();
    while let Some(line) = lines.next_line().await? {
        if line == "Try next:" {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(listeners);
        }
        let mut words = line.split_whitespace();
        if let (Some(name), Some(origin)) = (words.next(), words.next())
            && let Some((scheme @ ("http" | "https"), _)) = origin.split_once("://")
        {
            listeners.insert(format!("{name} {scheme}"), origin.to_owned());
        }
    }
    bail!("it ended")
}
