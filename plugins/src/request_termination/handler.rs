use gateway_model::Violations;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::config::Config;
use crate::contract::{Flow, Handler, Phases, Plugin, Reply, ReplyBody, Request, Setup, entry};

/// One instance (kong/plugins/request-termination/handler.lua).
pub(crate) struct RequestTermination {
    answer: Reply,
    message: Option<String>,
    echo: bool,
    trigger: Option<String>,
}

impl Plugin for RequestTermination {
    const NAME: &'static str = "request-termination";
    const PRIORITY: i32 = 2;
    const PHASES: Phases = Phases::ACCESS;
    type Config = Config;

    fn build(config: Config, _: &Setup<'_>) -> Result<Self, Violations> {
        let status = StatusCode::from_u16(config.status_code)
            .map_err(|why| Violations::one("status_code", why.to_string()))?;
        let message = config.message.or_else(|| default_text(status).map(str::to_owned));
        let answer = match (config.body, &message) {
            (Some(body), _) => {
                let kind =
                    config.content_type.as_deref().unwrap_or("application/json; charset=utf-8");
                let kind = HeaderValue::try_from(kind)
                    .map_err(|_| Violations::one("content_type", "not usable in a header"))?;
                let body = ReplyBody::Bytes(kind, body.into());
                Reply { status, headers: Vec::new(), body }
            }
            (None, Some(message)) => Reply::table(status, message),
            (None, None) => Reply::empty(status),
        };
        Ok(Self { answer, message, echo: config.echo, trigger: config.trigger })
    }
}

impl Handler for RequestTermination {
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
    /// Less than Kong's: no captures of the path, no body, no name of the host.
    fn echoed(&self, request: &Request<'_>) -> Value {
        let facts = &request.facts;
        let host = request.header(header::HOST.as_str());
        let host = host.or_else(|| request.head.uri.host()).unwrap_or_default();
        let mut echoed = Map::new();
        if let Some(message) = &self.message {
            echoed.insert("message".into(), message.as_str().into());
        }
        echoed.insert("kong".into(), json!({ "worker_pid": std::process::id() }));
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
