//! The `dig` program: a resolver client as users have it.

use std::net::SocketAddr;

use tokio::process::Command;

use super::{DEADLINE, missing};

/// What `dig` understood of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dug {
    /// `NOERROR`, `SERVFAIL` ...; empty when nothing came.
    pub(crate) status: String,
    /// `qr aa rd`
    pub(crate) flags: Vec<String>,
    /// Name, TTL, class, type and data of each answer.
    pub(crate) answers: Vec<String>,
    /// The same of the authority section.
    pub(crate) authorities: Vec<String>,
    /// Everything that was printed.
    pub(crate) text: String,
}

/// Whether the program is installed; in CI it must be.
pub(crate) fn dig_is_here() -> bool {
    let found = std::process::Command::new("dig").arg("-v").output().is_ok();
    if !found {
        missing("dig (Debian package bind9-dnsutils)");
    }
    found
}

/// Asks the name server at `to` with words split at blanks, for instance `www.example.com A +tcp`.
/// One try, and truncated answers are taken as they are, unless the words say otherwise.
pub(crate) async fn dig(to: SocketAddr, words: &str) -> Dug {
    let run = Command::new("dig")
        .args([&format!("@{}", to.ip()), "-p", &to.port().to_string()])
        .args(["+tries=1", "+timeout=10", "+noall", "+comments", "+answer", "+authority"])
        .args(["+ignore", "+nocookie"])
        .args(words.split(' '))
        .output();
    let output = tokio::time::timeout(DEADLINE, run).await.expect("dig ends");
    let output = output.expect("the dig program (Debian package bind9-dnsutils)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    read(text)
}

fn read(text: String) -> Dug {
    let mut dug = Dug::default();
    let mut section = "";
    for line in text.lines() {
        if let Some((_, status)) = line.split_once("status: ") {
            dug.status = status.split(',').next().unwrap_or_default().to_owned();
        } else if let Some(flags) = line.strip_prefix(";; flags: ") {
            let flags = flags.split(';').next().unwrap_or_default();
            dug.flags = flags.split_whitespace().map(str::to_owned).collect();
        } else if line.starts_with(";;") {
            section = line;
        } else if !line.is_empty() && !line.starts_with(';') {
            let record = line.split_whitespace().collect::<Vec<_>>().join(" ");
            match section {
                ";; ANSWER SECTION:" => dug.answers.push(record),
                ";; AUTHORITY SECTION:" => dug.authorities.push(record),
                _ => {}
            }
        }
    }
    dug.text = text;
    dug
}
