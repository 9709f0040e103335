//! [`Core`]: the configuration and who keeps it: store, writer, planes, plugins' tools.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use gateway_control::{Control, Peers};
use gateway_model::ports::DataPlane;
use gateway_model::{Clock, Id};
use gateway_proxy::Resolver;
use gateway_proxy::snapshot::{Current, ProxyPlane, Snapshot};
use gateway_proxy::tls::Defaults;
use mep::auth::sealing::SealingKey;
use plugins::contract::Tools;
use tokio::runtime::Runtime;

use super::registry::{plugin_types, registry};
use super::{dns, options, store};
use crate::settings::Settings;
use crate::startup;
use crate::trust::Trusted;

/// Everything that holds or compiles configuration, loaded.
pub(super) struct Core {
    pub(super) clock: Clock,
    pub(super) metrics: prometheus::Registry,
    pub(super) sealing: Arc<SealingKey>,
    pub(super) names: Resolver,
    pub(super) trusted: Trusted,
    pub(super) upstream_tls: Defaults,
    pub(super) node_id: Id,
    pub(super) tools: Arc<Tools>,
    /// What the proxy serves.
    pub(super) current: Current,
    /// What the name server serves.
    pub(super) zone: mep::dns::CurrentZone,
    pub(super) control: Control,
    pub(super) declared: Arc<store::Declared>,
    /// The other nodes on the same store.
    pub(super) peers: Option<Arc<dyn Peers>>,
}

impl Core {
    /// Opens the store, compiles what it holds and loads the declarative file.
    ///
    /// # Errors
    ///
    /// A store that cannot be opened, or a configuration that cannot be served.
    pub(super) async fn start(runtime: &Runtime, settings: &Settings) -> Result<Self> {
        let clock = Clock::system();
        let sealing = startup::sealing_key(settings)?;
        let metrics = prometheus::Registry::new();
        let runtime = runtime.handle();
        let names = Resolver::new(options::names(settings), clock.clone(), runtime.clone());
        let client = options::http_client(settings, names.clone())?;
        let trusted = Trusted::load(settings)?;
        let node_id = startup::node_id(settings)?;
        let lua = options::lua(settings, Some(node_id));
        let types = plugin_types(settings, &lua)?;
        let registry = Arc::new(registry(settings, types));
        let store::Opened { store, counters, peers } =
            store::open(settings, &registry, &sealing).await?;
        let tools = Tools::new(clock.clone(), runtime.clone(), client, metrics.clone())
            .on(options::node(settings, node_id))
            .counting_in(counters)
            .believing(Arc::clone(&trusted.roots))
            .knowing(options::resolving(names.clone()));
        let tools = Arc::new(tools);
        plugins::lua::start(&tools, lua);

        let flavour = options::flavour(settings);
        let current = Current::new(Snapshot::empty(Arc::clone(&registry), flavour));
        let upstream_tls = options::upstream_tls(settings, &trusted)?;
        let plane =
            ProxyPlane::new(types, Arc::clone(&tools), current.clone(), flavour, names.clone())
                .securing_probes(upstream_tls.clone());
        let zone = mep::dns::CurrentZone::default();
        let planes: Vec<Arc<dyn DataPlane>> =
            vec![Arc::new(plane), dns::plane(settings, zone.clone())];
        let control = Control::start(registry, store, planes, clock.clone())
            .await
            .context("loading the configuration")?;
        tools.entities.connect(Arc::new(control.clone()));
        control.register_metrics(&metrics)?;
        let declared = store::Declared::new(settings.store.declarative.clone(), control.clone());
        declared.load().await?;
        Ok(Self {
            clock,
            metrics,
            sealing,
            names,
            trusted,
            upstream_tls,
            node_id,
            tools,
            current,
            zone,
            control,
            declared,
            peers,
        })
    }
}
