//! The body of an error, in the type the client accepts (kong/pdk/response.lua, error).

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora_http::RequestHeader;

use crate::options::{ErrorType, Options};
use crate::template::escaped;

/// An error's content type and body.
pub(crate) struct ErrorBody {
    pub(crate) content_type: HeaderValue,
    pub(crate) bytes: Bytes,
    /// For gRPC clients: the status is 200 and these two headers tell.
    pub(crate) grpc: Option<(u16, String)>,
}

/// Who found the error: Kong answers clients without an Accept header in JSON when its own logic
/// refused, else by the request's own type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Router, plugins, balancer.
    Logic,
    /// The proxy core: broken upstreams, broken requests.
    Core,
}

/// Makes the body of an error.
pub(crate) fn error_body(
    request: &RequestHeader,
    status: StatusCode,
    message: &str,
    request_id: &str,
    origin: Origin,
    options: &Options,
) -> ErrorBody {
    let message = if message.is_empty() { default_message(status) } else { message };
    let kind = chosen(request, origin, options.error_type);
    let template = options.error_templates.of(kind);
    let (content_type, body) = match kind {
        ErrorType::Json => (
            "application/json; charset=utf-8",
            format!(
                "{{\n  \"message\":{},\n  \"request_id\":\"{request_id}\"\n}}",
                serde_json::Value::from(message)
            ),
        ),
        ErrorType::Plain => {
            ("text/plain; charset=utf-8", format!("{message}\nrequest_id: {request_id}\n"))
        }
        ErrorType::Html => ("text/html; charset=utf-8", html(message, request_id)),
        ErrorType::Xml => (
            "application/xml; charset=utf-8",
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>{}</message>\n  \
                 <requestid>{request_id}</requestid>\n</error>\n",
                escaped(message)
            ),
        ),
        ErrorType::Grpc => ("application/grpc", String::new()),
    };
    let body = template.map_or(body, |template| template.filled(kind, message, request_id));
    let grpc = (kind == ErrorType::Grpc).then(|| (grpc_status(status), message.to_owned()));
    ErrorBody { content_type: HeaderValue::from_static(content_type), bytes: body.into(), grpc }
}

/// Kong's text for a status.
pub(crate) fn default_message(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "Bad request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not found",
        405 => "Method not allowed",
        408 => "Request timeout",
        411 => "Length required",
        412 => "Precondition failed",
        413 => "Payload too large",
        414 => "URI too long",
        415 => "Unsupported media type",
        417 => "Expectation failed",
        426 => "Please use HTTP2 protocol",
        429 => "Too many requests",
        494 => "Request header or cookie too large",
        500 => "An unexpected error occurred",
        501 => "Not implemented",
        502 => "An invalid response was received from the upstream server",
        503 => "The upstream server is currently unavailable",
        504 => "The upstream server is timing out",
        _ => "The upstream server responded with an error",
    }
}

fn chosen(request: &RequestHeader, origin: Origin, default: ErrorType) -> ErrorType {
    let text = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
    if request.version == http::Version::HTTP_2
        && text(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/grpc"))
    {
        return ErrorType::Grpc;
    }
    match text(header::ACCEPT) {
        Some(accept) => accepted(accept),
        None if origin == Origin::Logic => ErrorType::Json,
        None => text(header::CONTENT_TYPE).and_then(media_type).unwrap_or(default),
    }
}

/// The type of highest weight; the first one wins a tie; what nobody knows is JSON.
fn accepted(accept: &str) -> ErrorType {
    let mut best: Option<(f32, ErrorType)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let Some(kind) = parts.next().and_then(media_type) else { continue };
        let weight = parts
            .find_map(|parameter| parameter.strip_prefix("q="))
            .and_then(|q| q.parse().ok())
            .unwrap_or(1.0);
        if best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, kind));
        }
    }
    best.map_or(ErrorType::Json, |(_, kind)| kind)
}

fn media_type(text: &str) -> Option<ErrorType> {
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Some(match essence.as_str() {
        "application/json" | "application/*" | "*/*" => ErrorType::Json,
        "text/html" => ErrorType::Html,
        "text/plain" | "text/*" => ErrorType::Plain,
        "application/xml" | "text/xml" => ErrorType::Xml,
        _ => return None,
    })
}

fn html(message: &str, request_id: &str) -> String {
    format!(
        "<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error</title>\n  \
         </head>\n  <body>\n    <h1>Error</h1>\n    <p>{}.</p>\n    <p>request_id: {request_id}</p>\n  \
         </body>\n</html>\n",
        escaped(message)
    )
}

fn grpc_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        401 => 16,
        403 => 7,
        404 => 5,
        409 => 6,
        429 => 8,
        499 => 1,
        501 => 12,
        503 => 14,
        504 => 4,
        400..=499 => 3,
        _ => 13,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &str)], origin: Origin, kind: &str, body: &str) {
        let mut head = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in headers {
            head.insert_header(*name, *value).unwrap();
        }
        let options = Options::default();
        let made = error_body(&head, StatusCode::NOT_FOUND, "M", "R", origin, &options);
        assert_eq!(made.content_type, kind, "{headers:?}");
        assert_eq!(made.bytes, body.as_bytes(), "{headers:?}");
    }

    #[test]
    fn the_client_chooses_the_type() {
        let json = "{\n  \"message\":\"M\",\n  \"request_id\":\"R\"\n}";
        let plain = "M\nrequest_id: R\n";
        let (as_json, as_plain) = ("application/json; charset=utf-8", "text/plain; charset=utf-8");
        check(&[], Origin::Logic, as_json, json);
        check(&[], Origin::Core, as_plain, plain);
        check(&[("content-type", "application/json")], Origin::Core, as_json, json);
        check(&[("accept", "*/*")], Origin::Core, as_json, json);
        check(&[("accept", "text/plain")], Origin::Logic, as_plain, plain);
        check(
            &[("accept", "application/json;q=0.1, text/*;q=0.5")],
            Origin::Logic,
            as_plain,
            plain,
        );
        check(&[("accept", "image/png")], Origin::Logic, as_json, json);
    }
}
