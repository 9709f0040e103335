//! nginx as an upstream that asks who connects.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::{Issued, eventually, missing};

/// A running nginx with one TLS server; it ends when dropped.
pub(crate) struct Nginx {
    addr: SocketAddr,
    process: Child,
}

impl Nginx {
    /// Serves TLS with a certificate; `more` stands in its server block. `None` when the program is
    /// missing, which in CI is a failure.
    pub(crate) async fn start(folder: &Path, shown: &Issued, more: &str) -> Option<Self> {
        let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("nginx.crt", &shown.cert);
        write("nginx.key", &shown.key);
        let at = folder.display();
        write(
            "nginx.conf",
            &format!(
                "daemon off; master_process off; error_log {at}/nginx.log; pid {at}/nginx.pid;
                 events {{ worker_connections 64; }}
                 http {{ access_log off; client_body_temp_path {at}; proxy_temp_path {at};
                 fastcgi_temp_path {at}; uwsgi_temp_path {at}; scgi_temp_path {at};
                 server {{ listen {addr} ssl; ssl_certificate {at}/nginx.crt;
                 ssl_certificate_key {at}/nginx.key; {more}
                 location / {{ return 200 \"$ssl_server_name|$ssl_client_s_dn|$ssl_client_verify\"; }} }} }}"
            ),
        );
        let mut command = Command::new("nginx");
        command.args(["-p", &at.to_string(), "-e"]).arg(folder.join("nginx.log"));
        command.arg("-c").arg(folder.join("nginx.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = match command.kill_on_drop(true).spawn() {
            Ok(process) => process,
            Err(_) => {
                missing("nginx (Debian package nginx-light)");
                return None;
            }
        };
        eventually("nginx listens", async || {
            tokio::net::TcpStream::connect(addr).await.ok().map(drop)
        })
        .await;
        Some(Self { addr, process })
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.start_kill();
    }
}
