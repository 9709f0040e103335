#![allow(clippy::unwrap_used, reason = "tests")]

use http::{HeaderMap, HeaderValue, Method};
use pingora_http::RequestHeader;

use super::extract::extract;
use super::inject::inject;
use super::{Context, Format, SpanId, TraceId};

fn headers(pairs: &str) -> HeaderMap {
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.parse::<http::HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
    };
    pairs.split(", ").filter(|line| !line.is_empty()).map(pair).collect()
}

/// `trace/size span parent sampled`, and what else is there.
fn shown(context: &Context) -> String {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let size = context.trace_id_size.unwrap_or(0);
    let trace = or_dash(context.trace_id.map(|id| format!("{}/{size}", id.hex(16))));
    let [span, parent] =
        [context.span_id, context.parent_id].map(|id| or_dash(id.map(SpanId::hex)));
    let sampled = or_dash(context.sampled.map(|sampled| u8::from(sampled).to_string()));
    let mut text = format!("{trace} {span} {parent} {sampled}");
    if let Some(flags) = &context.flags {
        text.push_str(&format!(" flags={flags}"));
    }
    for (name, value) in &context.baggage {
        text.push_str(&format!(" {name}={value}"));
    }
    text
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

#[test]
fn what_requests_say() {
    let check = |format: Format, sent: &str, wanted: Option<&str>| {
        let sent = sent.replace("TRACE", TRACE).replace("SPAN", SPAN);
        let found = extract(format, &headers(&sent)).map(|context| shown(&context));
        let wanted = wanted.map(|one| one.replace("TRACE", TRACE).replace("SPAN", SPAN));
        assert_eq!(found, wanted, "{format:?} {sent}");
    };
    use Format::*;
    check(W3c, "traceparent: 00-TRACE-SPAN-01", Some("TRACE/16 SPAN - 1"));
    check(W3c, "traceparent: 00-TRACE-SPAN-00", Some("TRACE/16 SPAN - 0"));
    for bad in ["01-TRACE-SPAN-01", "00-TRACE-SPAN", "00-TRACE-SPAN-1", "00-TRACE-SPAN-01-x", "x"] {
        check(W3c, &format!("traceparent: {bad}"), None);
    }
    check(W3c, &format!("traceparent: 00-{}-SPAN-01", "0".repeat(32)), None);
    check(B3, "b3: TRACE-SPAN-1", Some("TRACE/16 SPAN - 1"));
    check(B3, "b3: TRACE-SPAN-d-SPAN", Some("TRACE/16 SPAN SPAN 1 flags=1"));
    check(B3, "b3: TRACE-SPAN", Some("TRACE/16 SPAN - -"));
    check(B3, "b3: 0", Some("- - - 0"));
    check(B3, "b3: junk", None);
    check(B3, "tracestate: b3=TRACE-SPAN-0", Some("TRACE/16 SPAN - 0"));
    check(B3, "tracestate: other=1", None);
    check(
        B3,
        "x-b3-traceid: 463ac35c9f6413ad, x-b3-spanid: SPAN, x-b3-parentspanid: SPAN, x-b3-sampled: 1",
        Some("0000000000000000463ac35c9f6413ad/8 SPAN SPAN 1"),
    );
    check(B3, "x-b3-traceid: short, x-b3-sampled: 0", Some("- - - 0"));
    check(B3, "x-b3-flags: 1", Some("- - - 1 flags=1"));
    check(
        Jaeger,
        "uber-trace-id: TRACE:SPAN:0:1, uberctx-user: a%20b",
        Some("TRACE/16 SPAN - 1 user=a b"),
    );
    check(Jaeger, "uber-trace-id: TRACE:SPAN:0", None);
    check(
        Ot,
        "ot-tracer-traceid: TRACE, ot-tracer-spanid: SPAN, ot-tracer-sampled: true, ot-baggage-k: v",
        Some("TRACE/16 SPAN - 1 k=v"),
    );
    check(Ot, "ot-baggage-k: v", None);
    check(
        Datadog,
        "x-datadog-trace-id: 255, x-datadog-parent-id: 16, x-datadog-sampling-priority: -1",
        Some("000000000000000000000000000000ff/0 0000000000000010 - 0"),
    );
    check(Datadog, "x-datadog-trace-id: 1, x-datadog-sampling-priority: 7", None);
    check(
        Aws,
        "x-amzn-trace-id: Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=SPAN;Sampled=1",
        Some("TRACE/16 SPAN - 1"),
    );
    check(Aws, "x-amzn-trace-id: Root=2-4bf92f35-77b34da6a3ce929d0e0e4736", None);
    check(Gcp, "x-cloud-trace-context: TRACE/255;o=1", Some("TRACE/16 00000000000000ff - 1"));
    check(Gcp, "x-cloud-trace-context: TRACE/255", Some("TRACE/16 00000000000000ff - 0"));
    check(Gcp, "x-cloud-trace-context: TRACE/x", None);
    check(
        Instana,
        "x-instana-t: TRACE, x-instana-s: SPAN, x-instana-l: 1",
        Some("TRACE/16 SPAN - 1"),
    );
    for format in [W3c, B3, Jaeger, Ot, Datadog, Aws, Gcp, Instana] {
        check(format, "", None);
    }
}

#[test]
fn what_upstreams_are_told() {
    let check = |format: Format, size: usize, wanted: &str| {
        let number = u128::from_str_radix(TRACE, 16).unwrap();
        let context = Context {
            trace_id: Some(TraceId(number.to_be_bytes())),
            trace_id_size: Some(size),
            span_id: Some(SpanId([0, 0, 0, 0, 0, 0, 0, 0xff])),
            parent_id: Some(SpanId([1; 8])),
            sampled: Some(true),
            baggage: vec![("k".into(), "a b".into())],
            ..Context::default()
        };
        let mut head = RequestHeader::build(Method::GET, b"/", None).unwrap();
        inject(format, &context, &mut head).unwrap();
        let mut lines: Vec<String> = head
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        let wanted = wanted.replace("TRACE", TRACE).replace("LOW", &TRACE[16..]);
        assert_eq!(lines.join(", "), wanted, "{format:?}");
    };
    use Format::*;
    check(W3c, 8, "traceparent: 00-TRACE-00000000000000ff-01");
    check(
        B3,
        8,
        "x-b3-parentspanid: 0101010101010101, x-b3-sampled: 1, x-b3-spanid: 00000000000000ff, \
         x-b3-traceid: LOW",
    );
    check(B3Single, 16, "b3: TRACE-00000000000000ff-1-0101010101010101");
    check(
        Jaeger,
        16,
        "uber-trace-id: TRACE:00000000000000ff:0101010101010101:01, uberctx-k: a%20b",
    );
    check(
        Ot,
        0,
        "ot-baggage-k: a%20b, ot-tracer-sampled: 1, ot-tracer-spanid: 00000000000000ff, \
         ot-tracer-traceid: LOW",
    );
    check(
        Datadog,
        16,
        "x-datadog-parent-id: 255, x-datadog-sampling-priority: 1, \
         x-datadog-trace-id: 11803532876627986230",
    );
    check(
        Aws,
        16,
        "x-amzn-trace-id: \
         Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=00000000000000ff;Sampled=1",
    );
    check(Gcp, 16, "x-cloud-trace-context: TRACE/255;o=1");
    check(Instana, 16, "x-instana-l: 1, x-instana-s: 00000000000000ff, x-instana-t: TRACE");
}
