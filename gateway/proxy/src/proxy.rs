//! The life of a proxied request: one short method a phase.
//!
//! 1. A listener accepts, shakes hands and hands the connection over with its
//!    [`ConnectionFacts`](crate::ConnectionFacts).
//! 2. `new_ctx` **pins** the current snapshot into an [`Exchange`]; nothing this request reads can
//!    change from here on.
//! 3. `early_request_filter` takes down who connects and what was asked (`client.rs`).
//! 4. `request_filter` refuses what two parsers could read differently, runs the global **rewrite**
//!    handlers, finds the **route** (`router/`), runs the **access** handlers (`chain.rs`), and
//!    answers here (`reply.rs`) when one of them says so or the service is embedded.
//! 5. `upstream_peer` names the **peer** of this try (`proxy/peer.rs`, `upstream/`); `fail_to_connect` and
//!    `error_while_proxy` decide whether there is another.
//! 6. `upstream_request_filter` writes what the upstream receives (`forward.rs`).
//! 7. `response_filter` and `response_body_filter` run the handlers of those phases, then add our
//!    own headers; or keep the answer for the handlers of the **response** phase (`held.rs`).
//! 8. `fail_to_proxy` turns any error into Kong's answer.
//! 9. `logging` sends an answer that was kept, makes one summary for log handlers and the
//!    access log (`proxy/told.rs`); the pin is dropped.

mod peer;
mod told;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use gateway_model::Clock;
use gateway_model::ports::{Calls, Reach};
use http::{StatusCode, header};
use pingora_core::protocols::{ALPN, Digest};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use plugins::contract::{BodyLimit, Reply, Source, Trailers};

use self::told::{answered, summary, upstream_uri};
use crate::access_log::AccessLog;
use crate::embed::EmbeddedServices;
use crate::error_body::Origin;
use crate::exchange::{Exchange, Refused};
use crate::failure::{may_retry, note_failure, status_of};
use crate::held::{self, Held};
use crate::options::Options;
use crate::resolve::Resolver;
use crate::snapshot::Current;
use crate::tls::{Given, Kept};
use crate::traffic::Traffic;
use crate::upstream::ConnectionUses;
use crate::{forward, given_body, reply};

/// The data plane's HTTP side: a pingora application over the current snapshot.
pub struct Proxy {
    current: Current,
    options: Options,
    embedded: EmbeddedServices,
    resolver: Resolver,
    access_log: Option<AccessLog>,
    calls: Option<Arc<dyn Calls>>,
    reach: Option<Arc<dyn Reach>>,
    traffic: Arc<Traffic>,
    uses: ConnectionUses,
    kept: Arc<Kept>,
    given: Given,
    clock: Clock,
}

impl Proxy {
    /// A proxy that serves whatever `current` holds.
    pub fn new(
        current: Current,
        options: Options,
        embedded: EmbeddedServices,
        access_log: Option<AccessLog>,
        clock: Clock,
        resolver: Resolver,
    ) -> Self {
        let traffic = Arc::default();
        let uses = ConnectionUses::new(options.upstream_requests);
        let idle = Duration::from_secs(options.upstream_idle_seconds);
        let kept = Kept::new(options.upstream_pool, Some(idle).filter(|idle| !idle.is_zero()));
        Self {
            current,
            options,
            embedded,
            resolver,
            access_log,
            calls: None,
            reach: None,
            traffic,
            uses,
            kept,
            given: Given::default(),
            clock,
        }
    }

    /// Tells `calls` of every call to a service, once it is over.
    #[must_use]
    pub fn telling(mut self, calls: Arc<dyn Calls>) -> Self {
        self.calls = Some(calls);
        self
    }

    /// Asks `reach` where the services that concern it may be called.
    #[must_use]
    pub fn reaching(mut self, reach: Arc<dyn Reach>) -> Self {
        self.reach = Some(reach);
        self
    }

    /// How much it has done and is doing.
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// Everything up to the decision where the answer comes from.
    async fn decide(&self, session: &mut Session, exchange: &mut Exchange) -> Decision {
        if let Err(Refused(status, told)) = exchange.inspect(session, &self.options) {
            return Decision::Reply(reply::failure(status, told), Origin::Core);
        }
        let asked = async {
            exchange.rewrite(session).await?;
            exchange.route(session, &self.options)?;
            exchange.access(session).await?;
            exchange.service()
        };
        match asked.await {
            Err(reply) => Decision::Reply(reply, Origin::Logic),
            Ok(service) => match self.embedded.get(exchange.destination(&service).host) {
                Some(embedded) => Decision::Embedded(Arc::clone(embedded)),
                None => Decision::Upstream,
            },
        }
    }
}

/// How long a client may take to read some of an answer (nginx's send_timeout).
const SEND: Duration = Duration::from_secs(60);

enum Decision {
    Upstream,
    Embedded(Arc<dyn crate::embed::Embedded>),
    Reply(Reply, Origin),
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        Exchange::new(self.current.load_full(), self.clock.unix_ms(), self.traffic.begin())
    }

    /// No module of pingora's is used: compression is the upstream's affair.
    fn init_downstream_modules(&self, _: &mut pingora_core::modules::http::HttpModules) {}

    async fn early_request_filter(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<()> {
        exchange.begin(session, &self.options);
        session.set_write_timeout(Some(SEND));
        session.set_read_timeout(Some(self.options.body_timeout));
        // A client of HTTP/1.0 knows one answer only.
        session.set_ignore_info_resp(exchange.client_version == http::Version::HTTP_10);
        // Closing was decided already when the client or a shutdown asked for it.
        if session.get_keepalive().is_some() {
            let seconds = self.options.keepalive_seconds;
            session.set_keepalive((seconds > 0).then_some(seconds));
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        match self.decide(session, exchange).await {
            Decision::Upstream => {
                if let Err(answer) = exchange.collect_body(session).await {
                    reply::send(session, exchange, &self.options, answer, Origin::Core).await?;
                    return Ok(true);
                }
                exchange.give_leave(session).await?;
                if let Some(body) = exchange.body_from_nothing(session) {
                    given_body::give(session, body).await?;
                }
                return Ok(false);
            }
            Decision::Embedded(service) => {
                reply::embedded(session, exchange, &self.options, &*service).await?;
            }
            Decision::Reply(answer, origin) => {
                reply::send(session, exchange, &self.options, answer, origin).await?;
            }
        }
        Ok(true)
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Exchange,
    ) -> Result<()> {
        exchange.pass_body(body, end);
        exchange.body_seen += body.as_ref().map_or(0, Bytes::len) as u64;
        if self.options.max_body > 0 && exchange.body_seen > self.options.max_body {
            exchange.failure = Some((StatusCode::PAYLOAD_TOO_LARGE, ""));
            return Error::e_explain(ErrorType::HTTPStatus(413), "the body grew past the limit");
        }
        if let Some(BodyLimit(limit)) = exchange.facts.notes.get()
            && exchange.body_seen > *limit
        {
            exchange.failure = Some((StatusCode::PAYLOAD_TOO_LARGE, BodyLimit::EXCEEDED));
            return Error::e_explain(
                ErrorType::HTTPStatus(413),
                "the body grew past a plugin's limit",
            );
        }
        Ok(())
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<Box<HttpPeer>> {
        self.peer(session, exchange).await
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        reused: bool,
        peer: &HttpPeer,
        socket: std::os::fd::RawFd,
        _: Option<&Digest>,
        exchange: &mut Exchange,
    ) -> Result<()> {
        exchange.ends_connection = matches!(peer.options.alpn, ALPN::H1)
            && match &exchange.lease {
                Some(lease) => lease.is_last(self.options.upstream_requests),
                None => self.uses.is_last(socket, reused),
            };
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        exchange: &mut Exchange,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let again = may_retry(exchange);
        note_failure(exchange, &error, false);
        error.set_retry(again);
        error
    }

    /// A try that failed after connecting is repeated only when the request may be sent twice and
    /// no answer has begun.
    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        exchange: &mut Exchange,
        reused: bool,
    ) -> Box<Error> {
        let mut error = error.more_context(format!("Peer: {peer}"));
        let reused = reused || exchange.lease.as_ref().is_some_and(|lease| lease.is_reused());
        let method = &session.req_header().method;
        let repeatable = !matches!(method.as_str(), "POST" | "PATCH" | "LOCK")
            && !session.as_ref().retry_buffer_truncated()
            && answered(session).is_none()
            && exchange.first_byte.is_none();
        if *error.esource() == ErrorSource::Upstream {
            let again = repeatable && (may_retry(exchange) || reused);
            note_failure(exchange, &error, reused);
            error.set_retry(again);
        } else {
            error.set_retry(false);
        }
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        forward::forward(head, session.req_header(), exchange, &self.options)?;
        if exchange.lease.is_some() && head.version == http::Version::HTTP_2 {
            forward::name_scheme(head)?;
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        exchange.first_byte.get_or_insert_with(Instant::now);
        exchange.source = Source::Upstream;
        if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        // Kept from handlers, which do not remove it in Kong either.
        exchange.upstream_via = head.headers.get_all(header::VIA).iter().cloned().collect();
        if let Some(last) = exchange.tries.last_mut() {
            last.status = Some(head.status.as_u16());
        }
        if let Some(balance) = &mut exchange.balance {
            balance.answered(head.status.as_u16());
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        let empty = head.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0")
            && !head.headers.contains_key(header::TRANSFER_ENCODING);
        if empty || reply::is_bodiless(session, head.status) {
            exchange.end_lease();
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        if let Some(cookie) = exchange.balance.as_mut().and_then(|balance| balance.cookie.take()) {
            head.append_header(header::SET_COOKIE, cookie)?;
        }
        let holds = exchange.holds_answer() || exchange.gives_outcome_a_body(head);
        if head.status != StatusCode::SWITCHING_PROTOCOLS && holds {
            let kept = std::mem::replace(head, held::placeholder(session)?);
            let bodiless = reply::is_bodiless(session, kept.status);
            let held = Held::begin(kept, bodiless, self.options.max_held);
            exchange.held = Some(Box::new(held?));
            return Ok(());
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            // From here on silence is the service's to bear, not the limit of a request's body.
            let wanted = exchange.facts.upstream.as_ref().and_then(|wanted| wanted.timeouts);
            let service = exchange.facts.service.as_ref().and_then(|service| service.read_timeout);
            let millis = wanted.map(|times| times.read).or(service).unwrap_or(60_000);
            session.set_read_timeout(Some(Duration::from_millis(millis)));
        }
        let had_length = head.headers.contains_key(header::CONTENT_LENGTH);
        exchange.header_filter(session.req_header(), head);
        // A handler that will change the body's length has taken the header off.
        if had_length
            && !head.headers.contains_key(header::CONTENT_LENGTH)
            && exchange.client_version == http::Version::HTTP_11
        {
            head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        if exchange.client_version == http::Version::HTTP_10
            && head.remove_header(&header::TRANSFER_ENCODING).is_some()
        {
            // Its end is that of the connection.
            session.set_keepalive(None);
        }
        reply::own_headers(head, exchange, &self.options)
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        exchange: &mut Exchange,
    ) -> Result<Option<Duration>> {
        if end {
            exchange.end_lease();
        }
        match &mut exchange.held {
            Some(held) => held.take(body)?,
            None => exchange.body_filter(body, end),
        }
        Ok(None)
    }

    /// What follows the body on HTTP/2. Body handlers have not seen the end yet; what they add there
    /// takes the place of the trailers.
    async fn response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut http::HeaderMap,
        exchange: &mut Exchange,
    ) -> Result<Option<Bytes>> {
        if exchange.held.is_some() || !exchange.filters_bodies() {
            return Ok(None);
        }
        exchange.facts.notes.insert(Trailers(trailers.clone()));
        let mut last = None;
        exchange.body_filter(&mut last, true);
        Ok(last.filter(|last| !last.is_empty()))
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        exchange: &mut Exchange,
    ) -> FailToProxy {
        exchange.held = None;
        let Some(status) = status_of(error) else {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        };
        if answered(session).is_none() {
            // Finding the peer is gateway logic; what the peer does is the proxy core's to tell.
            let origin = if exchange.tries.is_empty() && exchange.failure.is_some() {
                Origin::Logic
            } else {
                Origin::Core
            };
            let (status, message) = exchange.failure.unwrap_or((status, ""));
            let answer = reply::failure(status, message);
            // pingora closes the connection after a failure: the answer says so.
            session.set_keepalive(None);
            // A client that is gone cannot be told; the log entry still is written.
            let _ = reply::send(session, exchange, &self.options, answer, origin).await;
        }
        FailToProxy { error_code: status.as_u16(), can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        if let Some(held) = exchange.held.take()
            && let Err(why) = held.send(session, exchange, &self.options).await
        {
            tracing::debug!("an answer held back could not be sent: {why}");
            session.set_keepalive(None);
        }
        self.tell(session, exchange);
        if !exchange.is_logged() && self.access_log.is_none() {
            return;
        }
        let uri = upstream_uri(session, exchange);
        let summary = summary(session, exchange, error, &uri);
        exchange.log(&summary);
        if let Some(log) = &self.access_log {
            log.exchange(&summary);
        }
    }

    /// Upstream failures are answered and logged by us; pingora's own line is for debugging.
    fn suppress_error_log(&self, _: &Session, _: &Exchange, _: &Error) -> bool {
        true
    }

    fn request_summary(&self, session: &Session, exchange: &Exchange) -> String {
        format!("{} {}", session.req_header().method, exchange.raw_path())
    }
}
