//! The peer: nginx as a plain proxy in front of the same upstream, one process on the same core.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::machine::Machine;
use crate::process::Process;

/// A running nginx.
pub(crate) struct Nginx {
    // Before the folder: the process is gone before its files are.
    pub(crate) process: Process,
    _folder: TempDir,
    plain: SocketAddr,
    tls: SocketAddr,
}

impl Nginx {
    /// Starts it with the certificates found in `certs`, those of the gateway beside it.
    ///
    /// # Errors
    ///
    /// When it does not listen within ten seconds, with what it said.
    pub(crate) async fn start(
        machine: &Machine,
        upstream: SocketAddr,
        certs: &Path,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("nginx-bench-").tempdir()?;
        let (plain, tls) = free_ports()?;
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration(folder.path(), certs, upstream, plain, tls))?;
        let log = folder.path().join("stderr.log");
        let mut command = machine.proxy_command(Path::new("nginx"));
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file).args(["-e", "stderr"]);
        command.stdout(Stdio::null()).stderr(std::fs::File::create(&log)?);
        let process = Process::start(&mut command)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(tls).await.is_err() {
            if Instant::now() > deadline {
                bail!("nginx: {}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Self { process, _folder: folder, plain, tls })
    }

    /// `http://HOST:PORT`, or with TLS.
    pub(crate) fn origin(&self, scheme: &str) -> String {
        let address = if scheme == "https" { self.tls } else { self.plain };
        format!("{scheme}://{address}")
    }
}

/// Two ports that were free a moment ago, for nginx cannot say which it took.
fn free_ports() -> Result<(SocketAddr, SocketAddr)> {
    let any = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port");
    let (one, other) = (any()?, any()?);
    Ok((one.local_addr()?, other.local_addr()?))
}

fn configuration(
    folder: &Path,
    certs: &Path,
    upstream: SocketAddr,
    plain: SocketAddr,
    tls: SocketAddr,
) -> String {
    let (folder, certs) = (folder.display(), certs.display());
    format!(
        "daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    upstream one {{
        server {upstream};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {plain};
        listen {tls} ssl;
        ssl_certificate {certs}/server.crt;
        ssl_certificate_key {certs}/server.key;
        ssl_protocols TLSv1.3;
        location / {{
            proxy_pass http://one;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}
}}
"
    )
}
