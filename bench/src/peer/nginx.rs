//! nginx as it comes: it checks no tokens, and is the measure of all others.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use tokio::process::Command;

use super::{Peer, Ports, REMOVED, Setup, Start};

pub(super) const NAME: &str = "nginx";

pub(super) struct Nginx;

impl Peer for Nginx {
    fn name(&self) -> &str {
        NAME
    }

    fn version(&self) -> Result<String, String> {
        version().ok_or_else(|| "apt-get install nginx-light".to_owned())
    }

    fn guards(&self) -> bool {
        false
    }

    fn command(&self, start: &Start<'_>) -> Result<Command> {
        command(start, &Parts::default())
    }
}

/// What nginx says it is.
pub(super) fn version() -> Option<String> {
    let line = super::said(Path::new("nginx"), "-v", "nginx/")?;
    Some(line.rsplit('/').next()?.to_owned())
}

/// What is added to a plain proxy.
#[derive(Default)]
pub(super) struct Parts {
    /// Before everything else.
    pub(super) main: String,
    pub(super) http: String,
    pub(super) server: String,
}

/// Writes the configuration of a proxy and makes the command that runs it.
pub(super) fn command(start: &Start<'_>, parts: &Parts) -> Result<Command> {
    let file = start.write("nginx.conf", &configuration(start, parts)?)?;
    let mut command = start.program(Path::new("nginx"));
    command.arg("-p").arg(start.folder).arg("-c").arg(&file).args(["-e", "stderr"]);
    Ok(command)
}

/// What an operator who cares for speed writes: no access log, kept connections on both sides,
/// bodies that are passed on as they come.
fn configuration(start: &Start<'_>, Parts { main, http, server }: &Parts) -> Result<String> {
    let Start { setup, folder, ports: Ports { plain, tls }, .. } = start;
    let Setup { upstream, certificate, workers, .. } = setup;
    // One worker needs nobody to look after it.
    let master = if *workers > 1 { "on" } else { "off" };
    let (certificate, key) = (certificate.certificate(), certificate.key());
    let (certificate, key) = (certificate.display(), key.display());
    let removed =
        setup.guard.as_ref().map_or(String::new(), |_| format!("proxy_hide_header {REMOVED};"));
    let mut locations = String::new();
    for prefix in &setup.prefixes {
        writeln!(locations, "        location {prefix} {{ proxy_pass http://one; }}")?;
    }
    let folder = folder.display();
    Ok(format!(
        "{main}
daemon off;
master_process {master};
worker_processes {workers};
pid {folder}/nginx.pid;
error_log stderr error;
worker_rlimit_nofile 20000;
events {{ worker_connections 15000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_max_body_size 0;
    {http}
    upstream one {{
        server {upstream};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {plain} backlog=4096;
        listen {tls} ssl http2 backlog=4096;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        proxy_http_version 1.1;
        proxy_set_header Connection \"\";
        proxy_request_buffering off;
        {removed}
        {server}
{locations}    }}
}}
"
    ))
}
