//! What upstreams are told of a trace, by format.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pingora_http::RequestHeader;

use super::{Context, Format, SpanId, TraceId};

/// Writes headers; gives the trace id as the format spells it, with the name logs have for it.
pub(super) fn inject(
    format: Format,
    context: &Context,
    head: &mut RequestHeader,
) -> Option<(&'static str, String)> {
    let mut put = |name: &str, value: String| {
        // Names are ours, values are digits and escaped texts: always taken.
        let _ = head.insert_header(name.to_owned(), value);
    };
    let sampled = context.sampled == Some(true);
    let ids = context.trace_id.zip(context.span_id);
    let size = context.trace_id_size.filter(|size| [8, 16].contains(size));
    match format {
        Format::W3c => {
            let (trace, span) = ids?;
            let flags = if sampled { "01" } else { "00" };
            put("traceparent", format!("00-{}-{}-{flags}", trace.hex(16), span.hex()));
            Some(("w3c", trace.hex(16)))
        }
        Format::B3 => {
            let bytes = size.unwrap_or(16);
            if let Some((trace, span)) = ids {
                put("x-b3-traceid", trace.hex(bytes));
                put("x-b3-spanid", span.hex());
                if let Some(parent) = context.parent_id {
                    put("x-b3-parentspanid", parent.hex());
                }
            }
            match &context.flags {
                Some(flags) => put("x-b3-flags", flags.clone()),
                None => put("x-b3-sampled", digit(sampled).into()),
            }
            Some(("b3", context.trace_id.map_or(String::new(), |trace| trace.hex(bytes))))
        }
        Format::B3Single => {
            let bytes = size.unwrap_or(16);
            let letter = match (context.flags.as_deref(), context.sampled) {
                (Some("1"), _) => Some("d"),
                (_, Some(sampled)) => Some(digit(sampled)),
                _ => None,
            };
            let Some((trace, span)) = ids else {
                put("b3", letter.unwrap_or("0").to_owned());
                return Some(("b3", String::new()));
            };
            let mut value = format!("{}-{}", trace.hex(bytes), span.hex());
            let parts = [letter.map(str::to_owned), context.parent_id.map(SpanId::hex)];
            for part in parts.into_iter().flatten() {
                value.push('-');
                value.push_str(&part);
            }
            put("b3", value);
            Some(("b3", trace.hex(bytes)))
        }
        Format::Jaeger => {
            let (trace, span) = ids?;
            let trace = trace.hex(size.unwrap_or(16));
            let parent = context.parent_id.map_or_else(|| "0".to_owned(), SpanId::hex);
            let flags = if sampled { "01" } else { "00" };
            put("uber-trace-id", format!("{trace}:{}:{parent}:{flags}", span.hex()));
            for (name, value) in &context.baggage {
                put(&format!("uberctx-{name}"), escaped(value));
            }
            Some(("jaeger", trace))
        }
        Format::Ot => {
            let (trace, span) = ids?;
            let trace = trace.hex(size.unwrap_or(8));
            put("ot-tracer-traceid", trace.clone());
            put("ot-tracer-spanid", span.hex());
            if let Some(sampled) = context.sampled {
                put("ot-tracer-sampled", digit(sampled).into());
            }
            for (name, value) in &context.baggage {
                put(&format!("ot-baggage-{name}"), escaped(value));
            }
            Some(("ot", trace))
        }
        Format::Datadog => {
            let trace = context.trace_id.map(low).map(|id| id.to_string());
            if let Some(trace) = &trace {
                put("x-datadog-trace-id", trace.clone());
            }
            if let Some(span) = context.span_id {
                put("x-datadog-parent-id", u64::from_be_bytes(span.0).to_string());
            }
            if let Some(sampled) = context.sampled {
                put("x-datadog-sampling-priority", digit(sampled).into());
            }
            Some(("datadog", trace?))
        }
        Format::Aws => {
            let (trace, span) = ids?;
            let digits = trace.hex(16);
            let (time, rest) = digits.split_at(8);
            let value =
                format!("Root=1-{time}-{rest};Parent={};Sampled={}", span.hex(), digit(sampled));
            put("x-amzn-trace-id", value);
            Some(("aws", digits))
        }
        Format::Gcp => {
            let (trace, span) = ids?;
            let span = u64::from_be_bytes(span.0);
            let value = format!("{}/{span};o={}", trace.hex(16), digit(sampled));
            put("x-cloud-trace-context", value);
            Some(("gcp", trace.hex(16)))
        }
        Format::Instana => {
            let (trace, span) = ids?;
            let trace = trace.hex(size.unwrap_or(16));
            put("x-instana-t", trace.clone());
            put("x-instana-s", span.hex());
            put("x-instana-l", digit(sampled).into());
            Some(("instana", trace))
        }
    }
}

const fn digit(sampled: bool) -> &'static str {
    if sampled { "1" } else { "0" }
}

/// The lower half, which is all that Datadog takes.
fn low(trace: TraceId) -> u64 {
    u64::try_from(u128::from_be_bytes(trace.0) & u128::from(u64::MAX)).unwrap_or_default()
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
