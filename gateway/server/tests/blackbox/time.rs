//! The platform's time, from a server of the test's that is known to the gateway's own resolver
//! only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use http::Method;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::harness::{AS, Answered as _, App, Gateway, Mec, NameServer, Options, mp1, now};

/// Answers as an NTP server of this stratum would; 0 is one that does not know the time.
struct TimeServer {
    port: u16,
    stratum: Arc<AtomicU8>,
    task: tokio::task::JoinHandle<()>,
}

impl TimeServer {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let stratum = Arc::new(AtomicU8::new(2));
        let told = Arc::clone(&stratum);
        let task = tokio::spawn(async move {
            let mut asked = [0; 48];
            while let Ok((48, from)) = socket.recv_from(&mut asked).await {
                let _ = socket.send_to(&answer(&asked, told.load(Ordering::SeqCst)), from).await;
            }
        });
        Self { port, stratum, task }
    }
}

impl Drop for TimeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// RFC 5905, section 7.3: leap indicator, version 4 and mode 4 in the first octet.
fn answer(asked: &[u8; 48], stratum: u8) -> [u8; 48] {
    const SINCE_1900: u64 = 2_208_988_800;
    let mut packet = [0; 48];
    packet[0] = if stratum == 0 { 0b1110_0100 } else { 0b0010_0100 };
    packet[1] = stratum;
    packet[24..32].copy_from_slice(&asked[40..48]);
    let time = jiff::Timestamp::now();
    let seconds = u64::try_from(time.as_second()).unwrap() + SINCE_1900;
    let fraction = (u64::try_from(time.subsec_nanosecond()).unwrap() << 32) / 1_000_000_000;
    let stamp = ((seconds << 32) | fraction).to_be_bytes();
    for at in [16, 32, 40] {
        packet[at..at + 8].copy_from_slice(&stamp);
    }
    packet
}

async fn dialect(gateway: &Gateway, rest: &str) -> (u16, Value) {
    let path = format!("/mep{AS}/timing/{rest}");
    let answer = mp1(gateway, &App::random().id, Method::GET, &path).answer().await;
    (answer.status, answer.json())
}

/// A-93, S-53: both faces, with a server that knows the time, one that does not, and none.
#[tokio::test]
async fn time_as_each_face_tells_it() {
    let names = NameServer::start().await;
    names.knows(&["clock.test 60 A 127.0.0.1".to_owned()]);
    for stratum in [2, 0] {
        let server = TimeServer::start().await;
        server.stratum.store(stratum, Ordering::SeqCst);
        let gateway = Options::new()
            .set("dns_resolver", names.addr().to_string())
            .set("mep_ntp_host", "clock.test")
            .set("mep_ntp_port", server.port.to_string())
            .start()
            .await;
        let mec = Mec::start(&gateway).await;
        let status = if stratum == 2 { "TRACEABLE" } else { "NONTRACEABLE" };
        let standard = mec.get(&format!("{AS}/timing/current_time")).await.expect(200).json();
        for told in [standard, dialect(&gateway, "current_time").await.1] {
            assert_eq!(told["timeSourceStatus"], status, "{told}");
            assert!((told["seconds"].as_i64().unwrap() - now()).abs() < 60, "{told}");
            assert!(told["nanoSeconds"].as_u64().unwrap() < 1_000_000_000, "{told}");
        }
        assert!(!names.asked("clock.test").is_empty(), "the gateway's own resolver was asked");
        let (code, caps) = dialect(&gateway, "timing_caps").await;
        let servers = json!([{
            "ntpServerAddrType": "DNS_NAME", "ntpServerAddr": "clock.test",
            "minPollingInterval": 4, "maxPollingInterval": 17, "localPriority": 1,
            "authenticationOption": "NONE", "authenticationKeyNum": 0,
        }]);
        assert_eq!((code, &caps["ntpServers"]), (200, &servers), "A-93 {caps}");
        let caps = mec.get(&format!("{AS}/timing/timing_caps")).await.expect(200).json();
        assert_eq!(caps["ntpServers"], servers, "S-53");
    }

    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let options = Options::new().set("mep_ntp_host", "127.0.0.1");
    let gateway = options.set("mep_ntp_port", gone.to_string()).start().await;
    let refused =
        |detail: &str| (400, json!({"title": "Bad Request", "status": 21, "detail": detail}));
    assert_eq!(dialect(&gateway, "timing_caps").await, refused("Timing caps get failed"), "A-93");
    assert_eq!(dialect(&gateway, "current_time").await, refused("Current time get failed"));
    let mec = Mec::start(&gateway).await;
    let told = mec.get(&format!("{AS}/timing/current_time")).await.expect(200).json();
    assert_eq!(told["timeSourceStatus"], "NONTRACEABLE", "S-53");
}
