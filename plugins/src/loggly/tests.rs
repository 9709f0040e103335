#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::contract::Node;
use crate::test_kit::rig_on;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_a_message_with_token_and_tags() {
    let collector = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = collector.local_addr().unwrap().port();
    let mut rig = rig_on(Node { hostname: "gw-1".into(), ..Node::default() });
    let config = json!({
        "host": "127.0.0.1", "port": port, "key": "token", "tags": ["kong", "eu"],
        "successful_severity": "debug", "server_errors_severity": "crit",
    });
    let plugin = rig.plugin("loggly", config);
    // Debug is below the level, which is info.
    for (target, status) in [("/1", 200), ("/2", 404), ("/3", 500)] {
        rig.get(target).log(&plugin, status);
    }
    let mut buffer = vec![0; 65_536];
    for (priority, target) in [(14, "/2"), (10, "/3")] {
        let received = tokio::time::timeout(PATIENCE, collector.recv(&mut buffer));
        let length = received.await.expect("an entry in time").unwrap();
        let message = std::str::from_utf8(&buffer[..length]).unwrap();
        let (head, entry) = message.split_at(message.find('{').unwrap());
        assert_eq!(
            head,
            format!(
                "<{priority}>1 2026-01-01T00:00:30Z gw-1 kong - - \
                 [token@41058 tag=\"kong\" tag=\"eu\"] "
            )
        );
        let entry: Value = serde_json::from_str(entry).unwrap();
        assert_eq!(entry["request"]["uri"], target);
    }
}
