//! The name server, from settings.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use gateway_control::Control;
use mep::dns::{
    CurrentZone, Forwarder, Metrics, NameServer, Options, RateLimit, Sockets, Unknown, ZonePlane,
};
use tokio::sync::watch;

use crate::listener::BoundNames;
use crate::settings::Settings;
use crate::settings::edge_dns;
use crate::settings::original::config::DnsAgentKind;

/// What compiles the zone: rules of applications too, unless only the data plane is to know them.
pub(super) fn plane(settings: &Settings, zone: CurrentZone) -> Arc<ZonePlane> {
    let rules = settings.mep.original.dns_agent.kind != DnsAgentKind::Dataplane;
    Arc::new(ZonePlane::new(zone, rules))
}

/// The management of records, for whoever may use the direct listeners.
pub(super) fn records(settings: &Settings, control: Control, zone: CurrentZone) -> Router {
    mep::dns::admin::router(control, zone, settings.mep.direct_trusted.0.clone())
}

/// Serves `zone` on the bound sockets; the future ends soon after a stop is asked for.
///
/// # Errors
///
/// Sockets or resolvers that cannot be used.
pub(super) fn serve(
    settings: &Settings,
    bound: &[BoundNames],
    zone: CurrentZone,
    metrics: &prometheus::Registry,
    shutdown: watch::Receiver<bool>,
) -> Result<Option<impl Future<Output = ()> + Send + use<>>> {
    if bound.is_empty() {
        return Ok(None);
    }
    let dns = &settings.mep.dns;
    let mut server = NameServer::new(zone, Metrics::register(metrics)?);
    server.options = Options {
        unknown: match dns.unknown {
            edge_dns::Unknown::ServFail => Unknown::ServFail,
            edge_dns::Unknown::NxDomain => Unknown::NxDomain,
        },
        rotate: dns.load_balance,
    };
    server.limit = dns.rate_limit.map(RateLimit::new);
    if !dns.upstream.is_empty() {
        server.forwarder = Some(Forwarder::new(&dns.upstream, dns.timeout)?);
    }
    let mut sockets = Sockets::default();
    for one in bound {
        for socket in &one.udp.sockets {
            sockets.udp.push(socket.try_clone()?);
        }
        for listener in one.tcp.iter().flat_map(|tcp| &tcp.sockets) {
            sockets.tcp.push(listener.try_clone()?);
        }
    }
    let serving = mep::dns::serve(server, sockets, &dns.clients.0, shutdown)
        .context("starting the name server")?;
    Ok(Some(serving))
}
