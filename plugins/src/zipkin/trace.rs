//! [`Trace`]: what is known of an exchange's spans while it runs.

use crate::kit::trace::{Context, SpanId, TraceId};

/// What is known of an exchange's spans, in its notes.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    pub(super) trace_id: TraceId,
    /// Bytes of it that are told: 8 or 16.
    pub(super) size: usize,
    /// The span of the request as a whole.
    pub(super) request: SpanId,
    pub(super) parent: Option<SpanId>,
    /// The span of what upstreams do.
    pub(super) proxy: SpanId,
    pub(super) sampled: bool,
    /// Tags the request asks for.
    pub(super) tags: Vec<(String, String)>,
    /// When the phases began, Unix milliseconds.
    pub(super) access: Option<u64>,
    pub(super) headers: Option<u64>,
    pub(super) body: Option<u64>,
}

impl Trace {
    /// The trace a request belongs to, or a new one.
    pub(super) fn begin(found: &Context, bytes: usize, sample: impl FnOnce() -> bool) -> Self {
        let (request, parent) = match (found.reuses_span_id, found.span_id) {
            (true, Some(shared)) => (shared, found.parent_id),
            (_, sender) => (SpanId::random(), sender),
        };
        Self {
            trace_id: found.trace_id.unwrap_or_else(|| TraceId::random(bytes)),
            size: if found.trace_id.is_some() { found.trace_id_size.unwrap_or(16) } else { bytes },
            request,
            parent,
            proxy: SpanId::random(),
            sampled: found.sampled.unwrap_or_else(sample),
            tags: Vec::new(),
            access: None,
            headers: None,
            body: None,
        }
    }

    /// What upstreams are told.
    pub(super) fn told(&self, found: Context) -> Context {
        Context {
            trace_id: Some(self.trace_id),
            trace_id_size: Some(self.size),
            span_id: Some(self.proxy),
            parent_id: Some(self.request),
            sampled: Some(self.sampled),
            ..found
        }
    }

    /// When the rewrite phase ended of a request that began at `began`, Unix milliseconds.
    pub(super) fn rewritten(&self, began: u64) -> u64 {
        self.access.or(self.headers).unwrap_or(began)
    }

    pub(super) fn id(&self) -> String {
        self.trace_id.hex(self.size)
    }
}

/// `a=1; b=2` of a header; what is not of that form is left out
/// (kong/plugins/zipkin/request_tags.lua).
pub(super) fn tags(header: &str) -> impl Iterator<Item = (String, String)> {
    header.split(';').filter_map(|item| {
        let (name, value) = item.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let formed = !name.is_empty() && !value.is_empty() && !name.contains(char::is_whitespace);
        formed.then(|| (name.to_owned(), value.to_owned()))
    })
}
