//! A body for a request that came without one, on its way to an HTTP/2 upstream.
//!
//! pingora ends such a stream with its head, before it asks for a body. So the client's session is
//! put aside, and a session made of the same head, which does have a body, takes its place; what it
//! answers goes on to the client.

use std::io::Cursor;

use bytes::Bytes;
use http::{HeaderValue, header};
use pingora_core::Result;
use pingora_core::protocols::http::subrequest::server::{HttpSession as Inner, SubrequestHandle};
use pingora_core::protocols::http::v1::server::HttpSession as Http1;
use pingora_core::protocols::http::{HttpTask, ServerSession};
use pingora_proxy::Session;

/// Gives the request this body. The client's connection ends with the answer.
///
/// # Errors
///
/// None that a client can cause; pingora's signatures say so.
pub(crate) async fn give(session: &mut Session, body: Bytes) -> Result<()> {
    // Such sessions are made of a head in the form of HTTP/1, whatever the client speaks.
    let mut bare = Http1::new(Box::new(Cursor::new(b"GET / HTTP/1.1\r\n\r\n".to_vec())));
    bare.read_request().await?;
    let (mut inner, handle) = Inner::new_from_session(&ServerSession::H1(bare));
    inner.read_request().await?;
    let head = inner.req_header_mut();
    *head = session.req_header().clone();
    head.remove_header(&header::TRANSFER_ENCODING);
    head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    let inner = ServerSession::Subrequest(inner);
    let mut client = std::mem::replace(&mut *session.downstream_session, inner);
    client.set_keepalive(None);
    // Ends with the exchange: its end of the channels is dropped then.
    tokio::spawn(relay(client, handle, body));
    Ok(())
}

async fn relay(mut client: ServerSession, handle: SubrequestHandle, body: Bytes) {
    // The sender is kept: dropped, it would be a client that left.
    let SubrequestHandle { tx, mut rx, .. } = handle;
    if tx.send(HttpTask::Body(Some(body), true)).await.is_err() {
        return;
    }
    while let Some(task) = rx.recv().await {
        match client.response_duplex_vec(vec![task]).await {
            Ok(false) => {}
            Ok(true) => break,
            Err(why) => return tracing::debug!("a client left before its answer: {why}"),
        }
    }
    if let Err(why) = client.finish().await {
        tracing::debug!("a client left at the end of its answer: {why}");
    }
}
