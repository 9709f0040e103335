//! [`Sqlite`]: the catalog in one file, the embedded default.
//!
//! The file is in WAL mode with `synchronous=FULL`: a commit returns after its log was synced, so
//! what was acknowledged survives the end of the process and of the machine. One connection does
//! everything; reads of traffic go to the catalog in memory and never come here.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use gateway_model::ports::{CounterError, CounterFuture, CounterStep, CounterStore};
use gateway_model::{Document, Revision};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, QueryBuilder, Sqlite as Dialect,
    SqliteConnection,
};

use super::{Loaded, Row, Store, StoreError};

/// The catalog in one SQLite file.
#[derive(Clone, Debug)]
pub struct Sqlite {
    pool: SqlitePool,
    place: String,
}

/// One script a schema version, applied in order; the file's `user_version` counts them.
const MIGRATIONS: &[&str] =
    &[include_str!("migrations/sqlite/1.sql"), include_str!("migrations/sqlite/2.sql")];

/// Rows a statement; four parameters a row stay far below SQLite's limit of 32,766.
const ROWS_PER_STATEMENT: usize = 500;

/// Between looks for what another process wrote.
const LOOK: Duration = Duration::from_millis(500);

/// How long to wait for another process that is writing.
const BUSY: Duration = Duration::from_secs(5);

impl Sqlite {
    /// Opens the file, creating it with mode 0600 where it is missing, checks it and brings its
    /// schema up to date. The folder must exist.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] for a file that is no database or fails its check,
    /// [`StoreError::Newer`] for one of a later version, else [`StoreError::Unavailable`].
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        create(path).map_err(|cause| StoreError::Unavailable {
            doing: "creating the database",
            place: place.clone(),
            cause: cause.into(),
        })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            // A full disk ends a transaction by itself; the roll-back that follows finds none, and
            // the connection would count itself inside one for ever. Another one is opened then.
            .before_acquire(|connection, _| {
                let usable = !connection.is_in_transaction();
                Box::pin(std::future::ready(Ok(usable)))
            })
            .connect_with(options)
            .await
            .map_err(|cause| failed("opening the database", &place, cause))?;
        let store = Self { pool, place };
        store.check().await?;
        store.migrate().await?;
        Ok(store)
    }

    /// Ends the connection after what is under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Writes a whole and consistent copy of the database at `from` to `to`, which must not exist,
    /// while another process may be writing; gives the revision it holds.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub async fn copy(from: &Path, to: &Path) -> Result<Revision, StoreError> {
        let place = from.display().to_string();
        let failed = |cause| failed("copying the database", &place, cause);
        // Of the file's own mode: SQLite would make it readable by others.
        create(to).map_err(|cause| failed(sqlx::Error::Io(cause)))?;
        let options = SqliteConnectOptions::new().filename(from).busy_timeout(BUSY);
        let mut connection = options.connect().await.map_err(failed)?;
        sqlx::query("VACUUM INTO ?1")
            .bind(to.to_string_lossy().into_owned())
            .execute(&mut connection)
            .await
            .map_err(failed)?;
        connection.close().await.map_err(failed)?;
        fs::File::open(to)
            .and_then(|file| file.sync_all())
            .map_err(|cause| failed(sqlx::Error::Io(cause)))?;
        let copy = Self::open(to).await?;
        let revision = copy.load().await?.revision;
        copy.close().await;
        Ok(revision)
    }

    async fn check(&self) -> Result<(), StoreError> {
        let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&self.pool)
            .await
            .map_err(|cause| self.failed("checking the database", cause))?;
        if verdict == "ok" { Ok(()) } else { Err(self.damaged(verdict)) }
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let failed = |cause| self.failed("creating the tables", cause);
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let found: i64 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        let known = MIGRATIONS.len() as i64;
        let done = usize::try_from(found).unwrap_or(usize::MAX);
        let Some(missing) = MIGRATIONS.get(done..) else {
            return Err(StoreError::Newer { place: self.place.clone(), found, known });
        };
        for script in missing {
            sqlx::raw_sql(*script).execute(&mut *transaction).await.map_err(failed)?;
        }
        if !missing.is_empty() {
            // A pragma takes no parameters; the text is ours.
            let version = AssertSqlSafe(format!("PRAGMA user_version = {known}"));
            sqlx::raw_sql(version).execute(&mut *transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    fn failed(&self, doing: &'static str, cause: sqlx::Error) -> StoreError {
        failed(doing, &self.place, cause)
    }

    fn damaged(&self, what: String) -> StoreError {
        StoreError::Damaged { place: self.place.clone(), what }
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn load(&self) -> Result<Loaded, StoreError> {
        let failed = |cause| self.failed("reading the catalog", cause);
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let revision = current(&mut transaction).await.map_err(failed)?;
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT kind, id, body FROM documents WHERE body IS NOT NULL")
                .fetch_all(&mut *transaction)
                .await
                .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        let documents = rows
            .into_iter()
            .map(|(kind, id, body)| match serde_json::from_str::<Document>(&body) {
                Ok(document) => Ok((kind, document)),
                Err(why) => Err(self.damaged(format!("{kind}/{id} is no JSON object: {why}"))),
            })
            .collect::<Result<_, _>>()?;
        Ok(Loaded { revision, documents })
    }

    async fn commit(
        &self,
        base: Revision,
        next: Revision,
        rows: &[Row<'_>],
    ) -> Result<(), StoreError> {
        let failed = |cause| self.failed("writing the catalog", cause);
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let moved = sqlx::query("UPDATE revision SET number = ?1 WHERE one = 1 AND number = ?2")
            .bind(signed(next))
            .bind(signed(base))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        if moved.rows_affected() != 1 {
            let current = current(&mut transaction).await.map_err(failed)?;
            return Err(StoreError::Conflict { current });
        }
        for rows in rows.chunks(ROWS_PER_STATEMENT) {
            put(&mut transaction, next, rows).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    /// Looks from time to time: the file may be shared for a while, when one process takes over from
    /// another or a command imports configuration.
    async fn moved(&self, known: Revision) {
        loop {
            tokio::time::sleep(LOOK).await;
            let Ok(mut connection) = self.pool.acquire().await else { continue };
            if current(&mut connection).await.is_ok_and(|found| found != known) {
                return;
            }
        }
    }
}

impl Sqlite {
    async fn count(&self, steps: &[CounterStep], now: u64) -> Result<Vec<u64>, sqlx::Error> {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM counters WHERE expires <= ?1")
            .bind(now)
            .execute(&mut *transaction)
            .await?;
        let mut values = Vec::with_capacity(steps.len());
        for step in steps {
            let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            let value: Option<i64> = if step.by == 0 {
                sqlx::query_scalar("SELECT value FROM counters WHERE key = ?1")
                    .bind(&step.key)
                    .fetch_optional(&mut *transaction)
                    .await?
            } else {
                sqlx::query_scalar(
                    "INSERT INTO counters (key, value, expires) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (key) DO UPDATE SET value = value + excluded.value \
                     RETURNING value",
                )
                .bind(&step.key)
                .bind(signed(step.by))
                .bind(signed(step.expires))
                .fetch_optional(&mut *transaction)
                .await?
            };
            values.push(value.unwrap_or_default().unsigned_abs());
        }
        transaction.commit().await?;
        Ok(values)
    }
}

impl CounterStore for Sqlite {
    fn add(&self, steps: Vec<CounterStep>, now: u64) -> CounterFuture<'_> {
        Box::pin(async move {
            let failed = |cause| CounterError(self.failed("counting", cause).in_full());
            self.count(&steps, now).await.map_err(failed)
        })
    }
}

async fn current(connection: &mut SqliteConnection) -> Result<Revision, sqlx::Error> {
    let number: i64 = sqlx::query_scalar("SELECT number FROM revision WHERE one = 1")
        .fetch_one(connection)
        .await?;
    Ok(Revision(number.unsigned_abs()))
}

async fn put(
    connection: &mut SqliteConnection,
    revision: Revision,
    rows: &[Row<'_>],
) -> Result<(), sqlx::Error> {
    let mut query =
        QueryBuilder::<Dialect>::new("INSERT INTO documents (kind, id, revision, body) ");
    query.push_values(rows, |mut values, row| {
        values
            .push_bind(row.kind)
            .push_bind(row.id.to_string())
            .push_bind(signed(revision))
            .push_bind(row.text.as_deref());
    });
    query.push(
        " ON CONFLICT (kind, id) DO UPDATE SET revision = excluded.revision, body = excluded.body",
    );
    query.build().execute(connection).await.map(|_| ())
}

/// SQLite counts in signed 64 bits; revisions grow by one a commit and never get there.
fn signed(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

/// Creates the file readable by its owner only, and syncs the folder so that the name lasts.
/// SQLite gives its log files the mode of the database.
fn create(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(file) => {
            file.sync_all()?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        }
        Err(why) if why.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(why) => Err(why),
    }
}

fn failed(doing: &'static str, place: &str, cause: sqlx::Error) -> StoreError {
    // SQLITE_CORRUPT and SQLITE_NOTADB, with or without an extended code in the upper bits.
    let code = cause
        .as_database_error()
        .and_then(|error| error.code())
        .and_then(|code| code.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        Some(11 | 26) => StoreError::Damaged { place: place.to_owned(), what: cause.to_string() },
        _ => StoreError::Unavailable { doing, place: place.to_owned(), cause: cause.into() },
    }
}
