//! Traffic rules in the kernel, as an operator sees them: `nft` in a network namespace of the test's.
//! What packets do is tested beside the driver.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Answered as _, Gateway, Options, eventually, missing, not_allowed, plain};

const APP: &str = "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f";

/// A namespace, and a program that is `nft` in it.
struct Kernel {
    process: Child,
    folder: tempfile::TempDir,
}

impl Kernel {
    /// `None` where the machine does not let a test make one.
    fn new() -> Option<Self> {
        if Command::new("nft").arg("--version").output().is_err() {
            missing("nft (Debian package nftables)");
            return None;
        }
        let kernel = Self::made();
        if kernel.is_none() {
            not_allowed("a network namespace with nftables");
        }
        kernel
    }

    fn made() -> Option<Self> {
        let own = std::fs::read_link("/proc/self/ns/net").ok()?;
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "300"]).stderr(Stdio::null());
        let mut kernel =
            Self { process: command.spawn().ok()?, folder: tempfile::tempdir().unwrap() };
        let path = format!("/proc/{}/ns/net", kernel.process.id());
        let begun = Instant::now();
        while !std::fs::read_link(&path).is_ok_and(|network| network != own) {
            let ended = kernel.process.try_wait().ok()?.is_some();
            if ended || begun.elapsed() > Duration::from_secs(10) {
                return None;
            }
            std::thread::yield_now();
        }
        let script = format!(
            "#!/bin/sh\nexport PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin\nexec nsenter --net={path} nft \"$@\"\n"
        );
        std::fs::write(kernel.nft(), script).unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(kernel.nft(), executable).unwrap();
        kernel.rules().map(|_| kernel)
    }

    fn nft(&self) -> PathBuf {
        self.folder.path().join("nft")
    }

    /// What the kernel has.
    fn rules(&self) -> Option<String> {
        let output = Command::new(self.nft()).args(["list", "ruleset"]).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    }

    /// A gateway whose rules go there.
    async fn gateway(&self, keep: &str) -> Gateway {
        let options = Options::new()
            .set("mep_traffic_driver", "nftables")
            .set("mep_traffic_nft", self.nft().to_str().unwrap())
            .set("mep_traffic_keep", keep);
        options.start().await
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn rule(state: &str, filter: Value) -> Value {
    json!({
        "trafficRuleId": "r1", "filterType": "FLOW", "priority": 1, "action": "DROP",
        "trafficFilter": [filter], "dstInterface": null, "state": state,
    })
}

async fn configure(gateway: &Gateway, rule: &Value) {
    let body = json!({"appName": "app1", "appSupportMp1": true, "appTrafficRule": [rule], "appDnsRule": []});
    let path = format!("/mepcfg/app_lcm/v1/applications/{APP}/appd_configuration");
    plain().post(gateway.url("mep", &path)).json(&body).answer().await.expect(200);
}

/// Sets a rule as its application does.
async fn put(gateway: &Gateway, rule: &Value) -> (u16, Value) {
    let path = format!("/mep/mec_app_support/v1/applications/{APP}/traffic_rules/r1");
    let put = plain().put(gateway.url("mep", &path)).header("X-AppinstanceID", APP);
    let answer = put.json(rule).answer().await;
    (answer.status, answer.json())
}

#[tokio::test]
async fn rules_are_in_the_kernel_while_they_are_active() {
    let Some(kernel) = Kernel::new() else { return };
    let mut gateway = kernel.gateway("off").await;
    let dropped = "ip saddr 192.0.2.0-192.0.2.255 drop";
    let of = |state| rule(state, json!({"srcAddress": ["192.0.2.0/24"]}));
    let has = || kernel.rules().unwrap().contains(dropped);
    configure(&gateway, &of("INACTIVE")).await;
    eventually("the rule is there", async || {
        (put(&gateway, &of("INACTIVE")).await.0 == 200).then_some(())
    })
    .await;
    assert!(!has());
    assert_eq!(put(&gateway, &of("ACTIVE")).await.0, 200);
    assert!(has(), "{:?}", kernel.rules());
    assert_eq!(put(&gateway, &of("INACTIVE")).await.0, 200);
    assert!(!has());
    assert_eq!(put(&gateway, &of("ACTIVE")).await.0, 200);

    // A crash leaves them; the next start has exactly those that are active.
    gateway.kill().await;
    assert!(has());
    Command::new(kernel.nft()).args(["add", "chain", "ip", "mep", "foreign"]).status().unwrap();
    gateway.start_again().await;
    assert!(has() && !kernel.rules().unwrap().contains("foreign"), "{:?}", kernel.rules());
    gateway.signal(Signal::TERM);
    assert!(gateway.ended().await.success());
    assert!(!kernel.rules().unwrap().contains("table ip mep"), "{:?}", kernel.rules());
}

/// What the kernel cannot do is kept while it is inactive, and refused when it is to have an effect.
#[tokio::test]
async fn what_the_kernel_cannot_do() {
    let Some(kernel) = Kernel::new() else { return };
    let mut gateway = kernel.gateway("on").await;
    let tagged = |state| rule(state, json!({"srcAddress": ["192.0.2.0/24"], "tag": ["t1"]}));
    configure(&gateway, &tagged("INACTIVE")).await;
    eventually("the rule is there", async || {
        (put(&gateway, &tagged("INACTIVE")).await.0 == 200).then_some(())
    })
    .await;
    let (status, problem) = put(&gateway, &tagged("ACTIVE")).await;
    assert_eq!(status, 400, "{problem}");
    assert_eq!(problem["detail"], "packets carry no tags that could be matched", "{problem}");
    let (_, kept) = put(&gateway, &tagged("INACTIVE")).await;
    assert_eq!(kept["state"], "INACTIVE");
    gateway.signal(Signal::TERM);
    assert!(gateway.ended().await.success());
    assert!(kernel.rules().unwrap().contains("table ip mep"), "it was told to leave them");
}
