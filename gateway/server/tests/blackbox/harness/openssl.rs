//! The `openssl` program, which EdgeGallery's installer uses and which speaks TLS as its clients do.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::DEADLINE;

/// Runs `openssl` with words split at blanks, in `folder`.
pub(crate) async fn openssl(folder: &Path, words: &str) {
    let run = Command::new("openssl").args(words.split(' ')).current_dir(folder).output();
    let output = tokio::time::timeout(DEADLINE, run).await.expect("openssl ends");
    let output = output.expect("the openssl program (Debian package openssl)");
    assert!(
        output.status.success(),
        "openssl {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Connects as the original's clients do (name `edgegallery`, nothing verified) with the options in
/// `words`, sends `request` and gives everything that was printed: the session, then the answer.
pub(crate) async fn s_client(to: SocketAddr, words: &str, request: &str) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &to.to_string(), "-servername", "edgegallery", "-ign_eof"])
        .args(words.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the openssl program (Debian package openssl)");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(request.as_bytes()).await.expect("openssl reads");
    let told = tokio::time::timeout(DEADLINE, child.wait_with_output()).await;
    let told = told.expect("the server closes").expect("openssl ends");
    drop(stdin);
    String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned()
}
