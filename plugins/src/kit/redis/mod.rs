//! [`Redis`]: one Redis, over one connection that all requests share.
//!
//! The connection is made at the first command and anew after an error, in the background runtime;
//! who needs it meanwhile waits, within the timeout.

mod config;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, Pipeline, RedisConnectionInfo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

pub(crate) use config::RedisConfig;

use super::tls;
use crate::contract::Tools;

/// How to reach a Redis.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// For connecting, and for each command.
    pub(crate) timeout: Duration,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: i64,
    pub(crate) tls: Option<Tls>,
}

#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) verify: bool,
    pub(crate) server_name: Option<String>,
}

/// One Redis.
pub(crate) struct Redis {
    place: Place,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    runtime: Handle,
    open: ArcSwapOption<MultiplexedConnection>,
    /// Whoever connects; others wait for it instead of connecting too.
    connecting: Mutex<()>,
}

impl Place {
    /// Tells places apart, and accounts at one place.
    pub(crate) fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.host, self.port, self.database, &self.username, &self.password, self.timeout)
            .hash(&mut hasher);
        self.tls.as_ref().map(|tls| (tls.verify, &tls.server_name)).hash(&mut hasher);
        hasher.finish()
    }
}

impl Redis {
    /// # Errors
    ///
    /// A server name that cannot be asked for, or a TLS library that cannot be set up.
    pub(crate) fn new(place: Place, tools: &Tools) -> Result<Self, String> {
        let runtime = tools.runtime.clone();
        let tls = match &place.tls {
            None => None,
            Some(tls) => {
                let config = match tls.verify {
                    true => tls::verified(tools.trusted.as_ref())?,
                    false => tls::unverified()?,
                };
                let name = tls.server_name.as_ref().unwrap_or(&place.host).clone();
                Some((config, ServerName::try_from(name).map_err(|why| why.to_string())?))
            }
        };
        let open = ArcSwapOption::empty();
        Ok(Self { place, tls, runtime, open, connecting: Mutex::new(()) })
    }

    /// Runs commands in one round trip.
    ///
    /// # Errors
    ///
    /// What went wrong, with the place and without the password.
    pub(crate) async fn run<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, String> {
        let told = |why: String| format!("{}:{}: {why}", self.place.host, self.place.port);
        let connection = self.connection().await.map_err(told)?;
        let mut own = MultiplexedConnection::clone(&connection);
        let answered =
            tokio::time::timeout(self.place.timeout, commands.query_async(&mut own)).await;
        let why = match answered {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(why)) if why.is_connection_dropped() || why.is_io_error() => why.to_string(),
            Ok(Err(why)) => return Err(told(why.to_string())),
            Err(_) => "no answer in time".to_owned(),
        };
        // The next command connects anew, unless somebody did already.
        self.open.compare_and_swap(&connection, None);
        Err(told(why))
    }

    async fn connection(&self) -> Result<Arc<MultiplexedConnection>, String> {
        if let Some(open) = self.open.load_full() {
            return Ok(open);
        }
        let _turn = self.connecting.lock().await;
        if let Some(open) = self.open.load_full() {
            return Ok(open);
        }
        // In the background runtime: a connection must outlive the worker that asked for it.
        let connect = connect(self.place.clone(), self.tls.clone());
        let made = self.runtime.spawn(tokio::time::timeout(self.place.timeout, connect)).await;
        let made = made.map_err(|why| why.to_string())?;
        let made = Arc::new(made.map_err(|_| "no connection in time".to_owned())??);
        self.open.store(Some(Arc::clone(&made)));
        Ok(made)
    }
}

async fn connect(
    place: Place,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
) -> Result<MultiplexedConnection, String> {
    let told = |why: std::io::Error| why.to_string();
    let host = place.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, place.port)).await.map_err(told)?;
    stream.set_nodelay(true).map_err(told)?;
    let mut info = RedisConnectionInfo::default().set_db(place.database);
    if let Some(password) = place.password.as_deref().filter(|password| !password.is_empty()) {
        info = info.set_password(password);
        if let Some(username) = place.username.as_deref().filter(|name| !name.is_empty()) {
            info = info.set_username(username);
        }
    }
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(place.timeout));
    let told = |why: redis::RedisError| why.to_string();
    match tls {
        None => {
            let made = MultiplexedConnection::new_with_config(&info, stream, config).await;
            let (connection, driver) = made.map_err(told)?;
            tokio::spawn(driver);
            Ok(connection)
        }
        Some((client, name)) => {
            let stream = TlsConnector::from(client).connect(name, stream).await;
            let stream = stream.map_err(|why| why.to_string())?;
            let made = MultiplexedConnection::new_with_config(&info, stream, config).await;
            let (connection, driver) = made.map_err(told)?;
            tokio::spawn(driver);
            Ok(connection)
        }
    }
}
