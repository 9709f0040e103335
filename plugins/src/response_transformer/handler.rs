use bytes::{Bytes, BytesMut};
use gateway_model::Violations;
use http::{Method, StatusCode, header};

use super::config::Config;
use super::{body, headers};
use crate::contract::{Chunk, Handler, Phases, Plugin, Response, Setup};

/// One instance (kong/plugins/response-transformer/handler.lua).
pub(crate) struct ResponseTransformer {
    headers: Vec<headers::Step>,
    json: Vec<body::Step>,
}

/// The body so far, of an answer that is to be changed whole.
#[derive(Clone, Default)]
struct Held(BytesMut);

/// A longer body passes as it is; one upstream must not fill the memory of all.
pub(super) const LONGEST: usize = 16 * 1024 * 1024;

impl Plugin for ResponseTransformer {
    const NAME: &'static str = "response-transformer";
    const PRIORITY: i32 = 800;
    const PHASES: Phases = Phases::HEADER_FILTER.and(Phases::BODY_FILTER);
    type Config = Config;

    fn build(config: Config, _: &Setup<'_>) -> Result<Self, Violations> {
        match (headers::prepare(&config), body::prepare(&config)) {
            (Ok(headers), Ok(json)) => Ok(Self { headers, json }),
            (headers, json) => {
                let mut violations = headers.err().unwrap_or_default();
                violations.add_all(json.err().unwrap_or_default());
                Err(violations)
            }
        }
    }
}

impl Handler for ResponseTransformer {
    fn header_filter(&self, response: &mut Response<'_>) {
        if !self.json.is_empty() && has_plain_json(response) {
            response.head.remove_header(&header::CONTENT_LENGTH);
            response.facts.notes.insert(Held::default());
        }
        for step in &self.headers {
            step.apply(response.head);
        }
    }

    fn body_filter(&self, chunk: &mut Chunk<'_>) {
        let Some(Held(held)) = chunk.facts.notes.get_mut() else { return };
        if let Some(data) = chunk.data.take() {
            held.extend_from_slice(&data);
        }
        let too_long = held.len() > LONGEST;
        if !chunk.end && !too_long {
            return;
        }
        let body = std::mem::take(held).freeze();
        chunk.facts.notes.remove::<Held>();
        if body.is_empty() {
            return;
        }
        let changed = (!too_long).then(|| body::transform(&body, &self.json)).flatten();
        if changed.is_none() {
            tracing::warn!(
                request.id = &*chunk.facts.request_id,
                size = body.len(),
                "response-transformer passes a body as it is: too long, or no JSON object"
            );
        }
        *chunk.data = Some(changed.map_or(body, Bytes::from));
    }
}

/// Whether there is a body in JSON, and not a compressed one.
fn has_plain_json(response: &Response<'_>) -> bool {
    let headers = &response.head.headers;
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let media_type = text(header::CONTENT_TYPE).and_then(|kind| kind.split(';').next());
    let plain = text(header::CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
    let has_body = response.request.method != Method::HEAD
        && response.head.status != StatusCode::NO_CONTENT
        && response.head.status != StatusCode::NOT_MODIFIED;
    has_body
        && plain
        && media_type.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
