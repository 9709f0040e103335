//! The data plane's side of the clients: the HTTP proxy and the proxy of streams, from settings.

use std::sync::Arc;

use anyhow::Result;
use gateway_proxy::stream::StreamProxy;
use gateway_proxy::tls::{Handshakes, SniResolver};
use gateway_proxy::{EmbeddedServices, Proxy, Refuser, Traffic, Trust};
use mep::Platform;
use pingora_core::apps::HttpServerOptions;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;
use plugins::contract::UnservedNames;
use rustls::server::ResolvesServerCert;

use super::core::Core;
use super::{access_log, options};
use crate::embed::EmbeddedRouter;
use crate::files::Certificates;
use crate::listener::{self, Limits, Proxied};
use crate::log_file::LogFiles;
use crate::settings::Settings;
use crate::trust::Trusted;

/// The largest request body an embedded service gets: 2 MiB, the original's limit.
const EMBEDDED_BODY: u64 = 2 * 1024 * 1024;

/// What serves clients of the data plane.
pub(super) struct Front {
    pub(super) proxy: Proxied,
    pub(super) streams: Arc<StreamProxy>,
    /// How much the proxy has done.
    pub(super) traffic: Arc<Traffic>,
    /// Whose word about the client counts.
    pub(super) trust: Arc<Trust>,
    /// Certificates by server name, from the catalog, before those of files.
    pub(super) shown: Arc<dyn ResolvesServerCert>,
    /// Who has a say in handshakes of connections that carry requests.
    pub(super) handshakes: Arc<Handshakes>,
    /// Who has one in those of streams.
    pub(super) stream_handshakes: Arc<Handshakes>,
}

impl Front {
    /// Builds it; no socket is served yet.
    ///
    /// # Errors
    ///
    /// Log files and certificates that cannot be opened.
    pub(super) fn build(
        settings: &Settings,
        core: &Core,
        platform: &Arc<Platform>,
        files: &Arc<Certificates>,
        logs: &LogFiles,
    ) -> Result<Self> {
        let Core { current, clock, names, .. } = core;
        let proxy_options = options::proxy(settings, core.upstream_tls.clone());
        let trust = Arc::new(proxy_options.trust.clone());
        // The file is made only where something will be written to it.
        let stream_log = match settings.listeners.stream[..] {
            [] => None,
            _ => access_log(&settings.logs.stream_access, logs)?,
        };
        let streams = StreamProxy::new(
            current.clone(),
            proxy_options.clone(),
            stream_log,
            clock.clone(),
            names.clone(),
        );
        let log = access_log(&settings.logs.proxy.access, logs)?;
        let refuser = Refuser::new(proxy_options.clone(), log.clone(), clock.clone());
        let shown: Arc<dyn ResolvesServerCert> = SniResolver::new(
            current.clone(),
            Arc::clone(files) as _,
            core.tools.shared(|_| UnservedNames::default()),
        );
        let handshakes = Handshakes::new(current.clone(), Arc::clone(&trust), clock.clone());
        let stream_handshakes = handshakes.of_streams();
        let (clock, names) = (clock.clone(), names.clone());
        let proxy =
            Proxy::new(current.clone(), proxy_options, embedded(platform), log, clock, names)
                .telling(platform.calls())
                .reaching(platform.reach());
        let traffic = proxy.traffic();
        let proxy = Proxied {
            app: pingora(proxy, settings, &core.trusted),
            limits: Arc::new(Limits { head: settings.proxying.keepalive.header_timeout, refuser }),
            requests: settings.proxying.keepalive.requests,
            idle: settings.proxying.keepalive.timeout,
        };
        Ok(Self {
            proxy,
            streams,
            traffic,
            trust,
            shown,
            handshakes: Arc::new(handshakes),
            stream_handshakes: Arc::new(stream_handshakes),
        })
    }
}

/// The platform's APIs as services of the proxy.
fn embedded(platform: &Arc<Platform>) -> EmbeddedServices {
    let mut embedded = EmbeddedServices::new();
    let routers = [
        (mep::MEPSERVER_HOST, platform.mepserver_router()),
        (mep::MEPAUTH_HOST, platform.mepauth_router()),
    ];
    for (host, router) in routers {
        embedded.insert(host, Arc::new(EmbeddedRouter::new(router, EMBEDDED_BODY)) as _);
    }
    embedded
}

fn pingora(proxy: Proxy, settings: &Settings, trusted: &Trusted) -> Arc<HttpProxy<Proxy>> {
    let conf = ServerConf {
        threads: settings.process.workers.threads().get(),
        upstream_keepalive_pool_size: settings.proxying.upstream_pool.size,
        // Per process; the number a service allows is counted per exchange.
        max_retries: 40_000,
        ca_file: Some(trusted.file.to_string_lossy().into_owned()),
        ..ServerConf::default()
    };
    let mut app = HttpProxy::new(proxy, Arc::new(conf));
    let mut server_options = HttpServerOptions::default();
    server_options.keepalive_request_limit = Some(settings.proxying.keepalive.requests);
    server_options.h2_idle_timeout =
        Some(settings.proxying.keepalive.timeout.max(listener::SHORTEST_REST));
    app.server_options = Some(server_options);
    // nginx's http2_max_concurrent_streams; the rest of what bounds a client's abuse (headers, resets,
    // CONTINUATION frames) is pingora's and h2's own default.
    let mut h2 = pingora_core::protocols::http::v2::server::default_h2_options();
    h2.max_concurrent_streams(128);
    app.h2_options = Some(h2);
    app.handle_init_modules();
    Arc::new(app)
}
