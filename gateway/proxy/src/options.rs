//! [`Options`]: what the data plane is told at start.

use std::collections::HashMap;
use std::time::Duration;

use http::HeaderValue;

use crate::client::Trust;
use crate::template::ErrorTemplates;
use crate::tls;

/// What the data plane is told at start; the catalog holds everything that may change later.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose word about the client counts.
    pub trust: Trust,
    /// Which of our own headers answers carry (`headers`).
    pub headers: OwnHeaders,
    /// Whether `Kong-Debug: 1` is answered with the route and service (`allow_debug_header`).
    pub debug_header: bool,
    /// Whether upstreams get `X-Kong-Request-Id` (`headers_upstream`).
    pub request_id_upstream: bool,
    /// The type of errors of clients that accept anything (`error_default_type`).
    pub error_type: ErrorType,
    /// What replaces the bodies of errors (`error_template_*`).
    pub error_templates: ErrorTemplates,
    /// Port seen outside, by listener port (`port_maps`).
    pub port_maps: HashMap<u16, u16>,
    /// Largest request body, bytes; 0 is no limit (`nginx_http_client_max_body_size`).
    pub max_body: u64,
    /// Largest body of an answer that is held back for plugins, bytes (`mep_response_buffer_size`).
    pub max_held: usize,
    /// How long a client may be silent within a body (`nginx_http_client_body_timeout`). One of
    /// HTTP/2 whose body goes to an upstream may be as long as the service is.
    pub body_timeout: Duration,
    /// Seconds an idle client connection is kept; 0 closes it after each answer.
    pub keepalive_seconds: u64,
    /// How connections to upstreams are secured where the catalog does not say.
    pub tls: tls::Defaults,
    /// Upstream connections of ours that are kept (`upstream_keepalive_pool_size`).
    pub upstream_pool: usize,
    /// Seconds an idle upstream connection is kept, 0 for no limit
    /// (`upstream_keepalive_idle_timeout`).
    pub upstream_idle_seconds: u64,
    /// Requests on one connection to an upstream, 0 for no limit
    /// (`upstream_keepalive_max_requests`).
    pub upstream_requests: u32,
    /// `kong/3.10.0`: the Server header of our own answers.
    pub server: HeaderValue,
    /// `1.1 kong/3.10.0`: what we add to Via for HTTP/1.1.
    pub via: HeaderValue,
    /// `2 kong/3.10.0`: what we add to Via for HTTP/2.
    pub via_h2: HeaderValue,
}

/// Which of our own headers answers carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnHeaders {
    /// `Server` on our own answers.
    pub server: bool,
    /// `Via` on proxied answers.
    pub via: bool,
    /// `X-Kong-Proxy-Latency`.
    pub proxy_latency: bool,
    /// `X-Kong-Upstream-Latency`.
    pub upstream_latency: bool,
    /// `X-Kong-Response-Latency`.
    pub response_latency: bool,
    /// `X-Kong-Upstream-Status`.
    pub upstream_status: bool,
    /// `X-Kong-Request-Id`.
    pub request_id: bool,
}

impl OwnHeaders {
    /// Kong's default: `server_tokens, latency_tokens, X-Kong-Request-Id`.
    pub const DEFAULT: Self = Self {
        server: true,
        via: true,
        proxy_latency: true,
        upstream_latency: true,
        response_latency: true,
        upstream_status: false,
        request_id: true,
    };
}

/// The types an error may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorType {
    /// `text/plain`.
    #[default]
    Plain,
    /// `application/json`.
    Json,
    /// `text/html`.
    Html,
    /// `application/xml`.
    Xml,
    /// `application/grpc`: status in headers.
    Grpc,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trust: Trust::default(),
            headers: OwnHeaders::DEFAULT,
            debug_header: false,
            request_id_upstream: true,
            error_type: ErrorType::Plain,
            error_templates: ErrorTemplates::default(),
            port_maps: HashMap::new(),
            max_body: 0,
            max_held: 16 * 1024 * 1024,
            body_timeout: Duration::from_secs(60),
            keepalive_seconds: 60,
            tls: tls::Defaults::default(),
            upstream_pool: 512,
            upstream_idle_seconds: 60,
            upstream_requests: 10_000,
            server: HeaderValue::from_static("kong/3.10.0"),
            via: HeaderValue::from_static("1.1 kong/3.10.0"),
            via_h2: HeaderValue::from_static("2 kong/3.10.0"),
        }
    }
}
