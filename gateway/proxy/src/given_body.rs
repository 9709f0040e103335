//! A body for a request that came without one, on its way to an HTTP/2 upstream.
//!
//! pingora ends such a stream with its head, before it asks for a body. So the client's session is
//! put aside, and a session made of the same head, which does have a body, takes its place; what it
//! answers goes on to the client.

use std::io::Cursor;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderValue, Version, header};
use pingora_core::Result;
use pingora_core::apps::{HttpPersistentSettings, ReusedHttpStream};
use pingora_core::protocols::http::subrequest::server::{HttpSession as Inner, SubrequestHandle};
use pingora_core::protocols::http::v1::server::HttpSession as Http1;
use pingora_core::protocols::http::{HttpTask, ServerSession};
use pingora_proxy::Session;
use tokio::sync::oneshot::{self, Receiver, Sender};

use crate::client::connection;

/// A client's connection that was put aside, and comes back when its answer is written; nothing comes
/// back of one that cannot serve another request. There is one for each connection.
#[derive(Clone, Debug, Default)]
pub struct Lent(Arc<ArcSwapOption<Receiver<ReusedHttpStream>>>);

impl Lent {
    fn lend(&self) -> Sender<ReusedHttpStream> {
        let (back, comes) = oneshot::channel();
        self.0.store(Some(Arc::new(comes)));
        back
    }

    /// The connection, once it is back; `None` when it was not put aside, or ended.
    pub async fn back(&self) -> Option<ReusedHttpStream> {
        Arc::into_inner(self.0.swap(None)?)?.await.ok()
    }
}

/// Gives the request this body. The client's connection is [lent](Lent) until its answer is written.
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
    let lent = connection(session).map(|connection| connection.lent.clone());
    // What ends connections of HTTP/1.0 is decided on the session that takes this one's place.
    let again = session.req_header().version == Version::HTTP_11;
    let mut client = std::mem::replace(&mut *session.downstream_session, inner);
    let back = lent.filter(|_| again && !client.is_http2()).map(|lent| lent.lend());
    if back.is_none() {
        client.set_keepalive(None);
    }
    // Ends with the exchange: its end of the channels is dropped then.
    tokio::spawn(relay(client, handle, body, back));
    Ok(())
}

async fn relay(
    mut client: ServerSession,
    handle: SubrequestHandle,
    body: Bytes,
    back: Option<Sender<ReusedHttpStream>>,
) {
    // The sender is kept: dropped, it would be a client that left.
    let SubrequestHandle { tx, mut rx, .. } = handle;
    if tx.send(HttpTask::Body(Some(body), true)).await.is_err() {
        return;
    }
    loop {
        // Not ended, an answer that broke off: the client must not take it for a whole one.
        let Some(task) = rx.recv().await else { return };
        match client.response_duplex_vec(vec![task]).await {
            Ok(false) => {}
            Ok(true) => break,
            Err(why) => return tracing::debug!("a client left before its answer: {why}"),
        }
    }
    let settings = HttpPersistentSettings::for_session(&client);
    match client.finish().await {
        Ok(Some(stream)) => {
            if let Some(back) = back {
                // Who waits for it ends with the process at the latest.
                let _ = back.send(ReusedHttpStream::from_reusable_stream(stream, settings));
            }
        }
        Ok(None) => {}
        Err(why) => tracing::debug!("a client left at the end of its answer: {why}"),
    }
}
