//! Where the next try of a request goes: which address, and how it is connected to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use gateway_model::Item;
use gateway_model::entities::Service;
use gateway_model::ports::Reach;
use http::StatusCode;
use pingora_core::protocols::ALPN;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, OrErr as _, Result};
use pingora_proxy::Session;
use plugins::contract::Try;

use super::Proxy;
use crate::exchange::{Destination, Exchange};
use crate::resolve::Endpoint;
use crate::tls::{Lease, UpstreamTls};
use crate::upstream::{self, Balance, Called};

const UNRESOLVED: &str = "name resolution failed";
const NO_TARGET: &str = "failure to get a peer from the ring-balancer";

impl Proxy {
    /// The peer of the next try, which is noted.
    pub(super) async fn peer(
        &self,
        session: &Session,
        exchange: &mut Exchange,
    ) -> Result<Box<HttpPeer>> {
        let Some(service) = exchange.facts.service.clone() else {
            return Error::e_explain(ErrorType::HTTPStatus(503), "a route without a service");
        };
        let choosing = Instant::now();
        let start_ms = self.clock.unix_ms();
        let address = self.address(session, exchange, &service).await?;
        let balancer_ns = u64::try_from(choosing.elapsed().as_nanos()).unwrap_or(u64::MAX);
        exchange.asked.get_or_insert_with(Instant::now);
        exchange.tries.push(Try { address, start_ms, balancer_ns, failed: None, status: None });
        // Counted anew on every try: the body is replayed.
        exchange.body_seen = 0;
        let destination = exchange.destination(&service);
        let target = exchange.balance.as_ref().and_then(|balance| balance.target());
        // The name in TLS is the one in the Host header.
        let name = exchange
            .chosen_host()
            .unwrap_or_else(|| target.map_or(destination.host, |target| &*target.name).into());
        let mut peer = upstream::peer(&service, destination.tls, &name, address, &self.options);
        if peer.is_tls() {
            exchange.lease = self.secure(&mut peer, exchange, &service)?;
        }
        if matches!(peer.options.alpn, ALPN::H2) {
            self.uses.age(&mut peer);
        }
        if let Some(times) = exchange.facts.upstream.as_ref().and_then(|wanted| wanted.timeouts) {
            upstream::hurry(&mut peer, times);
        }
        Ok(Box::new(peer))
    }

    /// Has connections to a peer secured as its service, its upstream or a handler wants it.
    fn secure(
        &self,
        peer: &mut HttpPeer,
        exchange: &Exchange,
        service: &Item<Service>,
    ) -> Result<Option<Arc<Lease>>> {
        let upstream = exchange.balance.as_ref().map(|balance| balance.upstream());
        let wanted = exchange.facts.upstream.as_deref();
        let shown = wanted.and_then(|wanted| wanted.client_pair.as_ref());
        let shown = shown.map(|pair| self.given.pair(&pair.chain, pair.key.expose())).transpose();
        let shown = shown.or_err(ErrorType::InternalError, "reading a handler's key pair")?;
        let believed = wanted.and_then(|wanted| wanted.authorities.as_ref());
        let believed = believed.map(|authorities| self.given.authorities(&authorities.0));
        let tls = UpstreamTls::of(service, upstream, exchange.keyring(), &self.options.tls);
        let tls = tls.wanted(wanted, shown.as_ref(), believed.as_ref());
        Ok(tls.secure(peer, &self.kept))
    }

    /// The address of the next try, if the service may be called there.
    async fn address(
        &self,
        session: &Session,
        exchange: &mut Exchange,
        service: &Service,
    ) -> Result<SocketAddr> {
        let reach = self.reach(service);
        let address = self.choose(session, exchange, service).await?;
        let host = exchange.destination(service).host;
        if reach.is_none_or(|reach| reach.admits(host, address)) {
            return Ok(address);
        }
        tracing::warn!(service.host = host, %address, "a service leads where it must not");
        exchange.failure = Some((StatusCode::SERVICE_UNAVAILABLE, UNRESOLVED));
        Error::e_explain(ErrorType::HTTPStatus(503), "the service must not be called there")
    }

    /// Chooses the address of the next try: of a target where the service's host names an
    /// upstream, else of the host.
    async fn choose(
        &self,
        session: &Session,
        exchange: &mut Exchange,
        service: &Service,
    ) -> Result<SocketAddr> {
        let attempt = exchange.tries.len();
        if attempt == 0
            && let Some(upstream) = exchange.upstream(exchange.destination(service).host).cloned()
        {
            let balance = Balance::begin(upstream, exchange, session.req_header()).await;
            exchange.balance = Some(Box::new(balance));
        }
        if let Some(balance) = &mut exchange.balance {
            return balance.next().ok_or_else(|| {
                // A client whose tries failed is told the status' own text.
                let told = if attempt == 0 { NO_TARGET } else { "" };
                exchange.failure = Some((StatusCode::SERVICE_UNAVAILABLE, told));
                Error::explain(ErrorType::HTTPStatus(503), "no target serves")
            });
        }
        let Destination { host, port, .. } = exchange.destination(service);
        let tried = |one: &Endpoint| {
            let socket = one.socket(port);
            exchange.tries.iter().any(|past| past.address == socket)
        };
        match self.resolver.endpoint(host, tried).await {
            Ok(endpoint) => {
                // A service record may know another port, which the upstream is told of.
                let record = endpoint.service.as_ref();
                let called = record.map(|record| Box::new(Called::new(host, record.port)));
                exchange.called = called;
                Ok(endpoint.socket(port))
            }
            Err(why) => {
                exchange.failure = Some((StatusCode::SERVICE_UNAVAILABLE, UNRESOLVED));
                Err(Error::because(ErrorType::HTTPStatus(503), "resolving a host", why))
            }
        }
    }

    /// Who has a say in where a service is called. Most services have no tags and ask nobody.
    fn reach(&self, service: &Service) -> Option<&dyn Reach> {
        let tags = service.tags.as_deref()?;
        self.reach.as_deref().filter(|reach| reach.concerns(tags))
    }
}
