#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::test_kit::rig;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_a_datagram() {
    let collector = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = collector.local_addr().unwrap().port();
    let mut rig = rig();
    let plugin = rig.plugin("udp-log", json!({"host": "127.0.0.1", "port": port}));
    // The second is longer than a datagram can be.
    for target in ["/1".to_owned(), format!("/{}", "x".repeat(70_000)), "/3".to_owned()] {
        let mut exchange = rig.get("/");
        exchange.uri = target;
        exchange.log(&plugin, 200);
    }
    let mut buffer = vec![0; 65_536];
    for wanted in ["/1", "/3"] {
        let received = tokio::time::timeout(PATIENCE, collector.recv(&mut buffer));
        let length = received.await.expect("an entry in time").unwrap();
        let entry: Value = serde_json::from_slice(&buffer[..length]).unwrap();
        assert_eq!(entry["request"]["uri"], wanted);
    }
}

#[test]
fn code_that_cannot_be_read_is_refused() {
    let config = json!({"host": "h", "port": 1, "custom_fields_by_lua": {"my": "return f("}});
    let refused = rig().try_plugin("udp-log", config).err().unwrap();
    assert!(refused.contains("Error parsing function"), "{refused}");
}
