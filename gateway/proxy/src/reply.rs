//! The one way to answer without an upstream: refusals, errors, embedded services.
//!
//! pingora skips the response phases for answers written early, so they are run here.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use gateway_model::ports::Caller;
use http::{HeaderValue, Method, StatusCode, Version, header};
use http_body_util::BodyExt;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use plugins::contract::{Relayed, Reply, ReplyBody, RequestBody, Source};

use crate::body::expects_continue;
use crate::client::connection;
use crate::embed::{Embedded, EmbeddedBody};
use crate::error_body::{ErrorBody, Origin, default_message, error_body};
use crate::exchange::{Exchange, declared_length};
use crate::forward::REQUEST_ID;
use crate::held::Held;
use crate::options::Options;

/// Sends a reply through the response phases.
///
/// # Errors
///
/// When the client is gone.
pub(crate) async fn send(
    session: &mut Session,
    exchange: &mut Exchange,
    options: &Options,
    reply: Reply,
    origin: Origin,
) -> Result<()> {
    exchange.source = Source::Gateway;
    let mut status = reply.status;
    let mut headers = reply.headers;
    let (kind, bytes) = match reply.body {
        ReplyBody::Bytes(kind, bytes) => (Some(kind), bytes),
        ReplyBody::Untyped(bytes) => (None, bytes),
        ReplyBody::Message(message) => {
            let ErrorBody { content_type, bytes, grpc } = error_body(
                session.req_header(),
                status,
                &message,
                &exchange.facts.request_id,
                origin,
                options,
            );
            if let Some((code, message)) = grpc {
                status = StatusCode::OK;
                headers.push((header::HeaderName::from_static("grpc-status"), code.into()));
                if let Ok(message) = HeaderValue::try_from(message) {
                    headers.push((header::HeaderName::from_static("grpc-message"), message));
                }
            }
            (Some(content_type), bytes)
        }
        _ => (None, Bytes::new()),
    };
    let mut head = ResponseHeader::build(status, Some(headers.len() + 8))?;
    for (name, value) in headers {
        head.append_header(name, value)?;
    }
    if let Some(kind) = kind {
        head.insert_header(header::CONTENT_TYPE, kind)?;
    }
    head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()))?;
    close_if_unread(session);
    write_head(session, exchange, options, &mut head, bytes.is_empty()).await?;
    write_last(session, exchange, bytes).await?;
    if session.get_keepalive().is_none() {
        linger(session).await;
    }
    Ok(())
}

/// Calls an embedded service and sends its answer through the response phases.
///
/// # Errors
///
/// When the client is gone.
pub(crate) async fn embedded(
    session: &mut Session,
    exchange: &mut Exchange,
    options: &Options,
    service: &dyn Embedded,
) -> Result<()> {
    let too_large = || Reply::message(StatusCode::PAYLOAD_TOO_LARGE, "");
    let limit = service.body_limit();
    if declared_length(session.req_header()).is_some_and(|length| length > limit) {
        return send(session, exchange, options, too_large(), Origin::Core).await;
    }
    let body = match exchange.facts.body.bytes() {
        Some(known) if known.len() as u64 <= limit => known.clone(),
        Some(_) => return send(session, exchange, options, too_large(), Origin::Core).await,
        None => {
            let unread = exchange.facts.body == RequestBody::Unread;
            if unread && expects_continue(session.req_header()) {
                session.write_continue_response().await?;
            }
            let mut body = match exchange.body_begun.take() {
                Some(begun) => begun.to_vec(),
                // What was read ahead and can be replayed still is where pingora keeps it.
                None => session.as_ref().get_retry_buffer().map(Vec::from).unwrap_or_default(),
            };
            while let Some(piece) = exchange.next_piece(session).await? {
                if (body.len() + piece.len()) as u64 > limit {
                    return send(session, exchange, options, too_large(), Origin::Core).await;
                }
                body.extend_from_slice(&piece);
            }
            body.into()
        }
    };
    exchange.body_seen = body.len() as u64;
    let request = embedded_request(session, exchange, body);
    exchange.source = Source::Upstream;
    exchange.asked = Some(std::time::Instant::now());
    let answer = service.call(request).await;
    exchange.first_byte = Some(std::time::Instant::now());
    relay(session, exchange, options, answer).await
}

fn embedded_request(
    session: &Session,
    exchange: &mut Exchange,
    body: Bytes,
) -> http::Request<Bytes> {
    let head = session.req_header();
    let mut request = http::Request::new(body);
    *request.method_mut() = head.method.clone();
    let mut uri = exchange.path().to_owned();
    if let Some(query) = exchange.query() {
        uri.push('?');
        uri.push_str(query);
    }
    if let Ok(uri) = uri.parse() {
        *request.uri_mut() = uri;
    }
    exchange.upstream_target = uri.into();
    *request.headers_mut() = head.headers.clone();
    if let Some(host) = &exchange.host {
        request.headers_mut().insert(header::HOST, host.clone());
    }
    request.extensions_mut().insert(Caller {
        subject: exchange.facts.identity.subject.clone(),
        client: exchange.facts.client.ip,
        by_gateway: true,
        certified: false,
    });
    request
}

/// Streams an embedded service's answer.
async fn relay(
    session: &mut Session,
    exchange: &mut Exchange,
    options: &Options,
    answer: http::Response<EmbeddedBody>,
) -> Result<()> {
    let (parts, mut body) = answer.into_parts();
    let mut head = ResponseHeader::build(parts.status, Some(parts.headers.len() + 8))?;
    for (name, value) in &parts.headers {
        if *name != header::CONNECTION && *name != header::TRANSFER_ENCODING {
            head.append_header(name.clone(), value.clone())?;
        }
    }
    if exchange.holds_answer() {
        let held = match hold(session, options, head, body).await {
            Ok(held) => held,
            Err(why) => {
                tracing::warn!("an embedded service's answer cannot be sent: {why}");
                let answer = failure(StatusCode::BAD_GATEWAY, "");
                return send(session, exchange, options, answer, Origin::Core).await;
            }
        };
        return held.send(session, exchange, options).await;
    }
    let exact = http_body::Body::size_hint(&body).exact();
    match exact {
        Some(length) => head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(length))?,
        None if exchange.client_version == Version::HTTP_11 => {
            head.insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
        }
        None => {}
    }
    let empty = exact == Some(0) || http_body::Body::is_end_stream(&body);
    write_head(session, exchange, options, &mut head, empty).await?;
    if exact.is_none() {
        while let Some(frame) = body.frame().await {
            let Ok(Ok(data)) = frame.map(http_body::Frame::into_data) else { break };
            write_piece(session, exchange, Some(data), false).await?;
        }
        return write_piece(session, exchange, None, true).await;
    }
    // The usual small JSON answer: one piece.
    match body.collect().await {
        Ok(whole) => write_last(session, exchange, whole.to_bytes()).await,
        Err(_) => write_piece(session, exchange, None, true).await,
    }
}

/// Reads all of an embedded service's answer.
async fn hold(
    session: &Session,
    options: &Options,
    head: ResponseHeader,
    mut body: EmbeddedBody,
) -> Result<Held> {
    let bodiless = is_bodiless(session, head.status);
    let mut held = Held::begin(head, bodiless, options.max_held)?;
    while let Some(frame) = body.frame().await {
        let broken = |why| Error::because(ErrorType::HTTPStatus(502), "an embedded service", why);
        let mut piece = frame.map_err(broken)?.into_data().ok();
        held.take(&mut piece)?;
    }
    Ok(held)
}

/// Sends an answer of which all is known through the response phases.
///
/// # Errors
///
/// When the client is gone.
pub(crate) async fn whole(
    session: &mut Session,
    exchange: &mut Exchange,
    options: &Options,
    mut head: ResponseHeader,
    body: Bytes,
) -> Result<()> {
    write_head(session, exchange, options, &mut head, body.is_empty()).await?;
    write_last(session, exchange, body).await
}

async fn write_head(
    session: &mut Session,
    exchange: &mut Exchange,
    options: &Options,
    head: &mut ResponseHeader,
    empty: bool,
) -> Result<()> {
    let had_length = head.headers.contains_key(header::CONTENT_LENGTH);
    exchange.header_filter(session.req_header(), head);
    // A handler that will change the body's length has taken the header off.
    let resized = had_length && !head.headers.contains_key(header::CONTENT_LENGTH);
    if resized && exchange.client_version == Version::HTTP_11 {
        head.insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
    }
    own_headers(head, exchange, options)?;
    if head.status == StatusCode::UPGRADE_REQUIRED
        && exchange.client_version == Version::HTTP_11
        && let Some(connection) = connection(session)
    {
        connection.offers_upgrade.store(true, Ordering::Relaxed);
    }
    let last = (empty && !resized) || is_bodiless(session, head.status);
    session.write_response_header(Box::new(std::mem::replace(head, blank()?)), last).await
}

fn blank() -> Result<ResponseHeader> {
    ResponseHeader::build(StatusCode::OK, Some(0))
}

async fn write_last(session: &mut Session, exchange: &mut Exchange, bytes: Bytes) -> Result<()> {
    write_piece(session, exchange, Some(bytes), true).await
}

async fn write_piece(
    session: &mut Session,
    exchange: &mut Exchange,
    mut data: Option<Bytes>,
    end: bool,
) -> Result<()> {
    exchange.body_filter(&mut data, end);
    let status = session.response_written().map_or(StatusCode::OK, |head| head.status);
    if is_bodiless(session, status) {
        return Ok(());
    }
    if data.as_ref().is_none_or(Bytes::is_empty) && !end {
        return Ok(());
    }
    session.write_response_body(data, end).await
}

pub(crate) fn is_bodiless(session: &Session, status: StatusCode) -> bool {
    session.req_header().method == Method::HEAD
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

/// The headers the gateway itself adds to an answer (kong/runloop/handler.lua, header_filter).
pub(crate) fn own_headers(
    head: &mut ResponseHeader,
    exchange: &mut Exchange,
    options: &Options,
) -> Result<()> {
    const PROXY_LATENCY: &str = "X-Kong-Proxy-Latency";
    const UPSTREAM_LATENCY: &str = "X-Kong-Upstream-Latency";
    const RESPONSE_LATENCY: &str = "X-Kong-Response-Latency";
    const UPSTREAM_STATUS: &str = "X-Kong-Upstream-Status";
    for (name, value) in exchange.facts.response_headers.drain(..) {
        head.append_header(name, value)?;
    }
    let own = options.headers;
    let latencies = exchange.latencies();
    let proxied =
        exchange.source == Source::Upstream || exchange.facts.notes.get::<Relayed>().is_some();
    if proxied || !exchange.tries.is_empty() {
        if own.upstream_latency {
            let waited = latencies.upstream.unwrap_or(0);
            head.insert_header(UPSTREAM_LATENCY, HeaderValue::from(waited))?;
        }
        if own.proxy_latency {
            head.insert_header(PROXY_LATENCY, HeaderValue::from(latencies.kong))?;
        }
    } else if own.response_latency {
        head.insert_header(RESPONSE_LATENCY, HeaderValue::from(latencies.kong))?;
    }
    if proxied {
        if own.via {
            let lines = std::mem::take(&mut exchange.upstream_via);
            add_via(head, &lines, options)?;
        }
        if own.upstream_status {
            head.insert_header(UPSTREAM_STATUS, HeaderValue::from(head.status.as_u16()))?;
        }
        if own.server && !head.headers.contains_key(header::SERVER) {
            head.insert_header(header::SERVER, options.server.clone())?;
        }
    } else {
        if own.via && !exchange.tries.is_empty() {
            add_via(head, &[], options)?;
        }
        if own.server {
            head.insert_header(header::SERVER, options.server.clone())?;
        }
    }
    if exchange.debug {
        debug_headers(head, exchange)?;
    }
    if own.request_id {
        let id = HeaderValue::from_str(&exchange.facts.request_id)
            .unwrap_or_else(|_| HeaderValue::from_static("-"));
        head.insert_header(REQUEST_ID, id)?;
    }
    Ok(())
}

/// Which route and service a request met (kong/runloop/handler.lua, access.before).
fn debug_headers(head: &mut ResponseHeader, exchange: &Exchange) -> Result<()> {
    if let Some(route) = &exchange.facts.route {
        head.insert_header("Kong-Route-Id", route.id().to_string())?;
        if let Some(name) = &route.name {
            head.insert_header("Kong-Route-Name", name)?;
        }
    }
    if let Some(service) = &exchange.facts.service {
        head.insert_header("Kong-Service-Id", service.id().to_string())?;
        if let Some(name) = &service.name {
            head.insert_header("Kong-Service-Name", name)?;
        }
    }
    Ok(())
}

/// Names this gateway in `Via`, after what the upstream said.
fn add_via(head: &mut ResponseHeader, lines: &[HeaderValue], options: &Options) -> Result<()> {
    let via = if head.version == Version::HTTP_2 { &options.via_h2 } else { &options.via };
    let mut joined = Vec::new();
    for line in lines {
        joined.extend_from_slice(line.as_bytes());
        joined.extend_from_slice(b", ");
    }
    if joined.is_empty() {
        return head.insert_header("Via", via.clone());
    }
    joined.extend_from_slice(via.as_bytes());
    head.insert_header("Via", joined)
}

/// Reads what a client goes on sending after it was answered, for a while: closing at once would
/// reset the connection, and the client would never see the answer (nginx calls it lingering
/// close). A client that waits for `100 Continue` sends nothing more.
async fn linger(session: &mut Session) {
    let waits = session.req_header().headers.contains_key(header::EXPECT);
    if waits || session.is_body_done() {
        return;
    }
    let drained = async { while let Ok(Some(_)) = session.read_request_body().await {} };
    // Whether it got through or not, the connection ends here.
    let _ = tokio::time::timeout(WHILE, drained).await;
}

/// How long a client may take to send what nobody wants any more.
const WHILE: Duration = Duration::from_secs(2);

/// A small unread body is drained by pingora for the next request; for a large or endless one, or one
/// whose client waits for leave to send it, the connection is closed instead.
pub(crate) fn close_if_unread(session: &mut Session) {
    const WORTH_DRAINING: u64 = 64 * 1024;
    if session.is_body_empty() || session.is_body_done() {
        return;
    }
    let head = session.req_header();
    let small = declared_length(head).is_some_and(|length| length <= WORTH_DRAINING);
    if small && !head.headers.contains_key(header::EXPECT) {
        session.set_close_on_response_before_downstream_finish(false);
        session.set_total_drain_timeout(Some(WHILE));
    } else {
        session.set_keepalive(None);
    }
}

/// The reply for an error found by the proxy core.
pub(crate) fn failure(status: StatusCode, message: &str) -> Reply {
    let message = if message.is_empty() { default_message(status) } else { message };
    Reply::message(status, message)
}
