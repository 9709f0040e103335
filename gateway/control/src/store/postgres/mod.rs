//! [`Postgres`]: the catalog in a database that several nodes share.
//!
//! A commit is one statement: it moves the number, writes the rows and notifies, or finds that
//! another node was faster and does nothing. So no node ever holds a transaction open that others
//! wait for. Each node listens for the others' numbers (`listen.rs`).
//!
//! Traffic never waits for the database. While it is away commits are refused at once, and what
//! is served stays; once it is back everything goes on without being told to.

mod counters;
pub mod foreign;
mod listen;
pub mod migrations;
mod options;
mod peers;
mod session;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gateway_model::{Document, Id, Revision};
use sqlx::{Connection, PgConnection, PgExecutor};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::warn;

use self::listen::Heard;
pub use self::options::Options;
use self::peers::Words;
use self::session::{Session, Sessions, within};
use super::{Delta, Loaded, Row, Store, StoreError};

/// The catalog in a PostgreSQL that several nodes may share.
pub struct Postgres {
    sessions: Sessions,
    timeout: Duration,
    place: String,
    heard: watch::Sender<Heard>,
    words: Arc<Words>,
    listening: JoinHandle<()>,
}

/// Where commits are announced, as schema and number.
const CHANNEL: &str = "gateway_revision";

/// Tombstones are kept for this many revisions. Who is behind by more loads everything.
const KEPT: u64 = 10_000;

/// Old tombstones are removed by every so manieth commit.
const TIDY: u64 = 1_000;

/// Rows read by one statement.
const PAGE: usize = 20_000;

impl Postgres {
    /// Connects, checks that the schema is this version's, and begins to listen, on the current
    /// runtime, until dropped.
    ///
    /// # Errors
    ///
    /// [`StoreError::Older`] before [`migrations::bootstrap`] or [`migrations::up`],
    /// [`StoreError::Newer`] for a schema of a later version, else [`StoreError::Unavailable`].
    pub async fn open(options: Options) -> Result<Self, StoreError> {
        migrations::check(&options).await?;
        let place = options.place();
        let sessions = Sessions::new(&options);
        let timeout = options.timeout;
        let heard = watch::Sender::default();
        let words = Arc::new(Words::new());
        let ears = (heard.clone(), Arc::clone(&words));
        let listening = tokio::spawn(listen::listen(options, place.clone(), ears));
        Ok(Self { sessions, timeout, place, heard, words, listening })
    }

    async fn session(&self) -> Result<Session<'_>, StoreError> {
        self.sessions.take().await.map_err(|cause| self.failed("opening a session", cause))
    }

    /// Reads what is there beyond `known`, at one moment.
    async fn read(&self, known: Option<Revision>) -> Result<Delta, StoreError> {
        let before = *self.heard.borrow();
        let mut session = self.session().await?;
        let failed = |cause| self.failed("reading the catalog", cause);
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let mut snapshot = within(self.timeout, session.begin_with(begin)).await.map_err(failed)?;
        let revision = within(self.timeout, current(&mut *snapshot)).await.map_err(failed)?;
        let covered =
            |known: &Revision| revision.0.checked_sub(known.0).is_some_and(|behind| behind <= KEPT);
        let known = known.filter(covered);
        let rows = match known {
            Some(known) => within(self.timeout, changes(&mut snapshot, known)).await,
            None => everything(&mut snapshot, self.timeout).await,
        };
        let rows = rows.map_err(failed)?;
        within(self.timeout, snapshot.commit()).await.map_err(failed)?;
        session.give_back();
        listen::loaded(&self.heard, before, revision);

        let rows = rows.into_iter().map(|row| self.parse(row)).collect::<Result<Vec<_>, _>>()?;
        if known.is_some() {
            return Ok(Delta::Changes { revision, rows });
        }
        let present = |(kind, _, document): (_, _, Option<_>)| document.map(|one| (kind, one));
        let documents = rows.into_iter().filter_map(present).collect();
        Ok(Delta::Everything(Loaded { revision, documents }))
    }

    fn parse(&self, row: Text) -> Result<(String, Id, Option<Document>), StoreError> {
        let (kind, id, body) = row;
        let document = body
            .as_deref()
            .map(serde_json::from_str)
            .transpose()
            .map_err(|why| self.damaged(format!("{kind}/{id} is no JSON object: {why}")))?;
        match Id::parse(&id) {
            Some(id) => Ok((kind, id, document)),
            None => Err(self.damaged(format!("{kind}/{id} has no UUID"))),
        }
    }

    fn damaged(&self, what: String) -> StoreError {
        StoreError::Damaged { place: self.place.clone(), what }
    }

    fn failed(&self, doing: &'static str, cause: sqlx::Error) -> StoreError {
        failed(doing, &self.place, cause)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Postgres({})", self.place)
    }
}

#[async_trait]
impl Store for Postgres {
    async fn load(&self) -> Result<Loaded, StoreError> {
        match self.read(None).await? {
            Delta::Everything(loaded) => Ok(loaded),
            Delta::Changes { .. } => Err(self.damaged("a part came instead of the whole".into())),
        }
    }

    async fn load_since(&self, known: Revision) -> Result<Delta, StoreError> {
        self.read(Some(known)).await
    }

    async fn commit(
        &self,
        base: Revision,
        next: Revision,
        rows: &[Row<'_>],
    ) -> Result<(), StoreError> {
        let mut session = self.session().await?;
        let failed = |cause| self.failed("writing the catalog", cause);
        // The server gives up first, and then says why.
        let limit = self.timeout * 2;
        let moved = within(limit, commit(&mut session, base, next, rows)).await.map_err(failed)?;
        if !moved {
            let current = within(limit, current(&mut *session)).await.map_err(failed)?;
            session.give_back();
            return Err(StoreError::Conflict { current });
        }
        if next.0.is_multiple_of(TIDY)
            && let Err(why) = within(limit, tidy(&mut session, next)).await
        {
            // The commit stands, and the next time is as good.
            warn!("old tombstones were not removed: {why}");
            return Ok(());
        }
        session.give_back();
        Ok(())
    }

    async fn moved(&self, known: Revision) {
        let beyond = |heard: &Heard| heard.rewound || heard.revision > known;
        // The sender lives as long as `self`, so there is no error to come.
        let _ = self.heard.subscribe().wait_for(beyond).await;
    }
}

/// A row as it is read: kind, id and body.
type Text = (String, String, Option<String>);

async fn current(connection: impl PgExecutor<'_>) -> Result<Revision, sqlx::Error> {
    let number: i64 =
        sqlx::query_scalar("SELECT number FROM revision WHERE one").fetch_one(connection).await?;
    Ok(Revision(number.unsigned_abs()))
}

async fn changes(connection: &mut PgConnection, known: Revision) -> Result<Vec<Text>, sqlx::Error> {
    sqlx::query_as("SELECT kind, id::text, body::text FROM documents WHERE revision > $1")
        .bind(signed(known))
        .fetch_all(connection)
        .await
}

/// In pages, so that how long a statement may take need not grow with what is stored.
async fn everything(
    connection: &mut PgConnection,
    limit: Duration,
) -> Result<Vec<Text>, sqlx::Error> {
    let mut rows: Vec<Text> = Vec::new();
    loop {
        let (kind, id) = match rows.last() {
            Some((kind, id, _)) => (kind.clone(), Some(id.clone())),
            None => (String::new(), None),
        };
        // No kind is empty, so that an empty one comes before the first.
        let page = sqlx::query_as(
            "SELECT kind, id::text, body::text FROM documents \
             WHERE (kind, id) > ($1, coalesce($2, '00000000-0000-0000-0000-000000000000')::uuid) \
               AND body IS NOT NULL \
             ORDER BY kind, id LIMIT $3",
        )
        .bind(kind)
        .bind(id)
        .bind(i64::try_from(PAGE).unwrap_or(i64::MAX))
        .fetch_all(&mut *connection);
        let page: Vec<Text> = within(limit, page).await?;
        let last = page.len() < PAGE;
        rows.extend(page);
        if last {
            return Ok(rows);
        }
    }
}

/// Whether the store was at `base`, and so is at `next` now.
async fn commit(
    connection: &mut PgConnection,
    base: Revision,
    next: Revision,
    rows: &[Row<'_>],
) -> Result<bool, sqlx::Error> {
    let kinds: Vec<&str> = rows.iter().map(|row| row.kind).collect();
    let ids: Vec<String> = rows.iter().map(|row| row.id.to_string()).collect();
    let bodies: Vec<Option<&str>> = rows.iter().map(|row| row.text.as_deref()).collect();
    let done = sqlx::query(
        "WITH moved AS ( \
             UPDATE revision SET number = $2 WHERE one AND number = $1 RETURNING number \
         ), written AS ( \
             INSERT INTO documents (kind, id, revision, body) \
             SELECT row.kind, row.id::uuid, moved.number, row.body::json \
             FROM moved, unnest($3::text[], $4::text[], $5::text[]) AS row (kind, id, body) \
             ON CONFLICT (kind, id) DO UPDATE SET revision = excluded.revision, body = excluded.body \
         ) \
         SELECT pg_notify($6, current_schema()::text || ' ' || number) FROM moved",
    )
    .bind(signed(base))
    .bind(signed(next))
    .bind(kinds)
    .bind(ids)
    .bind(bodies)
    .bind(CHANNEL)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn tidy(connection: &mut PgConnection, now: Revision) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM documents WHERE body IS NULL AND revision < $1")
        .bind(signed(Revision(now.0.saturating_sub(KEPT))))
        .execute(connection)
        .await
        .map(|_| ())
}

/// PostgreSQL counts in signed 64 bits; revisions grow by one a commit and never get there.
fn signed(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

fn failed(doing: &'static str, place: &str, cause: sqlx::Error) -> StoreError {
    let place = place.to_owned();
    // sqlx repeats the cause in its own text; the cause alone says it once. What the database says
    // would come with a line of the server's source.
    let cause = match cause {
        sqlx::Error::RowNotFound => {
            return StoreError::Damaged { place, what: "its revision is missing".into() };
        }
        sqlx::Error::Io(cause) => cause.into(),
        sqlx::Error::Tls(cause) => cause,
        sqlx::Error::Database(cause) => match cause.code() {
            Some(state) => format!("{} (SQLSTATE {state})", cause.message()).into(),
            None => cause.message().into(),
        },
        other => other.into(),
    };
    StoreError::Unavailable { doing, place, cause }
}
