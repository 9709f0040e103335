#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::UnixDatagram;

use crate::contract::Node;
use crate::test_kit::{Rig, rig_on};

const PATIENCE: Duration = Duration::from_secs(10);

/// A system log, and a rig on its machine.
fn machine() -> (tempfile::TempDir, UnixDatagram, Rig) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("log");
    let log = UnixDatagram::bind(&socket).unwrap();
    let rig = rig_on(Node { syslog: socket, ..Node::default() });
    (folder, log, rig)
}

async fn next(log: &UnixDatagram) -> String {
    let mut buffer = vec![0; 65_536];
    let received = tokio::time::timeout(PATIENCE, log.recv(&mut buffer)).await;
    let length = received.expect("a message in time").unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_what_syslog_3_writes() {
    let (_folder, log, mut rig) = machine();
    let plugin = rig.plugin("syslog", json!({"facility": "local3"}));
    rig.get("/x").log(&plugin, 200);
    let message = next(&log).await;
    let (head, entry) = message.split_once(": ").unwrap();
    // Facility 19, severity 6; the time is the machine's own.
    let pattern = regex::Regex::new(r"^<158>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:30 kong\[(\d+)\]$");
    let found = pattern.unwrap().captures(head).unwrap_or_else(|| panic!("{head}"));
    assert_eq!(found[1], std::process::id().to_string());
    let entry: Value = serde_json::from_str(entry).unwrap();
    assert_eq!(entry["request"]["uri"], "/x");
}

#[tokio::test(flavor = "multi_thread")]
async fn severities_follow_the_status() {
    let (_folder, log, mut rig) = machine();
    let plugin = rig.plugin(
        "syslog",
        json!({
            "log_level": "warning", "successful_severity": "info",
            "client_errors_severity": "warning", "server_errors_severity": "alert",
        }),
    );
    for status in [200, 404, 500] {
        rig.get("/x").log(&plugin, status);
    }
    // Facility user; the answer of 200 is not worth a message.
    assert!(next(&log).await.starts_with("<12>"));
    assert!(next(&log).await.starts_with("<9>"));
}
