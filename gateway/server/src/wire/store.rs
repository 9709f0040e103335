//! Where the configuration is kept.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use gateway_control::store::memory::Memory;
use gateway_control::store::postgres::migrations::{self, Status};
use gateway_control::store::postgres::{Options, Postgres};
use gateway_control::store::sqlite::Sqlite;
use gateway_control::{Control, Sealed, Store};
use gateway_model::Registry;
use md5::{Digest as _, Md5};
use mep::auth::sealing::SealingKey;

use crate::settings::Settings;
use crate::settings::store::{Database, Declarative};
use crate::settings::tls;
use crate::startup;

/// Opens the store; secrets in it are sealed.
///
/// # Errors
///
/// The file with what is wrong with it.
pub(super) async fn open(
    settings: &Settings,
    registry: &Arc<Registry>,
    sealing: &Arc<SealingKey>,
) -> Result<Arc<dyn Store>> {
    Ok(match settings.store.database {
        Database::Off => Arc::new(Memory::new()),
        Database::Sqlite => {
            let path = startup::database_file(settings);
            let file =
                Sqlite::open(&path).await.with_context(|| format!("opening {}", path.display()))?;
            let sealer = Arc::new(startup::StoreSealer(Arc::clone(sealing)));
            Arc::new(Sealed::new(file, Arc::clone(registry), sealer))
        }
        Database::Postgres => {
            let options = postgres(settings);
            if migrations::status(&options).await? == Status::Empty {
                bail!(UNBOOTSTRAPPED);
            }
            let shared = Postgres::open(options).await?;
            let sealer = Arc::new(startup::StoreSealer(Arc::clone(sealing)));
            Arc::new(Sealed::new(shared, Arc::clone(registry), sealer))
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
        poll: settings.store.update_frequency,
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

/// Loads a declarative configuration; gives the MD5 of its text, by which Kong names it.
pub(super) async fn load_declarative(
    control: &Control,
    declarative: &Declarative,
) -> Result<String> {
    let (name, text) = text(declarative)?;
    let parse = || format!("error parsing declarative config file {name}");
    let registry = control.catalog().registry().clone();
    let changes = gateway_control::declarative::changes(&text, &registry).with_context(parse)?;
    control.apply(changes).await.with_context(parse)?;
    Ok(hex::encode(Md5::digest(text.as_bytes())))
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
