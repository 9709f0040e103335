#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::test_kit::rig;

const PATIENCE: Duration = Duration::from_secs(10);

/// The entries of a file, once there are so many.
async fn entries(path: &Path, count: usize) -> Vec<Value> {
    let read = async {
        loop {
            let text = tokio::fs::read_to_string(path).await.unwrap_or_default();
            if text.ends_with('\n') && text.lines().count() >= count {
                return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("entries in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_lines_of_a_file() {
    for reopen in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        let mut rig = rig();
        let config = json!({"path": path.to_str().unwrap(), "reopen": reopen});
        let plugin = rig.plugin("file-log", config);
        for target in ["/1", "/2", "/3"] {
            rig.get(target).log(&plugin, 200);
        }
        let uris = entries(&path, 3).await.into_iter().map(|entry| entry["request"]["uri"].clone());
        assert_eq!(uris.collect::<Vec<_>>(), ["/1", "/2", "/3"]);

        // Somebody moves the file away: it is followed, or made anew.
        let moved = folder.path().join("moved.json");
        tokio::fs::rename(&path, &moved).await.unwrap();
        rig.get("/4").log(&plugin, 200);
        let (file, count) = if reopen { (&path, 1) } else { (&moved, 4) };
        assert_eq!(entries(file, count).await.last().unwrap()["request"]["uri"], "/4");
    }
}

#[test]
fn what_is_refused() {
    let check = |config: Value, wanted: &str| {
        let refused = rig().try_plugin("file-log", config).err().unwrap();
        assert!(refused.contains(wanted), "{refused}");
    };
    check(json!({"path": "/tmp/a*b"}), "config.path: not a valid filename");
    let lua = json!({"path": "/tmp/log", "custom_fields_by_lua": {"my": "return f("}});
    check(lua, "Error parsing function");
}
