//! The MEC platform, from settings.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use gateway_control::Control;
use gateway_model::{Clock, Id};
use mep::auth::sdk_date::Freshness;
use mep::auth::sealing::SealingKey;
use mep::auth::token::TokenIssuer;
use mep::{
    Bootstrap, Delivery, Destinations, DnsAgent, Platform, PlatformSettings, Ports, Published,
    RateLimits,
};

use super::listeners::Listeners;
use crate::settings::Settings;
use crate::settings::original::config::DnsAgentKind;
use crate::settings::original::properties::RequiredServices;
use crate::startup;

/// This node, as far as the platform has to know it.
pub(super) struct Place {
    pub(super) node: Id,
    /// Whether another process hands its sockets over.
    pub(super) takes_over: bool,
    /// A file with the authorities of `lua_ssl_trusted_certificate`.
    pub(super) authorities: PathBuf,
    pub(super) clock: Clock,
}

/// Builds the platform; nothing of it runs yet.
///
/// # Errors
///
/// Token keys that cannot be read.
pub(super) fn build(
    settings: &Settings,
    listeners: &Listeners,
    place: Place,
    ports: Ports,
    control: &Control,
    sealing: Arc<SealingKey>,
    metrics: &prometheus::Registry,
) -> Result<Arc<Platform>> {
    let issuer = Arc::new(
        TokenIssuer::from(startup::token_key(settings)?).lasting(settings.mep.tokens.ttl.as_secs()),
    );
    let clock = place.clock.clone();
    let settings = platform_settings(settings, listeners, place)?;
    Platform::new(settings, ports, control.clone(), sealing, issuer, clock, metrics)
        .context("building the MEC platform")
}

fn platform_settings(
    settings: &Settings,
    listeners: &Listeners,
    place: Place,
) -> Result<PlatformSettings> {
    let mep = &settings.mep;
    let roots = match &mep.notify_ca {
        Some(pem) => pem.clone(),
        None => std::fs::read(&place.authorities)
            .with_context(|| format!("reading {}", place.authorities.display()))?,
    };
    let published = &mep.published;
    let default_port = if published.https { 8443 } else { 8000 };
    let port = published.port.or_else(|| listeners.proxy_port(published.https));
    let bootstrap = mep.bootstrap.as_ref();
    // The original has one list for everything; ours goes first where it says something.
    let listed = bootstrap.map(|properties| properties.trusted.0.clone());
    let confs_trusted = if mep.confs_trusted.is_empty() {
        listed.filter(|list| !list.is_empty()).unwrap_or_else(mep::loopback)
    } else {
        mep.confs_trusted.0.clone()
    };
    Ok(PlatformSettings {
        published: Published {
            scheme: if published.https { "https" } else { "http" },
            host: published.host.clone(),
            port: port.unwrap_or(default_port),
            links: mep.links.clone(),
        },
        trusted_peers: mep.trusted_peers.0.clone(),
        confs_trusted,
        token_trusted: mep.token_trusted.as_ref().map(|list| list.0.clone()),
        freshness: Freshness {
            skew_seconds: mep
                .tokens
                .clock_skew
                .map_or(0, |skew| u32::try_from(skew.as_secs()).unwrap_or(u32::MAX)),
            ..Freshness::default()
        },
        clientip_check: mep.tokens.client_address_check,
        allow_default_credentials: mep.tokens.allow_default_credentials,
        rate_limits: RateLimits { mp1: mep.rate_limits.mp1, auth: mep.rate_limits.auth },
        destinations: Destinations {
            networks: mep.ssrf_allow.networks.0.clone(),
            hosts: mep.ssrf_allow.hosts.clone(),
        },
        own_listeners: listeners.named().iter().map(|(_, bound)| bound.addr).collect(),
        delivery: Delivery {
            verify_certificates: mep.notify_verify,
            roots: Some(roots),
            ..Delivery::default()
        },
        graceful_timeout: mep.graceful_timeout,
        dns_agent: match mep.original.dns_agent.kind {
            DnsAgentKind::Local => DnsAgent::Local,
            DnsAgentKind::Dataplane => DnsAgent::DataPlane,
            DnsAgentKind::All => DnsAgent::All,
        },
        direct_trusted: mep.direct_trusted.0.clone(),
        management_by_gateway: mep.management_by_gateway,
        registrations: mep.registrations,
        liveness_interval: mep.liveness_interval,
        bootstrap: bootstrap.map(|properties| Bootstrap {
            app_instance_id: properties.app_instance_id.clone(),
            access_key: properties.access_key.clone(),
            secret_key: properties.secret_key.clone(),
            required_services: match &properties.required_services {
                RequiredServices::All => "*".to_owned(),
                RequiredServices::These(names) => serde_json::json!(names).to_string(),
            },
        }),
        strict_original: mep.strict_original,
        node: place.node,
        takes_over: place.takes_over,
        ..PlatformSettings::default()
    })
}
