//! Builds everything: the only place where the crates meet.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gateway_proxy::AccessLog;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use self::certificates::CertificateFiles;
use self::core::Core;
use self::doors::{Doors, Routed};
use self::front::Front;
use self::listeners::Listeners;
use self::process::Room;
use self::signals::{End, Signals};
use crate::docs::Docs;
use crate::handover::{self, Inherited, Legacy};
use crate::listener::Connections;
use crate::log_file::LogFiles;
use crate::node::{self, Node};
use crate::settings::Settings;
use crate::settings::logs::LogTarget;
use crate::settings::store::Database;
use crate::startup::{self, Summary};
use crate::{daemon, docs, gui, telemetry};

mod certificates;
mod core;
mod dns;
mod doors;
mod edge;
pub(crate) mod edgegallery;
mod front;
mod listeners;
pub(crate) mod migrations;
pub(crate) mod offline;
mod options;
mod platform;
mod process;
mod registry;
mod signals;
pub(crate) mod store;
mod supervisor;

/// How long requests in flight may take once a stop is asked for.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a graceful end waits for clients that keep connections to ask once more.
const LAST_REQUEST: Duration = Duration::from_secs(1);

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
    let certificates = CertificateFiles::load(settings)?;
    let core = Core::start(runtime, settings).await?;
    let Core { control, tools, metrics, .. } = &core;

    let (stop, shutdown) = watch::channel(false);
    let ports = edge::ports(settings, &core.clock, core.names.clone(), core.peers.clone()).await?;
    let place = platform::Place {
        node: core.node_id,
        takes_over: inherited.is_some(),
        authorities: core.trusted.file.clone(),
        clock: core.clock.clone(),
    };
    let sealing = Arc::clone(&core.sealing);
    let platform = platform::build(settings, &listeners, place, ports, control, sealing, metrics)?;
    let seeded = platform.seed().await?;
    let tasks = platform.tasks(shutdown.clone());
    platform.reconcile().await;
    let tasks = tokio::spawn(tasks);
    let zone = core.zone.clone();
    let name_server =
        dns::serve(settings, &listeners.mep_dns, zone.clone(), metrics, shutdown.clone())?
            .map(tokio::spawn);

    let front = Front::build(settings, &core, &platform, &certificates.proxy, logs)?;
    let connections = Arc::new(Connections::default());
    let node = Node::new(settings, &connections, Arc::clone(&front.traffic), &core.declared);
    node.register(tools, core.node_id, control, Arc::new(core.current.clone()))?;
    let admin = node::admin(settings, control, &node, core.node_id, metrics);
    let declared = || Arc::clone(&core.declared) as Arc<dyn gateway_admin::Declared>;
    let ports = gateway_admin::Ports {
        declared: (settings.store.database == Database::Off).then(declared),
        targets: Some(Arc::new(core.current.clone())),
        log_level: Some(Arc::new(telemetry::Steered(level))),
        pages: node::pages(tools),
    };
    let docs = Docs::new(&platform, listeners.served());
    let status = node::status_router(admin.clone(), docs, shutdown.clone());
    let pages = listeners.pages();
    let tried = |router| docs::tried(router, &pages);

    let doors = Doors {
        settings,
        trust: Arc::clone(&front.trust),
        clock: core.clock.clone(),
        room: Room::of(&settings.process),
        connections: Arc::clone(&connections),
        shutdown: shutdown.clone(),
    };
    doors.work(&front, &listeners)?;
    let direct_clients =
        settings.mep.clients.as_ref().map(crate::listener::tls::client_auth).transpose()?;
    let mep_log = access_log(&settings.logs.mep_access, logs)?;
    let routed = [
        (
            &listeners.admin,
            gateway_admin::router_with(admin, ports),
            &certificates.admin,
            access_log(&settings.logs.admin.access, logs)?,
            None,
        ),
        (
            &listeners.status,
            status,
            &certificates.status,
            access_log(&settings.logs.status.access, logs)?,
            None,
        ),
        (
            &listeners.admin_gui,
            gui::router(&settings.gui, listeners.admin_ports()),
            &certificates.admin_gui,
            None,
            None,
        ),
        (
            &listeners.mep,
            tried(platform.mepserver_router()),
            &certificates.proxy,
            mep_log.clone(),
            direct_clients.clone(),
        ),
        (
            &listeners.mep_auth,
            tried(platform.mepauth_router()),
            &certificates.proxy,
            mep_log.clone(),
            direct_clients.clone(),
        ),
        (
            &listeners.mep_dns_admin,
            tried(dns::records(settings, control.clone(), zone)),
            &certificates.proxy,
            mep_log,
            direct_clients,
        ),
    ];
    for (bound, router, shown, log, clients) in routed {
        let shown = Arc::clone(shown) as _;
        doors.route(Routed { bound, router, shown, log, clients })?;
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

    // Before the old process goes: the service manager has to know who is the main one then.
    supervisor::serving();
    if let Some(inherited) = inherited {
        inherited.ready();
    }
    let legacy = Legacy { claim, sockets: listeners.handed_over() };
    let upgrade = async || process::upgrade(&legacy, &settings.process.prefix).await;
    let end = signals.stopped(&certificates, &core.declared, logs, &core.names, upgrade).await;
    tracing::info!("stopping: requests in flight are finished");
    if end != End::Replaced {
        supervisor::stopping();
    }
    stop.send_replace(true);
    if end != End::Stopped {
        // The next answer on a kept connection says that it was the last.
        let _ = tokio::time::timeout(LAST_REQUEST, connections.drained()).await;
    }
    // pingora's application wakes its idle keep-alive connections.
    pingora_core::apps::ServerApp::cleanup(&*front.proxy.app).await;
    tokio::select! {
        drained = tokio::time::timeout(DRAIN, connections.drained()) => if drained.is_err() {
            tracing::warn!("some requests were not finished within {} s", DRAIN.as_secs());
        },
        () = signals.hurried() => tracing::warn!("told again: requests in flight are cut off"),
    }
    plugins::drain(tools, Duration::from_secs(5)).await;
    let _ = tokio::time::timeout(Duration::from_secs(5), tasks).await;
    if let Some(name_server) = name_server {
        let _ = tokio::time::timeout(Duration::from_secs(5), name_server).await;
    }
    control.close().await;
    // The next start would find a stale one harmless; a clean exit leaves none. After an upgrade it
    // names another process.
    if std::fs::read_to_string(&pid_file).is_ok_and(|text| text.trim() == own_pid) {
        let _ = std::fs::remove_file(pid_file);
    }
    Ok(())
}

fn access_log(target: &LogTarget, files: &LogFiles) -> Result<Option<AccessLog>> {
    Ok(match target {
        LogTarget::Off => None,
        LogTarget::Stdout => Some(AccessLog::to(std::io::stdout())?),
        LogTarget::Stderr => Some(AccessLog::to(std::io::stderr())?),
        LogTarget::File(path) => Some(AccessLog::to(files.open(path)?)?),
    })
}
