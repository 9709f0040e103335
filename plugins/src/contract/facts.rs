//! [`Facts`]: what is known of one exchange, shared by all phases.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use gateway_model::entities::{Consumer, Route, Service};
use gateway_model::{Catalog, Document, Id, Item};
use http::{HeaderName, HeaderValue};
use pingora_http::RequestHeader;
use serde_json::Value;

/// What is known of one exchange. Filled in as it proceeds; the same value reaches every phase.
#[derive(Clone)]
pub struct Facts {
    /// The catalog this exchange is pinned to.
    pub catalog: Arc<Catalog>,
    /// Who connects.
    pub client: Client,
    /// The route, once found.
    pub route: Option<Item<Route>>,
    /// The route's service.
    pub service: Option<Item<Service>>,
    /// Who calls, once authenticated.
    pub identity: Identity,
    /// 32 hexadecimal digits.
    pub request_id: Arc<str>,
    /// When the request began, Unix milliseconds.
    pub started_ms: u64,
    /// Whether the upstream gets `X-Forwarded-For`; true unless a handler says no.
    pub send_forwarded_for: bool,
    /// The request's body, as far as handlers may see it.
    pub body: RequestBody,
    /// What the route's regular expression captured; empty unless a handler of the chain
    /// [needs](super::Needs::CAPTURES) it.
    pub captures: Captures,
    /// How many bytes of the path, normalised, the route matched as a prefix; 0 before there is one.
    pub matched_prefix: usize,
    /// Where handlers want the request to go instead; `None` until one does.
    pub upstream: Option<Box<Overrides>>,
    /// Headers added to whatever answer the client gets, in order.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
    /// A handler's own state for this exchange, by type. Empty until used.
    pub notes: http::Extensions,
}

impl Facts {
    /// The facts of something that begins at `started_ms`: nothing is known but who connects.
    pub fn begun(
        catalog: Arc<Catalog>,
        client: Client,
        request_id: Arc<str>,
        started_ms: u64,
    ) -> Self {
        Self {
            catalog,
            client,
            route: None,
            service: None,
            identity: Identity::default(),
            request_id,
            started_ms,
            send_forwarded_for: true,
            body: RequestBody::Unread,
            captures: Captures::default(),
            matched_prefix: 0,
            upstream: None,
            response_headers: Vec::new(),
            notes: http::Extensions::new(),
        }
    }

    /// Where the request goes, to be changed.
    pub fn overrides(&mut self) -> &mut Overrides {
        self.upstream.get_or_insert_default()
    }
}

/// A request's body. Read before the handlers of a phase run, when one of them
/// [needs](super::Needs::BODY) it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RequestBody {
    /// Nobody asked for it.
    #[default]
    Unread,
    /// All of it; empty when there is none.
    Whole(Bytes),
    /// More than is kept: handlers must do without it, the upstream gets it all the same (in Kong:
    /// a body beyond `client_body_buffer_size`).
    TooLarge,
    /// What a handler wants the upstream to get instead of what the client sent.
    Replaced(Bytes),
}

impl RequestBody {
    /// The bytes, where all of them are known.
    pub const fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(bytes) | Self::Replaced(bytes) => Some(bytes),
            Self::Unread | Self::TooLarge => None,
        }
    }
}

/// What the groups of a route's regular expression captured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    /// By number; 0 is the whole match. A group that took no part is empty.
    pub numbered: Vec<Box<str>>,
    /// By name.
    pub named: Vec<(Box<str>, Box<str>)>,
}

impl Captures {
    /// The text of a named group.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.named.iter().find(|(known, _)| **known == *name).map(|(_, text)| &**text)
    }
}

/// Where a handler wants a request to go instead of where route and service say.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The path, without query; what may not stand in a request line is escaped.
    pub path: Option<String>,
    /// The Host header.
    pub authority: Option<HeaderValue>,
    /// Plain or over TLS.
    pub scheme: Option<Scheme>,
    /// The name of an upstream or a host, and its port.
    pub destination: Option<(Box<str>, u16)>,
    /// How long connecting, writing and reading may take, instead of what the service says.
    pub timeouts: Option<Timeouts>,
    /// How often a failed try is repeated.
    pub retries: Option<u16>,
    /// Whether the upstream's certificate is verified.
    pub tls_verify: Option<bool>,
    /// Most intermediate certificates then.
    pub tls_verify_depth: Option<u8>,
    /// What is shown to an upstream that asks who calls.
    pub client_pair: Option<Arc<ClientPair>>,
    /// Who may vouch for an upstream, instead of whom service and gateway believe.
    pub authorities: Option<Arc<Authorities>>,
}

/// Certificates of authorities, PEM, each of which can be read; none believes nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities(pub String);

/// A certificate with those above it, and its key: PEM, each of which can be read.
pub struct ClientPair {
    /// The chain, its own certificate first.
    pub chain: String,
    /// The key.
    pub key: gateway_model::Secret<String>,
}

impl std::fmt::Debug for ClientPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientPair")
    }
}

/// How long an upstream may take, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To take a connection.
    pub connect: u64,
    /// Between two writes.
    pub write: u64,
    /// Between two reads.
    pub read: u64,
}

/// What the upstream gets as `X-Forwarded-For` instead of the addresses the gateway would list.
/// A handler leaves it in [`Facts::notes`].
#[derive(Clone, Debug)]
pub struct ForwardedFor(pub HeaderValue);

/// Members handlers set in the log entry, in the order they did. They leave them in [`Facts::notes`];
/// none is ever taken out, so what was added since is what stands behind.
///
/// A name with dots is a path: what is between is made (kong/pdk/log.lua, set_serialize_value).
#[derive(Clone, Debug, Default)]
pub struct LogMembers(pub Vec<LogMember>);

/// One of them.
#[derive(Clone, Debug)]
pub struct LogMember {
    name: Cow<'static, str>,
    value: Value,
    mode: LogMode,
}

/// When a member is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogMode {
    /// Always.
    Set,
    /// Where there is none.
    Add,
    /// Where there is one.
    Replace,
}

impl LogMembers {
    /// Adds a member that is set whatever there is.
    pub fn add(facts: &mut Facts, name: impl Into<Cow<'static, str>>, value: Value) {
        Self::note(facts, name, value, LogMode::Set);
    }

    /// Adds a member that is set as `mode` says once the entry is made.
    pub fn note(
        facts: &mut Facts,
        name: impl Into<Cow<'static, str>>,
        value: Value,
        mode: LogMode,
    ) {
        let name = name.into();
        facts.notes.get_or_insert_default::<Self>().0.push(LogMember { name, value, mode });
    }

    /// How many an exchange has.
    pub fn count(facts: &Facts) -> usize {
        facts.notes.get::<Self>().map_or(0, |members| members.0.len())
    }

    /// Sets them in an entry that holds the first `known` of them.
    pub fn write_into(&self, entry: &mut Value, known: usize) {
        for LogMember { name, value, mode } in self.0.iter().skip(known) {
            let wanted = match mode {
                LogMode::Set => true,
                LogMode::Add => !Self::has(entry, name),
                LogMode::Replace => Self::has(entry, name),
            };
            if wanted {
                Self::put(entry, name, value.clone());
            }
        }
    }

    fn has(entry: &Value, path: &str) -> bool {
        path.split('.').try_fold(entry, |inner, name| inner.get(name)).is_some()
    }

    /// Sets one member; null takes it away. Objects on the way are made where they are missing;
    /// anything else on it stays as it is.
    pub fn put(entry: &mut Value, path: &str, value: Value) {
        let mut inner = entry;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let Value::Object(members) = inner else { return };
            if names.peek().is_some() {
                if value.is_null() && !members.contains_key(name) {
                    return;
                }
                inner =
                    members.entry(name).or_insert_with(|| Value::Object(serde_json::Map::new()));
                continue;
            }
            if value.is_null() {
                members.shift_remove(name);
            } else {
                members.insert(name.to_owned(), value);
            }
            return;
        }
    }
}

/// The largest body, in bytes, a request may have that does not tell its length. A handler leaves it
/// in [`Facts::notes`]; who reads the body answers 413 with [`BodyLimit::EXCEEDED`] when it is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit(pub u64);

impl BodyLimit {
    /// The text of a refusal.
    pub const EXCEEDED: &'static str = "Request size limit exceeded";
}

/// Groups an authentication plugin found for a caller, beside those of a consumer. It leaves them in
/// [`Facts::notes`].
#[derive(Clone, Debug)]
pub struct AuthenticatedGroups(pub Vec<String>);

/// Who connects, and where.
#[derive(Clone, Debug)]
pub struct Client {
    /// The client's address after trusted proxies are taken off: what limits, lists and logs use.
    pub ip: IpAddr,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Our end of the connection.
    pub local: SocketAddr,
    /// How the client speaks, as a trusted proxy or the connection says.
    pub scheme: Scheme,
    /// Whether the peer is one of `trusted_ips`.
    pub trusted: bool,
    /// The TLS handshake, on TLS connections.
    pub tls: Option<Arc<TlsFacts>>,
}

/// Plain or over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// What a handshake agreed on.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// `TLSv1.3`.
    pub version: String,
    /// `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The server name asked for, lower case.
    pub sni: Option<String>,
    /// What became of the client's certificate: `NONE`, `SUCCESS`, or `FAILED:` and why.
    pub client_verify: String,
    /// The certificates the client showed, DER, its own first. It proved to hold that one's key;
    /// only with `SUCCESS` does an authority vouch for it.
    pub client_chain: Vec<Bytes>,
}

impl Default for TlsFacts {
    fn default() -> Self {
        Self {
            version: String::new(),
            cipher: String::new(),
            sni: None,
            client_verify: "NONE".into(),
            client_chain: Vec::new(),
        }
    }
}

/// Who calls.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The consumer, real or anonymous.
    pub consumer: Option<Item<Consumer>>,
    /// What proved it; none for an anonymous consumer.
    pub credential: Option<Credential>,
    /// The claims of the token that was verified. Nothing else may be trusted to name the caller.
    pub claims: Option<Arc<Document>>,
    /// Which app instance calls: the subject of the verified token, once a handler has checked
    /// that the token may be used from here. What embedded services are told.
    pub subject: Option<Arc<str>>,
}

/// What proved a consumer's identity.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its primary key.
    pub id: Id,
    /// What `X-Credential-Identifier` shows: a jwt's key, a basic-auth user name, else the id.
    pub identifier: Arc<str>,
}

const CONSUMER_ID: HeaderName = HeaderName::from_static("x-consumer-id");
const CONSUMER_CUSTOM_ID: HeaderName = HeaderName::from_static("x-consumer-custom-id");
const CONSUMER_USERNAME: HeaderName = HeaderName::from_static("x-consumer-username");
const CREDENTIAL_IDENTIFIER: HeaderName = HeaderName::from_static("x-credential-identifier");
const ANONYMOUS_CONSUMER: HeaderName = HeaderName::from_static("x-anonymous-consumer");

impl Identity {
    /// Records who calls and tells the upstream by headers; a client's own spellings of them are
    /// dropped (kong/pdk/client.lua, authenticate; kong/plugins/jwt/handler.lua, set_consumer).
    pub fn authenticate(
        &mut self,
        head: &mut RequestHeader,
        consumer: Option<Item<Consumer>>,
        credential: Option<Credential>,
    ) {
        let mut put = |name: HeaderName, value: Option<&str>| {
            match value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
                // Inserting a valid name and value cannot fail; pingora's signature says it may.
                Some(value) => drop(head.insert_header(name, value)),
                None => drop(head.remove_header(&name)),
            }
        };
        let id = consumer.as_ref().map(|consumer| consumer.id().to_string());
        put(CONSUMER_ID, id.as_deref());
        put(CONSUMER_CUSTOM_ID, consumer.as_ref().and_then(|c| c.custom_id.as_deref()));
        put(CONSUMER_USERNAME, consumer.as_ref().and_then(|c| c.username.as_deref()));
        put(CREDENTIAL_IDENTIFIER, credential.as_ref().map(|c| &*c.identifier));
        put(ANONYMOUS_CONSUMER, credential.is_none().then_some("true"));
        self.consumer = consumer;
        self.credential = credential;
    }
}

/// Says that the answer a handler gives is one an upstream gave: it goes out with the headers such
/// have (`Via`, latencies), and keeps its `Server`. A handler leaves it in [`Facts::notes`].
#[derive(Clone, Copy, Debug)]
pub struct Relayed;

/// What the upstream said after the body, on HTTP/2. It is there when body filters see the last
/// piece, in [`Facts::notes`]; an answer they add bytes to at that point has no trailers of its own.
#[derive(Clone, Debug)]
pub struct Trailers(pub http::HeaderMap);

/// How long the handlers of an exchange took, in the order they ran. In [`Facts::notes`] where a
/// handler of the chain [needs](super::Needs::TIMES) it.
#[derive(Clone, Debug, Default)]
pub struct PluginTimes(pub Vec<PluginTime>);

/// One handler in one phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginTime {
    /// Rewrite, access or header filter.
    pub phase: super::Phases,
    /// Kong's name of the plugin.
    pub plugin: &'static str,
    /// When it began, Unix nanoseconds.
    pub began_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
}
