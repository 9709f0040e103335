use gateway_model::{Scopes, Violations};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use pingora_http::RequestHeader;

use super::config::Config;
use super::origins::{Origins, allowed};
use crate::contract::{Flow, Handler, Phases, Plugin, Reply, Request, Response, Setup};

/// One instance (kong/plugins/cors/handler.lua).
pub(crate) struct Cors {
    origins: Origins,
    headers: Option<HeaderValue>,
    exposed_headers: Option<HeaderValue>,
    methods: HeaderValue,
    max_age: Option<HeaderValue>,
    credentials: bool,
    private_network: bool,
    preflight_continue: bool,
    allow_origin_absent: bool,
}

impl Plugin for Cors {
    const NAME: &'static str = "cors";
    const PRIORITY: i32 = 2000;
    const PHASES: Phases = Phases::ACCESS.and(Phases::HEADER_FILTER);
    const SCOPES: Scopes = Scopes::NO_CONSUMER;
    type Config = Config;

    fn build(config: Config, _: &Setup<'_>) -> Result<Self, Violations> {
        let listed = |field: &str, list: Option<Vec<String>>| {
            let text = list.filter(|list| !list.is_empty()).map(|list| list.join(","));
            text.map(HeaderValue::try_from)
                .transpose()
                .map_err(|_| Violations::one(field, "not usable in a header"))
        };
        Ok(Self {
            origins: Origins::read(&config.origins.unwrap_or_default())?,
            headers: listed("headers", config.headers)?,
            exposed_headers: listed("exposed_headers", config.exposed_headers)?,
            methods: listed("methods", config.methods)?
                .unwrap_or_else(|| HeaderValue::from_static("")),
            max_age: config.max_age.and_then(|age| HeaderValue::try_from(age.to_string()).ok()),
            credentials: config.credentials,
            private_network: config.private_network,
            preflight_continue: config.preflight_continue,
            allow_origin_absent: config.allow_origin_absent,
        })
    }
}

/// Left in the notes of a question before a request: its answer is complete without us.
#[derive(Clone)]
struct Preflight;

const REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");
const TRUE: HeaderValue = HeaderValue::from_static("true");

impl Handler for Cors {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        let headers = &request.head.headers;
        let asks = request.head.method == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !asks {
            return Flow::Continue;
        }
        request.facts.notes.insert(Preflight);
        if self.preflight_continue {
            return Flow::Continue;
        }
        Flow::reply(self.answer(request.head))
    }

    fn header_filter(&self, response: &mut Response<'_>) {
        let request = response.request;
        let absent = !request.headers.contains_key(header::ORIGIN);
        if response.facts.notes.get::<Preflight>().is_some() || absent && !self.allow_origin_absent
        {
            return;
        }
        let told = self.told(request);
        // Valid names and values are always taken.
        response.head.remove_header(&header::ACCESS_CONTROL_ALLOW_ORIGIN);
        for (name, value) in told {
            if name == header::VARY {
                let _ = response.head.append_header(name, value);
            } else {
                let _ = response.head.insert_header(name, value);
            }
        }
        if let Some(exposed) = &self.exposed_headers {
            let name = header::ACCESS_CONTROL_EXPOSE_HEADERS;
            let _ = response.head.insert_header(name, exposed.clone());
        }
    }
}

impl Cors {
    /// Who may read an answer to this request.
    fn told(&self, request: &RequestHeader) -> Vec<(HeaderName, HeaderValue)> {
        let origin = request.headers.get(header::ORIGIN);
        let echo = self.credentials.then_some(origin).flatten();
        // Browsers refuse an asterisk together with credentials.
        let (value, varies, credentials) = match (&self.origins, echo) {
            (Origins::Any, Some(origin)) => (Some(origin.clone()), true, true),
            (Origins::Any, None) => (Some(HeaderValue::from_static("*")), false, false),
            (Origins::One(one), _) => (Some(one.clone()), true, self.credentials),
            (Origins::Listed(patterns), _) => {
                let origin = origin.and_then(|origin| origin.to_str().ok());
                let value = origin.and_then(|origin| allowed(patterns, origin));
                (value, true, self.credentials)
            }
        };
        let mut told = Vec::with_capacity(4);
        told.extend(value.map(|value| (header::ACCESS_CONTROL_ALLOW_ORIGIN, value)));
        if varies {
            told.push((header::VARY, HeaderValue::from_static("Origin")));
        }
        if credentials {
            told.push((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE));
        }
        told
    }

    fn answer(&self, request: &RequestHeader) -> Reply {
        let mut reply = Reply::empty(StatusCode::OK);
        reply.headers = self.told(request);
        let asked = || request.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        if let Some(headers) = self.headers.as_ref().or_else(asked) {
            reply = reply.header(header::ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
        }
        reply = reply.header(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        if let Some(age) = &self.max_age {
            reply = reply.header(header::ACCESS_CONTROL_MAX_AGE, age.clone());
        }
        let private = request.headers.get(REQUEST_PRIVATE_NETWORK);
        if self.private_network && private == Some(&TRUE) {
            reply = reply.header(ALLOW_PRIVATE_NETWORK, TRUE);
        }
        reply
    }
}
