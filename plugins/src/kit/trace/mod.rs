//! Trace context in headers: read from what clients send, written to what upstreams get, in the
//! formats Kong knows (kong/observability/tracing/propagation).
//!
//! Absent from here: spans, which the plugins make that report them.

mod config;
mod extract;
mod inject;

#[cfg(test)]
mod tests;

use aws_lc_rs::rand;
use serde_json::{Map, Value};

pub(crate) use config::{Format, Legacy, Propagation, PropagationConfig};

use crate::contract::{Facts, LogMembers, Request};

/// Names a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TraceId(pub(crate) [u8; 16]);

/// Names a span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SpanId(pub(crate) [u8; 8]);

impl TraceId {
    /// A random one of so many bytes, zeros before them.
    pub(crate) fn random(bytes: usize) -> Self {
        let mut id = [0; 16];
        fill(&mut id[16 - bytes.min(16)..]);
        Self(id)
    }

    /// The last `bytes` of it in hexadecimal digits.
    pub(crate) fn hex(self, bytes: usize) -> String {
        hex::encode(&self.0[16 - bytes.min(16)..])
    }
}

impl SpanId {
    pub(crate) fn random() -> Self {
        let mut id = [0; 8];
        fill(&mut id);
        Self(id)
    }

    pub(crate) fn hex(self) -> String {
        hex::encode(self.0)
    }
}

fn fill(bytes: &mut [u8]) {
    if rand::fill(bytes).is_err() {
        // The system has no random bytes to give: ids need to differ, not to be secret.
        let id = gateway_model::Id::random();
        let text = id.to_string();
        let digits = text.bytes().filter(u8::is_ascii_hexdigit);
        bytes.iter_mut().zip(digits).for_each(|(byte, digit)| *byte = digit);
    }
}

/// What a request says of the trace it is part of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) trace_id: Option<TraceId>,
    /// Bytes of the trace id as it was sent: 8 or 16, where formats allow both.
    pub(crate) trace_id_size: Option<usize>,
    /// The sender's span, or the one both share, see `reuses_span_id`.
    pub(crate) span_id: Option<SpanId>,
    /// The parent of a span that both share.
    pub(crate) parent_id: Option<SpanId>,
    /// Whether `span_id` names a span that sender and receiver share.
    pub(crate) reuses_span_id: bool,
    pub(crate) sampled: Option<bool>,
    pub(crate) baggage: Vec<(String, String)>,
    /// B3's `flags`.
    pub(crate) flags: Option<String>,
    /// Whether B3 was in one header.
    pub(crate) single_header: bool,
}

/// Reads what a request says, has `make` say what its upstream is told, and writes that.
///
/// Gives what `make` made besides.
pub(crate) fn propagate<T>(
    propagation: &Propagation,
    request: &mut Request<'_>,
    make: impl FnOnce(&Facts, Context) -> (Context, T),
) -> T {
    let found = propagation
        .extract
        .iter()
        .find_map(|format| Some((*format, extract::extract(*format, &request.head.headers)?)));
    let (from, found) = found.map_or((None, Context::default()), |(from, one)| (Some(from), one));
    let (told, made) = make(request.facts, found);
    for name in &propagation.clear {
        request.head.remove_header(name);
    }
    let mut ids = Map::new();
    for format in &propagation.inject {
        let format = match format {
            Some(format) => *format,
            None => match from.unwrap_or(propagation.default_format) {
                Format::B3 if told.single_header => Format::B3Single,
                format => format,
            },
        };
        if let Some((name, id)) = inject::inject(format, &told, request.head) {
            ids.insert(name.to_owned(), id.into());
        }
    }
    if !ids.is_empty() {
        LogMembers::add(request.facts, "trace_id", Value::Object(ids));
    }
    made
}
