//! Kong's Admin API over the control plane.
//!
//! [`router`] serves every kind of the registry that has a collection, with its nested paths,
//! by one machinery: list, create, read, upsert, patch, delete. Paths, statuses and
//! bodies are Kong's (kong/api/endpoints.lua).
//!
//! The way of a request: `dispatch` finds the `nested::Resource` its path names and the
//! method asked of it, `body` and `form` make a document of what was sent, `collection`
//! makes changes of it and hands them to the control plane, `error` words a refusal.
//!
//! Deliberately absent: authentication (the listener's address is the protection, as in Kong),
//! and anything about traffic. What the node knows of itself comes in by [`Admin`].

mod answer;
mod body;
mod collection;
mod config;
mod debug;
mod dispatch;
mod error;
mod extra;
mod form;
mod health;
mod info;
mod nested;
mod page;
mod schemas;
mod tags;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use gateway_control::Control;
use gateway_control::declarative::DeclarativeError;
use gateway_model::ports::TargetHealth;
use gateway_model::{Catalog, Document, Id, Rejection, Stored};
use http::{Method, StatusCode};
use serde_json::Value;

/// What the Admin API is made of.
#[derive(Clone)]
pub struct Admin {
    /// The control plane.
    pub control: Control,
    /// Who this node is, for `GET /`.
    pub node: Node,
    /// What the node is doing, for `GET /status`.
    pub status: Arc<dyn NodeStatus>,
    /// The Prometheus text of `GET /metrics`; `None` answers 404.
    pub metrics: Option<Metrics>,
    /// `admin_gui_url`: the origins Kong Manager is served from. Empty allows every origin.
    pub gui_origins: Vec<String>,
    /// Which headers name the software in answers.
    pub headers: Headers,
    /// Whether entities may be written here.
    pub writes: Writes,
    /// Largest request body accepted, in bytes; Kong's default is 10 MiB.
    pub body_limit: usize,
}

/// Gives the Prometheus text of the moment.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// Who this node is.
#[derive(Clone, Debug)]
pub struct Node {
    /// The Kong version whose API this is: `3.10.0`.
    pub version: String,
    /// Stays the same over restarts.
    pub id: Id,
    /// The machine's name.
    pub hostname: String,
    /// Process id of the one process there is.
    pub pid: u32,
    /// Every configuration key with its parsed value, secrets masked.
    pub configuration: Document,
}

/// Which headers name the software; `headers` in the configuration.
#[derive(Clone, Debug)]
pub struct Headers {
    /// `Server`: `kong/3.10.0`.
    pub server: Option<String>,
    /// Whether `X-Kong-Admin-Latency` is sent.
    pub latency: bool,
}

/// Whether entities may be written by the Admin API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// They are kept in the store.
    Store,
    /// `database = off`: the configuration is a file, and writes are refused.
    Declarative,
}

/// What the node is doing.
pub trait NodeStatus: Send + Sync {
    /// Connections and requests of the proxy.
    fn connections(&self) -> Connections;
    /// Resident memory of the process, in bytes.
    fn memory_bytes(&self) -> u64;
    /// Where the configuration comes from, and how that is.
    fn source(&self) -> Source;
}

/// Connections and requests of the proxy since the process started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connections {
    /// Connections ever accepted.
    pub accepted: u64,
    /// Connections open now.
    pub active: u64,
    /// Connections ever served.
    pub handled: u64,
    /// Connections whose request is being read.
    pub reading: u64,
    /// Connections whose response is being written.
    pub writing: u64,
    /// Idle connections.
    pub waiting: u64,
    /// Requests ever served.
    pub requests: u64,
}

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A database.
    Database {
        /// Whether it answers.
        reachable: bool,
    },
    /// A declarative file.
    Declarative {
        /// MD5 of the text, 32 hexadecimal digits; zeros when nothing is loaded.
        hash: String,
    },
}

/// Parts of the process that the Admin API shows and steers, where they are there.
#[derive(Clone, Default)]
pub struct Ports {
    /// The balancer. Without one, targets are shown as nothing checks them.
    pub targets: Option<Arc<dyn TargetHealth>>,
    /// The level of logs. Without it the configured one is shown, and cannot be changed.
    pub log_level: Option<Arc<dyn LogLevel>>,
    /// The declarative configuration of a node without a database. Without it `POST /config` is
    /// not there.
    pub declared: Option<Arc<dyn Declared>>,
    /// Paths of parts this crate does not know, besides its own.
    pub pages: Arc<[ExtraPage]>,
}

/// A path of a part this crate does not know.
#[derive(Clone)]
pub struct ExtraPage {
    /// `/proxy-cache/{cache_key}`; a part in braces takes anything.
    pub path: &'static str,
    /// What may be asked, sorted, as `Allow` lists it.
    pub methods: &'static str,
    /// Answers.
    pub serve: Arc<dyn Fn(ExtraCall<'_>) -> ExtraAnswer + Send + Sync>,
}

/// What was asked of an [`ExtraPage`].
pub struct ExtraCall<'a> {
    /// The catalog of the moment.
    pub catalog: &'a Catalog,
    /// One of the page's; `GET` also for `HEAD`.
    pub method: &'a Method,
    /// What stands in the place of each part in braces, decoded.
    pub parameters: &'a [String],
    /// A member of the body, as text.
    pub member: &'a (dyn Fn(&str) -> Option<String> + Sync),
}

impl std::fmt::Debug for ExtraPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.path)
    }
}

/// What an [`ExtraPage`] says.
pub enum ExtraAnswer {
    /// 200 with this.
    Json(Value),
    /// This status, with this.
    Status(StatusCode, Value),
    /// What comes of this.
    Wait(BoxFuture<'static, ExtraAnswer>),
    /// 204.
    NoContent,
    /// 404.
    NotFound,
}

/// The declarative configuration of a node without a database.
pub trait Declared: Send + Sync {
    /// Whether this very text is what is served.
    fn is_served(&self, text: &str) -> bool;

    /// Serves what a text declares, and nothing else, in one step. A failed load changes nothing.
    fn load(&self, text: String) -> BoxFuture<'_, Result<Loaded, LoadError>>;
}

/// What a declarative text became.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The catalog being served.
    pub catalog: Arc<Catalog>,
    /// The entities of the text.
    pub entities: Vec<Arc<Stored>>,
}

/// Why a declarative text is not served.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It breaks rules.
    #[error("reading the declarative configuration")]
    Declarative(#[source] DeclarativeError),
    /// What it declares cannot be served.
    #[error("applying the declarative configuration")]
    Refused(#[source] Rejection),
    /// Another load goes on; it ends after so many seconds at the latest.
    #[error("another load goes on")]
    Busy(u64),
    /// It took longer than a load may; it may come into force later nevertheless.
    #[error("loading took too long")]
    TimedOut,
}

/// The level of logs, in Kong's words: `debug`, `info`, `notice`, `warn`, `error`, `crit`,
/// `alert`, `emerg`.
pub trait LogLevel: Send + Sync {
    /// The level of the moment.
    fn level(&self) -> String;

    /// Changes it; to what it was at the start after `back_in`, or for good.
    fn set(&self, level: &str, back_in: Option<Duration>);
}

/// The Admin API as a router that takes every path.
pub fn router(admin: Admin) -> axum::Router {
    router_with(admin, Ports::default())
}

/// The Admin API with the parts of the process it can show and steer.
pub fn router_with(admin: Admin, ports: Ports) -> axum::Router {
    axum::Router::new().fallback(dispatch::serve).with_state(Arc::new(Served { admin, ports }))
}

/// What requests are served from.
struct Served {
    admin: Admin,
    ports: Ports,
}
