//! Where the configuration is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use gateway_admin::{LoadError, Loaded};
use gateway_control::store::memory::Memory;
use gateway_control::store::postgres::migrations::{self, Status};
use gateway_control::store::postgres::{Options, Postgres};
use gateway_control::store::sqlite::Sqlite;
use gateway_control::{Control, Peers, Sealed, Store};
use gateway_model::ports::CounterStore;
use gateway_model::{Catalog, Change, Key, Registry, Stored};
use md5::{Digest as _, Md5};
use mep::auth::sealing::SealingKey;

use crate::settings::Settings;
use crate::settings::store::{Database, Declarative};
use crate::settings::tls;
use crate::startup;

/// What a store keeps.
pub(super) struct Opened {
    /// The catalog.
    pub(super) store: Arc<dyn Store>,
    /// Counters of plugins; none where nothing is durable.
    pub(super) counters: Option<Arc<dyn CounterStore>>,
    /// The other nodes; none where the store is of one process.
    pub(super) peers: Option<Arc<dyn Peers>>,
}

/// Opens the store; secrets in it are sealed.
///
/// # Errors
///
/// The file with what is wrong with it.
pub(super) async fn open(
    settings: &Settings,
    registry: &Arc<Registry>,
    sealing: &Arc<SealingKey>,
) -> Result<Opened> {
    Ok(match settings.store.database {
        Database::Off => Opened { store: Arc::new(Memory::new()), counters: None, peers: None },
        Database::Sqlite => {
            let path = startup::database_file(settings);
            let file =
                Sqlite::open(&path).await.with_context(|| format!("opening {}", path.display()))?;
            let sealer = Arc::new(startup::StoreSealer(Arc::clone(sealing)));
            let counters = Arc::new(file.clone());
            let store = Arc::new(Sealed::new(file, Arc::clone(registry), sealer));
            Opened { store, counters: Some(counters), peers: None }
        }
        Database::Postgres => {
            let options = postgres(settings);
            if migrations::status(&options).await? == Status::Empty {
                bail!(UNBOOTSTRAPPED);
            }
            let shared = Arc::new(Postgres::open(options).await?);
            let sealer = Arc::new(startup::StoreSealer(Arc::clone(sealing)));
            let counters = Arc::clone(&shared);
            let peers = Arc::clone(&shared);
            let store = Arc::new(Sealed::new(shared, Arc::clone(registry), sealer));
            Opened { store, counters: Some(counters), peers: Some(peers) }
        }
    })
}

/// What Kong says of a database nobody prepared (kong/cmd/utils/migrations.lua).
pub(super) const UNBOOTSTRAPPED: &str = "Database needs bootstrapping or is older than Kong 1.0.\n\nTo start \
                              a new installation from scratch, run 'kong migrations bootstrap'.";

/// How to reach PostgreSQL.
pub(super) fn postgres(settings: &Settings) -> Options {
    let given = &settings.store.postgres;
    Options {
        host: given.host.clone(),
        port: given.port,
        user: given.user.clone(),
        password: given.password.clone(),
        database: given.database.clone(),
        schema: given.schema.clone(),
        ssl: given.ssl,
        ssl_verify: given.ssl_verify,
        ssl_trusted: settings.tls.trusted.iter().find_map(|trust| match trust {
            tls::Trust::These(tls::Pem::File(file)) => Some(file.clone()),
            _ => None,
        }),
        pool_size: given.pool_size,
        timeout: given.timeout,
        // 0 would have it ask without a pause.
        poll: settings.store.update_frequency.max(Duration::from_secs(1)),
    }
}

/// Where it is, for the operator.
pub(super) fn place(settings: &Settings) -> String {
    match settings.store.database {
        Database::Sqlite => startup::database_file(settings).display().to_string(),
        Database::Off => "in memory (database = off)".to_owned(),
        Database::Postgres => {
            let given = &settings.store.postgres;
            format!("PostgreSQL at {}:{}, database {}", given.host, given.port, given.database)
        }
    }
}

/// The declarative configuration being served, if there is one.
pub(crate) struct Declared {
    source: Option<Declarative>,
    control: Control,
    hash: ArcSwap<String>,
    /// Held by the load of the moment, with the instant it may last until.
    loading: tokio::sync::Mutex<()>,
    ends: ArcSwap<Instant>,
}

/// How long a load by the Admin API may last (kong/db/declarative/init.lua).
const LOAD: Duration = Duration::from_secs(60);

impl Declared {
    /// Nothing is loaded yet.
    pub(super) fn new(source: Option<Declarative>, control: Control) -> Arc<Self> {
        Arc::new(Self {
            source,
            control,
            hash: ArcSwap::from_pointee("0".repeat(32)),
            loading: tokio::sync::Mutex::default(),
            ends: ArcSwap::from_pointee(Instant::now()),
        })
    }

    /// MD5 of its text, by which Kong names it; zeros when there is none.
    pub(crate) fn hash(&self) -> String {
        self.hash.load().as_ref().clone()
    }

    /// Serves what the text declares now, and nothing else, in one step. What the platform seeded,
    /// apps registered or authorities issued stays.
    ///
    /// # Errors
    ///
    /// Kong's tree of what is wrong; what was served goes on being served.
    pub(super) async fn load(&self) -> Result<()> {
        let Some(source) = &self.source else { return Ok(()) };
        let (name, text) = text(source)?;
        self.serve(&text)
            .await
            .with_context(|| format!("error parsing declarative config file {name}"))?;
        Ok(())
    }

    async fn serve(&self, text: &str) -> Result<Loaded, LoadError> {
        let catalog = self.control.catalog();
        let declared = gateway_control::declarative::changes(text, catalog.registry())
            .map_err(LoadError::Declarative)?;
        let changes = replacing(&catalog, declared);
        let applied = self.control.apply(changes).await.map_err(LoadError::Refused)?;
        self.hash.store(Arc::new(hash(text)));
        let entities = applied.entities.into_iter().flatten().collect();
        Ok(Loaded { catalog: applied.catalog, entities })
    }
}

/// `/config` of the Admin API.
impl gateway_admin::Declared for Declared {
    fn is_served(&self, text: &str) -> bool {
        *self.hash.load().as_ref() == hash(text)
    }

    fn load(&self, text: String) -> BoxFuture<'_, Result<Loaded, LoadError>> {
        Box::pin(async move {
            let Ok(_loading) = self.loading.try_lock() else {
                let left = self.ends.load().saturating_duration_since(Instant::now());
                return Err(LoadError::Busy(left.as_secs().max(1)));
            };
            self.ends.store(Arc::new(Instant::now() + LOAD));
            let served = tokio::time::timeout(LOAD, self.serve(&text)).await;
            served.unwrap_or(Err(LoadError::TimedOut))
        })
    }
}

/// The name Kong gives a declarative text: its MD5.
fn hash(text: &str) -> String {
    hex::encode(Md5::digest(text.as_bytes()))
}

/// The changes after which, of the kinds a file may hold, only `declared` is there, besides what
/// is the platform's and what was obtained from authorities: everything else goes, children first,
/// and comes anew.
fn replacing(catalog: &Catalog, declared: Vec<Change>) -> Vec<Change> {
    let is_platforms = |stored: &Stored| {
        let document = stored.document();
        let tags = document.get("tags").and_then(|tags| tags.as_array());
        tags.is_some_and(|tags| tags.iter().any(|tag| tag == mep::exposure::TAG))
    };
    let obtained = plugins::obtained(catalog, &declared);
    let kinds = catalog.registry().kinds().iter().rev().filter(|kind| kind.collection.is_some());
    let old = kinds
        .flat_map(|kind| catalog.collection(kind.kind).into_iter().flat_map(|all| all.iter()))
        .filter(|stored| !is_platforms(stored) && !obtained.contains(&stored.id()))
        .map(|stored| Change::Delete { kind: stored.kind().kind, key: Key::Id(stored.id()) });
    old.chain(declared).collect()
}

/// The name and the text of a declarative configuration.
fn text(declarative: &Declarative) -> Result<(String, String)> {
    Ok(match declarative {
        Declarative::File(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("reading {}", path.display()))?;
            (path.display().to_string(), text)
        }
        Declarative::Text(text) => ("declarative_config_string".to_owned(), text.expose().clone()),
    })
}
