//! The upstream of every proxy: answers each request with the same 1 KiB.
//!
//! It shares a core with the load, so it does nothing but find where requests end; what proxies
//! send is well formed. A path that ends in `/large` gets 1 MiB, one in `/seen` the request's head.

use std::net::SocketAddr;
use std::sync::LazyLock;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::peer::REMOVED;

/// Length of the usual body, in bytes.
pub(crate) const BODY: usize = 1024;
/// Length of the large one.
pub(crate) const LARGE: usize = 1024 * 1024;
static LARGE_ANSWER: LazyLock<Vec<u8>> = LazyLock::new(|| answer(&vec![b'x'; LARGE]));
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
    let mut received = Vec::with_capacity(64 * 1024);
    while connection.read_buf(&mut received).await? > 0 {
        while let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head: Vec<u8> = received.drain(..end + 4).collect();
            let Some(length) = body_length(&head) else { return Ok(()) };
            skip(&mut connection, &mut received, length).await?;
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let asks_for = |end: &[u8]| line.windows(end.len()).any(|bytes| bytes == end);
            if asks_for(b"/seen ") {
                connection.write_all(&answer(&head)).await?;
            } else if asks_for(b"/large ") {
                connection.write_all(&LARGE_ANSWER).await?;
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

/// The length of the body that follows a head; `None` when it does not say.
fn body_length(head: &[u8]) -> Option<usize> {
    if head.starts_with(b"GET ") {
        return Some(0);
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(head).ok()?;
    let length = request.headers.iter().find(|one| one.name.eq_ignore_ascii_case("content-length"));
    std::str::from_utf8(length?.value).ok()?.trim().parse().ok()
}

/// Reads and drops so many bytes, of which the first may have been received.
async fn skip(
    connection: &mut TcpStream,
    received: &mut Vec<u8>,
    length: usize,
) -> std::io::Result<()> {
    let mut left = length;
    loop {
        let here = left.min(received.len());
        received.drain(..here);
        left -= here;
        if left == 0 {
            return Ok(());
        }
        if connection.read_buf(received).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn answer(body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{REMOVED}: bench\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
