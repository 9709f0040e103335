//! A new process takes the place of a running one, and nobody notices.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::json;

use crate::harness::{Answered as _, Gateway, Load, Options, Upstream, eventually, plain};

async fn publish(gateway: &Gateway, upstream: &Upstream) {
    let service = json!({"name": "a", "url": upstream.url()});
    plain().post(gateway.url("admin", "/services")).json(&service).answer().await.expect(201);
    let route = json!({"paths": ["/a"]});
    let routes = gateway.url("admin", "/services/a/routes");
    plain().post(routes).json(&route).answer().await.expect(201);
}

/// Waits until so many more requests reached the upstream.
async fn arrived(upstream: &Upstream, wanted: usize) {
    let mut seen = 0;
    while seen < wanted {
        upstream.next().await;
        seen += 1 + upstream.take().len();
    }
}

/// A process that was not started by the test; gone when this is dropped.
struct Successor(Pid);

impl Successor {
    fn of(gateway: &Gateway) -> Self {
        let text = std::fs::read_to_string(gateway.prefix().join("pids/nginx.pid")).unwrap();
        Self(Pid::from_raw(text.trim().parse().unwrap()).unwrap())
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

#[tokio::test]
async fn no_request_fails_while_another_process_takes_over() {
    let upstream = Upstream::start().await;
    let mut gateway = Options::new().set("nginx_worker_processes", "2").start().await;
    publish(&gateway, &upstream).await;
    let load = Load::begin(&gateway, "/a/x");
    arrived(&upstream, 20).await;

    let old = gateway.pid();
    let (code, out, error) = gateway.options().run(&["upgrade"]).await;
    assert_eq!((code, out.trim()), (Some(0), "Kong upgraded"), "{error}\n{}", gateway.log());
    let successor = Successor::of(&gateway);
    assert_ne!(successor.0.as_raw_nonzero().get(), old);
    let status = gateway.ended().await;
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    upstream.take();
    arrived(&upstream, 20).await;
    // It has the configuration, and takes more; the old one left its pid file alone.
    let services = gateway.url("admin", "/services");
    let more = json!({"name": "b", "url": upstream.url()});
    plain().post(&services).json(&more).answer().await.expect(201);
    let told = plain().get(&services).answer().await.expect(200).json();
    let names: Vec<_> = told["data"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert!(names.contains(&&json!("a")) && names.contains(&&json!("b")), "{names:?}");
    assert!(load.end().await > 40);

    // It stops as one that was started in the usual way, and so could be upgraded again.
    let (code, _, error) = gateway.options().run(&["stop"]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(test_kill_process(successor.0).is_err(), "it is gone");
}

/// When the new process cannot start, the old one goes on.
#[tokio::test]
async fn a_failed_upgrade_changes_nothing() {
    let upstream = Upstream::start().await;
    let options = Options::new();
    let template = options.file("errors", "%s %s");
    let gateway = options.set("error_template_plain", template.to_str().unwrap()).start().await;
    publish(&gateway, &upstream).await;
    gateway.options().file("errors", "no place for anything");
    let load = Load::begin(&gateway, "/a/x");
    let before = gateway.pid();
    gateway.signal(Signal::USR2);
    let error = gateway.prefix().join("pids/upgrade.error");
    let told = eventually("the reason", async || std::fs::read_to_string(&error).ok()).await;
    assert!(told.contains("did not start"), "{told}");
    assert!(gateway.log().contains("error_template_plain"), "{}", gateway.log());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(load.end().await > 0);
    let pid = std::fs::read_to_string(gateway.prefix().join("pids/nginx.pid")).unwrap();
    assert_eq!(pid.trim(), before.to_string());
}

/// `quit` waits for requests as long as it is told to, and no longer.
#[tokio::test]
async fn quit_has_a_deadline() {
    let upstream = Upstream::start().await;
    for (path, timeout, told) in [
        ("/a/delay/1", "15", "Kong stopped (gracefully)"),
        ("/a/delay/60", "1", "Timeout, Kong stopped forcefully"),
    ] {
        let mut gateway = Gateway::start().await;
        publish(&gateway, &upstream).await;
        let url = gateway.url("proxy", path);
        let slow = tokio::spawn(async move { plain().get(url).send().await });
        upstream.next().await;
        let quit = tokio::spawn({
            let mut command = gateway.options().command();
            command.args(["quit", "--timeout", timeout]);
            async move { command.output().await.unwrap() }
        });
        gateway.ended().await;
        let out = quit.await.unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), told);
        assert_eq!(slow.await.unwrap().is_ok(), timeout == "15");
    }
}
