//! [`NameServer`]: one question, one answer.

use std::iter;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{
    Edns, Header, HeaderCounts, LowerQuery, MessageType, Metadata, OpCode, ResponseCode,
};
use hickory_server::proto::rr::{DNSClass, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;

use super::limit::Verdict;
use super::metrics::Outcome;
use super::zone::{Addresses, Found};
use super::{CurrentZone, Forwarder, Metrics, RateLimit};

/// The largest answer over UDP: what passes every network unfragmented (DNS flag day 2020).
const PAYLOAD: u16 = 1232;

/// Answers questions.
pub struct NameServer {
    /// What is answered from.
    pub zone: CurrentZone,
    /// Who is asked about other names.
    pub forwarder: Option<Forwarder>,
    /// How many answers a network gets.
    pub limit: Option<RateLimit>,
    /// How it answers.
    pub options: Options,
    /// What it counts.
    pub metrics: Metrics,
    turn: AtomicUsize,
}

/// How a name server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Options {
    /// What is said of a name nobody can be asked about.
    pub unknown: Unknown,
    /// Begin with another address each time.
    pub rotate: bool,
}

/// What is said of a name that is not in the zone, when there is no resolver to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Unknown {
    /// `SERVFAIL`, as the original says: resolvers then ask another name server.
    #[default]
    ServFail,
    /// `NXDOMAIN`: there is no such name.
    NxDomain,
}

/// An answer in the making.
struct Reply {
    code: ResponseCode,
    /// Of our own zone.
    authoritative: bool,
    /// Somebody was asked.
    recursive: bool,
    truncated: bool,
    answers: Vec<Record>,
    authorities: Vec<Record>,
}

impl Reply {
    const fn of(code: ResponseCode) -> Self {
        Self {
            code,
            authoritative: false,
            recursive: false,
            truncated: false,
            answers: Vec::new(),
            authorities: Vec::new(),
        }
    }
}

impl NameServer {
    /// A name server over `zone` that forwards nothing and limits nobody.
    pub fn new(zone: CurrentZone, metrics: Metrics) -> Self {
        Self {
            zone,
            forwarder: None,
            limit: None,
            options: Options::default(),
            metrics,
            turn: AtomicUsize::new(0),
        }
    }

    /// The answer, `None` when there shall be none.
    async fn answer(&self, request: &Request) -> Option<Reply> {
        if let (Protocol::Udp, Some(limit)) = (request.protocol(), &self.limit) {
            match limit.check(request.src().ip()) {
                Verdict::Answer => {}
                verdict => {
                    self.metrics.count(Outcome::Limited);
                    let short = Reply { truncated: true, ..Reply::of(ResponseCode::NoError) };
                    return (verdict == Verdict::Truncate).then_some(short);
                }
            }
        }
        let (outcome, reply) = match accepted(request) {
            Ok(question) => self.resolve(question).await,
            Err(code) => (Outcome::Refused, Reply::of(code)),
        };
        self.metrics.count(outcome);
        Some(reply)
    }

    async fn resolve(&self, question: &LowerQuery) -> (Outcome, Reply) {
        let (wanted, class) = (question.query_type(), question.query_class());
        match self.zone.load().find(question.name(), wanted, class) {
            Found::Addresses(held) => {
                let answers = self.records(question, held);
                let reply =
                    Reply { authoritative: true, answers, ..Reply::of(ResponseCode::NoError) };
                return (Outcome::Answered, reply);
            }
            Found::NoData => {
                let reply = Reply { authoritative: true, ..Reply::of(ResponseCode::NoError) };
                return (Outcome::NoData, reply);
            }
            Found::Nothing => {}
        }
        let Some(forwarder) = self.forwarder.as_ref().filter(|_| class == DNSClass::IN) else {
            let code = match self.options.unknown {
                Unknown::ServFail => ResponseCode::ServFail,
                Unknown::NxDomain => ResponseCode::NXDomain,
            };
            return (Outcome::Failed, Reply::of(code));
        };
        match forwarder.ask(question).await {
            Some(said) => {
                let reply = Reply {
                    recursive: true,
                    answers: said.answers,
                    authorities: said.authorities,
                    ..Reply::of(said.code)
                };
                (Outcome::Forwarded, reply)
            }
            None => {
                let reply = Reply { recursive: true, ..Reply::of(ResponseCode::ServFail) };
                (Outcome::Failed, reply)
            }
        }
    }

    /// The records, under the name as it was asked.
    fn records(&self, question: &LowerQuery, held: &Addresses) -> Vec<Record> {
        let name = question.original().name();
        let first = if self.options.rotate {
            self.turn.fetch_add(1, Ordering::Relaxed) % held.data.len().max(1)
        } else {
            0
        };
        let (later, sooner) = held.data.split_at(first);
        let record = |data: &_| {
            let mut record = Record::from_rdata(name.clone(), held.ttl, Clone::clone(data));
            record.dns_class = held.class;
            record
        };
        sooner.iter().chain(later).map(record).collect()
    }
}

/// The one question of a request we take.
fn accepted(request: &Request) -> Result<&LowerQuery, ResponseCode> {
    if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return Err(ResponseCode::BADVERS);
    }
    match request.metadata.op_code {
        OpCode::Query => {}
        OpCode::Update => return Err(ResponseCode::Refused),
        _ => return Err(ResponseCode::NotImp),
    }
    let [question] = request.queries.queries() else { return Err(ResponseCode::FormErr) };
    match question.query_type() {
        // Zones are not for copying.
        RecordType::AXFR | RecordType::IXFR => Err(ResponseCode::Refused),
        _ => Ok(question),
    }
}

#[async_trait::async_trait]
impl RequestHandler for NameServer {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut responder: R,
    ) -> ResponseInfo {
        let Some(reply) = self.answer(request).await else {
            return unsent(request);
        };
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = reply.code;
        metadata.authoritative = reply.authoritative;
        metadata.recursion_available = reply.recursive;
        metadata.truncation = reply.truncated;
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(asked.max_payload().clamp(512, PAYLOAD));
            edns
        });
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if let Some(edns) = &edns {
            builder.edns(edns);
        }
        let none = iter::empty;
        let response = builder.build(metadata, &reply.answers, &reply.authorities, none(), none());
        responder.send_response(response).await.unwrap_or_else(|error| {
            // The client is gone.
            tracing::debug!(%error, "an answer was not sent");
            unsent(request)
        })
    }
}

/// What the server is told of a question without an answer.
fn unsent(request: &Request) -> ResponseInfo {
    let metadata =
        Metadata::new(request.metadata.id, MessageType::Response, request.metadata.op_code);
    ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
}
