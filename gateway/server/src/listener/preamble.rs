//! Reads the PROXY preamble off a connection, and not a byte more.

use gateway_proxy::proxy_protocol::{Preamble, preamble};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The preamble of a connection; `None` when it has none, or ends before it is whole.
pub(super) async fn read(stream: &mut TcpStream) -> Option<Preamble> {
    let mut held = Vec::new();
    let mut piece = [0; 512];
    loop {
        let seen = stream.peek(&mut piece).await.ok().filter(|count| *count > 0)?;
        let before = held.len();
        held.extend_from_slice(&piece[..seen]);
        let whole = preamble(&held).ok()?;
        // What was looked at before was not whole, so its end lies in this piece.
        let take = whole.map_or(seen, |whole| whole.length.saturating_sub(before));
        stream.read_exact(&mut piece[..take]).await.ok()?;
        if whole.is_some() {
            return whole;
        }
    }
}
