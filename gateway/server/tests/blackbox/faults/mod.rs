//! What breaks around a gateway: its disk, its databases, upstreams, clients, files,
//! clocks. In each case
//! somebody must be told, nobody else may notice, and what was acknowledged stays.
//!
//! The end of the process itself is in `durability`, hostile clients are in `hostile`.

mod clocks;
mod connections;
mod databases;
mod disks;
mod files;
mod upstreams;

use serde_json::{Value, json};

use crate::harness::{Answered as _, Gateway, plain};

/// A service with settings of its own and a route, both of this name, at `/name`.
async fn publish(gateway: &Gateway, name: &str, url: &str, settings: Value) {
    let mut service = json!({"name": name, "url": url});
    for (key, value) in settings.as_object().unwrap() {
        service[key] = value.clone();
    }
    plain().post(gateway.url("admin", "/services")).json(&service).answer().await.expect(201);
    let route = json!({"name": name, "paths": [format!("/{name}")]});
    let routes = gateway.url("admin", &format!("/services/{name}/routes"));
    plain().post(routes).json(&route).answer().await.expect(201);
}

/// The status a path gets at the proxy.
async fn status(gateway: &Gateway, path: &str) -> u16 {
    plain().get(gateway.url("proxy", path)).answer().await.status
}

/// Makes a consumer of this name; the status of the answer and its message.
async fn write(gateway: &Gateway, name: &str) -> (u16, String) {
    let request = plain().post(gateway.url("admin", "/consumers")).json(&json!({"username": name}));
    let answer = request.answer().await;
    (answer.status, answer.json()["message"].as_str().unwrap_or_default().to_owned())
}

/// Which of these consumers are not there.
async fn lost(gateway: &Gateway, names: &[String]) -> Vec<String> {
    let mut lost = Vec::new();
    for name in names {
        let url = gateway.url("admin", &format!("/consumers/{name}"));
        if plain().get(url).answer().await.status != 200 {
            lost.push(name.clone());
        }
    }
    lost
}

/// Resident memory of the gateway, in KiB.
fn memory(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
