//! [`Stream`]: bytes sent over one TCP connection, which is kept while it is used.
//!
//! As Kong's loggers do, TLS is spoken without verifying the other end's certificate.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::FutureExt;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::queue::Deliver;
use super::tls;

/// Where bytes go.
pub(crate) struct Stream {
    /// A name or an address.
    host: String,
    port: u16,
    /// For connecting, and for one batch.
    timeout: Duration,
    /// How long an idle connection is kept.
    keepalive: Duration,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    open: Mutex<Option<Open>>,
}

struct Open {
    connection: Box<dyn Connection>,
    used: Instant,
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

impl Stream {
    pub(crate) fn new(host: &str, port: u16, timeout: Duration, keepalive: Duration) -> Self {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Self { host, port, timeout, keepalive, tls: None, open: Mutex::new(None) }
    }

    /// Speaks TLS, asking for this server name or for the host.
    ///
    /// # Errors
    ///
    /// A name that cannot be asked for, or a TLS library that cannot be set up.
    pub(crate) fn over_tls(mut self, name: Option<&str>) -> Result<Self, String> {
        let name = name.unwrap_or(&self.host).to_owned();
        let name = ServerName::try_from(name).map_err(|why| why.to_string())?;
        self.tls = Some((tls::unverified()?, name));
        Ok(self)
    }

    /// Sends all, then returns when the kernel has taken it.
    ///
    /// # Errors
    ///
    /// What failed, with the place.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Result<(), String> {
        let sent = tokio::time::timeout(self.timeout, self.send_within(bytes)).await;
        let told = |why| format!("{}:{}: {why}", self.host, self.port);
        sent.map_err(io::Error::from).flatten().map_err(told)
    }

    async fn send_within(&self, bytes: &[u8]) -> io::Result<()> {
        // One batch at a time: lines of two must not mix. Held while waiting on purpose.
        let mut open = self.open.lock().await;
        if let Some(mut kept) = open.take().filter(|open| open.used.elapsed() < self.keepalive)
            && kept.is_alive()
            && kept.write(bytes).await.is_ok()
        {
            *open = Some(kept);
            return Ok(());
        }
        let mut fresh = Open { connection: self.connect().await?, used: Instant::now() };
        fresh.write(bytes).await?;
        *open = Some(fresh);
        Ok(())
    }

    async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                Ok(Box::new(connector.connect(name.clone(), stream).await?))
            }
        }
    }

    /// The way out of a queue: each entry and a line's end.
    pub(crate) fn deliver_lines(self) -> Deliver {
        let stream = Arc::new(self);
        Arc::new(move |batch| {
            let stream = Arc::clone(&stream);
            async move { stream.send(&lines(&batch)).await }.boxed()
        })
    }
}

impl Open {
    /// Whether the other end has not closed. What it says does not matter.
    fn is_alive(&mut self) -> bool {
        let mut heard = [0; 256];
        loop {
            match self.connection.read(&mut heard).now_or_never() {
                None => return true,
                Some(Ok(0) | Err(_)) => return false,
                Some(Ok(_)) => {}
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connection.write_all(bytes).await?;
        self.connection.flush().await?;
        self.used = Instant::now();
        Ok(())
    }
}

fn lines(batch: &[Bytes]) -> BytesMut {
    let mut all = BytesMut::with_capacity(batch.iter().map(|entry| entry.len() + 1).sum());
    for entry in batch {
        all.put_slice(entry);
        all.put_u8(b'\n');
    }
    all
}
