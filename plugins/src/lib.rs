//! The gateway plugins: one folder each, one line each in [`ALL`].
//!
//! [`contract`] is what a plugin is, `kit` what several of them need. Absent from here: the proxy
//! that runs them and the control plane that configures them.

mod acl;
mod acme;
mod app_revocation;
mod appid_header;
mod basic_auth;
mod bot_detection;
mod cloud;
pub mod contract;
mod correlation_id;
mod cors;
mod datadog;
mod file_log;
mod grpc_gateway;
mod grpc_web;
mod hmac_auth;
mod http_log;
mod ip_restriction;
pub mod jwt;
mod key_auth;
mod kit;
mod ldap_auth;
mod loggly;
pub mod lua;
mod oauth2;
mod opentelemetry;
mod post_function;
mod pre_function;
mod problem_details;
mod prometheus;
mod proxy_cache;
mod rate_limiting;
mod redirect;
mod request_size_limiting;
mod request_termination;
mod request_transformer;
mod response_ratelimiting;
mod response_transformer;
mod session;
mod standard_webhooks;
mod statsd;
mod syslog;
mod tcp_log;
mod udp_log;
mod zipkin;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod test_kit;

use contract::PluginType;
use gateway_model::{EntityType, Registry};

pub use kit::lines::{Line, are_heard, tell};
pub use kit::queue::drain;
pub use prometheus::{Connections, NodeMetrics, Target, Timers};

/// The version of Kong whose behaviour plugins follow.
pub const KONG_VERSION: &str = "3.10.0";

/// Every plugin this process has.
pub static ALL: &[PluginType] = &[
    PluginType::of::<pre_function::PreFunction>(),
    PluginType::of::<correlation_id::CorrelationId>(),
    PluginType::of::<zipkin::Zipkin>(),
    PluginType::of::<bot_detection::BotDetection>(),
    PluginType::of::<cors::Cors>(),
    PluginType::of::<session::SessionPlugin>(),
    PluginType::of::<acme::Acme>(),
    PluginType::of::<jwt::Jwt>(),
    PluginType::of::<app_revocation::AppRevocation>(),
    PluginType::of::<oauth2::OAuth2>(),
    PluginType::of::<key_auth::KeyAuth>(),
    PluginType::of::<ldap_auth::LdapAuth>(),
    PluginType::of::<basic_auth::BasicAuth>(),
    PluginType::of::<hmac_auth::HmacAuth>(),
    PluginType::of::<grpc_gateway::GrpcGateway>(),
    PluginType::of::<ip_restriction::IpRestriction>(),
    PluginType::of::<request_size_limiting::RequestSizeLimiting>(),
    PluginType::of::<acl::Acl>(),
    PluginType::of::<rate_limiting::RateLimiting>(),
    PluginType::of::<response_ratelimiting::ResponseRateLimiting>(),
    PluginType::of::<request_transformer::RequestTransformer>(),
    PluginType::of::<response_transformer::ResponseTransformer>(),
    PluginType::of::<redirect::Redirect>(),
    PluginType::of::<cloud::Refusing<cloud::RequestTransformer>>(),
    PluginType::of::<cloud::Refusing<cloud::Template>>(),
    PluginType::of::<cloud::Refusing<cloud::Decorator>>(),
    PluginType::of::<cloud::Refusing<cloud::Guard>>(),
    PluginType::of::<cloud::Refusing<cloud::Proxy>>(),
    PluginType::of::<cloud::Refusing<cloud::ResponseTransformer>>(),
    PluginType::of::<standard_webhooks::StandardWebhooks>(),
    PluginType::of::<cloud::Refusing<cloud::AwsLambda>>(),
    PluginType::of::<cloud::Refusing<cloud::AzureFunctions>>(),
    PluginType::of::<proxy_cache::ProxyCache>(),
    PluginType::of::<opentelemetry::OpenTelemetry>(),
    PluginType::of::<prometheus::Prometheus>(),
    PluginType::of::<http_log::HttpLog>(),
    PluginType::of::<statsd::Statsd>(),
    PluginType::of::<appid_header::AppIdHeader>(),
    PluginType::of::<datadog::Datadog>(),
    PluginType::of::<file_log::FileLog>(),
    PluginType::of::<udp_log::UdpLog>(),
    PluginType::of::<tcp_log::TcpLog>(),
    PluginType::of::<loggly::Loggly>(),
    PluginType::of::<problem_details::ProblemDetails>(),
    PluginType::of::<syslog::Syslog>(),
    PluginType::of::<grpc_web::GrpcWeb>(),
    PluginType::of::<request_termination::RequestTermination>(),
    PluginType::of::<post_function::PostFunction>(),
];

/// Every plugin this process has, and the custom ones of these names that are Lua files.
///
/// # Errors
///
/// A name that is none of ours and has no files, or whose files cannot be used.
pub fn with_custom(
    settings: &lua::Settings,
    names: &[String],
) -> Result<&'static [PluginType], String> {
    let ours = |name: &String| ALL.iter().any(|plugin| plugin.name == name);
    let custom: Vec<String> = names.iter().filter(|name| !ours(name)).cloned().collect();
    if custom.is_empty() {
        return Ok(ALL);
    }
    let custom = lua::custom::load(settings, &custom)?;
    Ok(ALL.iter().copied().chain(custom).collect::<Vec<_>>().leak())
}

pub use acme::obtained;

/// The kinds plugins bring: credentials and the like. They refer to the gateway's own.
pub fn entity_types() -> impl Iterator<Item = &'static EntityType> {
    ALL.iter().flat_map(|plugin| plugin.entities.iter().copied())
}

/// Makes every plugin known, enabled.
pub fn register(registry: &mut Registry) {
    for plugin in ALL {
        registry.add_plugin(plugin.schema());
    }
}
