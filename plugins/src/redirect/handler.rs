use bytes::Bytes;
use gateway_model::Violations;
use http::{HeaderValue, StatusCode, header};

use super::config::Config;
use crate::contract::{Flow, Handler, Phases, Plugin, Reply, ReplyBody, Request, Setup};

/// One instance (kong/plugins/redirect/handler.lua).
pub(crate) struct Redirect {
    status: StatusCode,
    location: Location,
}

enum Location {
    Fixed(HeaderValue),
    /// Scheme and authority; the request's path and query follow.
    Below(String),
}

impl Plugin for Redirect {
    const NAME: &'static str = "redirect";
    const PRIORITY: i32 = 779;
    const PHASES: Phases = Phases::ACCESS;
    type Config = Config;

    fn build(config: Config, _: &Setup<'_>) -> Result<Self, Violations> {
        let refuse = |field: &str, text: &str| Violations::one(field, text);
        let status = StatusCode::from_u16(config.status_code)
            .map_err(|why| refuse("status_code", &why.to_string()))?;
        // Checked in either case: what precedes the path must be usable too.
        let fixed = HeaderValue::try_from(config.location.as_str())
            .map_err(|_| refuse("location", "not usable in a header"))?;
        let location = if config.keep_incoming_path.unwrap_or_default() {
            let (scheme, rest) = config.location.split_once("://").unwrap_or_default();
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            Location::Below(format!("{scheme}://{authority}"))
        } else {
            Location::Fixed(fixed)
        };
        Ok(Self { status, location })
    }
}

impl Handler for Redirect {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        let location = match &self.location {
            Location::Fixed(location) => Some(location.clone()),
            Location::Below(place) => {
                let target = request.head.uri.path_and_query().map_or("/", |t| t.as_str());
                HeaderValue::try_from(format!("{place}{target}")).ok()
            }
        };
        let Some(location) = location else {
            return Flow::reply(Reply::message(StatusCode::BAD_REQUEST, ""));
        };
        let body = ReplyBody::Untyped(Bytes::from_static(b"redirecting"));
        let reply = Reply { status: self.status, headers: Vec::new(), body };
        Flow::reply(reply.header(header::LOCATION, location))
    }
}
