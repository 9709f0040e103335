//! Packets through the kernel: a client, a router with our rules and two servers, each in a network
//! namespace of its own. Left out where the machine does not let a test make namespaces.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::tests::{rule, strings, to_address, to_mac};
use super::*;
use crate::entities::{Action, DestinationInterface, FilterType, TrafficFilter};

/// A packet that has not come after this long was lost.
const DEADLINE: Duration = Duration::from_secs(10);

/// Hardware addresses of the router's device towards the second server, and of that server. The
/// latter is the router's own towards the client too: a copy keeps the address it came to.
const OUT: &str = "02:00:00:00:00:b1";
const SECOND: &str = "02:00:00:00:00:c1";

/// A network namespace; it ends with the process that sleeps in it.
struct Namespace {
    process: Child,
    network: File,
}

impl Namespace {
    /// `None` where the machine does not allow it.
    fn new() -> Option<Self> {
        let own = std::fs::read_link("/proc/self/ns/net").ok()?;
        let mut process = Command::new("unshare")
            .args(["--net", "sleep", "300"])
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let path = format!("/proc/{}/ns/net", process.id());
        let begun = Instant::now();
        loop {
            let ended = process.try_wait().ok()?.is_some();
            if ended || begun.elapsed() > DEADLINE {
                let _ = process.kill();
                let _ = process.wait();
                return None;
            }
            if std::fs::read_link(&path).is_ok_and(|network| network != own) {
                break;
            }
            std::thread::yield_now();
        }
        let network = File::open(&path).ok()?;
        Some(Self { process, network })
    }

    fn id(&self) -> u32 {
        self.process.id()
    }

    /// What a script in it prints; `None` when it fails.
    fn run(&self, script: &str) -> Option<String> {
        let output = Command::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", self.id()))
            .args(["sh", "-ec", script])
            .output()
            .ok()?;
        if !output.status.success() {
            eprintln!("{script}\n{}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A socket stays in the namespace it was made in.
    fn socket(&self, bind: &str) -> UdpSocket {
        let make = || {
            let network = self.network.as_fd();
            move_into_link_name_space(network, Some(LinkNameSpaceType::Network)).unwrap();
            let socket = UdpSocket::bind(bind).unwrap();
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            socket
        };
        std::thread::scope(|scope| scope.spawn(make).join().unwrap())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The client is 10.9.0.2, the servers 10.9.1.2 and 10.9.2.2. The second one takes packets to the
/// first as its own, as an application in the middle of traffic does.
struct Net {
    client: Namespace,
    router: Namespace,
    servers: [Namespace; 2],
    folder: tempfile::TempDir,
}

impl Net {
    fn new() -> Option<Self> {
        let make = Namespace::new;
        let net = Self {
            client: make()?,
            router: make()?,
            servers: [make()?, make()?],
            folder: tempfile::tempdir().unwrap(),
        };
        let (client, [first, second]) = (net.client.id(), [0, 1].map(|at| net.servers[at].id()));
        net.router.run(&format!(
            "ip link set lo up
             ip link add name to-client type veth peer name out netns {client}
             ip link add name to-first type veth peer name out netns {first}
             ip link add name to-second type veth peer name out netns {second}
             ip link set to-client address {SECOND}
             ip link set to-second address {OUT}
             for way in client:0 first:1 second:2; do
                 ip addr add 10.9.${{way#*:}}.1/24 dev to-${{way%:*}}
                 ip link set to-${{way%:*}} up
             done
             echo 1 > /proc/sys/net/ipv4/ip_forward
             for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $file; done
             nft list tables"
        ))?;
        for (place, number) in [(&net.client, 0), (&net.servers[0], 1), (&net.servers[1], 2)] {
            let address = if number == 2 {
                format!("ip link set out address {SECOND}")
            } else {
                String::new()
            };
            place.run(&format!(
                "{address}
                 ip link set lo up
                 ip addr add 10.9.{number}.2/24 dev out
                 ip link set out up
                 ip route add default via 10.9.{number}.1
                 for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $file; done"
            ))?;
        }
        net.servers[1].run("ip addr add 10.9.1.2/32 dev lo")?;
        net.prepare();
        Some(net)
    }

    /// A program that is `nft` of the router, and a list of the router's devices.
    fn prepare(&self) {
        let script =
            format!("#!/bin/sh\nexec nsenter --net=/proc/{}/ns/net nft \"$@\"\n", self.router.id());
        let program = self.folder.path().join("nft");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let device = self.folder.path().join("links/to-second");
        std::fs::create_dir_all(&device).unwrap();
        std::fs::write(device.join("address"), OUT).unwrap();
    }

    async fn driver(&self, keep: bool) -> Nftables {
        let settings = NftablesSettings {
            program: self.folder.path().join("nft"),
            devices: strings(&["to-client"]),
            links: self.folder.path().join("links"),
            keep,
            ..NftablesSettings::default()
        };
        Nftables::start(settings).await.unwrap()
    }

    fn rules(&self) -> String {
        self.router.run("nft list ruleset").unwrap()
    }

    /// What each server gets of a packet of the client's to the first: at the port of the rules,
    /// where nothing else is sent. Packets to another port go after it the way it would go, so
    /// that it has come by then or never comes.
    fn seen(&self) -> [bool; 2] {
        let hear =
            |place: &Namespace| [5000, 5001].map(|port| place.socket(&format!("0.0.0.0:{port}")));
        let heard = [hear(&self.servers[0]), hear(&self.servers[1])];
        // Of another port each time: flows the kernel knows are not looked at again.
        let from = self.client.socket("10.9.0.2:0");
        from.send_to(b"seen?", "10.9.1.2:5000").unwrap();
        for (number, [_, marks]) in ["10.9.1.2", "10.9.2.2"].iter().zip(&heard) {
            from.send_to(b"mark", (*number, 5001)).unwrap();
            marks.recv(&mut [0; 9]).expect("the way is open");
        }
        heard.map(|[at, _]| {
            at.set_nonblocking(true).unwrap();
            at.recv(&mut [0; 9]).is_ok()
        })
    }
}

const FIRST: [bool; 2] = [true, false];
const NOBODY: [bool; 2] = [false, false];
const INSTEAD: [bool; 2] = [false, true];
const BOTH: [bool; 2] = [true, true];

/// A rule about what the client sends to port 5000.
fn about(action: Action, kind: FilterType, interfaces: &[DestinationInterface]) -> TrafficRule {
    let filter = TrafficFilter {
        src_address: strings(&["10.9.0.0/24"]),
        dst_port: strings(&["5000"]),
        protocol: strings(&["UDP"]),
        ..Default::default()
    };
    let interfaces = interfaces.to_vec();
    TrafficRule { filter_type: kind, filters: vec![filter], action, interfaces, ..rule("r") }
}

fn net() -> Option<Net> {
    let net = Net::new();
    if net.is_none() {
        eprintln!("skipped: no network namespaces with nftables here");
    }
    net
}

#[tokio::test]
async fn packets_go_where_rules_say() {
    let Some(net) = net() else { return };
    let driver = net.driver(false).await;
    assert_eq!(net.seen(), FIRST, "without rules");
    let to_second = to_address("10.9.2.2");
    let out = to_mac(OUT, SECOND);
    let copied = to_mac(OUT, "");
    use Action::{Drop, DuplicateEncapsulated, ForwardEncapsulated};
    for (action, kind, interfaces, wanted) in [
        (Drop, FilterType::Flow, vec![], NOBODY),
        (Drop, FilterType::Packet, vec![], NOBODY),
        (ForwardEncapsulated, FilterType::Flow, vec![to_second.clone()], INSTEAD),
        (ForwardEncapsulated, FilterType::Packet, vec![to_second.clone()], INSTEAD),
        (ForwardEncapsulated, FilterType::Packet, vec![out.clone()], INSTEAD),
        (DuplicateEncapsulated, FilterType::Flow, vec![to_second.clone()], BOTH),
        (DuplicateEncapsulated, FilterType::Packet, vec![copied], BOTH),
    ] {
        let rule = about(action, kind, &interfaces);
        driver.check(&rule).unwrap();
        driver.apply(&rule).await.unwrap();
        let row = (rule.action, rule.filter_type, &rule.interfaces);
        assert_eq!(net.seen(), wanted, "{row:?}\n{}", net.rules());
        driver.withdraw(&rule).await.unwrap();
        assert_eq!(net.seen(), FIRST, "after {row:?}");
    }

    // The lower priority is the first to be asked.
    driver.apply(&about(Drop, FilterType::Flow, &[])).await.unwrap();
    let pass = |priority| TrafficRule {
        id: TrafficRule::id_of(crate::test_kit::app().id, "pass"),
        rule_id: "pass".to_owned(),
        priority,
        ..about(Action::Passthrough, FilterType::Flow, &[])
    };
    for (priority, wanted) in [(200, NOBODY), (1, FIRST)] {
        driver.apply(&pass(priority)).await.unwrap();
        assert_eq!(net.seen(), wanted, "passed with priority {priority}");
    }
}

/// A flow that is sent elsewhere has answers from where the client sent to.
#[tokio::test]
async fn answers_of_a_flow_come_back() {
    let Some(net) = net() else { return };
    let driver = net.driver(false).await;
    let forward = about(Action::ForwardEncapsulated, FilterType::Flow, &[to_address("10.9.2.2")]);
    driver.apply(&forward).await.unwrap();
    let second = net.servers[1].socket("10.9.2.2:5000");
    let client = net.client.socket("10.9.0.2:0");
    // Takes nothing from anybody else.
    client.connect("10.9.1.2:5000").unwrap();
    client.send(b"question").unwrap();
    let (_, from) = second.recv_from(&mut [0; 9]).unwrap();
    second.send_to(b"answer", from).unwrap();
    let mut answer = [0; 9];
    let length = client.recv(&mut answer).unwrap();
    assert_eq!(&answer[..length], b"answer");
}

/// What another process left is gone after the start, and everything after the end.
#[tokio::test]
async fn the_kernel_has_what_is_active() {
    let Some(net) = net() else { return };
    net.router.run("nft add table ip other").unwrap();
    let drop = about(Action::Drop, FilterType::Flow, &[]);
    net.driver(false).await.apply(&drop).await.unwrap();
    let pass = TrafficRule { action: Action::Passthrough, ..drop };
    let driver = net.driver(false).await;
    driver.reconcile(std::slice::from_ref(&pass)).await.unwrap();
    assert_eq!(net.seen(), FIRST, "the drop of the process before is gone");
    assert!(net.rules().contains("table ip mep"));
    driver.stop().await;
    let left = net.rules();
    assert!(!left.contains("table ip mep") && left.contains("table ip other"), "{left}");

    let keeping = net.driver(true).await;
    keeping.apply(&pass).await.unwrap();
    keeping.stop().await;
    assert!(net.rules().contains("table ip mep"), "it was told to leave them");
}
