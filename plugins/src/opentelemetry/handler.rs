use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use gateway_model::{Clock, Violations};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::config::Config;
use super::logs::{self, Heard, Logs};
use super::spans::{Parts, Trace, spans, text};
use crate::contract::{Flow, Handler, Needs, Phases, Plugin, Request, Response, Setup, Summary};
use crate::kit::http::{Collector, endpoint};
use crate::kit::queue::{Deliver, Queue, Queues};
use crate::kit::trace::{Context, Legacy, Propagation, SpanId, TraceId, propagate};

/// One instance (kong/plugins/opentelemetry/{handler,traces}.lua).
pub(crate) struct OpenTelemetry {
    propagation: Propagation,
    /// Whether anything is traced.
    traces: bool,
    parts: Parts,
    rate: f64,
    told: Option<HeaderName>,
    queue: Option<Arc<Queue>>,
    lines: Option<Heard>,
    clock: Clock,
}

impl Plugin for OpenTelemetry {
    const NAME: &'static str = "opentelemetry";
    const PRIORITY: i32 = 14;
    const PHASES: Phases = Phases::ACCESS.and(Phases::HEADER_FILTER).and(Phases::LOG);
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let legacy =
            Legacy { header_type: config.header_type.as_deref(), default_header_type: None };
        let propagation = Propagation::prepare(&config.propagation, &legacy)?;
        let told = config.http_response_header_for_traceid.as_deref();
        let told = told.map(str::parse).transpose().map_err(|_| {
            Violations::one("http_response_header_for_traceid", "not usable as a header")
        })?;
        let tracing = &setup.tools.node.tracing;
        let mut plugins = Phases::NONE;
        for (part, phase) in [
            ("plugin_rewrite", Phases::REWRITE),
            ("plugin_access", Phases::ACCESS),
            ("plugin_header_filter", Phases::HEADER_FILTER),
        ] {
            if tracing.has(part) {
                plugins = plugins.and(phase);
            }
        }
        let (router, balancer) = (tracing.has("router"), tracing.has("balancer"));
        let parts = Parts { router, balancer, plugins };
        let rate = config.sampling_rate.unwrap_or(tracing.sampling_rate);
        let attributes = attributes(&config, setup);
        let traces_to = config.traces_endpoint.as_deref().map(|to| ("traces_endpoint", to));
        let queue = queue(&config, setup, traces_to, &attributes, export)?;
        let logs_to = config.logs_endpoint.as_deref().map(|to| ("logs_endpoint", to));
        let lines = queue_of_lines(&config, setup, logs_to, &attributes)?;
        Ok(Self {
            propagation,
            traces: !tracing.instrumentations.is_empty(),
            parts,
            rate,
            told,
            queue,
            lines,
            clock: setup.tools.clock.clone(),
        })
    }
}

/// What makes a request's body of a batch.
type Export = fn(&[Bytes], &[KeyValue]) -> Bytes;

/// The queue to an endpoint, where there is one.
fn queue(
    config: &Config,
    setup: &Setup<'_>,
    endpoint_of: Option<(&'static str, &str)>,
    attributes: &[KeyValue],
    export: Export,
) -> Result<Option<Arc<Queue>>, Violations> {
    let Some((field, address)) = endpoint_of else { return Ok(None) };
    let url = endpoint(address).map_err(|why| Violations::one(field, why))?;
    let mut headers = HeaderMap::new();
    for (name, value) in config.headers.iter().flatten() {
        let usable = name.parse::<HeaderName>().ok().zip(value.expose().parse().ok());
        let (name, mut value): (HeaderName, HeaderValue) =
            usable.ok_or_else(|| Violations::one("headers", "not usable as a header"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    let timeout = [config.connect_timeout, config.send_timeout, config.read_timeout];
    let collector = Collector {
        client: setup.tools.client.clone(),
        url,
        headers,
        timeout: Duration::from_millis(timeout.into_iter().flatten().sum()),
    };
    let mut parameters = config.queue.parameters();
    // The old names count where they say something else than their old defaults.
    if let Some(count) = config.batch_span_count.filter(|count| *count != 200) {
        parameters.max_batch_size = usize::try_from(count).unwrap_or(1).max(1);
    }
    if let Some(delay) = config.batch_flush_delay.filter(|delay| *delay != 3) {
        parameters.max_coalescing_delay = Duration::from_secs(u64::try_from(delay).unwrap_or(0));
    }
    let attributes = attributes.to_vec();
    let deliver = || Ok(deliver(collector, attributes, export));
    Queues::beside(setup, field, parameters, deliver).map(Some)
}

fn queue_of_lines(
    config: &Config,
    setup: &Setup<'_>,
    to: Option<(&'static str, &str)>,
    attributes: &[KeyValue],
) -> Result<Option<Heard>, Violations> {
    let queue = queue(config, setup, to, attributes, logs::export)?;
    Ok(queue.map(|queue| Logs::listen(queue, &setup.tools.runtime)))
}

/// What is told of this process.
fn attributes(config: &Config, setup: &Setup<'_>) -> Vec<KeyValue> {
    let mut attributes = vec![
        ("service.name", "kong".to_owned()),
        ("service.instance.id", setup.tools.node.id.to_string()),
        ("service.version", crate::KONG_VERSION.to_owned()),
    ];
    for (name, value) in config.resource_attributes.iter().flatten() {
        attributes.retain(|(known, _)| known != name);
        attributes.push((name, value.clone()));
    }
    attributes.into_iter().map(|(name, value)| text(name, value)).collect()
}

impl Handler for OpenTelemetry {
    fn needs(&self) -> Needs {
        let wanted = self.traces && self.parts.plugins != Phases::NONE && self.queue.is_some();
        if wanted { Needs::TIMES } else { Needs::NOTHING }
    }

    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        let access = self.clock.unix_ms();
        let trace = propagate(&self.propagation, request, |_, found| {
            let trace_id = found.trace_id.unwrap_or_else(|| TraceId::random(16));
            let trace = Trace {
                trace_id,
                root: SpanId::random(),
                parent: found.span_id.or(found.parent_id),
                balancer: self.parts.balancer.then(SpanId::random),
                sampled: self.decide(trace_id, found.sampled),
                access,
            };
            (told(&trace, found), trace)
        });
        request.facts.notes.insert(trace);
        Flow::Continue
    }

    fn header_filter(&self, response: &mut Response<'_>) {
        if let Some(name) = &self.told
            && let Some(trace) = response.facts.notes.get::<Trace>()
        {
            // A valid name and value are always taken.
            let _ = response.head.append_header(name.clone(), trace.trace_id.hex(16));
        }
    }

    fn log(&self, summary: &Summary<'_>) {
        if let Some(lines) = &self.lines {
            lines.finish(&summary.facts.request_id, summary.facts.notes.get::<Trace>());
        }
        let Some(queue) = &self.queue else { return };
        let trace = summary.facts.notes.get::<Trace>().filter(|trace| trace.sampled);
        let Some(trace) = trace else { return };
        for span in spans(trace, self.parts, summary, self.clock.unix_ms()) {
            queue.push(span.encode_to_vec().into());
        }
    }
}

impl OpenTelemetry {
    /// A sender's no counts, its yes is one vote of the trace's: the share of traces decides, by
    /// their ids, so that all who see a trace decide alike.
    fn decide(&self, trace_id: TraceId, sender: Option<bool>) -> bool {
        if !self.traces || sender == Some(false) {
            return false;
        }
        let half = u64::from_be_bytes(trace_id.0[8..].try_into().unwrap_or_default()) >> 11;
        #[expect(clippy::cast_precision_loss, reason = "53 bits")]
        let place = half as f64 / (1_u64 << 53) as f64;
        place < self.rate
    }
}

/// What upstreams are told: they are called by the try that is traced, or by the exchange.
fn told(trace: &Trace, found: Context) -> Context {
    let (span, parent) = match trace.balancer {
        Some(balancer) => (balancer, Some(trace.root)),
        None => (trace.root, trace.parent),
    };
    Context {
        trace_id: Some(trace.trace_id),
        span_id: Some(span),
        parent_id: parent,
        sampled: Some(trace.sampled),
        // What senders wanted beyond sampling is not decided here.
        ..found
    }
}

fn deliver(collector: Collector, attributes: Vec<KeyValue>, export: Export) -> Deliver {
    let shared = Arc::new((collector, attributes));
    Arc::new(move |batch| {
        let shared = Arc::clone(&shared);
        async move { shared.0.post(export(&batch, &shared.1)).await }.boxed()
    })
}

/// The request that carries these spans.
fn export(batch: &[Bytes], attributes: &[KeyValue]) -> Bytes {
    let spans = batch.iter().filter_map(|span| Span::decode(span.clone()).ok()).collect();
    let scope = InstrumentationScope {
        name: "kong-internal".to_owned(),
        version: "0.1.0".to_owned(),
        ..InstrumentationScope::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: attributes.to_vec(), ..Resource::default() }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    };
    request.encode_to_vec().into()
}
