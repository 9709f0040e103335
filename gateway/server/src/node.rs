//! This node, as the Admin API, the status API and metrics show it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use gateway_admin::{
    Admin, Connections as Counted, ExtraAnswer, ExtraCall, ExtraPage, Headers, NodeStatus, Source,
    Writes,
};
use gateway_control::Control;
use gateway_model::entities::{PluginInstance, Target, Upstream};
use gateway_model::ports::{Health, TargetHealth};
use gateway_model::{Catalog, Document, Id, Item};
use gateway_proxy::Traffic;
use plugins::contract::{AdminPage, PageAnswer, PageCall, Tools};
use plugins::{NodeMetrics, Timers};
use prometheus::TextEncoder;
use serde_json::json;
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::docs::Docs;
use crate::listener::Connections;
use crate::settings::Settings;
use crate::settings::proxying::ResponseHeader;
use crate::settings::store::Database;
use crate::startup;
use crate::wire::store::Declared;

/// What this node counts.
pub(crate) struct Node {
    pub(crate) connections: Arc<Connections>,
    pub(crate) traffic: Arc<Traffic>,
    store: Kept,
}

/// Where the configuration is, and how to tell whether it still is there.
enum Kept {
    /// In a file.
    File(PathBuf),
    /// In a database server: what the last look said.
    Server(Arc<AtomicBool>),
    /// In memory only.
    Memory(Arc<Declared>),
}

impl Node {
    /// Over the counters of the listeners and the proxy.
    pub(crate) fn new(
        settings: &Settings,
        connections: &Arc<Connections>,
        traffic: Arc<Traffic>,
        declared: &Arc<Declared>,
    ) -> Arc<Self> {
        let store = match settings.store.database {
            Database::Sqlite => Kept::File(startup::database_file(settings)),
            Database::Off => Kept::Memory(Arc::clone(declared)),
            Database::Postgres => {
                let given = &settings.store.postgres;
                Kept::Server(watch_server(given.host.clone(), given.port))
            }
        };
        Arc::new(Self { connections: Arc::clone(connections), traffic, store })
    }

    /// Shows it in the metrics of the process.
    ///
    /// # Errors
    ///
    /// When families of these names are there already.
    pub(crate) fn register(
        self: &Arc<Self>,
        tools: &Tools,
        id: Id,
        control: &Control,
        balancer: Arc<dyn TargetHealth>,
    ) -> prometheus::Result<()> {
        let control = control.clone();
        let (connections, requests) = (Arc::clone(self), Arc::clone(self));
        let (datastore, memory) = (Arc::clone(self), Arc::clone(self));
        let runtime = tools.runtime.clone();
        NodeMetrics::new(id.to_string(), plugins::KONG_VERSION)
            .connections(move || {
                let counted = connections.connections();
                plugins::Connections {
                    accepted: counted.accepted,
                    handled: counted.handled,
                    active: counted.active,
                    reading: counted.reading,
                    writing: counted.writing,
                    waiting: counted.waiting,
                }
            })
            .requests(move || requests.traffic.requests())
            .timers(move || Timers {
                running: runtime.metrics().num_alive_tasks() as u64,
                pending: runtime.metrics().global_queue_depth() as u64,
            })
            .datastore(move || datastore.reaches_store())
            .memory(move || memory.memory_bytes())
            .targets(move || targets(&control.catalog(), &*balancer))
            .register(tools)
    }

    /// Whether the store is where it was. Memory always is.
    fn reaches_store(&self) -> bool {
        match &self.store {
            Kept::File(file) => file.exists(),
            Kept::Server(answers) => answers.load(Ordering::Relaxed),
            Kept::Memory(_) => true,
        }
    }
}

/// The targets of all upstreams, when an instance of the plugin wants them shown.
fn targets(catalog: &Catalog, balancer: &dyn TargetHealth) -> Vec<plugins::Target> {
    let wants = |one: &Item<PluginInstance>| {
        one.enabled
            && one.name == "prometheus"
            && one.config.get("upstream_health_metrics") == Some(&true.into())
    };
    if !catalog.all::<PluginInstance>().any(|one| wants(&one)) {
        return Vec::new();
    }
    let mut all = Vec::new();
    for upstream in catalog.all::<Upstream>() {
        for target in catalog.children::<Target>("upstream", upstream.id()) {
            let Some(state) = balancer.target(upstream.id(), target.id()) else { continue };
            let shown = |address: String, health: Health| plugins::Target {
                upstream: upstream.name.to_string(),
                target: target.target.to_string(),
                address,
                health,
            };
            if state.addresses.is_empty() {
                all.push(shown(String::new(), Health::DnsError));
            }
            for one in &state.addresses {
                all.push(shown(one.address.to_string(), one.health));
            }
        }
    }
    all
}

impl NodeStatus for Node {
    fn connections(&self) -> Counted {
        let (accepted, active) = (self.connections.accepted(), self.connections.active());
        let reading = self.connections.opening().min(active);
        let writing = self.traffic.in_flight().min(active - reading);
        Counted {
            accepted,
            active,
            handled: accepted,
            reading,
            writing,
            waiting: active - reading - writing,
            requests: self.traffic.requests(),
        }
    }

    fn memory_bytes(&self) -> u64 {
        resident_bytes().unwrap_or(0)
    }

    fn source(&self) -> Source {
        match &self.store {
            Kept::Memory(declared) => Source::Declarative { hash: declared.hash() },
            _ => Source::Database { reachable: self.reaches_store() },
        }
    }
}

/// Looks every few seconds whether a database server takes connections.
fn watch_server(host: String, port: u16) -> Arc<AtomicBool> {
    const EVERY: Duration = Duration::from_secs(5);
    let answers = Arc::new(AtomicBool::new(true));
    let told = Arc::downgrade(&answers);
    tokio::spawn(async move {
        while let Some(answers) = told.upgrade() {
            let connect = tokio::net::TcpStream::connect((host.as_str(), port));
            let answered = tokio::time::timeout(EVERY, connect).await;
            answers.store(matches!(answered, Ok(Ok(_))), Ordering::Relaxed);
            drop(answers);
            tokio::time::sleep(EVERY).await;
        }
    });
    answers
}

/// Resident memory, as the kernel counts it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// What the Admin API is made of.
pub(crate) fn admin(
    settings: &Settings,
    control: &Control,
    node: &Arc<Node>,
    id: Id,
    metrics: &prometheus::Registry,
) -> Admin {
    let has = |header| settings.proxying.headers.contains(&header);
    let configuration: Document = settings
        .all()
        .filter(|shown| !shown.value.is_null())
        .map(|shown| (shown.key.to_owned(), shown.value))
        .collect();
    let metrics = metrics.clone();
    Admin {
        control: control.clone(),
        node: gateway_admin::Node {
            version: plugins::KONG_VERSION.to_owned(),
            id,
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            configuration,
        },
        status: Arc::clone(node) as Arc<dyn NodeStatus>,
        metrics: Some(Arc::new(move || {
            TextEncoder::new().encode_to_string(&metrics.gather()).unwrap_or_default()
        })),
        gui_origins: settings.gui.origins.clone(),
        headers: Headers {
            server: has(ResponseHeader::Server).then(|| format!("kong/{}", plugins::KONG_VERSION)),
            latency: has(ResponseHeader::AdminLatency),
        },
        writes: match settings.store.database {
            Database::Off => Writes::Declarative,
            _ => Writes::Store,
        },
        body_limit: settings
            .proxying
            .admin_max_body
            .map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
    }
}

/// The paths of the Admin API that plugins bring.
pub(crate) fn pages(tools: &Arc<Tools>) -> Arc<[ExtraPage]> {
    let brought = plugins::ALL.iter().flat_map(|plugin| plugin.pages);
    let page = |page: &'static AdminPage| {
        let tools = Arc::clone(tools);
        let serve = move |call: ExtraCall<'_>| {
            let ExtraCall { catalog, method, parameters, member } = call;
            let call = PageCall { tools: &tools, catalog, method, parameters, member };
            extra_answer((page.serve)(&call))
        };
        ExtraPage { path: page.path, methods: page.methods, serve: Arc::new(serve) }
    };
    brought.map(page).collect()
}

fn extra_answer(answer: PageAnswer) -> ExtraAnswer {
    match answer {
        PageAnswer::Json(value) => ExtraAnswer::Json(value),
        PageAnswer::Status(status, value) => ExtraAnswer::Status(status, value),
        PageAnswer::Wait(wait) => {
            ExtraAnswer::Wait(Box::pin(async move { extra_answer(wait.await) }))
        }
        PageAnswer::NoContent => ExtraAnswer::NoContent,
        PageAnswer::NotFound => ExtraAnswer::NotFound,
    }
}

/// The status API: `/status`, `/status/ready` and `/metrics`, GET only
/// (kong/status/init.lua). The first and the last are the Admin API's. Ours are the documents.
pub(crate) fn status_router(
    admin: Admin,
    docs: Arc<Docs>,
    shutdown: watch::Receiver<bool>,
) -> Router {
    let inner = gateway_admin::router(admin);
    let serve = move |request: Request| {
        let (inner, docs, shutdown) = (inner.clone(), Arc::clone(&docs), shutdown.clone());
        async move { status(inner, &docs, &shutdown, request).await }
    };
    Router::new().fallback(serve).layer(middleware::map_response(plain_head))
}

async fn status(
    inner: Router,
    docs: &Docs,
    shutdown: &watch::Receiver<bool>,
    request: Request,
) -> Response {
    let told = |status: StatusCode, text: &str| {
        let kind = [(CONTENT_TYPE, "application/json; charset=utf-8")];
        (status, kind, json!({ "message": text }).to_string()).into_response()
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return told(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
    }
    match trimmed(request.uri()) {
        "/status" | "/metrics" => match inner.oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        },
        "/status/ready" if *shutdown.borrow() => told(StatusCode::SERVICE_UNAVAILABLE, "draining"),
        "/status/ready" => told(StatusCode::OK, "ready"),
        _ => docs
            .answer(request.uri().path(), request.headers())
            .unwrap_or_else(|| told(StatusCode::NOT_FOUND, "Not found")),
    }
}

fn trimmed(uri: &Uri) -> &str {
    let path = uri.path();
    if path.len() > 1 { path.trim_end_matches('/') } else { path }
}

/// The status API is no place for cross-origin calls.
async fn plain_head(mut answer: Response) -> Response {
    answer.headers_mut().remove("access-control-allow-origin");
    answer.headers_mut().remove("access-control-allow-credentials");
    answer
}
