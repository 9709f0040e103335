//! Probes: requests of our own that find targets dead and alive.
//!
//! Each has a connection of its own. They are secured by the gateway's authorities and, where the
//! upstream says so, as a client.

use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use futures::StreamExt;
use gateway_model::entities::{ActiveCheck, CheckType, Upstream};
use http::header;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::ALPN;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use tokio::net::TcpStream;

use super::called::Called;
use super::compiled::CompiledUpstream;
use super::health::Outcome;
use super::live::Address;
use super::probe_grpc;
use crate::failure::not_connected;
use crate::snapshot::Current;
use crate::tls::{Defaults, UpstreamTls};

/// What probes connect by. It keeps no connection.
pub(super) static CONNECTOR: LazyLock<Connector> =
    LazyLock::new(|| Connector::new(Some(ConnectorOptions::new(0))));

/// What probes are made with.
#[derive(Clone, Debug)]
pub(crate) struct Prober {
    /// Holds the certificates of the moment.
    pub(crate) current: Current,
    /// Whom to believe, and what to show where the upstream does not say.
    pub(crate) tls: Defaults,
}

/// Probes the addresses of an upstream until it is gone; ends at once when none is asked for.
pub(super) fn run(
    upstream: Weak<CompiledUpstream>,
    entity: &Upstream,
    prober: Prober,
) -> impl Future<Output = ()> + Send + use<> {
    let active = &entity.healthchecks.active;
    let every = |interval: Option<f64>| {
        let seconds = interval.filter(|seconds| *seconds > 0.0)?;
        Duration::try_from_secs_f64(seconds).ok()
    };
    let healthy = every(active.healthy.interval);
    let unhealthy = every(active.unhealthy.interval);
    async move {
        tokio::join!(
            rounds(Weak::clone(&upstream), true, healthy, &prober),
            rounds(upstream, false, unhealthy, &prober),
        );
    }
}

/// Probes the addresses that are healthy, or those that are not, again and again.
async fn rounds(
    upstream: Weak<CompiledUpstream>,
    of_healthy: bool,
    every: Option<Duration>,
    prober: &Prober,
) {
    let Some(every) = every else { return };
    loop {
        let Some(held) = upstream.upgrade() else { return };
        let due = held.live.probes_due(of_healthy, every);
        drop(held);
        tokio::time::sleep_until(due).await;
        let Some(held) = upstream.upgrade() else { return };
        held.live.probes_begin(of_healthy);
        round(&held, of_healthy, prober).await;
    }
}

async fn round(upstream: &Arc<CompiledUpstream>, of_healthy: bool, prober: &Prober) {
    let check = &upstream.entity.healthchecks.active;
    let ring = upstream.ring().await;
    let chosen = ring.members.iter().filter(|one| one.address.health.is_good() == of_healthy);
    let most = check.concurrency.unwrap_or(10) as usize;
    futures::stream::iter(chosen)
        .for_each_concurrent(most, |member| async move {
            let target = upstream.called(member);
            if let Some(outcome) = probe(upstream, target, &member.address, prober).await {
                upstream.note(&member.address, outcome, &upstream.active, "probes");
            }
        })
        .await;
}

/// One probe; `None` when this process could not make it.
async fn probe(
    upstream: &CompiledUpstream,
    target: &Called,
    address: &Address,
    prober: &Prober,
) -> Option<Outcome> {
    let check = &upstream.entity.healthchecks.active;
    let limit = Duration::try_from_secs_f64(check.timeout.unwrap_or(1.0)).unwrap_or_default();
    let asked = async {
        let kind = check.r#type.unwrap_or_default();
        let tls = matches!(kind, CheckType::Https | CheckType::Grpcs);
        let sni = if tls { check.https_sni.as_deref().unwrap_or(&target.name) } else { "" };
        let mut peer = HttpPeer::new(address.socket, tls, sni.to_owned());
        if matches!(kind, CheckType::Grpc | CheckType::Grpcs) {
            peer.options.alpn = ALPN::H2;
        }
        if tls {
            let (verify, snapshot) = (check.https_verify_certificate, prober.current.load_full());
            UpstreamTls::of_probes(&upstream.entity, verify, &snapshot.keyring, &prober.tls)
                .dial(&mut peer);
        }
        match kind {
            CheckType::Http | CheckType::Https => {
                ask(check, target, &peer, tls).await.map(Outcome::Status)
            }
            CheckType::Grpc | CheckType::Grpcs => {
                probe_grpc::check(check, target, &peer, tls).await
            }
            CheckType::Tcp => TcpStream::connect(address.socket)
                .await
                .map(|_| Outcome::Connected)
                .map_err(not_connected),
        }
    };
    match tokio::time::timeout(limit, asked).await {
        Err(_) => Some(Outcome::Timeout),
        Ok(Err(error)) => outcome_of(&error),
        Ok(Ok(outcome)) => Some(outcome),
    }
}

/// Asks over a connection of its own and gives the status.
async fn ask(check: &ActiveCheck, target: &Called, peer: &HttpPeer, tls: bool) -> Result<u16> {
    let path = check.http_path.as_deref().unwrap_or("/");
    let mut head = RequestHeader::build("GET", path.as_bytes(), None)?;
    if let Some(host) = target.host_header(tls) {
        head.insert_header(header::HOST, host.clone())?;
    }
    head.insert_header(header::CONNECTION, "close")?;
    for (name, values) in check.headers.iter().flatten() {
        head.remove_header(name.as_str());
        for value in values {
            head.append_header(name.clone(), value.as_str())?;
        }
    }
    let (mut session, _) = CONNECTOR.get_http_session(peer).await?;
    session.write_request_header(Box::new(head)).await?;
    session.finish_request_body().await?;
    loop {
        session.read_response_header().await?;
        match session.response_header().map(|head| head.status) {
            Some(status) if status.is_informational() => {}
            Some(status) => return Ok(status.as_u16()),
            None => {
                return Error::e_explain(ErrorType::InvalidHTTPHeader, "an answer without head");
            }
        }
    }
}

/// What an error says about the address; `None` when it is this process that has no socket for it.
pub(crate) fn outcome_of(error: &Error) -> Option<Outcome> {
    Some(match error.etype() {
        ErrorType::SocketError | ErrorType::BindError | ErrorType::InternalError => return None,
        ErrorType::ConnectTimedout
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::ReadTimedout
        | ErrorType::WriteTimedout => Outcome::Timeout,
        _ => Outcome::TcpFailure,
    })
}
