//! A proxy there is no module for: whatever a command of the user's starts. What it is asked stands
//! in its environment, and what it does not do it is not measured for.

use std::path::Path;
use std::str::FromStr;

use anyhow::Result;
use tokio::process::Command;

use super::{APPLICATION, Guard, LIMIT, Peer, REMOVED, Start};

/// `NAME=COMMAND`.
#[derive(Clone)]
pub(crate) struct Other {
    name: String,
    command: String,
}

impl FromStr for Other {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.split_once('=').filter(|(name, command)| !name.is_empty() && !command.is_empty());
        let (name, command) = parts.ok_or("it is NAME=COMMAND")?;
        Ok(Self { name: name.to_owned(), command: command.to_owned() })
    }
}

impl Peer for Other {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> Result<String, String> {
        Ok("by a command".to_owned())
    }

    fn may_be_unable(&self) -> bool {
        true
    }

    fn command(&self, start: &Start<'_>) -> Result<Command> {
        let Start { setup, folder, ports, .. } = start;
        let prefixes = start.write("prefixes", &setup.prefixes.join("\n"))?;
        let mut command = start.program(Path::new("sh"));
        command.args(["-c", &self.command]).current_dir(folder);
        command
            .env("BENCH_LISTEN", ports.plain.to_string())
            .env("BENCH_LISTEN_TLS", ports.tls.to_string())
            .env("BENCH_UPSTREAM", setup.upstream.to_string())
            .env("BENCH_CERTIFICATE", setup.certificate.certificate())
            .env("BENCH_KEY", setup.certificate.key())
            .env("BENCH_PREFIXES", prefixes)
            .env("BENCH_WORKERS", setup.workers.to_string());
        if let Some(Guard { public_key, .. }) = &setup.guard {
            command
                .env("BENCH_TOKEN_KEY", public_key)
                .env("BENCH_TOKEN_HEADER", APPLICATION)
                .env("BENCH_REMOVE_HEADER", REMOVED)
                .env("BENCH_LIMIT_PER_MINUTE", LIMIT.to_string());
        }
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_name_and_a_command() {
        let other: Other = "mine=run --port=$BENCH_LISTEN".parse().unwrap();
        assert_eq!(
            (other.name.as_str(), other.command.as_str()),
            ("mine", "run --port=$BENCH_LISTEN")
        );
        for wrong in ["", "mine", "mine=", "=run"] {
            assert!(wrong.parse::<Other>().is_err(), "{wrong}");
        }
    }
}
