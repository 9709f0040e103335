//! [`Sessions`]: connections to the server, each prepared the same way and none waited for
//! longer than the configured time.
//!
//! Not a [`sqlx::Pool`]: while a server is away a pool tries again until its time is up and then
//! says only that it is. Here the first refusal is the answer, with its cause.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::options::Options;

/// Connections that are idle now.
pub(super) struct Sessions {
    connect: PgConnectOptions,
    setup: Setup,
    keep: usize,
    idle: Mutex<Vec<PgConnection>>,
}

/// A connection in use. It is closed when dropped, for whatever reason, unless it was given back.
pub(super) struct Session<'s> {
    connection: PgConnection,
    from: &'s Sessions,
}

/// What every connection is told first.
#[derive(Clone)]
pub(super) struct Setup {
    schema: Option<String>,
    timeout: Duration,
}

impl Sessions {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            connect: options.connect(),
            setup: Setup::of(options),
            keep: usize::try_from(options.pool_size).unwrap_or(usize::MAX),
            idle: Mutex::default(),
        }
    }

    /// A connection that answered just now.
    pub(super) async fn take(&self) -> Result<Session<'_>, sqlx::Error> {
        // Of those that went away while idle (a restarted server ends them all) none is used.
        while let Some(mut connection) = self.pop() {
            if let Ok(Ok(())) = tokio::time::timeout(self.setup.timeout, connection.ping()).await {
                return Ok(Session { connection, from: self });
            }
        }
        let connecting = async {
            let mut connection = self.connect.connect().await?;
            self.setup.apply(&mut connection).await?;
            Ok(connection)
        };
        let connection = within(self.setup.timeout, connecting).await?;
        Ok(Session { connection, from: self })
    }

    fn pop(&self) -> Option<PgConnection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

impl Session<'_> {
    /// Keeps the connection for the next use. Only for one that finished what it was asked.
    pub(super) fn give_back(self) {
        let mut idle = self.from.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.from.keep {
            idle.push(self.connection);
        }
    }
}

impl Deref for Session<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Session<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Setup {
    pub(super) fn of(options: &Options) -> Self {
        Self { schema: options.schema.clone(), timeout: options.timeout }
    }

    /// By function, as settings sent while connecting are refused by some poolers. A transaction
    /// that was begun and forgotten would hold up every node, hence its limit; a commit is
    /// written for the isolation named.
    pub(super) async fn apply(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query(
            "SELECT set_config('statement_timeout', $1, false), \
                    set_config('idle_in_transaction_session_timeout', $1, false), \
                    set_config('default_transaction_isolation', 'read committed', false), \
                    CASE WHEN $2 IS NOT NULL \
                         THEN set_config('search_path', quote_ident($2), false) END",
        )
        .bind(self.timeout.as_millis().max(1).to_string())
        .bind(self.schema.as_deref())
        .execute(connection)
        .await
        .map(|_| ())
    }
}

/// The answer, or that there was none in time.
pub(super) async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
        let text = format!("no answer within {} ms", limit.as_millis());
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text)))
    })
}
