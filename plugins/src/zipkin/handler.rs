use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::FutureExt;
use gateway_model::{Clock, Violations};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::config::Config;
use super::report::Report;
use super::trace::{Trace, tags};
use crate::contract::{
    ANY, Chunk, Flow, HTTP, Handler, Phases, Plugin, Request, Response, Setup, Summary,
};
use crate::kit::http::{Collector, endpoint};
use crate::kit::queue::{Deliver, Queue, Queues};
use crate::kit::trace::{Context, Legacy, Propagation, propagate};

/// One instance (kong/plugins/zipkin/handler.lua).
pub(crate) struct Zipkin {
    propagation: Propagation,
    bytes: usize,
    ratio: f64,
    tags_header: HeaderName,
    told: Option<HeaderName>,
    report: Report,
    /// None when there is nobody to report to.
    queue: Option<Arc<Queue>>,
    clock: Clock,
}

impl Plugin for Zipkin {
    const NAME: &'static str = "zipkin";
    const PRIORITY: i32 = 100_000;
    const PHASES: Phases =
        Phases::ACCESS.and(Phases::HEADER_FILTER).and(Phases::BODY_FILTER).and(Phases::LOG);
    const PROTOCOLS: &'static [&'static str] = ANY;
    const DEFAULT_PROTOCOLS: &'static [&'static str] = HTTP;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let legacy = Legacy {
            header_type: Some(&config.header_type),
            default_header_type: Some(&config.default_header_type),
        };
        let propagation = Propagation::prepare(&config.propagation, &legacy)?;
        let named = |field: &str, name: &str| {
            name.parse().map_err(|_| Violations::one(field, "not usable as a header"))
        };
        let tags_header = named("tags_header", &config.tags_header)?;
        let told = config.http_response_header_for_traceid.as_deref();
        let told = told.map(|name| named("http_response_header_for_traceid", name)).transpose()?;
        let queue = match &config.http_endpoint {
            None => None,
            Some(text) => {
                let refuse = |why| Violations::one("http_endpoint", why);
                let url = endpoint(text).map_err(refuse)?;
                let json = HeaderValue::from_static("application/json");
                let parts = [config.connect_timeout, config.send_timeout, config.read_timeout];
                let timeout = parts.into_iter().flatten().sum();
                let collector = Collector {
                    client: setup.tools.client.clone(),
                    url,
                    headers: HeaderMap::from_iter([(header::CONTENT_TYPE, json)]),
                    timeout: Duration::from_millis(timeout),
                };
                Some(Queues::of(setup, config.queue.parameters(), || Ok(deliver(collector)))?)
            }
        };
        Ok(Self {
            propagation,
            bytes: config.traceid_byte_count,
            ratio: config.sample_ratio.unwrap_or(0.001),
            tags_header,
            told,
            report: Report {
                local_name: config.local_service_name,
                default_name: config.default_service_name,
                include_credential: config.include_credential,
                tags: config.static_tags.unwrap_or_default(),
                span_name: config.http_span_name,
                flavor: config.phase_duration_flavor,
                node: setup.tools.node.id.to_string(),
            },
            queue,
            clock: setup.tools.clock.clone(),
        })
    }
}

impl Handler for Zipkin {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        let mut trace = propagate(&self.propagation, request, |_, found| {
            let trace = self.begin(&found);
            (trace.told(found), trace)
        });
        trace.access = Some(self.clock.unix_ms());
        for line in request.head.headers.get_all(&self.tags_header) {
            trace.tags.extend(tags(line.to_str().unwrap_or_default()));
        }
        request.facts.notes.insert(trace);
        Flow::Continue
    }

    fn header_filter(&self, response: &mut Response<'_>) {
        // Requests without a route come here first.
        let known = response.facts.notes.remove::<Trace>();
        let mut trace = known.unwrap_or_else(|| self.begin(&Context::default()));
        trace.headers = Some(self.clock.unix_ms());
        if let Some(name) = &self.told {
            // A valid name and value are always taken.
            let _ = response.head.insert_header(name.clone(), trace.id());
        }
        response.facts.notes.insert(trace);
    }

    fn body_filter(&self, chunk: &mut Chunk<'_>) {
        if let Some(trace) = chunk.facts.notes.get_mut::<Trace>() {
            trace.body.get_or_insert_with(|| self.clock.unix_ms());
        }
    }

    fn log(&self, summary: &Summary<'_>) {
        let Some(queue) = &self.queue else { return };
        let trace = summary.facts.notes.get::<Trace>().filter(|trace| trace.sampled);
        let Some(trace) = trace else { return };
        for span in self.report.spans(trace, summary, self.clock.unix_ms()) {
            queue.push(span.to_string().into());
        }
    }
}

impl Zipkin {
    fn begin(&self, found: &Context) -> Trace {
        Trace::begin(found, self.bytes, || is_sampled(self.ratio))
    }
}

/// True for this share of calls.
fn is_sampled(ratio: f64) -> bool {
    let drawn = u32::from_be_bytes(
        crate::kit::trace::SpanId::random().0[..4].try_into().unwrap_or_default(),
    );
    f64::from(drawn) < ratio * (f64::from(u32::MAX) + 1.0)
}

fn deliver(collector: Collector) -> Deliver {
    let collector = Arc::new(collector);
    Arc::new(move |batch| {
        let collector = Arc::clone(&collector);
        async move { collector.post(list(&batch)).await }.boxed()
    })
}

fn list(spans: &[Bytes]) -> Bytes {
    let mut body =
        BytesMut::with_capacity(spans.iter().map(|span| span.len() + 1).sum::<usize>() + 1);
    for (at, span) in spans.iter().enumerate() {
        body.put_u8(if at == 0 { b'[' } else { b',' });
        body.put_slice(span);
    }
    body.put_u8(b']');
    body.freeze()
}
