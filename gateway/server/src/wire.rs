//! Builds everything: the only place where the crates meet.

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gateway_control::Control;
use gateway_model::entities;
use gateway_model::ports::DataPlane;
use gateway_model::{Clock, Registry};
use gateway_proxy::snapshot::{Current, ProxyPlane, Snapshot};
use gateway_proxy::stream::StreamProxy;
use gateway_proxy::tls::SniResolver;
use gateway_proxy::{AccessLog, EmbeddedServices, Proxy, Refuser, Resolver};
use pingora_core::apps::HttpServerOptions;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;
use plugins::contract::{PluginType, Tools, UnservedNames};
use rustls::server::ResolvesServerCert;
use signals::{End, Signals};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};

use crate::embed::EmbeddedRouter;
use crate::files::Certificates;
use crate::gui;
use crate::handover::{self, Inherited, Legacy};
use crate::listener::{
    self, Accept, AcceptStreams, Application, Bound, BoundNames, Connections, Datagrams, Limits,
    Proxied,
};
use crate::log_file::LogFiles;
use crate::node::{self, Node};
use crate::settings::logs::LogTarget;
use crate::settings::proxying::RouterFlavor;
use crate::settings::store::Database;
use crate::settings::tls::KeyPair;
use crate::settings::{Listen, Settings};
use crate::startup::{self, Summary};
use crate::trust::Trusted;
use crate::{daemon, telemetry};

mod dns;
mod edge;
pub(crate) mod migrations;
pub(crate) mod offline;
mod options;
mod platform;
mod process;
mod signals;
pub(crate) mod store;

/// How long requests in flight may take once a stop is asked for.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a graceful end waits for clients that keep connections to ask once more.
const LAST_REQUEST: Duration = Duration::from_secs(1);
/// The largest request body an embedded service gets: 2 MiB, the original's limit.
const EMBEDDED_BODY: u64 = 2 * 1024 * 1024;

/// Serves until told to stop.
///
/// # Errors
///
/// What keeps it from starting, in one line.
pub(crate) fn run(settings: Settings) -> Result<()> {
    let began = Instant::now();
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a crypto provider was installed before ours"))?;
    startup::folders(&settings)?;
    let logs = LogFiles::default();
    let level = telemetry::start(&settings.logs, &logs)?;
    process::raise_open_files(&settings.process);
    handover::remember_program();
    let mut inherited = Inherited::receive()?;
    let claim = match inherited.as_mut().and_then(Inherited::claim) {
        Some(claim) => claim,
        None => daemon::claim(&settings.process.prefix)?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
        .context("starting the control runtime")?;
    let served =
        runtime.block_on(serve(&runtime, &settings, &logs, level, began, (&claim, inherited)));
    // Only what was told to end is awaited; a stuck connection does not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// Makes what a first start would make, without serving.
///
/// # Errors
///
/// What cannot be made.
pub(crate) fn prepare(settings: &Settings) -> Result<()> {
    startup::folders(settings)?;
    startup::certificates(settings)?;
    startup::token_key(settings)?;
    startup::sealing_key(settings)?;
    startup::node_id(settings).map(drop)
}

async fn serve(
    runtime: &Runtime,
    settings: &Settings,
    logs: &LogFiles,
    level: Arc<telemetry::Level>,
    began: Instant,
    (claim, mut inherited): (&File, Option<Inherited>),
) -> Result<()> {
    let listeners = Listeners::bind(settings, inherited.as_mut())?;
    let clock = Clock::system();
    let certificates = CertificateFiles::load(settings)?;
    let sealing = startup::sealing_key(settings)?;
    let metrics = prometheus::Registry::new();
    let names = Resolver::new(options::names(settings), clock.clone(), runtime.handle().clone());
    let client = options::http_client(settings, names.clone())?;
    plugins::resolve_names_by(options::resolving(names.clone()));
    let trusted = Trusted::load(settings)?;
    let node_id = startup::node_id(settings)?;
    let lua = options::lua(settings, Some(node_id));
    let types = plugin_types(settings, &lua)?;
    let registry = Arc::new(registry(settings, types));
    let store::Opened { store, counters } = store::open(settings, &registry, &sealing).await?;
    let tools = Tools::new(clock.clone(), runtime.handle().clone(), client, metrics.clone())
        .on(options::node(settings, node_id))
        .counting_in(counters);
    let tools = Arc::new(tools);
    plugins::lua::start(&tools, lua);

    let flavour = options::flavour(settings);
    let current = Current::new(Snapshot::empty(Arc::clone(&registry), flavour));
    let plane = Arc::new(ProxyPlane::new(
        types,
        Arc::clone(&tools),
        current.clone(),
        flavour,
        names.clone(),
    ));
    let zone = mep::dns::CurrentZone::default();
    let zone_plane = dns::plane(settings, zone.clone());
    let planes: Vec<Arc<dyn DataPlane>> = vec![plane, zone_plane];
    let control = Control::start(Arc::clone(&registry), store, planes, clock.clone())
        .await
        .context("loading the configuration")?;
    tools.entities.connect(Arc::new(control.clone()));
    control.register_metrics(&metrics)?;
    let declared = store::Declared::new(settings.store.declarative.clone(), control.clone());
    declared.load().await?;

    let (stop, shutdown) = watch::channel(false);
    let ports = edge::ports(settings, &clock, names.clone()).await?;
    let place = platform::Place {
        node: node_id,
        takes_over: inherited.is_some(),
        authorities: trusted.file.clone(),
        clock: clock.clone(),
    };
    let platform =
        platform::build(settings, &listeners, place, ports, &control, sealing, &metrics)?;
    let seeded = platform.seed().await?;
    platform.reconcile().await;
    let tasks = tokio::spawn(platform.tasks(shutdown.clone()));
    let name_server =
        dns::serve(settings, &listeners.mep_dns, zone.clone(), &metrics, shutdown.clone())?
            .map(tokio::spawn);

    let connections = Arc::new(Connections::default());
    let mut embedded = EmbeddedServices::new();
    let routers = [
        (mep::MEPSERVER_HOST, platform.mepserver_router()),
        (mep::MEPAUTH_HOST, platform.mepauth_router()),
    ];
    for (host, router) in routers {
        embedded.insert(host, Arc::new(EmbeddedRouter::new(router, EMBEDDED_BODY)) as _);
    }
    let proxy_options = options::proxy(settings, options::upstream_tls(settings, &trusted)?);
    let trust = Arc::new(proxy_options.trust.clone());
    // The file is made only where something will be written to it.
    let stream_log = match settings.listeners.stream[..] {
        [] => None,
        _ => access_log(&settings.logs.stream_access, logs)?,
    };
    let streams = StreamProxy::new(
        current.clone(),
        proxy_options.clone(),
        stream_log,
        clock.clone(),
        names.clone(),
    );
    let log = access_log(&settings.logs.proxy.access, logs)?;
    let refuser = Refuser::new(proxy_options.clone(), log.clone(), clock.clone());
    let shown: Arc<dyn ResolvesServerCert> = SniResolver::new(
        current.clone(),
        Arc::clone(&certificates.proxy) as _,
        tools.shared(|_| UnservedNames::default()),
    );
    let proxy =
        Proxy::new(current.clone(), proxy_options, embedded, log, clock.clone(), names.clone())
            .telling(platform.calls());
    let node = Node::new(settings, &connections, proxy.traffic(), &declared);
    let proxy = Proxied {
        app: pingora(proxy, settings, &trusted),
        limits: Arc::new(Limits { head: settings.proxying.keepalive.header_timeout, refuser }),
        requests: settings.proxying.keepalive.requests,
        room: Arc::new(Semaphore::new(process::most_connections(&settings.process))),
    };
    node.register(&tools, node_id, &control, Arc::new(current.clone()))?;
    let admin = node::admin(settings, &control, &node, node_id, &metrics);
    let in_memory = settings.store.database == Database::Off;
    let ports = gateway_admin::Ports {
        declared: in_memory.then(|| Arc::clone(&declared) as Arc<dyn gateway_admin::Declared>),
        targets: Some(Arc::new(current)),
        log_level: Some(Arc::new(telemetry::Steered(level))),
        pages: node::pages(&tools),
    };
    let status = node::status_router(admin.clone(), shutdown.clone());

    let clients = settings.tls.clients.as_ref().map(listener::tls::client_auth).transpose()?;
    let accept = |application, listen: &Listen, shown: Arc<dyn ResolvesServerCert>| {
        // Only clients of the proxy are asked who they are.
        let clients = match &application {
            Application::Proxy(_) => clients.clone(),
            Application::Router(..) => None,
        };
        let protocols: &[&[u8]] = if listen.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        let tls = listen
            .ssl
            .then(|| listener::tls::config(&settings.tls, shown, clients.as_ref(), protocols))
            .transpose()?;
        anyhow::Ok(Accept {
            application,
            tls,
            clients,
            proxy_protocol: listen.proxy_protocol,
            trust: Arc::clone(&trust),
            clock: clock.clone(),
            http2: listen.http2,
            connections: Arc::clone(&connections),
            shutdown: shutdown.clone(),
        })
    };
    let mut workers = Vec::new();
    let mut per_worker: Vec<Vec<Served>> = Vec::new();
    per_worker.resize_with(settings.process.workers.threads().get(), Vec::new);
    for bound in &listeners.proxy {
        let application = Application::Proxy(proxy.clone());
        let accept = accept(application, &bound.listen, Arc::clone(&shown))?;
        spread(&mut per_worker, &bound.sockets, |socket| {
            Ok(Served::Http(accept.clone(), socket.try_clone()?))
        })?;
    }
    let accept_streams = |listen: &Listen| {
        let config = || listener::tls::config(&settings.tls, Arc::clone(&shown), None, &[]);
        anyhow::Ok(AcceptStreams {
            proxy: Arc::clone(&streams),
            tls: listen.ssl.then(config).transpose()?,
            proxy_protocol: listen.proxy_protocol,
            connections: Arc::clone(&connections),
            shutdown: shutdown.clone(),
        })
    };
    for bound in &listeners.streams {
        let accept = accept_streams(&bound.listen)?;
        spread(&mut per_worker, &bound.sockets, |socket| {
            Ok(Served::Streams(accept.clone(), socket.try_clone()?))
        })?;
    }
    for bound in &listeners.datagrams {
        let accept = accept_streams(&bound.listen)?;
        spread(&mut per_worker, &bound.sockets, |socket| {
            Ok(Served::Datagrams(accept.clone(), socket.try_clone()?))
        })?;
    }
    for (index, sockets) in per_worker.into_iter().enumerate() {
        workers.push(worker(index, sockets, shutdown.clone(), Arc::clone(&connections))?);
    }
    let mep_log = access_log(&settings.logs.mep_access, logs)?;
    let routed = [
        (
            &listeners.admin,
            gateway_admin::router_with(admin, ports),
            &certificates.admin,
            access_log(&settings.logs.admin.access, logs)?,
        ),
        (
            &listeners.status,
            status,
            &certificates.status,
            access_log(&settings.logs.status.access, logs)?,
        ),
        (
            &listeners.admin_gui,
            gui::router(&settings.gui, listeners.admin_ports()),
            &certificates.admin_gui,
            None,
        ),
        (&listeners.mep, platform.mepserver_router(), &certificates.proxy, mep_log.clone()),
        (&listeners.mep_auth, platform.mepauth_router(), &certificates.proxy, mep_log.clone()),
        (
            &listeners.mep_dns_admin,
            mep::dns::admin::router(control.clone(), zone),
            &certificates.proxy,
            mep_log,
        ),
    ];
    for (bound, router, shown, log) in routed {
        for bound in bound {
            let shown = Arc::clone(shown) as Arc<dyn ResolvesServerCert>;
            let accept =
                accept(Application::Router(router.clone(), log.clone()), &bound.listen, shown)?;
            for socket in &bound.sockets {
                let listener = tokio::net::TcpListener::from_std(socket.try_clone()?)?;
                tokio::spawn(accept.clone().run(listener));
            }
        }
    }

    let summary = Summary {
        settings,
        listeners: &listeners.named(),
        state: store::place(settings),
        seconds: began.elapsed().as_secs_f64(),
        first_app: seeded.generated,
    };
    // Whoever reads the summary or the pid file may send a signal at once.
    let mut signals = Signals::listen()?;
    let pid_file = daemon::pid_file(&settings.process.prefix);
    let own_pid = std::process::id().to_string();
    startup::write_private(&pid_file, format!("{own_pid}\n").as_bytes())?;
    println!("{}", summary.text());

    if let Some(inherited) = inherited {
        inherited.ready();
    }
    let legacy = Legacy { claim, sockets: listeners.handed_over() };
    let upgrade = async || process::upgrade(&legacy, &settings.process.prefix).await;
    let end = signals.stopped(&certificates, &declared, logs, &names, upgrade).await;
    tracing::info!("stopping: requests in flight are finished");
    stop.send_replace(true);
    if end == End::Graceful {
        // The next answer on a kept connection says that it was the last.
        let _ = tokio::time::timeout(LAST_REQUEST, connections.drained()).await;
    }
    // pingora's application wakes its idle keep-alive connections.
    pingora_core::apps::ServerApp::cleanup(&*proxy.app).await;
    tokio::select! {
        drained = tokio::time::timeout(DRAIN, connections.drained()) => if drained.is_err() {
            tracing::warn!("some requests were not finished within {} s", DRAIN.as_secs());
        },
        () = signals.hurried() => tracing::warn!("told again: requests in flight are cut off"),
    }
    plugins::drain(&tools, Duration::from_secs(5)).await;
    let _ = tokio::time::timeout(Duration::from_secs(5), tasks).await;
    if let Some(name_server) = name_server {
        let _ = tokio::time::timeout(Duration::from_secs(5), name_server).await;
    }
    control.close().await;
    drop(workers);
    // The next start would find a stale one harmless; a clean exit leaves none. After an upgrade it
    // names another process.
    if std::fs::read_to_string(&pid_file).is_ok_and(|text| text.trim() == own_pid) {
        let _ = std::fs::remove_file(pid_file);
    }
    Ok(())
}

/// The certificates of each kind of listener.
struct CertificateFiles {
    proxy: Arc<Certificates>,
    admin: Arc<Certificates>,
    status: Arc<Certificates>,
    admin_gui: Arc<Certificates>,
}

impl CertificateFiles {
    /// Reads what is configured; what names no pair of its own shows the proxy's.
    fn load(settings: &Settings) -> Result<Self> {
        let proxy = Certificates::load(startup::certificates(settings)?)?;
        let own = |pairs: &[KeyPair]| match pairs {
            [] => Ok(Arc::clone(&proxy)),
            pairs => Certificates::load(pairs.to_vec()),
        };
        let (admin, status) = (own(&settings.tls.admin)?, own(&settings.tls.status)?);
        let admin_gui = own(&settings.tls.admin_gui)?;
        Ok(Self { proxy, admin, status, admin_gui })
    }

    fn reload(&self) -> Result<()> {
        self.proxy.reload()?;
        self.admin.reload()?;
        self.status.reload()?;
        self.admin_gui.reload()
    }
}

/// Every listener's sockets, bound before anything else is done.
struct Listeners {
    proxy: Vec<Bound>,
    streams: Vec<Bound>,
    datagrams: Vec<Datagrams>,
    admin: Vec<Bound>,
    status: Vec<Bound>,
    admin_gui: Vec<Bound>,
    mep: Vec<Bound>,
    mep_auth: Vec<Bound>,
    mep_dns_admin: Vec<Bound>,
    mep_dns: Vec<BoundNames>,
}

impl Listeners {
    /// Binds all, except where another process left sockets that listen already.
    fn bind(settings: &Settings, mut inherited: Option<&mut Inherited>) -> Result<Self> {
        let workers = settings.process.workers.threads().get();
        let all = &settings.listeners;
        let (udp, tcp): (Vec<_>, Vec<_>) = all.stream.iter().cloned().partition(|one| one.udp);
        let mut datagrams = Vec::new();
        for (at, listen) in udp.iter().enumerate() {
            let name = socket_name(DATAGRAMS, at);
            let left = inherited.as_mut().and_then(|left| left.datagrams(&name));
            datagrams.push(match left.and_then(|sockets| Datagrams::adopt(listen, sockets)) {
                Some(adopted) => adopted,
                None => Datagrams::bind("stream_listen", listen, workers)?,
            });
        }
        let mut bind = |key: &str, listens: &[Listen], workers| -> Result<Vec<Bound>> {
            let bound = listens.iter().enumerate().map(|(at, listen)| {
                let left = inherited.as_mut().and_then(|left| left.sockets(&socket_name(key, at)));
                match left.and_then(|sockets| Bound::adopt(listen, sockets)) {
                    Some(adopted) => Ok(adopted),
                    None => Bound::bind(key, listen, workers),
                }
            });
            bound.collect()
        };
        Ok(Self {
            streams: bind("stream_listen", &tcp, workers)?,
            datagrams,
            proxy: bind("proxy_listen", &all.proxy, workers)?,
            admin: bind("admin_listen", &all.admin, 1)?,
            status: bind("status_listen", &all.status, 1)?,
            admin_gui: bind("admin_gui_listen", &all.admin_gui, 1)?,
            mep: bind("mep_listen", &all.mep, 1)?,
            mep_auth: bind("mep_auth_listen", &all.mep_auth, 1)?,
            mep_dns_admin: bind("mep_dns_admin_listen", &all.mep_dns_admin, 1)?,
            mep_dns: all
                .mep_dns
                .iter()
                .map(|listen| BoundNames::bind("mep_dns_listen", listen))
                .collect::<Result<_>>()?,
        })
    }

    /// The sockets, as another process finds them again.
    fn handed_over(&self) -> Vec<(String, Vec<BorrowedFd<'_>>)> {
        let groups = [
            ("proxy_listen", &self.proxy),
            ("stream_listen", &self.streams),
            ("admin_listen", &self.admin),
            ("status_listen", &self.status),
            ("admin_gui_listen", &self.admin_gui),
            ("mep_listen", &self.mep),
            ("mep_auth_listen", &self.mep_auth),
        ];
        let mut all = Vec::new();
        for (key, bound) in groups {
            for (at, bound) in bound.iter().enumerate() {
                let sockets = bound.sockets.iter().map(|one| one.as_fd()).collect();
                all.push((socket_name(key, at), sockets));
            }
        }
        for (at, bound) in self.datagrams.iter().enumerate() {
            let sockets = bound.sockets.iter().map(|one| one.as_fd()).collect();
            all.push((socket_name(DATAGRAMS, at), sockets));
        }
        all
    }

    fn named(&self) -> Vec<(&'static str, &Listen)> {
        let groups = [
            ("proxy", &self.proxy),
            ("stream", &self.streams),
            ("admin", &self.admin),
            ("status", &self.status),
            ("admin-gui", &self.admin_gui),
            ("mep", &self.mep),
            ("mep-auth", &self.mep_auth),
            ("mep-dns-admin", &self.mep_dns_admin),
        ];
        let connections = groups
            .into_iter()
            .flat_map(|(name, all)| all.iter().map(move |one| (name, &one.listen)));
        let datagrams = self.datagrams.iter().map(|one| ("stream", &one.listen));
        let names = self.mep_dns.iter().map(|one| ("mep-dns", &one.listen));
        connections.chain(datagrams).chain(names).collect()
    }

    /// The ports the Admin API really listens on.
    fn admin_ports(&self) -> gui::Ports {
        let port = |tls: bool| {
            let mut all = self.admin.iter();
            all.find(|bound| bound.listen.ssl == tls).map(|bound| bound.addr().port())
        };
        gui::Ports { plain: port(false), tls: port(true) }
    }

    /// The port the proxy really listens on, with TLS or without.
    fn proxy_port(&self, tls: bool) -> Option<u16> {
        self.proxy.iter().find(|bound| bound.listen.ssl == tls).map(|bound| bound.addr().port())
    }
}

/// What the sockets of a listener are called when they change hands.
fn socket_name(key: &str, at: usize) -> String {
    format!("{key} {at}")
}

const DATAGRAMS: &str = "stream_listen udp";

/// Gives every worker a socket. There are as many as workers, unless they come from a process that
/// had another number.
fn spread<S>(
    workers: &mut [Vec<Served>],
    sockets: &[S],
    serve: impl Fn(&S) -> std::io::Result<Served>,
) -> std::io::Result<()> {
    let count = workers.len();
    for at in 0..count.max(sockets.len()) {
        workers[at % count].push(serve(&sockets[at % sockets.len()])?);
    }
    Ok(())
}

/// One socket and what answers on it.
enum Served {
    Http(Accept, TcpListener),
    Streams(AcceptStreams, TcpListener),
    Datagrams(AcceptStreams, UdpSocket),
}

impl Served {
    /// Begins to serve it on the runtime of the caller.
    fn start(self) -> std::io::Result<()> {
        use tokio::net;
        match self {
            Self::Http(accept, socket) => {
                tokio::spawn(accept.run(net::TcpListener::from_std(socket)?));
            }
            Self::Streams(accept, socket) => {
                tokio::spawn(accept.run(net::TcpListener::from_std(socket)?));
            }
            Self::Datagrams(accept, socket) => {
                tokio::spawn(accept.run_datagrams(net::UdpSocket::from_std(socket)?));
            }
        }
        Ok(())
    }
}

/// One proxy thread: a runtime of its own, one socket of each listener of the data plane.
fn worker(
    index: usize,
    sockets: Vec<Served>,
    mut shutdown: watch::Receiver<bool>,
    connections: Arc<Connections>,
) -> Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting a proxy runtime")?;
    let run = move || {
        runtime.block_on(async move {
            for socket in sockets {
                if let Err(error) = socket.start() {
                    tracing::error!("a listener could not be served: {error}");
                }
            }
            // The sender lives as long as the gateway; either way it is over.
            let _ = shutdown.wait_for(|stop| *stop).await;
            let _ = tokio::time::timeout(DRAIN, connections.drained()).await;
        });
    };
    std::thread::Builder::new()
        .name(format!("proxy-{index}"))
        .spawn(run)
        .context("starting a proxy thread")
}

fn pingora(proxy: Proxy, settings: &Settings, trusted: &Trusted) -> Arc<HttpProxy<Proxy>> {
    let conf = ServerConf {
        threads: settings.process.workers.threads().get(),
        upstream_keepalive_pool_size: settings.proxying.upstream_pool.size,
        // Per process; the number a service allows is counted per exchange.
        max_retries: 40_000,
        ca_file: Some(trusted.file.to_string_lossy().into_owned()),
        ..ServerConf::default()
    };
    let mut app = HttpProxy::new(proxy, Arc::new(conf));
    let mut server_options = HttpServerOptions::default();
    server_options.keepalive_request_limit = Some(settings.proxying.keepalive.requests);
    server_options.h2_idle_timeout = Some(settings.proxying.keepalive.timeout);
    app.server_options = Some(server_options);
    // nginx's http2_max_concurrent_streams; the rest of what bounds a client's abuse (headers, resets,
    // CONTINUATION frames) is pingora's and h2's own default.
    let mut h2 = pingora_core::protocols::http::v2::server::default_h2_options();
    h2.max_concurrent_streams(128);
    app.h2_options = Some(h2);
    app.handle_init_modules();
    Arc::new(app)
}

/// The plugins of this process: those built in, and custom ones that are enabled.
fn plugin_types(
    settings: &Settings,
    lua: &plugins::lua::Settings,
) -> Result<&'static [PluginType]> {
    plugins::with_custom(lua, &settings.process.plugins.names).map_err(|why| anyhow::anyhow!(why))
}

fn registry(settings: &Settings, types: &[PluginType]) -> Registry {
    let own = match settings.proxying.router_flavor {
        RouterFlavor::Expressions => entities::with_expressions(),
        _ => entities::ALL,
    };
    let kinds = own.into_iter().chain(plugins::entity_types()).chain(mep::ENTITIES);
    let mut registry = Registry::new(kinds);
    registry.set_environment(settings.environment.clone());
    for plugin in types {
        registry.add_plugin(plugin.schema());
    }
    let enabled = &settings.process.plugins;
    if !enabled.bundled {
        registry.enable_only(|name| enabled.names.iter().any(|one| one == name));
    }
    registry
}

fn access_log(target: &LogTarget, files: &LogFiles) -> Result<Option<AccessLog>> {
    Ok(match target {
        LogTarget::Off => None,
        LogTarget::Stdout => Some(AccessLog::to(std::io::stdout())?),
        LogTarget::Stderr => Some(AccessLog::to(std::io::stderr())?),
        LogTarget::File(path) => Some(AccessLog::to(files.open(path)?)?),
    })
}
