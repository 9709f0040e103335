use gateway_model::Violations;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::config::Config;
use crate::contract::{
    Flow, Handler, Needs, Node, Phases, Plugin, Reply, ReplyBody, Request, Setup, entry,
};

/// One instance (kong/plugins/request-termination/handler.lua).
pub(crate) struct RequestTermination {
    answer: Reply,
    message: Option<String>,
    echo: bool,
    trigger: Option<String>,
    node: Node,
}

impl Plugin for RequestTermination {
    const NAME: &'static str = "request-termination";
    const PRIORITY: i32 = 2;
    const PHASES: Phases = Phases::ACCESS;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let status = StatusCode::from_u16(config.status_code)
            .map_err(|why| Violations::one("status_code", why.to_string()))?;
        let message = config.message.or_else(|| default_text(status).map(str::to_owned));
        let answer = match (config.body, &message) {
            (Some(body), _) => {
                let body = match config.content_type {
                    None => ReplyBody::Untyped(body.into()),
                    Some(kind) => {
                        let kind = HeaderValue::try_from(kind).map_err(|_| {
                            Violations::one("content_type", "not usable in a header")
                        })?;
                        ReplyBody::Bytes(kind, body.into())
                    }
                };
                Reply { status, headers: Vec::new(), body }
            }
            (None, Some(message)) => Reply::table(status, message),
            (None, None) => Reply::empty(status),
        };
        let node = setup.tools.node.clone();
        Ok(Self { answer, message, echo: config.echo, trigger: config.trigger, node })
    }
}

impl Handler for RequestTermination {
    fn needs(&self) -> Needs {
        if self.echo { Needs::BODY.and(Needs::CAPTURES) } else { Needs::NOTHING }
    }

    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        if let Some(trigger) = &self.trigger
            && !request.head.headers.contains_key(trigger)
            && request.query(trigger).is_none()
        {
            return Flow::Continue;
        }
        if self.echo {
            return Flow::reply(Reply::json(self.answer.status, &self.echoed(request)));
        }
        Flow::reply(self.answer.clone())
    }
}

impl RequestTermination {
    /// A body too large to be read ahead is told empty.
    fn echoed(&self, request: &Request<'_>) -> Value {
        let facts = &request.facts;
        let host = request.header(header::HOST.as_str());
        let host = host.or_else(|| request.head.uri.host()).unwrap_or_default();
        let mut echoed = Map::new();
        if let Some(message) = &self.message {
            echoed.insert("message".into(), message.as_str().into());
        }
        echoed.insert(
            "kong".into(),
            json!({
                "worker_pid": std::process::id(),
                "hostname": self.node.hostname,
                "node_id": self.node.id,
            }),
        );
        let body = facts.body.bytes().map(|body| String::from_utf8_lossy(body));
        let captures = &facts.captures;
        let named: Map<String, Value> = captures
            .named
            .iter()
            .map(|(name, text)| (name.to_string(), Value::from(text.to_string())))
            .collect();
        let unnamed: Vec<&str> = captures.numbered.iter().skip(1).map(|text| &**text).collect();
        let target = request.head.uri.path_and_query().map_or("", |target| target.as_str());
        echoed.insert(
            "request".into(),
            json!({
                "scheme": if facts.client.tls.is_some() { "https" } else { "http" },
                "host": entry::without_port(host),
                "port": facts.client.local.port(),
                "headers": entry::headers(&request.head.headers),
                "query": entry::query(target),
                "method": request.head.method.as_str(),
                "path": request.head.uri.path(),
                "raw_body": body.unwrap_or_default(),
                "uri_captures": {"named": named, "unnamed": unnamed},
            }),
        );
        if let Some(route) = &facts.route {
            echoed.insert("matched_route".into(), entry::entity(route.document(), true));
        }
        if let Some(service) = &facts.service {
            echoed.insert("matched_service".into(), entry::entity(service.document(), true));
        }
        Value::Object(echoed)
    }
}

/// Kong's texts, for the statuses it has one for.
const fn default_text(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::UNAUTHORIZED => Some("Unauthorized"),
        StatusCode::NOT_FOUND => Some("Not found"),
        StatusCode::METHOD_NOT_ALLOWED => Some("Method not allowed"),
        StatusCode::INTERNAL_SERVER_ERROR => Some("An unexpected error occurred"),
        StatusCode::BAD_GATEWAY => Some("Bad gateway"),
        StatusCode::SERVICE_UNAVAILABLE => Some("Service unavailable"),
        _ => None,
    }
}
