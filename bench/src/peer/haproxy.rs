//! HAProxy with its own JWT check, which remembers nothing: each request is verified.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use tokio::process::Command;

use super::{APPLICATION, Guard, LIMIT, Peer, Ports, REMOVED, Setup, Start};

pub(super) struct HaProxy;

impl Peer for HaProxy {
    fn name(&self) -> &str {
        "haproxy"
    }

    fn version(&self) -> Result<String, String> {
        let line = super::said(Path::new("haproxy"), "-v", "version");
        let version = line.and_then(|line| Some(line.split_whitespace().nth(2)?.to_owned()));
        version.ok_or_else(|| "apt-get install haproxy".to_owned())
    }

    fn command(&self, start: &Start<'_>) -> Result<Command> {
        let file = start.write("haproxy.cfg", &configuration(start)?)?;
        let mut command = start.program(Path::new("haproxy"));
        command.args(["-db", "-q", "-f"]).arg(&file);
        Ok(command)
    }
}

fn configuration(start: &Start<'_>) -> Result<String> {
    let Setup { upstream, certificate, workers, .. } = start.setup;
    let Ports { plain, tls } = start.ports;
    let mut prefixes = String::new();
    for prefix in &start.setup.prefixes {
        writeln!(prefixes, "{prefix} one")?;
    }
    // A map is found by a tree of prefixes, however many there are.
    let map = start.write("prefixes.map", &prefixes)?;
    let (map, pem) = (map.display(), certificate.both());
    let pem = pem.display();
    let guard = start.setup.guard.as_ref().map(guard).unwrap_or_default();
    Ok(format!(
        "global
    nbthread {workers}
    maxconn 15000
    no strict-limits
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
frontend in
    bind {plain} backlog 4096
    bind {tls} backlog 4096 ssl crt {pem} alpn h2,http/1.1
    http-request deny deny_status 404 unless {{ path,map_beg({map}) -m found }}
{guard}    default_backend one
backend one
    http-reuse always
    server one {upstream}
backend counters
    stick-table type string len 64 size 100k expire 1m store http_req_rate(1m)
"
    ))
}

fn guard(Guard { public_key, .. }: &Guard) -> String {
    let key = public_key.display();
    format!(
        "    http-request set-var(txn.token) http_auth_bearer
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_header_query('$.alg') -m str RS512 }}
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify(\"RS512\",\"{key}\") 1 }}
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 if {{ var(txn.token),jwt_payload_query('$.exp','int'),sub(txn.now) le 0 }}
    http-request set-var(txn.app) var(txn.token),jwt_payload_query('$.sub')
    http-request track-sc0 var(txn.app) table counters
    http-request deny deny_status 429 if {{ sc_http_req_rate(0,counters) gt {LIMIT} }}
    http-request set-header {APPLICATION} %[var(txn.app)]
    http-response del-header {REMOVED}
"
    )
}
