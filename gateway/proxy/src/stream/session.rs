//! [`StreamSession`]: one connection in flight and the snapshot it is pinned to.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gateway_model::Item;
use gateway_model::entities::Service;
use pingora_core::{Error, ErrorType};
use pingora_http::RequestHeader;
use plugins::contract::{
    Client, Facts, Flow, Latencies, Phases, Request, SessionLog, Source, Summary, TlsFacts, Try,
    session_entry,
};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::StreamProxy;
use super::pump::{Counts, End, pump};
use super::route::{Carrier, StreamRoute};
use crate::exchange::facts;
use crate::resolve::Endpoint;
use crate::snapshot::Snapshot;
use crate::tls::UpstreamTls;
use crate::upstream::Balance;

/// One connection, or the datagrams of one client, on the way to an upstream. Everything it reads
/// of the configuration comes from one snapshot.
pub struct StreamSession {
    pub(super) proxy: Arc<StreamProxy>,
    snapshot: Arc<Snapshot>,
    route: Arc<StreamRoute>,
    facts: Facts,
    reached: Reached,
    connected: Option<Instant>,
    balance: Option<Balance>,
    tries: Vec<Try>,
    pub(super) counts: Counts,
}

/// How and when a client reached us.
#[derive(Clone, Copy)]
pub(super) struct Reached {
    pub(super) carrier: Carrier,
    /// The listener's port as seen outside.
    pub(super) port: u16,
    pub(super) at: Instant,
}

/// What nginx calls the outcome of a stream.
pub(super) mod status {
    pub(in crate::stream) const OK: u16 = 200;
    pub(in crate::stream) const FORBIDDEN: u16 = 403;
    pub(in crate::stream) const ERROR: u16 = 500;
    pub(in crate::stream) const BAD_GATEWAY: u16 = 502;
}

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

impl StreamSession {
    pub(super) fn new(
        proxy: Arc<StreamProxy>,
        snapshot: Arc<Snapshot>,
        route: Arc<StreamRoute>,
        client: Client,
        reached: Reached,
    ) -> Self {
        let mut facts = facts(&snapshot, client, proxy.clock.unix_ms());
        facts.route = Some(route.route.clone());
        facts.service.clone_from(&route.service);
        Self {
            proxy,
            snapshot,
            route,
            facts,
            reached,
            connected: None,
            balance: None,
            tries: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Whether the client's TLS is left to the upstream.
    pub fn passes_tls_through(&self) -> bool {
        self.route.passes_tls_through()
    }

    /// Tells what the client's handshake agreed on, once it is done.
    pub fn shook_hands(&mut self, tls: Arc<TlsFacts>) {
        self.facts.client.tls = Some(tls);
    }

    /// Serves a connection to its end. `first` is what was read of it before.
    pub async fn run(mut self, client: impl AsyncRead + AsyncWrite + Send + Unpin, first: Vec<u8>) {
        let status = self.serve(client, first).await;
        self.log(status);
    }

    async fn serve(
        &mut self,
        client: impl AsyncRead + AsyncWrite + Send + Unpin,
        first: Vec<u8>,
    ) -> u16 {
        if !self.admits().await {
            return status::FORBIDDEN;
        }
        let Some(service) = self.route.service.clone() else { return status::ERROR };
        let Some(mut upstream) = self.connect(&service).await else { return status::BAD_GATEWAY };
        let length = first.len() as u64;
        self.counts.received.fetch_add(length, Ordering::Relaxed);
        if upstream.write_all(&first).await.is_err() {
            return status::BAD_GATEWAY;
        }
        self.counts.upstream_sent.fetch_add(length, Ordering::Relaxed);
        let idle = Duration::from_millis(service.read_timeout.unwrap_or(60_000));
        match pump(client, upstream, &self.counts, idle).await {
            End::Done => {}
            End::Silent => tracing::debug!("a stream was silent for {idle:?}"),
            End::Broken(error) => tracing::debug!("a stream broke: {error}"),
        }
        status::OK
    }

    /// Runs the handlers that may refuse a connection.
    pub(super) async fn admits(&mut self) -> bool {
        let Ok(mut head) = nothing() else { return false };
        for slot in self.route.chain.slots(Phases::ACCESS) {
            let Some(instance) = slot.pick(None) else { continue };
            let mut request = Request { head: &mut head, facts: &mut self.facts };
            let mut flow = instance.handler.access(&mut request);
            loop {
                match flow {
                    Flow::Continue => break,
                    Flow::Reply(_) => return false,
                    Flow::Wait(wait) => flow = wait.await,
                }
            }
        }
        true
    }

    /// A connection to the first target that takes one.
    async fn connect(&mut self, service: &Item<Service>) -> Option<Box<dyn Bytes>> {
        let limit = Duration::from_millis(service.connect_timeout.unwrap_or(60_000));
        while let Some(address) = self.next_address(service).await {
            match tokio::time::timeout(limit, self.open(service, address)).await {
                Ok(Ok(stream)) => {
                    self.note_connected();
                    return Some(stream);
                }
                Ok(Err(error)) => self.note_failure(ErrorType::ConnectError, &error),
                Err(_) => {
                    let error = io::Error::from(io::ErrorKind::TimedOut);
                    self.note_failure(ErrorType::ConnectTimedout, &error);
                }
            }
        }
        None
    }

    /// The address of the next try, `None` when there is none left.
    pub(super) async fn next_address(&mut self, service: &Item<Service>) -> Option<SocketAddr> {
        let choosing = std::time::Instant::now();
        let start_ms = self.proxy.clock.unix_ms();
        let attempt = self.tries.len();
        if attempt > usize::from(service.retries.unwrap_or(5)) {
            return None;
        }
        if attempt == 0
            && let Some(upstream) = self.snapshot.upstream(&service.host)
        {
            let ip = self.facts.client.ip;
            self.balance = Some(Balance::of_address(Arc::clone(upstream), ip).await);
        }
        let address = match &mut self.balance {
            Some(balance) => balance.next()?,
            None => {
                let tried = |one: &Endpoint| {
                    let socket = one.socket(service.port);
                    self.tries.iter().any(|past| past.address == socket)
                };
                match self.proxy.resolver.endpoint(&service.host, tried).await {
                    Ok(endpoint) => endpoint.socket(service.port),
                    Err(error) => {
                        let host = &*service.host;
                        tracing::warn!(service.host = host, "a name does not resolve: {error}");
                        return None;
                    }
                }
            }
        };
        let balancer_ns = u64::try_from(choosing.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.tries.push(Try { address, start_ms, balancer_ns, failed: None, status: None });
        Some(address)
    }

    async fn open(
        &self,
        service: &Item<Service>,
        address: SocketAddr,
    ) -> io::Result<Box<dyn Bytes>> {
        let stream = TcpStream::connect(address).await?;
        let _ = stream.set_nodelay(true);
        if service.protocol != "tls" {
            return Ok(Box::new(stream));
        }
        let upstream = self.balance.as_ref().map(Balance::upstream);
        let target = self.balance.as_ref().and_then(Balance::target);
        let name = target.map_or(&*service.host, |target| &*target.name);
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let defaults = &self.proxy.options.tls;
        let tls = UpstreamTls::of(service, upstream, &self.snapshot.keyring, defaults);
        let config = Arc::new(tls.config().map_err(io::Error::other)?);
        Ok(Box::new(TlsConnector::from(config).connect(name, stream).await?))
    }

    pub(super) fn note_connected(&mut self) {
        self.connected = Some(Instant::now());
        if let Some(balance) = &mut self.balance {
            balance.connected();
        }
    }

    pub(super) fn note_failure(&mut self, kind: ErrorType, error: &io::Error) {
        let address = self.tries.last().map(|one| one.address.to_string());
        tracing::warn!(target.addr = address, "a try at the upstream of a stream failed: {error}");
        if let Some(last) = self.tries.last_mut() {
            last.failed = Some(status::BAD_GATEWAY);
        }
        if let Some(balance) = &mut self.balance {
            balance.failed(&Error::new(kind), false);
        }
    }

    /// The service, and how long the session may be silent.
    pub(super) fn service(&self) -> Option<(Item<Service>, Duration)> {
        let service = self.route.service.clone()?;
        let idle = Duration::from_millis(service.read_timeout.unwrap_or(60_000));
        Some((service, idle))
    }

    /// Tells the access log and log handlers how it went.
    pub(super) fn log(&self, status: u16) {
        let millis = |from: Instant, to: Instant| {
            u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
        };
        let now = Instant::now();
        let latencies = Latencies {
            kong: millis(self.reached.at, self.connected.unwrap_or(now)),
            upstream: None,
            request: millis(self.reached.at, now),
        };
        let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let log = SessionLog {
            facts: &self.facts,
            port: self.reached.port,
            status,
            received: read(&self.counts.received),
            sent: read(&self.counts.sent),
            upstream_received: read(&self.counts.upstream_received),
            upstream_sent: read(&self.counts.upstream_sent),
            tries: &self.tries,
            latencies,
        };
        if let Some(access_log) = &self.proxy.access_log {
            let protocol = if self.reached.carrier == Carrier::Udp { "UDP" } else { "TCP" };
            access_log.stream(&log, protocol);
        }
        let slots = self.route.chain.slots(Phases::LOG);
        let Ok(head) = nothing() else { return };
        if slots.is_empty() {
            return;
        }
        let summary = Summary {
            facts: &self.facts,
            request: &head,
            uri: "",
            response: None,
            status,
            source: if self.connected.is_some() { Source::Upstream } else { Source::Gateway },
            request_size: log.received,
            response_size: log.sent,
            response_body_size: log.sent,
            upstream_uri: "",
            tries: &self.tries,
            latencies,
            entry: OnceLock::from(session_entry(&log)),
        };
        for slot in slots {
            if let Some(instance) = slot.pick(None) {
                instance.handler.log(&summary);
            }
        }
    }
}

impl std::fmt::Debug for StreamSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamSession({:?} on {:?})", self.facts.client.peer, self.route)
    }
}

/// What handlers are shown where there is no request.
fn nothing() -> pingora_core::Result<RequestHeader> {
    RequestHeader::build("GET", b"/", Some(0))
}
