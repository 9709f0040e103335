//! The accept loop: handshake, protocol, application; and the way out at shutdown.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse as _;
use bytes::Bytes;
use gateway_model::Clock;
use gateway_model::ports::Caller;
use gateway_proxy::tls::{ClientAuth, Handshakes};
use gateway_proxy::{AccessLog, ConnectionFacts, Line, Proxy, Quota, Trust};
use http::HeaderMap;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp as _, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_proxy::HttpProxy;
use plugins::contract::TlsFacts;
use rustls::ServerConnection;
use rustls_pki_types::UnixTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tower_http::timeout::TimeoutBody;

use super::connection::{Connection, Transport};
use super::guard::{Guard, Limits};
use super::handshake::course;
use super::preamble;
use super::tls::Offered;
use crate::settings::tls::suite_name;

/// How long clients that rest may still ask once the gateway stops: closing at once would cross the
/// requests of those that do not rest long.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How long clients of HTTP/2 may rest at least, also where `keepalive_timeout` is 0: their first
/// request need not come with the preface.
pub(crate) const SHORTEST_REST: Duration = Duration::from_secs(1);

/// How long the end of a connection may take to be written.
const FAREWELL: Duration = Duration::from_secs(1);

/// What answers on a listener.
#[derive(Clone)]
pub(crate) enum Application {
    /// The data plane.
    Proxy(Proxied),
    /// An axum router, and where its requests are noted. Every request carries a [`Caller`]
    /// extension with the client's address.
    Router(Router, Option<AccessLog>),
}

/// The data plane, and what its clients may take.
#[derive(Clone)]
pub(crate) struct Proxied {
    pub(crate) app: Arc<HttpProxy<Proxy>>,
    pub(crate) limits: Arc<Limits>,
    /// Most requests on one connection, at least one.
    pub(crate) requests: u32,
    /// How long a client may rest between two of them.
    pub(crate) idle: Duration,
}

impl Proxied {
    /// Serves one connection, request after request (pingora's `ServerApp::process_new`; here
    /// because the guard must know when the next head is awaited).
    async fn serve(&self, connection: Connection, peer: SocketAddr, stop: &watch::Receiver<bool>) {
        if connection.is_http2() {
            self.serve_http2(connection, stop.clone()).await;
            return;
        }
        let (guard, expects) = Guard::new(Arc::clone(&self.limits), peer);
        let lent = connection.lent();
        let mut connection = Box::new(connection.guarded(guard));
        let mut settings = None::<HttpPersistentSettings>;
        loop {
            // What serves a request is large; a client that rests has none of it.
            let limit = if settings.is_none() { self.limits.head } else { self.idle };
            if !heard(&mut connection, limit, stop).await {
                return;
            }
            let mut session = ServerSession::new_http1(connection);
            match settings {
                Some(settings) => settings.apply_to_session(&mut session),
                None => {
                    session.set_keepalive((!*stop.borrow()).then_some(self.limits.head.as_secs()));
                    session.set_keepalive_reuses_remaining(Some(self.requests.saturating_sub(1)));
                }
            }
            let reused = match self.app.process_new_http(session, stop).await {
                Some(reused) => reused,
                None => match lent.back().await {
                    Some(reused) => reused,
                    None => return,
                },
            };
            expects.store(true, Ordering::Relaxed);
            let (stream, kept) = reused.consume();
            // It is the one that was given.
            let Ok(again) = stream.into_any().downcast::<Connection>() else { return };
            (connection, settings) = (again, kept);
        }
    }
}

impl Proxied {
    /// Serves one connection of HTTP/2 until the client leaves, its requests are spent or a stop
    /// comes; the last two are told to the client, who finishes what it began. pingora limits how
    /// long a client rests only between those: not before the first request, and not after.
    async fn serve_http2(&self, connection: Connection, mut stop: watch::Receiver<bool>) {
        let (quota, spent) = Quota::new(self.requests);
        if let Some(facts) = connection.facts() {
            // Nobody else sets it.
            let _ = facts.quota.set(Arc::clone(&quota));
        }
        let stops = async {
            stopped(&mut stop).await;
            quota.end();
            std::future::pending().await
        };
        let mut told = spent.clone();
        let rests = async {
            tokio::time::sleep(self.limits.head).await;
            if quota.is_untouched() {
                return;
            }
            stopped(&mut told).await;
            loop {
                tokio::time::sleep(self.idle.max(SHORTEST_REST)).await;
                if quota.is_at_rest() {
                    return;
                }
            }
        };
        tokio::select! {
            _ = self.app.process_new(Box::new(connection), &spent) => {}
            () = stops => {}
            () = rests => {}
        }
    }
}

/// Waits for the client's next word; `false` when it is not worth waiting any more, and the client
/// was told so.
async fn heard(connection: &mut Connection, limit: Duration, stop: &watch::Receiver<bool>) -> bool {
    let mut stop = stop.clone();
    let heard = tokio::select! {
        biased;
        heard = tokio::time::timeout(limit, connection.heard()) => heard.is_ok(),
        () = stopped(&mut stop) => {
            // A request that is on its way now is answered; the answer says that it is the last.
            tokio::time::timeout(LAST_WORD.min(limit), connection.heard()).await.is_ok()
        }
    };
    if !heard {
        let farewell = AsyncWriteExt::shutdown(connection);
        // One that does not even listen is left alone.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
    heard
}

/// Connections of this process, for `/status`, metrics and shutdown.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    accepted: AtomicU64,
    active: AtomicU64,
    opening: AtomicU64,
    pub(super) tasks: TaskTracker,
}

impl Connections {
    /// Runs the serving of one connection as a task that a stop waits for.
    pub(super) fn serve(self: &Arc<Self>, serving: impl Future<Output = ()> + Send + 'static) {
        let connections = Arc::clone(self);
        connections.accepted.fetch_add(1, Ordering::Relaxed);
        self.tasks.spawn(async move {
            let _counted = Counted::one(&connections.active);
            serving.await;
        });
    }

    /// Counts a connection as opening until `opening` is done.
    pub(super) async fn open<T>(&self, opening: impl Future<Output = T>) -> T {
        let _counted = Counted::one(&self.opening);
        opening.await
    }

    /// Connections accepted since the start.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub(crate) fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }

    /// Connections that shake hands, or have yet to show which protocol they speak.
    pub(crate) fn opening(&self) -> u64 {
        self.opening.load(Ordering::Relaxed)
    }

    /// Waits until every connection has ended.
    pub(crate) async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// One of a number, until it is dropped: also by a timeout, or a panic.
struct Counted<'c>(&'c AtomicU64);

impl<'c> Counted<'c> {
    fn one(count: &'c AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One listener in service on one runtime.
#[derive(Clone)]
pub(crate) struct Accept {
    /// What answers.
    pub(crate) application: Application,
    /// TLS for listeners with `ssl`.
    pub(crate) tls: Option<Offered>,
    /// Who has a say in handshakes.
    pub(crate) handshakes: Option<Arc<Handshakes>>,
    /// Who judges what clients show, where they are asked to.
    pub(crate) clients: Option<Arc<ClientAuth>>,
    /// Whether connections begin with a PROXY preamble.
    pub(crate) proxy_protocol: bool,
    /// Whose word about the client counts.
    pub(crate) trust: Arc<Trust>,
    /// What time it is.
    pub(crate) clock: Clock,
    /// Whether HTTP/2 with prior knowledge is understood without TLS.
    pub(crate) http2: bool,
    /// How long clients of a router may take for their first request, and for the head of every
    /// further one.
    pub(crate) head: Duration,
    /// How long they may be silent within a body.
    pub(crate) body: Duration,
    /// Connections that still may be accepted, here and on the listeners that share this.
    pub(crate) room: Arc<Semaphore>,
    /// Accounting.
    pub(crate) connections: Arc<Connections>,
    /// Turns true at shutdown.
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// A client gets this long to finish its handshake, or to say which protocol it speaks.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

impl Accept {
    /// Accepts until shutdown; connections go on in tasks of their own.
    pub(crate) async fn run(self, listener: TcpListener) {
        let mut shutdown = self.shutdown.clone();
        loop {
            // Beyond the limit clients wait in the socket's backlog.
            let accepted = async {
                let room = Arc::clone(&self.room).acquire_owned().await.ok();
                (room, listener.accept().await)
            };
            let (room, accepted) = tokio::select! {
                accepted = accepted => accepted,
                () = stopped(&mut shutdown) => return,
            };
            match accepted {
                Ok((stream, peer)) => self.take(stream, peer, room),
                Err(error) => {
                    // Out of descriptors, or a client that left: neither may end the loop.
                    tracing::warn!("accepting a connection failed: {error}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr, room: Option<OwnedSemaphorePermit>) {
        // In a box: every future around it would have room for it twice.
        let serving = Box::pin(self.clone().serve(stream, peer));
        self.connections.serve(async move {
            serving.await;
            drop(room);
        });
    }

    async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        // Answers are written whole; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        let Ok(local) = stream.local_addr() else { return };
        let mut shutdown = self.shutdown.clone();
        // In a box that is gone once it is open: a handshake is large, and its connection may rest for
        // hours.
        let opening = Box::pin(self.open(stream, peer, local));
        let mut opening = pin!(self.connections.open(opening));
        let opened = tokio::select! {
            biased;
            opened = tokio::time::timeout(HANDSHAKE, &mut opening) => opened.ok(),
            // Its client cannot know of the stop: what was accepted is served.
            () = stopped(&mut shutdown) => tokio::time::timeout(LAST_WORD, opening).await.ok(),
        };
        let Some(Some((connection, client))) = opened else { return };
        // What is wrong with a client's certificate is told over HTTP, request by request.
        match &self.application {
            Application::Proxy(proxied) => {
                proxied.serve(connection, peer, &self.shutdown).await;
            }
            Application::Router(router, log) => {
                let (router, log) = (router.clone(), log.clone());
                self.serve_router(router, log, connection.into_transport(), client).await;
            }
        }
    }

    /// Preamble, handshake and choice of protocol, and who connects; `None` when the client fails or
    /// leaves.
    async fn open(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        local: SocketAddr,
    ) -> Option<(Connection, Client)> {
        let mut facts = ConnectionFacts::new(peer, local);
        if self.proxy_protocol {
            facts.proxied = preamble::read(&mut stream).await?.ends.map(|(client, _)| client);
        }
        let address = self.trust.connecting(&facts);
        let mut client = Client { address, certified: false, refused: None };
        let Some(offered) = &self.tls else {
            let http2 = self.http2 && speaks_http2(&stream).await?;
            let connection = Connection::new(Transport::Plain(stream), facts, http2).ok()?;
            return Some((connection, client));
        };
        if speaks_plainly(&stream).await? {
            refuse_plain(&mut stream).await;
            return None;
        }
        let failed = |why: &std::io::Error| {
            tracing::debug!(client.ip = %address, "a handshake failed: {why}");
        };
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await;
        let hello = hello.inspect_err(failed).ok()?;
        // rustls gives the name as sent; names compare without case.
        let sni = hello.client_hello().server_name().map(str::to_ascii_lowercase);
        let (handshakes, clients) = (self.handshakes.as_deref(), self.clients.as_ref());
        let course = course(offered, handshakes, clients, &facts, sni.as_deref()).await?;
        let stream = hello.into_stream(course.config).await.inspect_err(failed).ok()?;
        let session = stream.get_ref().1;
        let http2 = session.alpn_protocol() == Some(b"h2");
        let mut agreed = agreed(session, sni);
        if let Some(clients) = &course.clients {
            let now = UnixTime::since_unix_epoch(Duration::from_millis(self.clock.unix_ms()));
            let shown = session.peer_certificates();
            let judged = clients.judge(shown, now);
            // One that code asked for is the code's to judge.
            let refusal = judged.refusal.filter(|_| self.clients.is_some());
            facts.certificate_refused = refusal;
            client.certified = judged.verify == "SUCCESS";
            client.refused = refusal;
            agreed.client_verify = judged.verify;
            let chain = shown.unwrap_or_default().iter();
            agreed.client_chain = chain.map(|one| Bytes::copy_from_slice(one)).collect();
        }
        facts.tls = Some(Arc::new(agreed));
        let connection = Connection::new(Transport::Tls(Box::new(stream)), facts, http2).ok()?;
        Some((connection, client))
    }

    async fn serve_router(
        &self,
        router: Router,
        log: Option<AccessLog>,
        transport: Transport,
        client: Client,
    ) {
        let (clock, patience) = (self.clock.clone(), self.body);
        let Client { address: client, certified, refused } = client;
        let asked = Arc::new(AtomicBool::new(false));
        let asks = Arc::clone(&asked);
        let service = hyper::service::service_fn(move |mut request: http::Request<_>| {
            let caller = Caller { subject: None, client, by_gateway: false, certified };
            request.extensions_mut().insert(caller);
            asks.store(true, Ordering::Relaxed);
            let router = match refused {
                Some(why) => Router::new().fallback(async move || refuse_client(why)),
                None => router.clone(),
            };
            let log = log.clone();
            let began_ms = clock.unix_ms();
            async move {
                let noted = log.map(|log| (log, Noted::of(&request, client, began_ms)));
                let request =
                    request.map(|body| axum::body::Body::new(TimeoutBody::new(patience, body)));
                let answer = router.oneshot(request).await;
                if let (Some((log, noted)), Ok(answer)) = (noted, &answer) {
                    noted.write(&log, answer);
                }
                answer
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.head);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(self.head);
        let connection = builder.serve_connection(TokioIo::new(transport), service);
        tokio::pin!(connection);
        let mut shutdown = self.shutdown.clone();
        // hyper's own limits begin once it knows the protocol.
        let silent = async {
            tokio::time::sleep(self.head).await;
            if asked.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            () = silent => return,
            () = stopped(&mut shutdown) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(client.ip = %client, "a connection ended early: {error}");
        }
    }
}

/// Who connects.
#[derive(Clone, Copy)]
struct Client {
    address: IpAddr,
    /// Whether it showed a certificate that our authorities vouch for.
    certified: bool,
    /// Why none of its requests is answered.
    refused: Option<&'static str>,
}

/// What a client of an embedded service gets instead of an answer when its certificate will not do:
/// nginx's status, as JSON.
fn refuse_client(why: &'static str) -> axum::response::Response {
    let body = axum::Json(serde_json::json!({ "message": why }));
    (http::StatusCode::BAD_REQUEST, body).into_response()
}

/// What a handshake agreed on.
pub(super) fn agreed(session: &ServerConnection, sni: Option<String>) -> TlsFacts {
    TlsFacts {
        version: match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3".into(),
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2".into(),
            other => format!("{other:?}"),
        },
        cipher: session
            .negotiated_cipher_suite()
            .map(|suite| suite_name(suite.suite()))
            .unwrap_or_default(),
        sni,
        ..TlsFacts::default()
    }
}

/// What an access log tells of a request, taken down before it is answered.
struct Noted {
    client: IpAddr,
    at_ms: u64,
    request: String,
    headers: HeaderMap,
}

impl Noted {
    fn of<B>(request: &http::Request<B>, client: IpAddr, at_ms: u64) -> Self {
        let told = [http::header::REFERER, http::header::USER_AGENT];
        let told = told.map(|name| Some((name.clone(), request.headers().get(name)?.clone())));
        // As in an HTTP/1 request line.
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let version = gateway_proxy::version(request.version());
        Self {
            client,
            at_ms,
            request: format!("{} {} {version}", request.method(), target.replace('"', "%22")),
            headers: told.into_iter().flatten().collect(),
        }
    }

    fn write(&self, log: &AccessLog, answer: &http::Response<axum::body::Body>) {
        log.request(&Line {
            client: self.client,
            at_ms: self.at_ms,
            request: format_args!("{}", self.request),
            status: answer.status().as_u16(),
            size: http_body::Body::size_hint(answer.body()).exact().unwrap_or(0),
            headers: Some(&self.headers),
            id: None,
        });
    }
}

/// Waits for the stop; a sender that is gone means the same.
pub(super) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// Whether a client of a listener with TLS begins as HTTP does; `None` when it leaves at once.
async fn speaks_plainly(stream: &TcpStream) -> Option<bool> {
    let mut first = [0];
    let count = stream.peek(&mut first).await.ok()?;
    (count > 0).then(|| first[0].is_ascii_uppercase())
}

/// Tells such a client what it did wrong, as nginx does.
async fn refuse_plain(stream: &mut TcpStream) {
    const PAGE: &str = "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port\
                        </title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n\
                        <center>The plain HTTP request was sent to HTTPS port</center>\r\n\
                        </body>\r\n</html>\r\n";
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{PAGE}",
        PAGE.len()
    );
    // What is left unread would make the system reset the connection before the answer is read.
    let mut unread = [0; 16 * 1024];
    let _ = stream.read(&mut unread).await;
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Looks at the first bytes without taking them; `None` when the client leaves before it is clear.
async fn speaks_http2(stream: &TcpStream) -> Option<bool> {
    let mut seen = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut seen).await.ok()?;
        if count == 0 {
            return None;
        }
        if seen[..count] != PREFACE[..count] {
            return Some(false);
        }
        if count == PREFACE.len() {
            return Some(true);
        }
        // A preface in pieces: look again when there is more. Peeking does not consume, so
        // readiness alone cannot tell; a client this slow may wait a little.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
