//! [`Options`]: how to reach a PostgreSQL, and what to use there.

use std::path::PathBuf;
use std::time::Duration;

use gateway_model::Secret;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// How to reach a PostgreSQL, and what to use there. Plain values; the `pg_*` keys of the
/// configuration. What is not said here (a client certificate, say) is taken from the environment
/// variables of libpq.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name or address, or the absolute path of the folder with the server's Unix socket.
    pub host: String,
    /// TCP port, and part of the socket's name.
    pub port: u16,
    /// Role to log in with.
    pub user: String,
    /// Its password; `None` for a server that asks for none.
    pub password: Option<Secret<String>>,
    /// Database to use.
    pub database: String,
    /// Schema to use, made when the database is bootstrapped; `None` for the role's own.
    pub schema: Option<String>,
    /// Whether to insist on TLS. Without, none is tried.
    pub ssl: bool,
    /// Whether the server's certificate must be valid for `host`.
    pub ssl_verify: bool,
    /// PEM file of authorities to trust with `ssl_verify`, beside the public ones.
    pub ssl_trusted: Option<PathBuf>,
    /// Idle connections to keep. One more listens for what other nodes write.
    pub pool_size: u32,
    /// How long to wait for a connection, for a statement, and for an answer to go on.
    pub timeout: Duration,
    /// How often to look for what other nodes wrote, should a notification be lost.
    pub poll: Duration,
}

impl Options {
    /// What is named in messages: never the password.
    pub(super) fn place(&self) -> String {
        let Self { host, port, database, .. } = self;
        let at =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        match &self.schema {
            Some(schema) => format!("database {database} (schema {schema}) at {at}"),
            None => format!("database {database} at {at}"),
        }
    }

    pub(super) fn connect(&self) -> PgConnectOptions {
        let mode = match (self.ssl, self.ssl_verify) {
            (false, _) => PgSslMode::Disable,
            (true, false) => PgSslMode::Require,
            (true, true) => PgSslMode::VerifyFull,
        };
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(self.port)
            .username(&self.user)
            .database(&self.database)
            .application_name("gateway")
            .ssl_mode(mode);
        if let Some(password) = &self.password {
            options = options.password(password.expose());
        }
        if let Some(file) = &self.ssl_trusted {
            options = options.ssl_root_cert(file);
        }
        options
    }
}
