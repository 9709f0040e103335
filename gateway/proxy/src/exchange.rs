//! [`Exchange`]: one request in flight and the snapshot it is pinned to.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gateway_model::entities::Service;
use gateway_model::{Id, Item};
use http::{HeaderValue, Method, StatusCode, Version, header};
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use plugins::contract::{Client, Facts, Latencies, Reply, ReplyBody, Scheme, Source, Try};

use uuid::fmt::Simple;

use crate::chain::Chain;
use crate::client::{Underway, connection, ip_value};
use crate::held::Held;
use crate::options::Options;
use crate::router::{Found, Wanted, path};
use crate::snapshot::Snapshot;
use crate::tls::{Keyring, Lease};
use crate::traffic::InFlight;
use crate::upstream::{self, Balance, Called, CompiledUpstream};
use target::{Target, target};

mod phases;
mod target;

/// One request in flight. Everything it reads of the configuration comes from one snapshot.
pub struct Exchange {
    snapshot: Arc<Snapshot>,
    pub(crate) facts: Facts,
    pub(crate) found: Option<Found>,
    pub(crate) chain: Arc<Chain>,
    /// Who called when the turn of a plugin came whose pick depends on it: later phases run the
    /// same instance (kong/runloop/plugins_iterator.lua, collecting iterator).
    turns: Vec<(&'static str, Option<Id>)>,
    pub(crate) client_version: Version,
    /// The peer's and the client's address as header values.
    pub(crate) peer_ip: HeaderValue,
    pub(crate) client_ip: HeaderValue,
    /// The Host header or authority as the client sent it.
    pub(crate) host: Option<HeaderValue>,
    pub(crate) asked_for_trailers: bool,
    /// Whether the client asks which route and service it met, and may.
    pub(crate) debug: bool,
    /// The request target as sent, path and query.
    target: Target,
    /// The path in normal form, where it differs from what was sent.
    normal: Option<Box<str>>,
    /// Path and query the upstream got.
    pub(crate) upstream_target: Bytes,
    pub(crate) tries: Vec<Try>,
    /// Whether the upstream is told to close its connection after this request.
    pub(crate) ends_connection: bool,
    /// The hold on the upstream's connection, where its TLS is made here.
    pub(crate) lease: Option<Arc<Lease>>,
    /// The way through the targets, where the service's host names an upstream.
    pub(crate) balance: Option<Box<Balance>>,
    /// Why the client's certificate does not suffice.
    certificate_refused: Option<&'static str>,
    /// What the service's host is called where a record names another port than the service.
    pub(crate) called: Option<Box<Called>>,
    /// What to tell the client when the try fails for a reason of our own.
    pub(crate) failure: Option<(StatusCode, &'static str)>,
    pub(crate) source: Source,
    pub(crate) body_seen: u64,
    /// How long the client may be silent within a body.
    pub(crate) patience: Duration,
    /// The lines of Via the upstream sent.
    pub(crate) upstream_via: Vec<HeaderValue>,
    /// Whether the client was told to send its body.
    pub(crate) given_leave: bool,
    /// What was read of a body too large to keep; goes before the rest.
    pub(crate) body_begun: Option<Bytes>,
    /// The answer, while it is held back.
    pub(crate) held: Option<Box<Held>>,
    pub(crate) started: Instant,
    pub(crate) asked: Option<Instant>,
    pub(crate) first_byte: Option<Instant>,
    _counted: InFlight,
    /// Tells the connection when this is over.
    _underway: Option<Underway>,
}

const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Exchange {
    /// Pins a snapshot. Nothing is known of the request yet.
    pub(crate) fn new(snapshot: Arc<Snapshot>, now_ms: u64, counted: InFlight) -> Self {
        let chain = Arc::clone(&snapshot.global);
        let client = Client {
            ip: NOWHERE.ip(),
            peer: NOWHERE,
            local: NOWHERE,
            scheme: Scheme::Http,
            trusted: false,
            tls: None,
        };
        let facts = facts(&snapshot, client, now_ms);
        Self {
            snapshot,
            facts,
            found: None,
            chain,
            turns: Vec::new(),
            client_version: Version::HTTP_11,
            peer_ip: HeaderValue::from_static("0.0.0.0"),
            client_ip: HeaderValue::from_static("0.0.0.0"),
            host: None,
            asked_for_trailers: false,
            debug: false,
            target: Target::Text("/".into()),
            normal: None,
            upstream_target: Bytes::new(),
            tries: Vec::new(),
            ends_connection: false,
            lease: None,
            balance: None,
            certificate_refused: None,
            called: None,
            failure: None,
            source: Source::Gateway,
            body_seen: 0,
            patience: Duration::MAX,
            upstream_via: Vec::new(),
            given_leave: false,
            body_begun: None,
            held: None,
            started: Instant::now(),
            asked: None,
            first_byte: None,
            _counted: counted,
            _underway: None,
        }
    }

    /// Takes down who connects and what was asked, before anything may change the request.
    pub(crate) fn begin(&mut self, session: &Session, options: &Options) {
        let head = session.req_header();
        if let Some(connection) = connection(session) {
            self._underway = connection.count();
            self.facts.client = options.trust.client(connection, head);
            self.peer_ip.clone_from(&connection.peer_ip);
            self.certificate_refused = connection.certificate_refused;
        }
        let client = &self.facts.client;
        self.client_ip = if client.ip == client.peer.ip().to_canonical() {
            self.peer_ip.clone()
        } else {
            ip_value(client.ip)
        };
        self.client_version = head.version;
        self.patience = options.body_timeout;
        self.debug = options.debug_header
            && head.headers.get("kong-debug").is_some_and(|asked| asked == "1");
        self.asked_for_trailers = head
            .headers
            .get(header::TE)
            .and_then(|te| te.to_str().ok())
            .is_some_and(|te| te.split(',').any(|part| part.trim() == "trailers"));
        self.host = match head.headers.get(header::HOST) {
            Some(host) => Some(host.clone()),
            None => head
                .uri
                .authority()
                .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok()),
        };
        self.target = target(head);
    }

    /// Refuses requests two parsers could read differently, or that no route may see.
    pub(crate) fn inspect(&mut self, session: &Session, options: &Options) -> Result<(), Refused> {
        let head = session.req_header();
        if let Some(told) = self.certificate_refused {
            return Err(Refused(StatusCode::BAD_REQUEST, told));
        }
        if self.target().len() > LONGEST_LINE {
            return Err(Refused(StatusCode::URI_TOO_LONG, ""));
        }
        let sizes = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        let (mut all, mut longest) = (0, 0);
        for size in sizes {
            (all, longest) = (all + size, longest.max(size));
        }
        if longest > LONGEST_LINE || all > LARGEST_HEAD {
            let told = "Request header or cookie too large";
            return Err(Refused(StatusCode::BAD_REQUEST, told));
        }
        match path::normal(self.raw_path()) {
            Ok(Cow::Borrowed(_)) => {}
            Ok(Cow::Owned(normal)) => self.normal = Some(normal.into_boxed_str()),
            Err(_) => return Err(Refused(StatusCode::BAD_REQUEST, "")),
        }
        let repeated = |name| head.headers.get_all(name).iter().nth(1).is_some();
        if repeated(header::HOST) || repeated(header::AUTHORIZATION) {
            return Err(Refused(StatusCode::BAD_REQUEST, ""));
        }
        let lengths = head.headers.get_all(header::CONTENT_LENGTH).iter().count();
        if lengths > 1 || (lengths == 1 && head.headers.contains_key(header::TRANSFER_ENCODING)) {
            return Err(Refused(StatusCode::BAD_REQUEST, ""));
        }
        if head.version == Version::HTTP_11 && self.host.is_none() {
            return Err(Refused(StatusCode::BAD_REQUEST, ""));
        }
        if head.method == Method::TRACE {
            return Err(Refused(StatusCode::METHOD_NOT_ALLOWED, ""));
        }
        if options.max_body > 0 && declared_length(head).is_some_and(|n| n > options.max_body) {
            return Err(Refused(StatusCode::PAYLOAD_TOO_LARGE, ""));
        }
        Ok(())
    }

    /// Finds the route.
    pub(crate) fn route(&mut self, session: &Session, options: &Options) -> Result<(), Reply> {
        let head = session.req_header();
        let client = &self.facts.client;
        let port = client.local.port();
        let wanted = Wanted {
            method: head.method.as_str(),
            host: self.host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default(),
            port: options.port_maps.get(&port).copied().unwrap_or(port),
            path: self.path(),
            query: self.query(),
            source: (client.ip, client.peer.port()).into(),
            destination: client.local.ip(),
            headers: &head.headers,
            scheme: client.scheme,
            sni: client.tls.as_ref().and_then(|tls| tls.sni.as_deref()),
        };
        let found = self.snapshot.router.find(&wanted).ok_or_else(|| {
            Reply::message(StatusCode::NOT_FOUND, "no Route matched with those values")
        })?;
        self.facts.route = Some(found.route.route.clone());
        self.facts.matched_prefix = found.prefix;
        self.facts.service.clone_from(&found.route.service);
        self.chain = self.snapshot.chain(&found.route);
        self.found = Some(found);
        self.check_protocol(head)
    }

    /// A plain request to a route that takes only https is sent there; a gRPC route takes only
    /// gRPC (kong/runloop/handler.lua, access.before).
    fn check_protocol(&self, head: &RequestHeader) -> Result<(), Reply> {
        if self
            .facts
            .route
            .as_ref()
            .is_some_and(|route| route.protocols.iter().all(|p| p.starts_with("grpc")))
        {
            let media = head.headers.get(header::CONTENT_TYPE);
            if !media.is_some_and(|media| media.as_bytes().starts_with(b"application/grpc")) {
                let told = "Non-gRPC request matched gRPC route";
                return Err(Reply::message(StatusCode::UNSUPPORTED_MEDIA_TYPE, told));
            }
            if head.version != Version::HTTP_2 {
                return Err(Reply::message(
                    StatusCode::UPGRADE_REQUIRED,
                    "Please use HTTP2 protocol",
                )
                .header(header::CONNECTION, HeaderValue::from_static("Upgrade"))
                .header(header::UPGRADE, HeaderValue::from_static("HTTP/2")));
            }
        }
        if self.facts.client.scheme == Scheme::Http
            && self
                .facts
                .route
                .as_ref()
                .is_some_and(|route| route.protocols.iter().all(|one| one == "grpcs"))
        {
            // Stands for the status of gRPC that Kong gives.
            let cancelled = StatusCode::from_u16(499).unwrap_or(StatusCode::UPGRADE_REQUIRED);
            return Err(Reply::message(cancelled, "gRPC request matched gRPCs route"));
        }
        let Some(found) = self.found.as_ref().filter(|found| found.route.https_only) else {
            return Ok(());
        };
        if self.facts.client.scheme == Scheme::Https {
            return Ok(());
        }
        let status = StatusCode::from_u16(found.route.route.https_redirect_status_code)
            .unwrap_or(StatusCode::UPGRADE_REQUIRED);
        if status == StatusCode::UPGRADE_REQUIRED {
            let upgrade = HeaderValue::from_static("TLS/1.2, HTTP/1.1");
            return Err(Reply::message(status, "Please use HTTPS protocol")
                .header(header::CONNECTION, HeaderValue::from_static("Upgrade"))
                .header(header::UPGRADE, upgrade));
        }
        let location = format!("https://{}{}", self.host_name(), self.target());
        let location = HeaderValue::try_from(location)
            .map_err(|_| Reply::message(StatusCode::BAD_REQUEST, ""))?;
        let title = format!("{} {}", status.as_u16(), redirect_title(status));
        let page = format!(
            "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1>\
             </center>\r\n</body>\r\n</html>\r\n"
        );
        // Kong answers the older two from nginx, the newer two from its own code.
        let kind = match status.as_u16() {
            301 | 302 => "text/html",
            _ => "text/html; charset=UTF-8",
        };
        let body = ReplyBody::Bytes(HeaderValue::from_static(kind), page.into());
        Err(Reply { status, headers: vec![(header::LOCATION, location)], body })
    }

    /// The service, or why there is none.
    pub(crate) fn service(&self) -> Result<Item<Service>, Reply> {
        self.facts.service.clone().ok_or_else(|| {
            Reply::message(StatusCode::SERVICE_UNAVAILABLE, "no Service found with those values")
        })
    }

    /// Where the request goes: as a handler says, else as its service does.
    pub(crate) fn destination<'e>(&'e self, service: &'e Service) -> Destination<'e> {
        let wanted = self.facts.upstream.as_deref();
        let given = wanted.and_then(|wanted| wanted.destination.as_ref());
        let (host, port) = match given {
            Some((host, port)) => (&**host, *port),
            None => (&*service.host, service.port),
        };
        let tls = match wanted.and_then(|wanted| wanted.scheme) {
            Some(scheme) => scheme == Scheme::Https,
            None => upstream::takes_tls(service),
        };
        Destination { host, port, tls }
    }

    /// The upstream of this name.
    pub(crate) fn upstream(&self, name: &str) -> Option<&Arc<CompiledUpstream>> {
        self.snapshot.upstream(name)
    }

    /// Certificates and authorities.
    pub(crate) fn keyring(&self) -> &Keyring {
        &self.snapshot.keyring
    }

    /// Has the upstream's connection kept for others, if it may: its answer was read to the end.
    pub(crate) fn end_lease(&self) {
        if let Some(lease) = self.lease.as_ref().filter(|_| !self.ends_connection) {
            lease.end();
        }
    }

    /// How long things took so far.
    pub(crate) fn latencies(&self) -> Latencies {
        let millis = |from: Instant, to: Instant| {
            u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
        };
        let now = Instant::now();
        Latencies {
            kong: millis(self.started, self.asked.unwrap_or(now)),
            upstream: self.asked.zip(self.first_byte).map(|(asked, first)| millis(asked, first)),
            request: millis(self.started, now),
        }
    }
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination<'e> {
    /// The name of an upstream, or a host.
    pub(crate) host: &'e str,
    /// The port of a host.
    pub(crate) port: u16,
    /// Whether connections are encrypted.
    pub(crate) tls: bool,
}

/// A request refused before any route or plugin sees it, with what the client is told if that is
/// not the status' own text.
pub(crate) struct Refused(pub(crate) StatusCode, pub(crate) &'static str);

/// nginx's `large_client_header_buffers 4 8k`, which Kong leaves alone: the longest request target
/// or header line, and all of them together.
const LONGEST_LINE: usize = 8 * 1024;
const LARGEST_HEAD: usize = 4 * LONGEST_LINE;

/// The facts of something that begins now; nothing is known but who connects.
pub(crate) fn facts(snapshot: &Snapshot, client: Client, now_ms: u64) -> Facts {
    Facts::begun(Arc::clone(&snapshot.catalog), client, request_id(), now_ms)
}

pub(crate) fn declared_length(head: &RequestHeader) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// 32 random hexadecimal digits.
pub(crate) fn request_id() -> Arc<str> {
    let mut text = [0; Simple::LENGTH];
    Arc::from(&*uuid::Uuid::new_v4().simple().encode_lower(&mut text))
}

/// The words nginx uses in the page of a redirect.
const fn redirect_title(status: StatusCode) -> &'static str {
    match status.as_u16() {
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        _ => "Permanent Redirect",
    }
}
