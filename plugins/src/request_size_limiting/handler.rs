use gateway_model::Violations;
use http::{StatusCode, header};

use super::config::Config;
use crate::contract::{BodyLimit, Flow, Handler, Phases, Plugin, Reply, Request, Setup};

/// One instance (kong/plugins/request-size-limiting/handler.lua).
pub(crate) struct RequestSizeLimiting {
    /// Bytes.
    limit: u64,
    require_content_length: bool,
}

impl Plugin for RequestSizeLimiting {
    const NAME: &'static str = "request-size-limiting";
    const PRIORITY: i32 = 951;
    const PHASES: Phases = Phases::ACCESS;
    type Config = Config;

    fn build(config: Config, _: &Setup<'_>) -> Result<Self, Violations> {
        let limit = config.limit();
        Ok(Self { limit, require_content_length: config.require_content_length })
    }
}

impl Handler for RequestSizeLimiting {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        let told = request.header(header::CONTENT_LENGTH.as_str());
        let length = told.and_then(|text| text.parse::<u64>().ok());
        let in_chunks = request.head.headers.contains_key(header::TRANSFER_ENCODING);
        match length {
            Some(length) if length > self.limit => {
                let waits = request.header(header::EXPECT.as_str());
                let waits = waits.is_some_and(|text| text.eq_ignore_ascii_case("100-continue"));
                let status = match waits {
                    true => StatusCode::EXPECTATION_FAILED,
                    false => StatusCode::PAYLOAD_TOO_LARGE,
                };
                Flow::reply(Reply::message(status, BodyLimit::EXCEEDED))
            }
            None if self.require_content_length && !in_chunks => {
                let text = "A valid Content-Length header is required";
                Flow::reply(Reply::message(StatusCode::LENGTH_REQUIRED, text))
            }
            None => {
                request.facts.notes.insert(BodyLimit(self.limit));
                Flow::Continue
            }
            Some(_) => Flow::Continue,
        }
    }
}
