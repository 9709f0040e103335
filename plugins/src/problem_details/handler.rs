use bytes::{Bytes, BytesMut};
use gateway_model::schema::Record;
use gateway_model::{Clock, Violations};
use http::{HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::contract::{Chunk, Handler, Phases, Plugin, Response, Setup, Source};

/// Writes the gateway's own refusals as problem bodies of ETSI GS MEC 009. The platform puts it in
/// place; nothing is configured.
#[derive(Deserialize, Record)]
pub(crate) struct Config {}

/// One instance.
pub(crate) struct ProblemDetails {
    clock: Clock,
}

/// What an answer said so far that is to be written anew.
#[derive(Clone)]
struct Held {
    status: StatusCode,
    body: BytesMut,
}

const PROBLEM: &str = "application/problem+json";
/// A longer body is not looked at for its message.
const LONGEST: usize = 64 * 1024;

impl Plugin for ProblemDetails {
    const NAME: &'static str = "problem-details";
    const VERSION: &'static str = "1.0.0";
    /// After all that change answers.
    const PRIORITY: i32 = 5;
    const PHASES: Phases = Phases::HEADER_FILTER.and(Phases::BODY_FILTER);
    type Config = Config;

    fn build(_: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        Ok(Self { clock: setup.tools.clock.clone() })
    }
}

impl Handler for ProblemDetails {
    fn header_filter(&self, response: &mut Response<'_>) {
        let status = response.head.status;
        let refused = status.is_client_error() || status.is_server_error();
        if !refused || response.source != Source::Gateway {
            return;
        }
        let kind = response.head.headers.get(header::CONTENT_TYPE);
        let written = kind.and_then(|kind| kind.to_str().ok()).is_some_and(is_problem);
        if !written {
            let held = Held { status, body: BytesMut::new() };
            response.facts.notes.insert(held);
            response.head.remove_header(&header::CONTENT_LENGTH);
            // Neither can fail with these names and values.
            drop(response.head.insert_header(header::CONTENT_TYPE, PROBLEM));
        }
        match status {
            StatusCode::UNAUTHORIZED => {
                let invalid = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                drop(response.head.insert_header(header::WWW_AUTHENTICATE, invalid));
            }
            StatusCode::TOO_MANY_REQUESTS
                if !response.head.headers.contains_key(header::RETRY_AFTER) =>
            {
                // Limits are by the minute.
                let rest = 60 - self.clock.unix_seconds() % 60;
                drop(response.head.insert_header(header::RETRY_AFTER, rest.to_string()));
            }
            _ => {}
        }
        if response.request.method == Method::HEAD {
            response.facts.notes.remove::<Held>();
        }
    }

    fn body_filter(&self, chunk: &mut Chunk<'_>) {
        let Some(held) = chunk.facts.notes.get_mut::<Held>() else { return };
        if let Some(data) = chunk.data.take()
            && held.body.len() + data.len() <= LONGEST
        {
            held.body.extend_from_slice(&data);
        }
        if chunk.end
            && let Some(held) = chunk.facts.notes.remove::<Held>()
        {
            *chunk.data = Some(problem(held.status, &held.body));
        }
    }
}

fn is_problem(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(PROBLEM)
}

/// The body, with the message of the answer it stands for.
fn problem(status: StatusCode, body: &[u8]) -> Bytes {
    let title = status.canonical_reason().unwrap_or("Error");
    let detail = message(body).unwrap_or_else(|| title.to_owned());
    let body = json!({"title": title, "status": status.as_u16(), "detail": detail});
    body.to_string().into()
}

/// `message` of a JSON body or, as the jwt plugin has it, what is wrong with each claim.
fn message(body: &[u8]) -> Option<String> {
    let Value::Object(members) = serde_json::from_slice(body).ok()? else { return None };
    if let Some(message) = members.get("message").and_then(Value::as_str) {
        return Some(message.to_owned());
    }
    let said =
        members.iter().filter_map(|(name, what)| Some(format!("{name}: {}", what.as_str()?)));
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| said.join("; "))
}
