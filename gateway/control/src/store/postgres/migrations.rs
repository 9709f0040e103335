//! The schema of the database: made, brought up to date, shown and removed.
//!
//! Nodes do none of this when they start: who may change a shared database is for its operator to
//! say. Each function connects, does its work in one transaction, one process at a time, and
//! disconnects.

use sqlx::postgres::PgExecutor;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres as Dialect, Transaction};

use super::options::Options;
use super::session::{Session, Sessions};
use super::{StoreError, failed};

/// One step of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number, from 1.
    pub version: i64,
    /// What it does, in a word or two: `documents`.
    pub name: String,
    /// When it was done, Unix seconds; `None` when it is still to do.
    pub applied_at: Option<i64>,
}

/// Where a database is with its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// [`bootstrap`] was never run here.
    Empty,
    /// [`up`] has this many migrations to do.
    Pending(usize),
    /// Nothing to do.
    Current,
}

/// Name and script of each migration, in order of their versions.
const ALL: &[(&str, &str)] = &[
    ("documents", include_str!("../migrations/postgres/1.sql")),
    ("counters", include_str!("../migrations/postgres/2.sql")),
];

/// Creates the schema where it is missing, and does every migration. On a database that was
/// bootstrapped before it does nothing. Gives what it did.
///
/// # Errors
///
/// [`StoreError::Unavailable`], also when the role may not create tables.
pub async fn bootstrap(options: &Options) -> Result<Vec<Migration>, StoreError> {
    let work = Work::new(options);
    let mut session = work.session().await?;
    let mut transaction = work.begin(&mut session).await?;
    let found = work.version(&mut transaction).await?;
    if found > 0 {
        return Ok(Vec::new());
    }
    create_schema(&mut transaction, options.schema.as_deref()).await.map_err(work.failed())?;
    work.migrate(transaction, 0).await
}

/// Does the migrations that came with later versions. Gives what it did, nothing when the schema
/// is current.
///
/// # Errors
///
/// [`StoreError::Older`] when the database was never bootstrapped, [`StoreError::Newer`] when a
/// later version migrated it, else [`StoreError::Unavailable`].
pub async fn up(options: &Options) -> Result<Vec<Migration>, StoreError> {
    let work = Work::new(options);
    let mut session = work.session().await?;
    let mut transaction = work.begin(&mut session).await?;
    let found = work.version(&mut transaction).await?;
    if found == 0 {
        return Err(work.older(found));
    }
    work.migrate(transaction, found).await
}

/// Where the database is.
///
/// # Errors
///
/// [`StoreError::Newer`] when a later version migrated it, else [`StoreError::Unavailable`].
pub async fn status(options: &Options) -> Result<Status, StoreError> {
    let work = Work::new(options);
    let mut session = work.session().await?;
    let found = work.version(&mut session).await?;
    Ok(match usize::try_from(known() - found) {
        _ if found == 0 => Status::Empty,
        Ok(pending @ 1..) => Status::Pending(pending),
        _ => Status::Current,
    })
}

/// Every migration this version knows and those done by others, in order.
///
/// # Errors
///
/// [`StoreError::Unavailable`].
pub async fn list(options: &Options) -> Result<Vec<Migration>, StoreError> {
    let work = Work::new(options);
    let mut session = work.session().await?;
    let mut all = if bootstrapped(&mut *session).await.map_err(work.failed())? {
        done(&mut session).await.map_err(work.failed())?
    } else {
        Vec::new()
    };
    let last = all.last().map_or(0, |migration| migration.version);
    let pending = (1..).zip(ALL).filter(|(version, _)| *version > last);
    all.extend(pending.map(|(version, (name, _))| Migration {
        version,
        name: (*name).to_owned(),
        applied_at: None,
    }));
    Ok(all)
}

/// Removes the gateway's tables and all they hold, and nothing else. Gives whether they were
/// there.
///
/// # Errors
///
/// [`StoreError::Unavailable`].
pub async fn reset(options: &Options) -> Result<bool, StoreError> {
    let work = Work::new(options);
    let mut session = work.session().await?;
    let mut transaction = work.begin(&mut session).await?;
    if !bootstrapped(&mut *transaction).await.map_err(work.failed())? {
        return Ok(false);
    }
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS counters; DROP TABLE documents, revision, gateway_migrations",
    )
    .execute(&mut *transaction)
    .await
    .map_err(work.failed())?;
    transaction.commit().await.map_err(work.failed())?;
    Ok(true)
}

/// Refuses a database that is not at this version.
pub(super) async fn check(options: &Options) -> Result<(), StoreError> {
    let work = Work::new(options);
    let mut session = work.session().await?;
    let found = work.version(&mut session).await?;
    if found < known() { Err(work.older(found)) } else { Ok(()) }
}

/// What every function above begins with.
struct Work {
    sessions: Sessions,
    place: String,
}

impl Work {
    fn new(options: &Options) -> Self {
        Self { sessions: Sessions::new(options), place: options.place() }
    }

    async fn session(&self) -> Result<Session<'_>, StoreError> {
        let failed = |cause| failed("opening a session", &self.place, cause);
        self.sessions.take().await.map_err(failed)
    }

    /// Two that migrate at once do so one after the other.
    async fn begin<'c>(
        &self,
        session: &'c mut Session<'_>,
    ) -> Result<Transaction<'c, Dialect>, StoreError> {
        let mut transaction = session.begin().await.map_err(self.failed())?;
        sqlx::query("SELECT pg_advisory_xact_lock(hashtext('gateway_migrations'))")
            .execute(&mut *transaction)
            .await
            .map_err(self.failed())?;
        Ok(transaction)
    }

    /// The last migration done; 0 for none at all.
    async fn version(&self, connection: &mut PgConnection) -> Result<i64, StoreError> {
        if !bootstrapped(&mut *connection).await.map_err(self.failed())? {
            return Ok(0);
        }
        let found = done(connection).await.map_err(self.failed())?;
        let found = found.last().map_or(0, |migration| migration.version);
        if found > known() {
            return Err(StoreError::Newer { place: self.place.clone(), found, known: known() });
        }
        Ok(found)
    }

    async fn migrate(
        &self,
        mut transaction: Transaction<'_, Dialect>,
        found: i64,
    ) -> Result<Vec<Migration>, StoreError> {
        for (version, (name, script)) in (1..).zip(ALL).filter(|(version, _)| *version > found) {
            sqlx::raw_sql(*script).execute(&mut *transaction).await.map_err(self.failed())?;
            sqlx::query("INSERT INTO gateway_migrations (version, name) VALUES ($1, $2)")
                .bind::<i64>(version)
                .bind(*name)
                .execute(&mut *transaction)
                .await
                .map_err(self.failed())?;
        }
        let mut all = done(&mut transaction).await.map_err(self.failed())?;
        transaction.commit().await.map_err(self.failed())?;
        all.retain(|migration| migration.version > found);
        Ok(all)
    }

    fn older(&self, found: i64) -> StoreError {
        StoreError::Older { place: self.place.clone(), found, known: known() }
    }

    fn failed(&self) -> impl Fn(sqlx::Error) -> StoreError {
        |cause| failed("migrating the schema", &self.place, cause)
    }
}

fn known() -> i64 {
    i64::try_from(ALL.len()).unwrap_or(i64::MAX)
}

async fn bootstrapped(connection: impl PgExecutor<'_>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT to_regclass('gateway_migrations') IS NOT NULL")
        .fetch_one(connection)
        .await
}

async fn done(connection: &mut PgConnection) -> Result<Vec<Migration>, sqlx::Error> {
    let rows: Vec<(i64, String, i64)> = sqlx::query_as(
        "SELECT version, name, extract(epoch FROM applied_at)::bigint \
         FROM gateway_migrations ORDER BY version",
    )
    .fetch_all(connection)
    .await?;
    let migration =
        |(version, name, applied_at)| Migration { version, name, applied_at: Some(applied_at) };
    Ok(rows.into_iter().map(migration).collect())
}

/// The schema, when one is named and missing, and the table of what was done.
async fn create_schema(
    connection: &mut PgConnection,
    schema: Option<&str>,
) -> Result<(), sqlx::Error> {
    if let Some(schema) = schema {
        let missing: bool = sqlx::query_scalar("SELECT to_regnamespace(quote_ident($1)) IS NULL")
            .bind(schema)
            .fetch_one(&mut *connection)
            .await?;
        if missing {
            // A name is no parameter; it is quoted here.
            let create = format!("CREATE SCHEMA \"{}\"", schema.replace('"', "\"\""));
            sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *connection).await?;
        }
    }
    sqlx::raw_sql(
        "CREATE TABLE gateway_migrations ( \
             version    bigint      PRIMARY KEY, \
             name       text        NOT NULL, \
             applied_at timestamptz NOT NULL DEFAULT now() \
         )",
    )
    .execute(connection)
    .await
    .map(|_| ())
}
