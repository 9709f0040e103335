//! Settings in the words of the parts that need them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use gateway_model::Id;
use gateway_proxy::router::Flavour;
use gateway_proxy::tls::{Defaults, client_pair};
use gateway_proxy::{
    ErrorType, Kind, NameOptions, Options, OwnHeaders, RealIp, Resolver, Step, Trust,
};
use plugins::lua;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::files;
use crate::settings::Settings;
use crate::settings::names::RecordOrder;
use crate::settings::proxying::{self, RealIpHeader, ResponseHeader, RouterFlavor, UntrustedLua};
use crate::settings::tls;
use crate::trust::Trusted;

/// How connections to upstreams are secured where the catalog does not say.
///
/// # Errors
///
/// A certificate that cannot be read.
pub(super) fn upstream_tls(settings: &Settings, trusted: &Trusted) -> Result<Defaults> {
    let client = settings.tls.client.as_ref().map(|pair| {
        let (cert, key) = (files::text(&pair.cert)?, files::text(&pair.key)?);
        client_pair(&cert, &key).context("client_ssl_cert")
    });
    Ok(Defaults {
        verify: settings.tls.verify_upstream,
        depth: settings.tls.verify_depth,
        roots: Arc::clone(&trusted.roots),
        client: client.transpose()?,
    })
}

/// What the data plane is told.
pub(super) fn proxy(settings: &Settings, tls: Defaults) -> Options {
    let address = &settings.client_address;
    let proxying = &settings.proxying;
    let has = |header| proxying.headers.contains(&header);
    Options {
        trust: Trust {
            peers: address.trusted.0.clone(),
            real_ip: match &address.header {
                RealIpHeader::ProxyProtocol => RealIp::ProxyProtocol,
                RealIpHeader::Header(name) => RealIp::Header(name.clone()),
            },
            recursive: address.recursive,
        },
        headers: OwnHeaders {
            server: has(ResponseHeader::Server),
            via: has(ResponseHeader::Via),
            proxy_latency: has(ResponseHeader::ProxyLatency),
            upstream_latency: has(ResponseHeader::UpstreamLatency),
            response_latency: has(ResponseHeader::ResponseLatency),
            upstream_status: has(ResponseHeader::UpstreamStatus),
            request_id: has(ResponseHeader::RequestId),
        },
        debug_header: proxying.allow_debug_header,
        request_id_upstream: proxying.upstream_request_id,
        error_type: match proxying.error_type {
            proxying::ErrorType::Json => ErrorType::Json,
            proxying::ErrorType::Xml => ErrorType::Xml,
            proxying::ErrorType::Html => ErrorType::Html,
            proxying::ErrorType::Plain => ErrorType::Plain,
        },
        error_templates: proxying.error_templates.clone(),
        port_maps: address.port_maps.iter().map(|map| (map.listener, map.outside)).collect(),
        max_body: proxying.max_body.unwrap_or(0),
        max_held: proxying.max_held,
        body_timeout: proxying.keepalive.body_timeout,
        keepalive_seconds: proxying.keepalive.timeout.as_secs(),
        tls,
        upstream_pool: proxying
            .upstream_pool
            .size
            .saturating_mul(settings.process.workers.threads().get()),
        // pingora's pool keeps one connection even when it is told to keep none.
        upstream_requests: match proxying.upstream_pool.size {
            0 => 1,
            _ => proxying.upstream_pool.max_requests.unwrap_or(0),
        },
        upstream_idle_seconds: proxying.upstream_pool.idle_timeout.map_or(0, |idle| idle.as_secs()),
        ..Options::default()
    }
}

/// Where plugins are.
pub(super) fn node(settings: &Settings, id: Id) -> plugins::contract::Node {
    let observing = &settings.observing;
    plugins::contract::Node {
        id,
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        syslog: observing.syslog.clone(),
        tracing: plugins::contract::Tracing {
            instrumentations: observing.instrumentations.clone(),
            sampling_rate: observing.sampling_rate,
        },
    }
}

/// What Lua code may do, and what it is told of the node.
pub(super) fn lua(settings: &Settings, node: Option<Id>) -> lua::Settings {
    let proxying = &settings.proxying;
    lua::Settings {
        untrusted: match proxying.untrusted_lua {
            UntrustedLua::On => lua::Untrusted::On,
            UntrustedLua::Off => lua::Untrusted::Off,
            UntrustedLua::Sandbox => lua::Untrusted::Sandbox,
        },
        requires: proxying.sandbox_requires.clone(),
        environment: proxying.sandbox_environment.clone(),
        package_path: settings.process.lua_package_path.clone(),
        machines: settings.process.workers.threads().get(),
        memory: settings.process.lua_memory,
        time: settings.process.lua_time,
        // As the Admin API shows it: without secrets.
        configuration: settings
            .all()
            .filter(|shown| !shown.value.is_null())
            .map(|shown| (shown.key.to_owned(), shown.value))
            .collect(),
        node_id: node.map(|id| id.to_string()).unwrap_or_default(),
        trusted: settings.client_address.trusted.0.clone(),
    }
}

/// How names are resolved.
pub(super) fn names(settings: &Settings) -> NameOptions {
    let names = &settings.names;
    let step = |order: &RecordOrder| match order {
        RecordOrder::Last => Step::Last,
        RecordOrder::Srv => Step::Ask(Kind::Srv),
        RecordOrder::A => Step::Ask(Kind::A),
        RecordOrder::Aaaa => Step::Ask(Kind::Aaaa),
        RecordOrder::Cname => Step::Ask(Kind::Cname),
    };
    NameOptions {
        servers: names.servers.clone(),
        hosts_file: names.hosts_file.clone(),
        order: names.order.iter().map(step).collect(),
        valid: names.valid,
        stale: names.stale,
        cache_size: names.cache_size,
        not_found: names.not_found,
        error: names.error,
        no_sync: names.no_sync,
    }
}

/// The data plane's resolver, for calls out.
pub(super) fn resolving(names: Resolver) -> Arc<dyn Resolve> {
    Arc::new(Names(names))
}

struct Names(Resolver);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.0.clone();
        Box::pin(async move {
            let found = names.addresses(name.as_str()).await?;
            // The port is the client's to set.
            let sockets = found.into_iter().map(|ip| std::net::SocketAddr::new(ip, 0));
            Ok(Box::new(sockets) as Addrs)
        })
    }
}

/// The client for calls out: loggers, notifications. It believes whom `lua_ssl_trusted_certificate`
/// names; the system's authorities only where `system` is among them.
///
/// # Errors
///
/// A trusted authority that cannot be read.
pub(super) fn http_client(settings: &Settings, names: Resolver) -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(Duration::from_secs(60))
        // An environment meant for command-line tools must not reroute the gateway.
        .no_proxy()
        .dns_resolver(resolving(names));
    let mut named = Vec::new();
    for trust in &settings.tls.trusted {
        if let tls::Trust::These(pem) = trust {
            let text = crate::files::text(pem)?;
            let authorities = reqwest::Certificate::from_pem_bundle(text.as_bytes());
            named.extend(authorities.context("lua_ssl_trusted_certificate")?);
        }
    }
    let believing = if settings.tls.trusted.contains(&tls::Trust::System) {
        builder.tls_certs_merge(named)
    } else {
        builder.tls_certs_only(named)
    };
    believing.build().context("making the HTTP client")
}

/// How routes are matched.
pub(super) const fn flavour(settings: &Settings) -> Flavour {
    match settings.proxying.router_flavor {
        RouterFlavor::Traditional => Flavour::Traditional,
        RouterFlavor::TraditionalCompatible => Flavour::TraditionalCompatible,
        RouterFlavor::Expressions => Flavour::Expressions,
    }
}
