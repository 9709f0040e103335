//! A name server that says what the test tells it to.

use std::net::SocketAddr;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// A name server on loopback, over UDP.
pub(crate) struct NameServer {
    addr: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Zone {
    records: Vec<Record>,
    fails: bool,
    asked: Vec<(String, RecordType)>,
}

impl NameServer {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let addr = socket.local_addr().expect("an address");
        let zone = Arc::<Mutex<Zone>>::default();
        let task = tokio::spawn(serve(socket, Arc::clone(&zone)));
        Self { addr, zone, task }
    }

    pub(crate) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Knows these records and no others: `name ttl type data`, as in a zone file.
    pub(crate) fn knows(&self, records: &[String]) {
        let mut zone = self.zone();
        zone.records = records.iter().map(|line| record(line)).collect();
        zone.fails = false;
    }

    /// Answers every question with SERVFAIL from now on.
    pub(crate) fn fails(&self) {
        self.zone().fails = true;
    }

    /// The types of record asked for since the last call, for this name.
    pub(crate) fn asked(&self, name: &str) -> Vec<RecordType> {
        let mut zone = self.zone();
        let asked = std::mem::take(&mut zone.asked);
        asked.into_iter().filter(|(one, _)| one == name).map(|(_, kind)| kind).collect()
    }

    fn zone(&self) -> std::sync::MutexGuard<'_, Zone> {
        self.zone.lock().expect("no test panics while it holds this")
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn record(line: &str) -> Record {
    let mut words = line.split_whitespace();
    let mut word = || words.next().expect("a whole record");
    let name = |text: &str| Name::from_str(&format!("{text}.")).expect("a name");
    let (owner, ttl) = (name(word()), word().parse().expect("a ttl"));
    let data = match word() {
        "A" => RData::A(A(word().parse().expect("an address"))),
        "AAAA" => RData::AAAA(AAAA(word().parse().expect("an address"))),
        "CNAME" => RData::CNAME(CNAME(name(word()))),
        "SRV" => {
            let mut number = || word().parse().expect("a number");
            let (priority, weight, port) = (number(), number(), number());
            RData::SRV(SRV::new(priority, weight, port, name(word())))
        }
        other => panic!("no record: {other}"),
    };
    Record::from_rdata(owner, ttl, data)
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut packet = [0; 1500];
    while let Ok((size, client)) = socket.recv_from(&mut packet).await {
        let Ok(asked) = Message::from_vec(&packet[..size]) else { continue };
        let answer = answer(&asked, &mut zone.lock().expect("no test panics while it holds this"));
        let _ = socket.send_to(&answer.to_vec().expect("a message"), client).await;
    }
}

/// What the zone says; as a server does that knows no recursion, a CNAME is given for other types.
fn answer(asked: &Message, zone: &mut Zone) -> Message {
    let mut answer = Message::response(asked.metadata.id, OpCode::Query);
    let Some(query) = asked.queries.first() else { return answer };
    answer.add_query(query.clone());
    let name = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    zone.asked.push((name, query.query_type()));
    if zone.fails {
        answer.metadata.response_code = ResponseCode::ServFail;
        return answer;
    }
    let owned = zone.records.iter().filter(|one| one.name == *query.name());
    let owned: Vec<&Record> = owned.collect();
    let fits =
        |one: &&&Record| [query.query_type(), RecordType::CNAME].contains(&one.record_type());
    answer.add_answers(owned.iter().filter(fits).map(|one| (*one).clone()));
    if owned.is_empty() {
        answer.metadata.response_code = ResponseCode::NXDomain;
    }
    answer
}
