//! Zipkin's spans of a finished exchange (kong/plugins/zipkin/{handler,reporter}.lua; version 2 of
//! Zipkin's JSON).

use serde_json::{Map, Value, json};

use super::config::{Flavor, SpanName, Tag};
use super::trace::Trace;
use crate::contract::{Facts, Summary};
use crate::kit::trace::SpanId;

/// What spans say besides what happened.
pub(super) struct Report {
    pub(super) local_name: String,
    pub(super) default_name: Option<String>,
    pub(super) include_credential: bool,
    pub(super) tags: Vec<Tag>,
    pub(super) span_name: SpanName,
    pub(super) flavor: Flavor,
    pub(super) node: String,
}

/// One span on its way to JSON. Times are Unix milliseconds.
struct Span<'s> {
    id: SpanId,
    parent: Option<SpanId>,
    kind: &'static str,
    name: String,
    begin: u64,
    end: u64,
    remote: Option<Value>,
    tags: Map<String, Value>,
    annotations: Vec<(u64, &'s str)>,
}

impl Report {
    /// Every try, the proxy span, the request's span.
    pub(super) fn spans(&self, trace: &Trace, summary: &Summary<'_>, now: u64) -> Vec<Value> {
        let facts = summary.facts;
        let path = summary.uri.split('?').next().unwrap_or_default();
        let method = summary.request.method.as_str();
        let name = match self.span_name {
            SpanName::Method => method.to_owned(),
            SpanName::MethodPath => format!("{method} {path}"),
        };
        let mut spans: Vec<Value> = Vec::with_capacity(summary.tries.len() + 2);
        for span in tries(trace, summary, &name, now) {
            spans.push(self.shown(trace, span, facts));
        }
        spans.push(self.shown(trace, self.proxy(trace, summary, &name, now), facts));
        spans.push(self.shown(trace, self.request(trace, summary, name, path, now), facts));
        spans
    }

    fn request<'s>(
        &self,
        trace: &Trace,
        summary: &Summary<'_>,
        name: String,
        path: &str,
        now: u64,
    ) -> Span<'s> {
        let facts = summary.facts;
        let host = summary.request.headers.get(http::header::HOST);
        let host = host.and_then(|host| host.to_str().ok()).or(summary.request.uri.host());
        let mut tags = Map::new();
        let mut tag = |name: &str, value: String| {
            if !value.is_empty() {
                tags.insert(name.to_owned(), value.into());
            }
        };
        tag("lc", "kong".to_owned());
        tag("http.method", summary.request.method.to_string());
        tag("http.host", host.unwrap_or_default().split(':').next().unwrap_or_default().to_owned());
        tag("http.path", path.to_owned());
        tag("http.protocol", format!("{:?}", summary.request.version));
        for Tag { name, value } in &self.tags {
            tag(name, value.clone());
        }
        for (name, value) in &trace.tags {
            tag(name, value.clone());
        }
        tag("http.status_code", summary.status.to_string());
        if let Some(consumer) = &facts.identity.consumer {
            tag("kong.consumer", consumer.id().to_string());
        }
        if let Some(credential) =
            facts.identity.credential.as_ref().filter(|_| self.include_credential)
        {
            tag("kong.credential", credential.id.to_string());
        }
        tag("kong.node.id", self.node.clone());
        // Routing follows at once: when the phase ends is not taken down apart from the access
        // phase's begin.
        let (begin, rewritten) = (facts.started_ms, trace.rewritten(facts.started_ms));
        let mut annotations = Vec::new();
        match self.flavor {
            Flavor::Annotations => annotations.extend([(begin, "krs"), (rewritten, "krf")]),
            Flavor::Tags => {
                let took = rewritten.saturating_sub(begin).to_string();
                tags.insert("kong.rewrite.duration_ms".to_owned(), took.into());
            }
        }
        Span {
            id: trace.request,
            parent: trace.parent,
            kind: "SERVER",
            name,
            begin: facts.started_ms,
            end: now,
            remote: Some(address(facts.client.ip.to_canonical(), facts.client.peer.port())),
            tags,
            annotations,
        }
    }

    fn proxy<'s>(&self, trace: &Trace, summary: &Summary<'_>, name: &str, now: u64) -> Span<'s> {
        let facts = summary.facts;
        let begin = trace.access.unwrap_or(facts.started_ms);
        let access_end = summary.tries.first().map_or(now, |one| one.start_ms);
        let headers = trace.headers.unwrap_or(now);
        let body = trace.body.unwrap_or(now);
        let mut tags = entities(facts);
        let mut annotations = Vec::new();
        match self.flavor {
            Flavor::Annotations => {
                annotations.extend([(begin, "kas"), (access_end, "kaf")]);
                if trace.headers.is_some() {
                    annotations.extend([(headers, "khs"), (body, "khf")]);
                }
                if trace.body.is_some() {
                    annotations.extend([(body, "kbs"), (now, "kbf")]);
                }
            }
            Flavor::Tags => {
                let mut tag = |name: &str, from: u64, to: u64| {
                    let ms = to.saturating_sub(from).to_string();
                    tags.insert(format!("kong.{name}.duration_ms"), ms.into());
                };
                tag("access", begin, access_end);
                tag("header_filter", headers, body);
                tag("body_filter", body, now);
            }
        }
        if let Some(service) = facts.service.as_ref().filter(|_| !summary.tries.is_empty()) {
            tags.insert("peer.hostname".to_owned(), Value::from(service.host.to_string()));
        }
        let remote = summary.tries.last().map(|one| address(one.address.ip(), one.address.port()));
        Span {
            id: trace.proxy,
            parent: Some(trace.request),
            kind: "CLIENT",
            name: format!("{name} (proxy)"),
            begin,
            end: now,
            remote,
            tags,
            annotations,
        }
    }

    fn shown(&self, trace: &Trace, span: Span<'_>, facts: &Facts) -> Value {
        let micros = |ms: u64| ms.saturating_mul(1000);
        let annotations: Vec<Value> = span
            .annotations
            .iter()
            .map(|(at, text)| json!({"value": text, "timestamp": micros(*at)}))
            .collect();
        let service = match span.kind {
            "CLIENT" => facts.service.as_ref().and_then(|service| service.name.clone()),
            _ => None,
        };
        let mut remote = span.remote;
        if let Some(name) = service.or_else(|| self.default_name.clone()) {
            remote.get_or_insert_with(|| json!({}))["serviceName"] = name.into();
        }
        let mut shown = json!({
            "traceId": trace.id(),
            "id": span.id.hex(),
            "name": span.name,
            "kind": span.kind,
            "timestamp": micros(span.begin),
            // A span of no time is taken for one without an end.
            "duration": micros(span.end.saturating_sub(span.begin)).max(1),
            "localEndpoint": {"serviceName": self.local_name},
            "remoteEndpoint": remote,
        });
        if let Some(parent) = span.parent {
            shown["parentId"] = parent.hex().into();
        }
        if !span.tags.is_empty() {
            shown["tags"] = span.tags.into();
        }
        if !annotations.is_empty() {
            shown["annotations"] = annotations.into();
        }
        shown
    }
}

fn tries<'s>(trace: &Trace, summary: &Summary<'_>, name: &str, now: u64) -> Vec<Span<'s>> {
    let starts = summary.tries.iter().skip(1).map(|one| one.start_ms).chain([now]);
    let all = summary.tries.iter().zip(starts).enumerate();
    all.map(|(at, (one, next))| {
        let mut tags = entities(summary.facts);
        tags.insert("kong.balancer.try".to_owned(), (at + 1).to_string().into());
        if let Some(code) = one.failed {
            tags.insert("error".to_owned(), "true".into());
            tags.insert("kong.balancer.state".to_owned(), "failed".into());
            tags.insert("http.status_code".to_owned(), code.to_string().into());
        }
        Span {
            id: SpanId::random(),
            parent: Some(trace.request),
            kind: "CLIENT",
            name: format!("{name} (balancer try {})", at + 1),
            begin: one.start_ms,
            end: next,
            remote: Some(address(one.address.ip(), one.address.port())),
            tags,
            annotations: Vec::new(),
        }
    })
    .collect()
}

fn entities(facts: &Facts) -> Map<String, Value> {
    let mut tags = Map::new();
    let Some(service) = &facts.service else { return tags };
    tags.insert("kong.service".to_owned(), service.id().to_string().into());
    if let Some(name) = &service.name {
        tags.insert("kong.service_name".to_owned(), name.as_str().into());
    }
    if let Some(route) = &facts.route {
        tags.insert("kong.route".to_owned(), route.id().to_string().into());
        if let Some(name) = &route.name {
            tags.insert("kong.route_name".to_owned(), name.as_str().into());
        }
    }
    tags
}

fn address(ip: std::net::IpAddr, port: u16) -> Value {
    let kind = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
    json!({kind: ip.to_string(), "port": port})
}
