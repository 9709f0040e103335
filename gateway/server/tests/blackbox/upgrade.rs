//! A new process takes the place of a running one, and nobody notices.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram};

use crate::harness::{
    Answered as _, DEADLINE, Gateway, Load, Options, Upstream, dig, eventually, plain,
};

async fn publish(gateway: &Gateway, upstream: &Upstream) {
    let service = json!({"name": "a", "url": upstream.url()});
    plain().post(gateway.url("admin", "/services")).json(&service).answer().await.expect(201);
    let route = json!({"paths": ["/a"]});
    let routes = gateway.url("admin", "/services/a/routes");
    plain().post(routes).json(&route).answer().await.expect(201);
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
    upstream.more(20).await;

    let old = gateway.pid();
    let (code, out, error) = gateway.options().run(&["upgrade"]).await;
    assert_eq!((code, out.trim()), (Some(0), "Kong upgraded"), "{error}\n{}", gateway.log());
    let successor = Successor::of(&gateway);
    assert_ne!(successor.0.as_raw_nonzero().get(), old);
    let status = gateway.ended().await;
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    upstream.take();
    upstream.more(20).await;
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

/// A service manager hears who serves, before and after, and of the end only when it is one: with
/// this systemd follows the new process instead of stopping it (`Type=notify`, `NotifyAccess=all`).
#[tokio::test]
async fn a_service_manager_follows_the_new_process() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conf/systemd/gateway.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    assert!(unit.contains("\nType=notify\nNotifyAccess=all\n"), "{unit}");
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("notify");
    let manager = UnixDatagram::bind(&place).unwrap();
    let options = Options::new().variable("NOTIFY_SOCKET", place.to_str().unwrap());
    let mut gateway = options.start().await;
    let serves = |pid: i32| BTreeSet::from(["READY=1".to_owned(), format!("MAINPID={pid}")]);
    assert_eq!(heard(&manager).await, serves(gateway.pid()));

    let (code, _, error) = gateway.options().run(&["upgrade"]).await;
    assert_eq!(code, Some(0), "{error}\n{}", gateway.log());
    let successor = Successor::of(&gateway);
    assert_eq!(heard(&manager).await, serves(successor.0.as_raw_nonzero().get()));
    gateway.ended().await;
    let (code, _, error) = gateway.options().run(&["stop"]).await;
    assert_eq!(code, Some(0), "{error}");
    // Whatever the old process had said would have come before.
    assert_eq!(heard(&manager).await, BTreeSet::from(["STOPPING=1".to_owned()]));
}

/// The next message to a service manager.
async fn heard(manager: &UnixDatagram) -> BTreeSet<String> {
    let mut told = [0; 256];
    let count = tokio::time::timeout(DEADLINE, manager.recv(&mut told)).await.expect("a message");
    let text = std::str::from_utf8(&told[..count.unwrap()]).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Streams, datagrams and names go over to the new process as well; a stream that was open goes on.
#[tokio::test]
async fn other_sockets_are_handed_over_too() {
    let options = Options::new()
        .set("stream_listen", "127.0.0.1:0, 127.0.0.1:0 udp")
        .set("mep_dns_listen", "127.0.0.1:0")
        .set("mep_dns_admin_listen", "127.0.0.1:0");
    let mut gateway = options.start().await;
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let ports = [("tcp", tcp.local_addr().unwrap()), ("udp", udp.local_addr().unwrap())];
    for (protocol, to) in ports {
        let service = json!({"name": protocol, "host": "127.0.0.1", "port": to.port(),
                             "protocol": protocol});
        plain().post(gateway.url("admin", "/services")).json(&service).answer().await.expect(201);
        let at = gateway.stream_addr(protocol).port();
        let route = json!({"protocols": [protocol], "destinations": [{ "port": at }]});
        let routes = gateway.url("admin", &format!("/services/{protocol}/routes"));
        plain().post(routes).json(&route).answer().await.expect(201);
    }
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    tokio::spawn(async move {
        let mut said = [0; 64];
        while let Ok((count, from)) = udp.recv_from(&mut said).await {
            udp.send_to(&said[..count], from).await.unwrap();
        }
    });
    let record = json!({"name": "a.test.", "type": "A", "class": "IN", "ttl": 30,
                        "rData": ["192.0.2.1"]});
    let records = gateway.url("mep-dns-admin", "/mep/dns_server_mgmt/v1/rrecord?zone=.");
    plain().post(&records).json(&record).answer().await.expect(200);

    let mut kept = TcpStream::connect(gateway.stream_addr("tcp")).await.unwrap();
    echoed(&mut kept).await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let (stop, to) = (Arc::clone(&stop), gateway.stream_addr("tcp"));
        let (datagrams, names) = (gateway.stream_addr("udp"), gateway.dns_addr());
        async move {
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) {
                echoed(&mut TcpStream::connect(to).await.unwrap()).await;
                answered(datagrams).await;
                for transport in ["+notcp", "+tcp"] {
                    let found = dig(names, &format!("a.test A {transport}")).await;
                    assert_eq!(found.answers.len(), 1, "{}", found.text);
                }
                rounds += 1;
            }
            rounds
        }
    };
    let upgrade = async {
        let (code, out, error) = gateway.options().run(&["upgrade"]).await;
        assert_eq!((code, out.trim()), (Some(0), "Kong upgraded"), "{error}\n{}", gateway.log());
        let successor = Successor::of(&gateway);
        echoed(&mut kept).await;
        drop(kept);
        gateway.ended().await;
        // The new one serves alone now.
        echoed(&mut TcpStream::connect(gateway.stream_addr("tcp")).await.unwrap()).await;
        answered(gateway.stream_addr("udp")).await;
        let mut another = record.clone();
        another["name"] = "b.test.".into();
        plain().post(&records).json(&another).answer().await.expect(200);
        stop.store(true, Ordering::Relaxed);
        successor
    };
    let (rounds, _successor) = tokio::join!(load, upgrade);
    assert!(rounds > 1, "{rounds}");
}

/// Whether a stream repeats what is said.
async fn echoed(stream: &mut TcpStream) {
    let exchange = async {
        stream.write_all(b"hello").await.unwrap();
        let mut told = [0; 5];
        stream.read_exact(&mut told).await.unwrap();
        assert_eq!(&told, b"hello");
    };
    tokio::time::timeout(DEADLINE, exchange).await.expect("an answer in time");
}

/// Whether a datagram is answered; like any client of UDP it is sent again when it is not.
async fn answered(to: SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..5 {
        socket.send_to(b"hello", to).await.unwrap();
        let mut told = [0; 5];
        let wait = tokio::time::timeout(Duration::from_secs(2), socket.recv(&mut told));
        if wait.await.is_ok_and(|told| told.is_ok()) {
            return;
        }
    }
    panic!("no datagram came back");
}

/// Files are read again while requests are in flight, and none fails.
#[tokio::test]
async fn no_request_fails_while_files_are_read_again() {
    let upstream = Upstream::start().await;
    let options = Options::new().set("nginx_worker_processes", "2").set("database", "off");
    let declared = |round: u32| {
        format!(
            "_format_version: \"3.0\"\nservices:\n- name: a\n  url: {}\n  routes:\n  - name: a\n    \
             paths: [/a, /round-{round}]\n",
            upstream.url()
        )
    };
    let file = options.file("kong.yml", &declared(0));
    let gateway = options.set("declarative_config", file.to_str().unwrap()).start().await;
    let load = Load::begin(&gateway, "/a/x");
    for round in 1..=10 {
        upstream.more(10).await;
        std::fs::write(&file, declared(round)).unwrap();
        if round % 2 == 0 {
            gateway.signal(Signal::HUP);
        } else {
            let (code, _, error) = gateway.options().run(&["reload"]).await;
            assert_eq!(code, Some(0), "{error}");
        }
        // It was read, not only asked for.
        let url = gateway.url("proxy", &format!("/round-{round}"));
        eventually("the route of this round", async || {
            (plain().get(&url).answer().await.status == 200).then_some(())
        })
        .await;
        upstream.take();
    }
    upstream.more(20).await;
    assert!(load.end().await > 100);
    let pid = std::fs::read_to_string(gateway.prefix().join("pids/nginx.pid")).unwrap();
    assert_eq!(pid.trim(), gateway.pid().to_string(), "it is another process");
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
    // What the process wrote to its log takes a moment to arrive here.
    eventually("the fault in the log", async || {
        gateway.log().contains("error_template_plain").then_some(())
    })
    .await;
    upstream.take();
    upstream.more(10).await;
    assert!(load.end().await > 10);
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
