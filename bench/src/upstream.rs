//! The upstream of every proxy: answers each request with the same 1 KiB.
//!
//! It shares a core with the load, so it does nothing but find where requests end; what proxies
//! send is well formed. The path `/seen` is the exception, which answers with the request's head.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Length of the body, in bytes.
pub(crate) const BODY: usize = 1024;
/// What the answers call their server.
pub(crate) const SERVER: &str = "bench-upstream";
/// A request head longer than this, in bytes, ends its connection.
const LONGEST_HEAD: usize = 64 * 1024;

/// A thread that answers until this process ends.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
}

impl Upstream {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    ///
    /// When there is no port or no thread.
    pub(crate) fn start() -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("an upstream")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = async move {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let (connection, _) = listener.accept().await?;
                // Its end is the client's business.
                tokio::spawn(async move { drop(serve(connection).await) });
            }
        };
        std::thread::Builder::new().name("upstream".to_owned()).spawn(move || {
            let ended: std::io::Result<()> = runtime.block_on(serving);
            eprintln!("the upstream ended: {ended:?}");
        })?;
        Ok(Self { address })
    }
}

async fn serve(mut connection: TcpStream) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let usual = answer(&[b'x'; BODY]);
    let mut received = Vec::with_capacity(4096);
    while connection.read_buf(&mut received).await? > 0 {
        while let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head: Vec<u8> = received.drain(..end + 4).collect();
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            if line.windows(6).any(|bytes| bytes == b"/seen ") {
                connection.write_all(&answer(&head)).await?;
            } else {
                connection.write_all(&usual).await?;
            }
        }
        if received.len() > LONGEST_HEAD {
            break;
        }
    }
    Ok(())
}

fn answer(body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: {SERVER}\r\nContent-Type: text/plain\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
