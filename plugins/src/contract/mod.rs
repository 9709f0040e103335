//! What a plugin is: [`Plugin`] while the catalog is compiled, [`Handler`] while traffic flows.
//!
//! Two traits because there are two times. A handler is a plain function of what it is given; one
//! that must wait returns [`Flow::Wait`], and only then is a future allocated. What must outlive a
//! recompile (counters, queues, clients) comes from [`Tools`], not from the handler.
//!
//! Absent from here: the proxy's session, the store, the control plane. A handler can reach none.

pub(crate) mod entry;
mod facts;
mod handshake;
mod page;
mod reply;
mod request;
mod response;
mod setup;
mod summary;
mod unserved;

use std::sync::Arc;

use futures::future::BoxFuture;
use gateway_model::schema::{Record, Schema};
use gateway_model::{Document, EntityType, PluginSchema, Scopes, Violations};
use pingora_http::RequestHeader;
use serde::de::DeserializeOwned;

pub use entry::{SessionLog, WORKSPACE, session_entry};
pub use facts::{
    AuthenticatedGroups, Authorities, BodyLimit, Captures, Client, ClientPair, Credential, Facts,
    ForwardedFor, Identity, LogMember, LogMembers, LogMode, Overrides, PluginTime, PluginTimes,
    Relayed, RequestBody, Scheme, Timeouts, TlsFacts, Trailers,
};
pub use handshake::Handshake;
pub use page::{AdminPage, PageAnswer, PageCall};
pub use reply::{Reply, ReplyBody};
pub use request::Request;
pub use response::{Buffered, Chunk, HeldBody, HoldAnswer, OutcomeInBody, Response, Source};
pub use setup::{Entities, Node, Setup, Tools, Tracing};
pub use summary::{Latencies, Summary, Try};
pub use unserved::UnservedNames;

/// A kind of plugin: its name, place, schema, and how an instance becomes a handler.
pub trait Plugin: Handler + Sized + 'static {
    /// Kong's name: `key-auth`.
    const NAME: &'static str;
    /// Shown in `GET /`.
    const VERSION: &'static str = crate::KONG_VERSION;
    /// Kong's priority; higher runs first, equal ones by name. Pinned by a golden test.
    const PRIORITY: i32;
    /// The phases the chain calls; it calls no other.
    const PHASES: Phases;
    /// Where an instance may be attached.
    const SCOPES: Scopes = Scopes::ALL;
    /// Protocols an instance may list.
    const PROTOCOLS: &'static [&'static str] = HTTP;
    /// Protocols of an instance that lists none.
    const DEFAULT_PROTOCOLS: &'static [&'static str] = HTTP;
    /// Credentials and the like; the Admin API serves them.
    const ENTITIES: &'static [&'static EntityType] = &[];
    /// Paths of the Admin API it brings.
    const PAGES: &'static [AdminPage] = &[];
    /// One struct: schema, defaults, documentation.
    type Config: Schema + DeserializeOwned;

    /// Turns a complete, checked configuration into a handler.
    ///
    /// # Errors
    ///
    /// What the schema could not see; field paths are relative to the configuration.
    fn build(config: Self::Config, setup: &Setup<'_>) -> Result<Self, Violations>;
}

/// Protocols of plugins that work on HTTP requests.
pub const HTTP: &[&str] = &["grpc", "grpcs", "http", "https"];
/// Protocols of plugins that also work on stream connections.
pub const ANY: &[&str] =
    &["grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp"];

/// One compiled instance. Every method runs on the request path: no lock held while waiting, no
/// I/O, no compilation.
pub trait Handler: Send + Sync {
    /// Which of its plugin's phases this instance acts in. Asked once, when it is compiled; the
    /// chain calls no other.
    fn phases(&self) -> Phases {
        Phases::ALL.and(Phases::RESPONSE)
    }

    /// What must be known before [`rewrite`](Self::rewrite) or [`access`](Self::access) run. Asked
    /// once, when the instance is compiled.
    fn needs(&self) -> Needs {
        Needs::NOTHING
    }

    /// What of its [needs](Self::needs) it has for a request with this head. Asked for every request
    /// of an instance that has any: a body that need not be read ahead streams to the upstream.
    fn needs_of(&self, _: &RequestHeader) -> Needs {
        self.needs()
    }

    /// When a client's first message of a TLS handshake is here and nothing is answered; global
    /// instances only. There is no request yet: the facts tell who connects and to which name, and
    /// end with the handshake. What becomes of it is a [`Handshake`] in the notes; a
    /// [`Flow::Reply`] ends the connection.
    fn certificate<'a>(&'a self, _: &'a mut Facts) -> Flow<'a> {
        Flow::Continue
    }

    /// Before routing; global instances only.
    fn rewrite<'a>(&'a self, _: &'a mut Request<'_>) -> Flow<'a> {
        Flow::Continue
    }

    /// Once a route is found, before the upstream is asked.
    fn access<'a>(&'a self, _: &'a mut Request<'_>) -> Flow<'a> {
        Flow::Continue
    }

    /// When all of the upstream's answer is here and nothing of it is sent. That it exists holds
    /// every answer back, within a limit, so a handler that has this phase says so in
    /// [`phases`](Self::phases) only where it must. Not called for answers of the gateway's own, for
    /// upgraded connections and for gRPC, which streams.
    ///
    /// A [`Flow::Reply`] is sent in the place of the upstream's answer; later handlers of this phase
    /// do not run (kong/init.lua, Kong.response).
    fn response<'a>(&'a self, _: &'a mut Buffered<'_>) -> Flow<'a> {
        Flow::Continue
    }

    /// When the response's status and headers are known.
    fn header_filter(&self, _: &mut Response<'_>) {}

    /// For every piece of the response's body.
    fn body_filter(&self, _: &mut Chunk<'_>) {}

    /// After the exchange is over. Must return at once: hand the work to a queue.
    fn log(&self, _: &Summary<'_>) {}
}

/// What a handler wants to happen next.
pub enum Flow<'a> {
    /// The next handler.
    Continue,
    /// This answer; later access handlers do not run, response phases do.
    Reply(Box<Reply>),
    /// Wait for this.
    Wait(BoxFuture<'a, Flow<'static>>),
}

impl Flow<'_> {
    /// Ends the request with this answer.
    pub fn reply(reply: Reply) -> Self {
        Self::Reply(Box::new(reply))
    }
}

/// A set of phases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Phases(u8);

impl Phases {
    /// None.
    pub const NONE: Self = Self(0);
    /// All of a request but [`RESPONSE`](Self::RESPONSE), which is asked for by name because it
    /// costs.
    pub const ALL: Self = Self(31);
    /// Before routing, global instances only.
    pub const REWRITE: Self = Self(1);
    /// After routing.
    pub const ACCESS: Self = Self(2);
    /// Response headers.
    pub const HEADER_FILTER: Self = Self(4);
    /// Response body.
    pub const BODY_FILTER: Self = Self(8);
    /// After the exchange.
    pub const LOG: Self = Self(16);
    /// When all of the upstream's answer is here.
    pub const RESPONSE: Self = Self(32);
    /// When a TLS handshake begins, global instances only.
    pub const CERTIFICATE: Self = Self(64);

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every phase of `other` is in this set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What a handler must know that costs something to find out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Needs(u8);

impl Needs {
    /// What every handler gets.
    pub const NOTHING: Self = Self(0);
    /// The request's body: [`Facts::body`] is read before the handler runs.
    pub const BODY: Self = Self(1);
    /// What the route's regular expression captured: [`Facts::captures`].
    pub const CAPTURES: Self = Self(2);
    /// How long handlers take: [`PluginTimes`] in [`Facts::notes`], of all of the chain.
    pub const TIMES: Self = Self(4);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every need of `other` is among these.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

type Build = fn(&Document, &Setup<'_>) -> Result<Arc<dyn Handler>, Violations>;

/// A plugin that is no Rust type of its own: made while the process starts, of files.
pub trait Dynamic: Send + Sync {
    /// What the control plane needs to know.
    fn schema(&self) -> PluginSchema;

    /// As [`PluginType::build`].
    ///
    /// # Errors
    ///
    /// As [`PluginType::build`].
    fn build(&self, config: &Document, setup: &Setup<'_>) -> Result<Arc<dyn Handler>, Violations>;
}

#[derive(Clone, Copy)]
enum Made {
    Static { schema: fn() -> PluginSchema, build: Build },
    Dynamic(&'static dyn Dynamic),
}

/// A plugin without its Rust type: what the list holds and the chain compiles.
#[derive(Clone, Copy)]
pub struct PluginType {
    /// `key-auth`.
    pub name: &'static str,
    /// Higher runs first.
    pub priority: i32,
    /// What the chain calls.
    pub phases: Phases,
    /// The kinds it brings.
    pub entities: &'static [&'static EntityType],
    /// Paths of the Admin API it brings.
    pub pages: &'static [AdminPage],
    made: Made,
}

impl PluginType {
    /// The list entry of a plugin made while the process starts.
    pub const fn dynamic(
        name: &'static str,
        priority: i32,
        phases: Phases,
        plugin: &'static dyn Dynamic,
    ) -> Self {
        Self { name, priority, phases, entities: &[], pages: &[], made: Made::Dynamic(plugin) }
    }

    /// The list entry of a plugin.
    pub const fn of<P: Plugin>() -> Self {
        Self {
            name: P::NAME,
            priority: P::PRIORITY,
            phases: P::PHASES,
            entities: P::ENTITIES,
            pages: P::PAGES,
            made: Made::Static { schema: schema::<P>, build: build::<P> },
        }
    }

    /// What the control plane needs to know.
    pub fn schema(&self) -> PluginSchema {
        match self.made {
            Made::Static { schema, .. } => schema(),
            Made::Dynamic(plugin) => plugin.schema(),
        }
    }

    /// Compiles one instance's complete configuration.
    ///
    /// # Errors
    ///
    /// What the plugin refuses; paths begin with `config.`.
    pub fn build(
        &self,
        config: &Document,
        setup: &Setup<'_>,
    ) -> Result<Arc<dyn Handler>, Violations> {
        match self.made {
            Made::Static { build, .. } => build(config, setup),
            Made::Dynamic(plugin) => plugin.build(config, setup),
        }
    }
}

impl std::fmt::Debug for PluginType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.priority)
    }
}

fn schema<P: Plugin>() -> PluginSchema {
    PluginSchema {
        name: P::NAME,
        version: P::VERSION,
        priority: P::PRIORITY,
        record: Record::of::<P::Config>(),
        scopes: P::SCOPES,
        protocols: P::PROTOCOLS,
        default_protocols: P::DEFAULT_PROTOCOLS,
    }
}

fn build<P: Plugin>(config: &Document, setup: &Setup<'_>) -> Result<Arc<dyn Handler>, Violations> {
    let below_config = |violations: Violations| {
        let mut outer = Violations::new();
        outer.add("config", serde_json::Value::Object(violations.into_fields()));
        outer
    };
    let config: P::Config = serde_json::from_value(serde_json::Value::Object(config.clone()))
        .map_err(|why| Violations::one("config", why.to_string()))?;
    P::build(config, setup)
        .map(|handler| Arc::new(handler) as Arc<dyn Handler>)
        .map_err(below_config)
}
