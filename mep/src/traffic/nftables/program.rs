//! The `nft` program.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::NftablesSettings;
use crate::traffic::DriverError;

/// Gives commands to the program: all of them are done, or none.
///
/// # Errors
///
/// What it says, shortened.
pub(super) async fn run(settings: &NftablesSettings, commands: &Value) -> Result<(), DriverError> {
    let run = work(settings, commands.to_string());
    match tokio::time::timeout(settings.timeout, run).await {
        Ok(done) => done,
        Err(_) => {
            let seconds = settings.timeout.as_secs();
            Err(DriverError(format!("nft did not end within {seconds} s")))
        }
    }
}

async fn work(settings: &NftablesSettings, commands: String) -> Result<(), DriverError> {
    let program = settings.program.display();
    let failed = |cause: std::io::Error| DriverError(format!("{program}: {cause}"));
    let mut child = Command::new(&settings.program)
        .args(["-j", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says why in its own words.
        let _ = stdin.write_all(commands.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(SAID).collect();
    Err(DriverError(format!("{program} ended with {}: {said}", output.status)))
}

/// How much of what the program says is kept, characters.
const SAID: usize = 400;
