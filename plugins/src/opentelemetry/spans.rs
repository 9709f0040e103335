//! OTLP's spans of a finished exchange (kong/observability/tracing/instrumentation.lua).

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use crate::contract::{Phases, PluginTime, PluginTimes, Summary, Try};
use crate::kit::trace::{SpanId, TraceId};

/// What is known of an exchange's spans, in its notes.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    pub(super) trace_id: TraceId,
    /// The span of the exchange as a whole.
    pub(super) root: SpanId,
    pub(super) parent: Option<SpanId>,
    /// The span of the try that succeeds, when tries are traced: upstreams know it.
    pub(super) balancer: Option<SpanId>,
    pub(super) sampled: bool,
    /// When the access phase began, Unix milliseconds.
    pub(super) access: u64,
}

/// Which spans there are besides the root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    pub(super) router: bool,
    pub(super) balancer: bool,
    /// The phases whose plugins have spans.
    pub(super) plugins: Phases,
}

/// The spans of an exchange, the root first.
pub(super) fn spans(trace: &Trace, parts: Parts, summary: &Summary<'_>, now: u64) -> Vec<Span> {
    let mut all = vec![root(trace, summary, now)];
    if parts.router {
        // Routing is not timed alone: it ends where the access phase begins.
        let begin = summary.facts.started_ms;
        let id = SpanId::random();
        let span = Span {
            parent_span_id: trace.root.0.to_vec(),
            ..span(trace, id, "kong.router", SpanKind::Internal, begin, trace.access.max(begin))
        };
        all.push(span);
    }
    let times = summary.facts.notes.get::<PluginTimes>();
    let times = times.into_iter().flat_map(|times| &times.0);
    all.extend(times.filter(|time| parts.plugins.has(time.phase)).map(|time| plugin(trace, time)));
    if parts.balancer {
        let last = summary.tries.len().saturating_sub(1);
        let starts = summary.tries.iter().skip(1).map(|one| one.start_ms).chain([now]);
        for (at, (one, end)) in summary.tries.iter().zip(starts).enumerate() {
            let told = trace.balancer.filter(|_| at == last && one.failed.is_none());
            let id = told.unwrap_or_else(SpanId::random);
            all.push(attempt(trace, id, summary, (at, one), end));
        }
    }
    all
}

/// The span of a plugin in a phase (kong/observability/tracing/instrumentation.lua,
/// plugin_callback).
fn plugin(trace: &Trace, time: &PluginTime) -> Span {
    let phase = match time.phase {
        Phases::REWRITE => "rewrite",
        Phases::ACCESS => "access",
        _ => "header_filter",
    };
    let name = format!("kong.{phase}.plugin.{}", time.plugin);
    Span {
        parent_span_id: trace.root.0.to_vec(),
        start_time_unix_nano: time.began_ns,
        end_time_unix_nano: time.ended_ns,
        ..span(trace, SpanId::random(), &name, SpanKind::Internal, 0, 0)
    }
}

fn span(trace: &Trace, id: SpanId, name: &str, kind: SpanKind, begin_ms: u64, end_ms: u64) -> Span {
    let nanos = |ms: u64| ms.saturating_mul(1_000_000);
    Span {
        trace_id: trace.trace_id.0.to_vec(),
        span_id: id.0.to_vec(),
        name: name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: nanos(begin_ms),
        end_time_unix_nano: nanos(end_ms.max(begin_ms)),
        ..Span::default()
    }
}

fn root(trace: &Trace, summary: &Summary<'_>, now: u64) -> Span {
    let facts = summary.facts;
    let scheme = facts.client.scheme.as_str();
    let host = host(summary);
    let flavor = match summary.request.version {
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_2 => "2.0",
        _ => "1.1",
    };
    let route = facts.route.as_ref().and_then(|route| route.paths.as_ref()?.first().cloned());
    let attributes = vec![
        text("http.method", summary.request.method.as_str()),
        text("http.url", format!("{scheme}://{host}{}", summary.uri)),
        text("http.host", host),
        text("http.scheme", scheme),
        text("http.flavor", flavor),
        text("http.client_ip", facts.client.ip.to_canonical().to_string()),
        text("net.peer.ip", facts.client.peer.ip().to_canonical().to_string()),
        text("kong.request.id", &*facts.request_id),
        number("http.status_code", i64::from(summary.status)),
        text("http.route", route.unwrap_or_default()),
    ];
    Span {
        parent_span_id: trace.parent.map_or(Vec::new(), |parent| parent.0.to_vec()),
        attributes,
        ..span(trace, trace.root, "kong", SpanKind::Server, facts.started_ms, now)
    }
}

fn attempt(
    trace: &Trace,
    id: SpanId,
    summary: &Summary<'_>,
    (at, one): (usize, &Try),
    end: u64,
) -> Span {
    let mut attributes = vec![
        number("try_count", i64::try_from(at + 1).unwrap_or(i64::MAX)),
        text("net.peer.ip", one.address.ip().to_string()),
        number("net.peer.port", i64::from(one.address.port())),
        text("http.method", summary.request.method.as_str()),
    ];
    if let Some(service) = &summary.facts.service {
        let host = service.host.to_string();
        let scheme = service.protocol.to_string();
        attributes.push(text("http.url", format!("{scheme}://{host}{}", summary.upstream_uri)));
        attributes.push(text("net.peer.name", host));
    }
    let mut status = None;
    if let Some(code) = one.failed {
        attributes.push(number("http.status_code", i64::from(code)));
        status = Some(Status { code: StatusCode::Error.into(), ..Status::default() });
    }
    Span {
        parent_span_id: trace.root.0.to_vec(),
        attributes,
        status,
        ..span(trace, id, "kong.balancer", SpanKind::Client, one.start_ms, end)
    }
}

fn host(summary: &Summary<'_>) -> String {
    let host = summary.request.headers.get(http::header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).or(summary.request.uri.host());
    crate::contract::entry::without_port(host.unwrap_or_default()).to_ascii_lowercase()
}

/// An attribute that is a text.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    let value = AnyValue { value: Some(Any::StringValue(value.into())) };
    KeyValue { key: key.to_owned(), value: Some(value) }
}

fn number(key: &str, value: i64) -> KeyValue {
    let value = AnyValue { value: Some(Any::IntValue(value)) };
    KeyValue { key: key.to_owned(), value: Some(value) }
}
