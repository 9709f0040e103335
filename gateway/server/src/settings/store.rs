//! Where the configuration is kept.

use std::path::PathBuf;
use std::time::Duration;

use gateway_model::Secret;

use super::reader::Reader;
use super::scalar::choice;

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) database: Database,
    /// What to serve with [`Database::Off`]; absent otherwise.
    pub(crate) declarative: Option<Declarative>,
    /// Between looks for what other nodes wrote.
    pub(crate) update_frequency: Duration,
    pub(crate) postgres: Postgres,
}

/// A declarative configuration of format 3.0 and older.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Declarative {
    /// It existed when the settings were read.
    File(PathBuf),
    /// Secret because credentials may be in it.
    Text(Secret<String>),
}

/// How to reach PostgreSQL; read whichever database is chosen.
#[derive(Debug)]
pub(crate) struct Postgres {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) timeout: Duration,
    pub(crate) user: String,
    pub(crate) password: Option<Secret<String>>,
    pub(crate) database: String,
    /// Absent: the role's own.
    pub(crate) schema: Option<String>,
    /// Insist on TLS.
    pub(crate) ssl: bool,
    pub(crate) ssl_verify: bool,
    /// Connections.
    pub(crate) pool_size: u32,
}

const POOL_SIZE: u32 = 10;

impl Store {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let database = reader.choice("database");
        Self {
            database,
            declarative: declarative(reader, database),
            update_frequency: reader.seconds("db_update_frequency"),
            postgres: Postgres {
                host: reader.word("pg_host"),
                port: reader.whole("pg_port", 1..=u16::MAX),
                timeout: Duration::from_millis(reader.whole("pg_timeout", 1..=u64::from(u32::MAX))),
                user: reader.word("pg_user"),
                password: reader.secret("pg_password"),
                database: reader.word("pg_database"),
                schema: reader.text("pg_schema"),
                ssl: reader.boolean("pg_ssl"),
                ssl_verify: reader.boolean("pg_ssl_verify"),
                pool_size: reader.optional("pg_pool_size", 1..=10_000).unwrap_or(POOL_SIZE),
            },
        }
    }
}

fn declarative(reader: &mut Reader<'_>, database: Database) -> Option<Declarative> {
    let (file, text) = ("declarative_config", "declarative_config_string");
    let given = match (reader.path(file), reader.secret(text)) {
        (None, None) => return None,
        (Some(path), both) => {
            if both.is_some() {
                reader.note(text, format!("{text} has no effect, as {file} is given"));
            }
            if !path.is_file() {
                reader.refuse(file, format!("{file}: no file at {}", path.display()));
            }
            Declarative::File(path)
        }
        (None, Some(text)) => Declarative::Text(text),
    };
    if database != Database::Off {
        let key = if matches!(given, Declarative::File(_)) { file } else { text };
        reader.note(key, format!("{key} has no effect, as database is {}", database.word()));
        return None;
    }
    Some(given)
}

choice! {
    /// The kind of store.
    Database {
        /// One file in the prefix.
        Sqlite = "sqlite",
        Postgres = "postgres",
        /// Nothing is kept.
        Off = "off",
    }
}
