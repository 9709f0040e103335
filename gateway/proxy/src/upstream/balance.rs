//! [`Balance`]: the targets one exchange is offered, try after try.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use gateway_model::entities::{HashOn, Upstream};
use http::HeaderValue;
use pingora_core::Error;
use pingora_http::RequestHeader;

use super::called::Called;
use super::compiled::CompiledUpstream;
use super::health::{Limits, Outcome};
use super::live::{Address, InUse};
use super::probe::outcome_of;
use super::ring::{Choice, Ring, hash};
use super::stick;
use crate::exchange::Exchange;

/// One exchange's way through the targets of an upstream.
pub(crate) struct Balance {
    upstream: Arc<CompiledUpstream>,
    /// As it was when the exchange began, so that what was tried stays known.
    ring: Arc<Ring>,
    hash: Option<u64>,
    /// Tells a client which cookie keeps it at its target.
    pub(crate) cookie: Option<HeaderValue>,
    tried: Vec<usize>,
    current: Option<InUse>,
}

impl Balance {
    /// Begins for a request.
    pub(crate) async fn begin(
        upstream: Arc<CompiledUpstream>,
        exchange: &Exchange,
        head: &RequestHeader,
    ) -> Self {
        let stick::Stick { hash, cookie } = stick::stick(&upstream.entity, exchange, head);
        let ring = upstream.ring().await;
        Self { upstream, ring, hash, cookie, tried: Vec::new(), current: None }
    }

    /// Begins for a connection without requests: only the client's address may stick.
    pub(crate) async fn of_address(upstream: Arc<CompiledUpstream>, client: IpAddr) -> Self {
        let entity = &upstream.entity;
        let on = [entity.hash_on, entity.hash_fallback].into_iter().flatten();
        let sticks = on.into_iter().any(|on| on == HashOn::Ip);
        let hash = sticks.then(|| hash(client.to_string().as_bytes()));
        let ring = upstream.ring().await;
        Self { upstream, ring, hash, cookie: None, tried: Vec::new(), current: None }
    }

    /// The current try has a connection, and that is all there is to know.
    pub(crate) fn connected(&mut self) {
        if let Some(current) = &mut self.current {
            current.answered();
            self.upstream.observe(&current.address, Outcome::Connected);
        }
    }

    /// The address of the next try, `None` when no target serves.
    pub(crate) fn next(&mut self) -> Option<SocketAddr> {
        self.current = None;
        let turn = &self.upstream.live.turn;
        let choice = Choice { turn, hash: self.hash, tried: &self.tried };
        let at = self.ring.choose(&choice)?;
        self.tried.push(at);
        let address = Arc::clone(&self.ring.members[at].address);
        let socket = address.socket;
        self.current = Some(InUse::begin(address));
        Some(socket)
    }

    /// The upstream itself.
    pub(crate) fn upstream(&self) -> &Upstream {
        &self.upstream.entity
    }

    /// What the target of the current try is called.
    pub(crate) fn target(&self) -> Option<&Called> {
        let at = *self.tried.last()?;
        Some(self.upstream.called(&self.ring.members[at]))
    }

    /// The current try was answered.
    pub(crate) fn answered(&mut self, status: u16) {
        if let Some(current) = &mut self.current {
            current.answered();
            self.upstream.observe(&current.address, Outcome::Status(status));
        }
    }

    /// The current try failed; `reused` when its connection had served before.
    pub(crate) fn failed(&mut self, error: &Error, reused: bool) {
        let Some(current) = self.current.take() else { return };
        let outcome = outcome_of(error);
        if reused && outcome == Some(Outcome::TcpFailure) {
            // A target may close idle connections as it likes: this says nothing against it.
            self.tried.pop();
        } else if let Some(outcome) = outcome.filter(|_| !current.is_answered()) {
            self.upstream.observe(&current.address, outcome);
        }
    }
}

impl CompiledUpstream {
    fn observe(&self, address: &Address, outcome: Outcome) {
        self.note(address, outcome, &self.passive, "exchanges");
    }

    /// Takes an outcome into account, and tells when it turned the address.
    pub(super) fn note(&self, address: &Address, outcome: Outcome, limits: &Limits, by: &str) {
        if address.health.note(outcome, limits) {
            let state = if address.health.is_good() { "healthy" } else { "unhealthy" };
            tracing::warn!(
                upstream.name = self.entity.name,
                target.addr = %address.socket,
                "a target is {state}, as {by} show"
            );
        }
    }
}
