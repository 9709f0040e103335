//! Commands that work on the configuration without serving it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use gateway_control::Control;
use gateway_model::ports::DataPlane;
use gateway_model::reference::{ENV, Reference};
use gateway_model::{Catalog, Change, Clock, Id, Key};
use gateway_proxy::Resolver;
use gateway_proxy::snapshot::{Current, ProxyPlane, Snapshot};
use plugins::contract::Tools;

use super::registry::{plugin_types, registry};
use super::{options, store};
use crate::settings::Settings;
use crate::settings::store::Database;
use crate::{daemon, startup};

/// `config parse FILE`: everything a start with the file would find wrong.
///
/// # Errors
///
/// `Failed parsing:` and Kong's tree of what is wrong.
pub(crate) fn parse(settings: &Settings, file: &Path) -> Result<()> {
    block_on(async {
        let text = read(file)?;
        let control = control(settings, Arc::new(gateway_control::store::memory::Memory::new()));
        apply(&control.await?, &text, false).await.map_err(failed_parsing)?;
        println!("parse successful");
        Ok(())
    })
}

/// `config db_import FILE`: creates and replaces what the file declares, all or nothing.
///
/// # Errors
///
/// As [`parse`]; and while a gateway uses the embedded store, whose one writer it is.
pub(crate) fn import(settings: &Settings, file: &Path) -> Result<()> {
    ensure!(
        settings.store.database != Database::Off,
        "'config db_import' only works with a database"
    );
    let prefix = &settings.process.prefix;
    startup::folders(settings)?;
    let claim = (settings.store.database == Database::Sqlite).then(|| daemon::claim(prefix));
    let _claim = claim.transpose().context("stop it, or use its Admin API")?;
    block_on(async {
        let text = read(file)?;
        let sealing = startup::sealing_key(settings)?;
        let registry = Arc::new(known(settings)?);
        let store = store::open(settings, &registry, &sealing).await?.store;
        let control = control(settings, store).await?;
        println!("parse successful, beginning import");
        apply(&control, &text, true).await.map_err(failed_parsing)?;
        control.close().await;
        println!("import successful");
        Ok(())
    })
}

/// `config db_export FILE`: what the store holds, as a file `db_import` takes.
///
/// # Errors
///
/// When the file is there already, or the store cannot be read.
pub(crate) fn export(settings: &Settings, file: &Path) -> Result<()> {
    ensure!(
        settings.store.database != Database::Off,
        "'config db_export' only works with a database"
    );
    ensure!(!file.exists(), "{} already exists. Will not overwrite it.", file.display());
    block_on(async {
        let text = gateway_control::declarative::export(&stored(settings).await?);
        // Secrets stand in it as they are.
        startup::write_private(file, text.as_bytes())
    })
}

/// `vault get REFERENCE`: the value it stands for.
///
/// # Errors
///
/// When there is none. Vaults other than the environment are looked for in the store.
pub(crate) fn vault(settings: &Settings, reference: &str) -> Result<String> {
    let text = match Reference::is(reference) {
        true => reference.to_owned(),
        false => format!("{{vault://{reference}}}"),
    };
    let parsed = Reference::parse(&text).with_context(|| format!("{text} is no reference"))?;
    let found = if parsed.vault == ENV {
        settings.environment.get(&parsed, None).map_err(|why| why.to_string())
    } else {
        block_on(async { stored(settings).await.map(|catalog| catalog.resolve(&text)) })?
    };
    found.map_err(|why| anyhow!("could not get value from external vault ({why})"))
}

/// What the store holds, for looking at it.
async fn stored(settings: &Settings) -> Result<Catalog> {
    startup::folders(settings)?;
    let sealing = startup::sealing_key(settings)?;
    let registry = Arc::new(known(settings)?);
    let loaded = store::open(settings, &registry, &sealing).await?.store.load().await?;
    Ok(Catalog::load(registry, loaded.revision, loaded.documents)?)
}

/// `config init FILE`: an example to begin with.
///
/// # Errors
///
/// When the file is there already.
pub(crate) fn init(file: &Path) -> Result<()> {
    ensure!(!file.exists(), "{} already exists in the current directory", file.display());
    std::fs::write(file, EXAMPLE).with_context(|| format!("writing {}", file.display()))
}

const EXAMPLE: &str = include_str!("../../../../conf/declarative.yml");

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}

fn failed_parsing(why: anyhow::Error) -> anyhow::Error {
    anyhow::anyhow!("Failed parsing:\n{why:#}")
}

/// Runs work of a command on a runtime of its own.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("starting a runtime")?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    // Only the first call of the process installs it.
    let _ = provider.install_default();
    runtime.block_on(work)
}

/// The kinds and plugins of these settings.
pub(super) fn known(settings: &Settings) -> Result<gateway_model::Registry> {
    let types = plugin_types(settings, &options::lua(settings, None))?;
    Ok(registry(settings, types))
}

/// A control plane that compiles for a data plane nobody talks to: what it takes, a start takes.
pub(super) async fn control(
    settings: &Settings,
    store: Arc<dyn gateway_control::Store>,
) -> Result<Control> {
    let lua = options::lua(settings, None);
    let types = plugin_types(settings, &lua)?;
    let registry = Arc::new(registry(settings, types));
    let flavour = options::flavour(settings);
    let runtime = tokio::runtime::Handle::current();
    let names = Resolver::new(options::names(settings), Clock::system(), runtime.clone());
    let tools = Arc::new(Tools::new(
        Clock::system(),
        runtime,
        options::http_client(settings, names.clone())?,
        prometheus::Registry::new(),
    ));
    plugins::lua::start(&tools, lua);
    let current = Current::new(Snapshot::empty(Arc::clone(&registry), flavour));
    let plane = ProxyPlane::new(types, tools, current, flavour, names).without_targets();
    let plane: Arc<dyn DataPlane> = Arc::new(plane);
    Control::start(registry, store, vec![plane], Clock::system())
        .await
        .context("loading the configuration")
}

/// Applies a declarative text; `over` replaces what is there already.
async fn apply(control: &Control, text: &str, over: bool) -> Result<()> {
    let registry = Arc::clone(control.catalog().registry());
    let mut changes = gateway_control::declarative::changes(text, &registry)?;
    if over {
        changes = changes.into_iter().map(upsert).collect();
    }
    control.apply(changes).await?;
    Ok(())
}

fn upsert(change: Change) -> Change {
    match change {
        Change::Insert { kind, document } => {
            let id = document.get("id").and_then(|id| id.as_str()).and_then(Id::parse);
            match id {
                Some(id) => Change::Upsert { kind, key: Key::Id(id), document },
                None => Change::Insert { kind, document },
            }
        }
        other => other,
    }
}
