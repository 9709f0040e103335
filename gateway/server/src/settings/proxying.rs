//! What the proxy adds, limits and keeps, and whose address it takes for the client's.

use std::collections::BTreeSet;
use std::time::Duration;

use gateway_proxy::{ErrorTemplate, ErrorTemplates};

use super::network::{self, Networks, PortMap};
use super::reader::Reader;
use super::scalar::{Word as _, choice};

/// Whose address counts as the client's.
#[derive(Debug)]
pub(crate) struct ClientAddress {
    /// Proxies in front whose headers are believed.
    pub(crate) trusted: Networks,
    pub(crate) header: RealIpHeader,
    /// Skip trusted addresses at the end of the header.
    pub(crate) recursive: bool,
    /// Ports clients see in place of the listener's.
    pub(crate) port_maps: Vec<PortMap>,
}

/// Where a trusted proxy names the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RealIpHeader {
    /// The preamble of the connection.
    ProxyProtocol,
    /// A request header.
    Header(http::HeaderName),
}

impl ClientAddress {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let trusted = reader.each("trusted_ips", |text| match text {
            "unix:" => Ok(None),
            text => network::network(text).map(Some).ok_or_else(|| {
                format!(
                    "trusted_ips must be a comma separated list in the form of IPv4 or IPv6 \
                     address or CIDR block or 'unix:', got '{text}'"
                )
            }),
        });
        Self {
            trusted: trusted.into_iter().flatten().collect(),
            header: reader.read("real_ip_header", |text| match text {
                "proxy_protocol" => Ok(RealIpHeader::ProxyProtocol),
                text => text
                    .parse()
                    .map(RealIpHeader::Header)
                    .map_err(|_| format!("real_ip_header is not a header name: '{text}'")),
            }),
            recursive: reader.boolean("real_ip_recursive"),
            port_maps: reader.each("port_maps", |text| {
                network::port_map(text)
                    .ok_or_else(|| format!("invalid port mapping (`port_maps`): {text}"))
            }),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Proxying {
    pub(crate) router_flavor: RouterFlavor,
    pub(crate) worker_consistency: WorkerConsistency,
    /// Between looks at what other nodes changed.
    pub(crate) update_frequency: Duration,
    /// Response headers that are added.
    pub(crate) headers: BTreeSet<ResponseHeader>,
    /// Whether upstreams receive `X-Kong-Request-Id`.
    pub(crate) upstream_request_id: bool,
    pub(crate) error_type: ErrorType,
    /// The gateway's own errors in each form; absent ones are built in.
    pub(crate) error_templates: ErrorTemplates,
    pub(crate) allow_debug_header: bool,
    /// Largest request body in bytes.
    pub(crate) max_body: Option<u64>,
    /// Largest body of an answer that plugins get whole, in bytes.
    pub(crate) max_held: usize,
    /// Largest body of a request to the Admin API, in bytes.
    pub(crate) admin_max_body: Option<u64>,
    pub(crate) keepalive: ClientKeepalive,
    pub(crate) upstream_pool: UpstreamPool,
    /// Most of each kind that a plugin is shown.
    pub(crate) shown: Shown,
    pub(crate) untrusted_lua: UntrustedLua,
    pub(crate) sandbox_requires: Vec<String>,
    pub(crate) sandbox_environment: Vec<String>,
}

/// Connections of clients.
#[derive(Debug)]
pub(crate) struct ClientKeepalive {
    /// Requests on one connection.
    pub(crate) requests: u32,
    /// Rest between requests; zero closes after each.
    pub(crate) timeout: Duration,
    /// For the head of a request to arrive.
    pub(crate) header_timeout: Duration,
    /// Between two pieces of a request's body.
    pub(crate) body_timeout: Duration,
}

/// Idle connections to upstreams.
#[derive(Debug)]
pub(crate) struct UpstreamPool {
    /// Zero keeps none.
    pub(crate) size: usize,
    /// Requests on one connection; absent for no limit.
    pub(crate) max_requests: Option<u32>,
    /// Absent for no limit.
    pub(crate) idle_timeout: Option<Duration>,
}

/// `lua_max_…`: how many of each a plugin is shown.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) request_headers: u16,
    pub(crate) response_headers: u16,
    pub(crate) query_args: u16,
    pub(crate) post_args: u16,
}

impl Proxying {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            router_flavor: reader.choice("router_flavor"),
            worker_consistency: reader.choice("worker_consistency"),
            update_frequency: reader.seconds("worker_state_update_frequency"),
            headers: reader.each("headers", response_headers).into_iter().flatten().collect(),
            upstream_request_id: reader
                .each("headers_upstream", |text| match text.to_ascii_lowercase().as_str() {
                    "x-kong-request-id" => Ok(true),
                    "off" => Ok(false),
                    _ => Err(format!("headers_upstream: invalid entry '{text}'")),
                })
                .contains(&true),
            error_type: reader.choice("error_default_type"),
            error_templates: ErrorTemplates {
                html: template(reader, "error_template_html"),
                json: template(reader, "error_template_json"),
                plain: template(reader, "error_template_plain"),
                xml: template(reader, "error_template_xml"),
            },
            allow_debug_header: reader.boolean("allow_debug_header"),
            max_body: above_zero(reader.size("nginx_http_client_max_body_size")),
            max_held: usize::try_from(reader.size("mep_response_buffer_size"))
                .unwrap_or(usize::MAX),
            admin_max_body: above_zero(reader.size("nginx_admin_client_max_body_size")),
            keepalive: ClientKeepalive {
                requests: reader.whole("nginx_http_keepalive_requests", 1..=u32::MAX),
                timeout: reader.span("nginx_http_keepalive_timeout"),
                header_timeout: reader.span("nginx_http_client_header_timeout"),
                body_timeout: reader.span("nginx_http_client_body_timeout"),
            },
            upstream_pool: UpstreamPool {
                size: reader.whole("upstream_keepalive_pool_size", 0..=1 << 20),
                max_requests: above_zero(
                    reader.whole("upstream_keepalive_max_requests", 0..=u32::MAX),
                ),
                idle_timeout: Some(reader.seconds("upstream_keepalive_idle_timeout"))
                    .filter(|timeout| !timeout.is_zero()),
            },
            shown: Shown {
                request_headers: reader.whole("lua_max_req_headers", 1..=1000),
                response_headers: reader.whole("lua_max_resp_headers", 1..=1000),
                query_args: reader.whole("lua_max_uri_args", 1..=1000),
                post_args: reader.whole("lua_max_post_args", 1..=1000),
            },
            untrusted_lua: reader.choice("untrusted_lua"),
            sandbox_requires: reader.list("untrusted_lua_sandbox_requires"),
            sandbox_environment: reader.list("untrusted_lua_sandbox_environment"),
        }
    }
}

/// Zero says "no limit" in these keys.
fn above_zero<T: Default + PartialOrd>(number: T) -> Option<T> {
    (number > T::default()).then_some(number)
}

fn template(reader: &mut Reader<'_>, key: &str) -> Option<ErrorTemplate> {
    let path = reader.path(key)?;
    if !path.is_file() {
        reader.refuse(key, format!("{key}: no file at {}", path.display()));
        return None;
    }
    let read = std::fs::read_to_string(&path).map_err(|why| why.to_string());
    match read.and_then(|text| ErrorTemplate::parse(&text)) {
        Ok(template) => Some(template),
        Err(why) => {
            reader.refuse(key, format!("{key}: {}: {why}", path.display()));
            None
        }
    }
}

/// The headers behind one entry of `headers`: a token for several, or a name.
fn response_headers(text: &str) -> Result<Vec<ResponseHeader>, String> {
    use ResponseHeader as H;
    let word = text.to_ascii_lowercase();
    match word.as_str() {
        "off" => Ok(Vec::new()),
        "server_tokens" => Ok(vec![H::Server, H::Via]),
        "latency_tokens" => {
            Ok(vec![H::ProxyLatency, H::ResponseLatency, H::AdminLatency, H::UpstreamLatency])
        }
        word => H::from_word(word)
            .map(|header| vec![header])
            .ok_or_else(|| format!("headers: invalid entry '{text}'")),
    }
}

choice! {
    /// A response header the gateway may add.
    ResponseHeader {
        Server = "server",
        Via = "via",
        ProxyLatency = "x-kong-proxy-latency",
        ResponseLatency = "x-kong-response-latency",
        UpstreamLatency = "x-kong-upstream-latency",
        AdminLatency = "x-kong-admin-latency",
        UpstreamStatus = "x-kong-upstream-status",
        RequestId = "x-kong-request-id",
    }
}

choice! {
    /// How routes are matched.
    RouterFlavor {
        Traditional = "traditional",
        TraditionalCompatible = "traditional_compatible",
        Expressions = "expressions",
    }
}

choice! {
    /// Kept for Kong's sake: here every request sees the newest published configuration.
    WorkerConsistency {
        Strict = "strict",
        Eventual = "eventual",
    }
}

choice! {
    /// The form of the gateway's own errors for clients that name none.
    ErrorType {
        Json = "application/json",
        Xml = "application/xml",
        Html = "text/html",
        Plain = "text/plain",
    }
}

choice! {
    /// How freely functions in plugin configurations run.
    UntrustedLua {
        /// Without limits.
        On = "on",
        /// Not at all.
        Off = "off",
        Sandbox = "sandbox",
    }
}
