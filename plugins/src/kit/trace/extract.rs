//! What requests say of their trace, by format. What is not well formed is as good as absent.

use http::HeaderMap;
use percent_encoding::percent_decode_str;

use super::{Context, Format, SpanId, TraceId};

/// What a request says in this format, `None` when it says nothing.
pub(super) fn extract(format: Format, headers: &HeaderMap) -> Option<Context> {
    match format {
        Format::W3c => w3c(headers),
        Format::B3 | Format::B3Single => b3(headers),
        Format::Jaeger => jaeger(headers),
        Format::Ot => ot(headers),
        Format::Datadog => datadog(headers),
        Format::Aws => aws(headers),
        Format::Gcp => gcp(headers),
        Format::Instana => instana(headers),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Up to 32 hexadecimal digits; with how many bytes they are.
fn trace_id(digits: &str) -> Option<(TraceId, usize)> {
    let bytes = digits.len().div_ceil(2);
    let number = u128::from_str_radix(digits, 16).ok().filter(|_| is_hex(digits))?;
    (bytes <= 16).then_some((TraceId(number.to_be_bytes()), bytes))
}

/// Up to 16 hexadecimal digits.
fn span_id(digits: &str) -> Option<SpanId> {
    let number = u64::from_str_radix(digits, 16).ok().filter(|_| is_hex(digits))?;
    Some(SpanId(number.to_be_bytes()))
}

fn is_hex(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_long(digits: &str, lengths: &[usize]) -> bool {
    lengths.contains(&digits.len())
}

fn w3c(headers: &HeaderMap) -> Option<Context> {
    let mut parts = text(headers, "traceparent")?.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let formed = version == "00"
        && is_long(trace, &[32])
        && is_long(span, &[16])
        && is_long(flags, &[2])
        && parts.next().is_none();
    if !formed {
        return None;
    }
    let (trace_id, size) = trace_id(trace).filter(|(id, _)| id.0 != [0; 16])?;
    let span_id = span_id(span).filter(|id| id.0 != [0; 8])?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    Some(Context {
        trace_id: Some(trace_id),
        trace_id_size: Some(size),
        span_id: Some(span_id),
        sampled: Some(flags % 2 == 1),
        ..Context::default()
    })
}

fn b3(headers: &HeaderMap) -> Option<Context> {
    let in_state = || text(headers, "tracestate").and_then(|state| state.strip_prefix("b3="));
    let single = text(headers, "b3").or_else(in_state).map(b3_single);
    let mut context = single.unwrap_or_default();
    b3_multi(headers, &mut context);
    if context.trace_id.is_none() {
        (context.span_id, context.parent_id) = (None, None);
    }
    let says = context.trace_id.is_some() || context.sampled.is_some() || context.flags.is_some();
    context.reuses_span_id = true;
    says.then_some(context)
}

/// `TRACE-SPAN-SAMPLED-PARENT`, the last two or three left out, or the sampling alone.
fn b3_single(value: &str) -> Context {
    let mut context = Context { single_header: true, ..Context::default() };
    let mut sampling = |text: &str| {
        context.sampled = match text {
            "1" | "d" => Some(true),
            "0" => Some(false),
            _ => return false,
        };
        context.flags = (text == "d").then(|| "1".to_owned());
        true
    };
    if sampling(value) {
        return context;
    }
    let parts: Vec<&str> = value.split('-').collect();
    let (ids, parent) = match parts[..] {
        [trace, span] => ((trace, span), None),
        [trace, span, sampled] if sampling(sampled) => ((trace, span), None),
        [trace, span, parent] => ((trace, span), Some(parent)),
        [trace, span, sampled, parent] if sampling(sampled) => ((trace, span), Some(parent)),
        _ => return context,
    };
    let (trace, span) = ids;
    let formed = is_long(trace, &[16, 32])
        && is_long(span, &[16])
        && parent.is_none_or(|parent| is_long(parent, &[16]));
    if let (true, Some((id, size)), Some(span)) = (formed, trace_id(trace), span_id(span)) {
        context.trace_id = Some(id);
        context.trace_id_size = Some(size);
        context.span_id = Some(span);
        context.parent_id = parent.and_then(span_id);
    }
    context
}

/// Fills in what one header did not say.
fn b3_multi(headers: &HeaderMap, context: &mut Context) {
    let mut sampled = match text(headers, "x-b3-sampled") {
        Some("1" | "true") => Some(true),
        Some("0" | "false") => Some(false),
        _ => None,
    };
    let flags = text(headers, "x-b3-flags");
    if flags == Some("1") {
        sampled = Some(true);
    }
    context.sampled = context.sampled.or(sampled);
    context.flags = context.flags.take().or_else(|| flags.map(str::to_owned));
    let sent = |name: &str, lengths: &[usize]| match text(headers, name) {
        None => Ok(None),
        Some(digits) if is_long(digits, lengths) && is_hex(digits) => Ok(Some(digits)),
        Some(_) => Err(()),
    };
    let ids = (
        sent("x-b3-traceid", &[16, 32]),
        sent("x-b3-spanid", &[16]),
        sent("x-b3-parentspanid", &[16]),
    );
    let (Ok(trace), Ok(span), Ok(parent)) = ids else { return };
    if context.trace_id.is_none()
        && let Some((id, size)) = trace.and_then(trace_id)
    {
        (context.trace_id, context.trace_id_size) = (Some(id), Some(size));
    }
    context.span_id = context.span_id.or_else(|| span.and_then(span_id));
    context.parent_id = context.parent_id.or_else(|| parent.and_then(span_id));
}

fn jaeger(headers: &HeaderMap) -> Option<Context> {
    let mut parts = text(headers, "uber-trace-id")?.split(':');
    let (trace, span, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !is_long(flags, &[1, 2]) {
        return None;
    }
    let (trace_id, size) = trace_id(trace).filter(|(id, _)| id.0 != [0; 16])?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    Some(Context {
        trace_id: Some(trace_id),
        trace_id_size: Some(size),
        span_id: Some(span_id(span).filter(|id| id.0 != [0; 8])?),
        parent_id: span_id(parent).filter(|id| id.0 != [0; 8]),
        reuses_span_id: true,
        sampled: Some(flags % 2 == 1),
        baggage: baggage(headers, "uberctx-"),
        ..Context::default()
    })
}

fn ot(headers: &HeaderMap) -> Option<Context> {
    let sampled = match text(headers, "ot-tracer-sampled") {
        Some("1" | "true") => Some(true),
        Some("0" | "false") => Some(false),
        _ => None,
    };
    let trace = text(headers, "ot-tracer-traceid").filter(|id| is_long(id, &[16, 32]));
    let span = text(headers, "ot-tracer-spanid").filter(|id| is_long(id, &[16]));
    let trace = trace.and_then(trace_id);
    let context = Context {
        trace_id: trace.map(|(id, _)| id),
        trace_id_size: trace.map(|(_, size)| size),
        span_id: span.and_then(span_id).filter(|_| trace.is_some()),
        sampled,
        baggage: baggage(headers, "ot-baggage-"),
        ..Context::default()
    };
    (context.trace_id.is_some() || sampled.is_some()).then_some(context)
}

fn datadog(headers: &HeaderMap) -> Option<Context> {
    let sampled = match text(headers, "x-datadog-sampling-priority") {
        Some("1" | "2") => Some(true),
        Some("0" | "-1") => Some(false),
        None => None,
        Some(_) => return None,
    };
    let decimal = |name: &str| text(headers, name)?.trim().parse::<u128>().ok();
    let trace = decimal("x-datadog-trace-id");
    let span = decimal("x-datadog-parent-id").and_then(|id| u64::try_from(id).ok());
    let context = Context {
        trace_id: trace.map(|id| TraceId(id.to_be_bytes())),
        span_id: span.filter(|_| trace.is_some()).map(|id| SpanId(id.to_be_bytes())),
        sampled,
        ..Context::default()
    };
    (context.trace_id.is_some() || sampled.is_some()).then_some(context)
}

/// `Root=1-TIME-REST;Parent=SPAN;Sampled=1`
fn aws(headers: &HeaderMap) -> Option<Context> {
    let mut context = Context::default();
    for pair in text(headers, "x-amzn-trace-id")?.split(';') {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim();
        match name.trim() {
            "Root" => {
                let mut parts = value.split('-');
                let (version, time, rest) = (parts.next()?, parts.next()?, parts.next()?);
                let formed = version == "1" && is_long(time, &[8]) && is_long(rest, &[24]);
                if !formed || parts.next().is_some() {
                    return None;
                }
                let (id, size) = trace_id(&format!("{time}{rest}"))?;
                (context.trace_id, context.trace_id_size) = (Some(id), Some(size));
            }
            "Parent" if is_long(value, &[16]) => context.span_id = Some(span_id(value)?),
            "Parent" => return None,
            "Sampled" => {
                context.sampled = match value {
                    "1" => Some(true),
                    "0" => Some(false),
                    _ => return None,
                };
            }
            _ => {}
        }
    }
    (context != Context::default()).then_some(context)
}

/// `TRACE/SPAN;o=1`, the span in decimal.
fn gcp(headers: &HeaderMap) -> Option<Context> {
    let value = text(headers, "x-cloud-trace-context")?;
    let (ids, flag) = match value.split_once(";o=") {
        Some((ids, flag)) if flag.len() == 1 && flag.as_bytes()[0].is_ascii_digit() => {
            (ids, Some(flag))
        }
        Some(_) => return None,
        None => (value, None),
    };
    let (trace, span) = ids.split_once('/')?;
    let lower = |digits: &str| !digits.bytes().any(|byte| byte.is_ascii_uppercase());
    let (trace_id, size) = trace_id(trace).filter(|_| is_long(trace, &[32]) && lower(trace))?;
    let span: u64 = span.parse().ok()?;
    Some(Context {
        trace_id: Some(trace_id),
        trace_id_size: Some(size),
        span_id: Some(SpanId(span.to_be_bytes())),
        sampled: Some(flag == Some("1")),
        ..Context::default()
    })
}

fn instana(headers: &HeaderMap) -> Option<Context> {
    let trace = text(headers, "x-instana-t").filter(|id| is_long(id, &[16, 32]));
    let span = text(headers, "x-instana-s").filter(|id| is_long(id, &[16]));
    let sampled =
        text(headers, "x-instana-l").and_then(|level| match level.as_bytes().first()? {
            b'1' => Some(true),
            b'0' => Some(false),
            _ => None,
        });
    let trace = trace.and_then(trace_id);
    let context = Context {
        trace_id: trace.map(|(id, _)| id),
        trace_id_size: trace.map(|(_, size)| size),
        span_id: span.and_then(span_id).filter(|_| trace.is_some()),
        sampled,
        ..Context::default()
    };
    (context.trace_id.is_some() || sampled.is_some()).then_some(context)
}

fn baggage(headers: &HeaderMap, prefix: &str) -> Vec<(String, String)> {
    let item = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let name = name.as_str().strip_prefix(prefix)?;
        let value = percent_decode_str(value.to_str().ok()?).decode_utf8_lossy().into_owned();
        Some((name.to_owned(), value))
    };
    headers.iter().filter_map(item).collect()
}
