//! [`Setup`] and [`Tools`]: what a plugin is built with; [`Node`]: where.

use std::any::{Any, TypeId};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use dashmap::DashMap;
use gateway_model::entities::PluginInstance;
use gateway_model::ports::{self, CounterStore};
use gateway_model::{Catalog, Change, Clock, Id, Item, Rejection};
use reqwest::dns::Resolve;

/// What one instance is built with.
pub struct Setup<'a> {
    /// The instance: id, scope.
    pub instance: &'a Item<PluginInstance>,
    /// The catalog it is compiled for, which is not served yet.
    pub catalog: &'a Catalog,
    /// What outlives it.
    pub tools: &'a Arc<Tools>,
}

/// What outlives every recompile: made once by the binary.
pub struct Tools {
    /// What time it is.
    pub clock: Clock,
    /// Where background work (queues) runs.
    pub runtime: tokio::runtime::Handle,
    /// For calls out.
    pub client: reqwest::Client,
    /// Where metric families are registered.
    pub metrics: prometheus::Registry,
    /// The process and the machine.
    pub node: Node,
    /// Counters in the durable store, where there is one.
    pub counters: Option<Arc<dyn CounterStore>>,
    /// Where tokens, sessions and certificates are written.
    pub entities: Entities,
    /// Whom to believe about servers whose certificates are verified
    /// (`lua_ssl_trusted_certificate`); `None` is the machine's own list.
    pub trusted: Option<Arc<rustls::RootCertStore>>,
    /// Who knows names, for clients plugins make; `None` is the system.
    pub names: Option<Arc<dyn Resolve>>,
    shared: DashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

/// The process and the machine, as plugins tell others of them.
#[derive(Clone, Debug)]
pub struct Node {
    /// Stays the same over restarts.
    pub id: Id,
    /// The machine's name.
    pub hostname: String,
    /// The socket of the machine's system log.
    pub syslog: PathBuf,
    /// What is traced.
    pub tracing: Tracing,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            id: Id::random(),
            hostname: "localhost".to_owned(),
            syslog: "/dev/log".into(),
            tracing: Tracing::default(),
        }
    }
}

/// What is traced (`tracing_instrumentations`, `tracing_sampling_rate`).
#[derive(Clone, Debug)]
pub struct Tracing {
    /// `request`, `balancer`, `all` …; empty means nothing is.
    pub instrumentations: Vec<String>,
    /// The share of requests, from 0 to 1.
    pub sampling_rate: f64,
}

impl Default for Tracing {
    fn default() -> Self {
        Self { instrumentations: Vec::new(), sampling_rate: 0.01 }
    }
}

impl Tracing {
    /// Whether this part is traced.
    pub fn has(&self, part: &str) -> bool {
        self.instrumentations.iter().any(|one| one == part || one == "all")
    }
}

impl Tools {
    /// Tools with nothing shared yet.
    pub fn new(
        clock: Clock,
        runtime: tokio::runtime::Handle,
        client: reqwest::Client,
        metrics: prometheus::Registry,
    ) -> Self {
        Self {
            clock,
            runtime,
            client,
            metrics,
            entities: Entities::default(),
            node: Node::default(),
            counters: None,
            trusted: None,
            names: None,
            shared: DashMap::new(),
        }
    }

    /// Says where nodes count together.
    #[must_use]
    pub fn counting_in(mut self, counters: Option<Arc<dyn CounterStore>>) -> Self {
        self.counters = counters;
        self
    }

    /// Says whom to believe about servers.
    #[must_use]
    pub fn believing(mut self, trusted: Arc<rustls::RootCertStore>) -> Self {
        self.trusted = Some(trusted);
        self
    }

    /// Says who knows names.
    #[must_use]
    pub fn knowing(mut self, names: Arc<dyn Resolve>) -> Self {
        self.names = Some(names);
        self
    }

    /// Has a client resolve names as the data plane does.
    pub fn resolving(&self, client: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        match &self.names {
            Some(names) => client.dns_resolver(Arc::clone(names)),
            None => client,
        }
    }

    /// Says where this is.
    #[must_use]
    pub fn on(mut self, node: Node) -> Self {
        self.node = node;
        self
    }

    /// The one `T` of this process, made at first use. For what all instances of a plugin share:
    /// counters, caches, metric families.
    pub fn shared<T: Any + Send + Sync>(&self, make: impl FnOnce(&Self) -> T) -> Arc<T> {
        if let Some(found) = self.shared.get(&TypeId::of::<T>())
            && let Ok(found) = Arc::clone(&found).downcast()
        {
            return found;
        }
        let made = Arc::new(make(self));
        let entry = self.shared.entry(TypeId::of::<T>()).or_insert_with(|| made.clone());
        Arc::clone(entry.value()).downcast().unwrap_or(made)
    }
}

/// Writes entities, once the control plane is there. It comes after what it compiles for, which is
/// why it is not given to [`Tools::new`].
#[derive(Default)]
pub struct Entities(OnceLock<Arc<dyn ports::Entities>>);

impl Entities {
    /// Says who writes. The first one said stays.
    pub fn connect(&self, writer: Arc<dyn ports::Entities>) {
        // An error means that one is there, which stays.
        let _ = self.0.set(writer);
    }

    /// The catalog being served now; `None` before the first one is.
    pub fn catalog(&self) -> Option<Arc<Catalog>> {
        self.0.get().map(|writer| writer.catalog())
    }

    /// As [`ports::Entities::apply`].
    ///
    /// # Errors
    ///
    /// As there, and when nobody writes, as in a process that only checks a configuration.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<ports::Applied, Rejection> {
        match self.0.get() {
            Some(writer) => writer.apply(changes).await,
            None => Err(Rejection::Store("nobody writes entities yet".to_owned())),
        }
    }
}
