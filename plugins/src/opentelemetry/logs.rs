//! Lines of the node's log, on their way to a collector (kong/plugins/opentelemetry/logs.lua).
//!
//! A line about a request waits until the request is over, so that it can tell the trace; any other
//! goes at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dashmap::DashMap;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::spans::{Trace, text};
use crate::kit::lines::{self, Hear, Line, Listening};
use crate::kit::queue::Queue;

/// Lines about requests under way, at most: beyond, they go without a trace.
const MOST_REQUESTS: usize = 1000;
/// Lines about one request, at most.
const MOST_LINES: usize = 200;
/// How long lines wait for a request that does not come by here.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was heard, and where it goes.
pub(super) struct Logs {
    queue: Arc<Queue>,
    waiting: DashMap<Box<str>, (Instant, Vec<Line>)>,
}

/// A [`Logs`] while it listens.
pub(super) struct Heard {
    logs: Arc<Logs>,
    _listening: Listening,
}

impl Logs {
    /// Hears lines until what is given is dropped.
    pub(super) fn listen(queue: Arc<Queue>, runtime: &tokio::runtime::Handle) -> Heard {
        let logs = Arc::new(Self { queue, waiting: DashMap::new() });
        let known = Arc::downgrade(&logs);
        runtime.spawn(async move {
            let mut turns = tokio::time::interval(PATIENCE / 6);
            loop {
                turns.tick().await;
                let Some(logs) = known.upgrade() else { return };
                logs.give_up(|since| since.elapsed() >= PATIENCE);
            }
        });
        Heard { _listening: lines::listen(Arc::clone(&logs) as Arc<dyn Hear>), logs }
    }

    /// Sends on what has waited too long.
    fn give_up(&self, is_due: impl Fn(&Instant) -> bool) {
        let mut late = Vec::new();
        self.waiting.retain(|_, (since, lines)| {
            let due = is_due(since);
            if due {
                late.append(lines);
            }
            !due
        });
        late.iter().for_each(|line| self.send(line, None));
    }

    fn send(&self, line: &Line, trace: Option<&Trace>) {
        self.queue.push(record(line, trace).encode_to_vec().into());
    }
}

impl Heard {
    /// Sends the lines about a request that is over.
    pub(super) fn finish(&self, request: &str, trace: Option<&Trace>) {
        let waited = self.logs.waiting.remove(request);
        let lines = waited.into_iter().flat_map(|(_, (_, lines))| lines);
        lines.for_each(|line| self.logs.send(&line, trace));
    }
}

impl Hear for Logs {
    fn hear(&self, line: &Line) {
        let Some(request) = line.request.as_deref() else { return self.send(line, None) };
        if let Some(mut waiting) = self.waiting.get_mut(request) {
            if waiting.1.len() < MOST_LINES {
                waiting.1.push(line.clone());
            }
            return;
        }
        if self.waiting.len() >= MOST_REQUESTS {
            return self.send(line, None);
        }
        self.waiting.insert(request.into(), (Instant::now(), vec![line.clone()]));
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.give_up(|_| true);
    }
}

fn record(line: &Line, trace: Option<&Trace>) -> LogRecord {
    let (severity, name) = match line.level {
        tracing::Level::ERROR => (SeverityNumber::Error, "ERROR"),
        tracing::Level::WARN => (SeverityNumber::Warn, "WARN"),
        tracing::Level::INFO => (SeverityNumber::Info, "INFO"),
        _ => (SeverityNumber::Debug, "DEBUG"),
    };
    let mut attributes = vec![text("introspection.source", line.target)];
    attributes.extend(line.request.as_deref().map(|request| text("request.id", request)));
    LogRecord {
        time_unix_nano: line.at_ns,
        observed_time_unix_nano: line.at_ns,
        severity_number: severity.into(),
        severity_text: name.to_owned(),
        body: Some(AnyValue { value: Some(Any::StringValue(line.text.clone())) }),
        attributes,
        flags: trace.map_or(0, |trace| trace.sampled.into()),
        trace_id: trace.map_or_else(Vec::new, |trace| trace.trace_id.0.to_vec()),
        span_id: trace.map_or_else(Vec::new, |trace| trace.root.0.to_vec()),
        ..LogRecord::default()
    }
}

/// The request that carries these lines.
pub(super) fn export(batch: &[Bytes], attributes: &[KeyValue]) -> Bytes {
    let records = batch.iter().filter_map(|line| LogRecord::decode(line.clone()).ok());
    let scope = InstrumentationScope {
        name: "kong-internal".to_owned(),
        version: "0.1.0".to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_logs =
        ScopeLogs { scope: Some(scope), log_records: records.collect(), ..ScopeLogs::default() };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource { attributes: attributes.to_vec(), ..Resource::default() }),
            scope_logs: vec![scope_logs],
            ..ResourceLogs::default()
        }],
    };
    request.encode_to_vec().into()
}
