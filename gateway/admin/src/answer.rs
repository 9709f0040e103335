//! [`Answer`]: what goes back to the client, before headers every answer has.

use axum::body::Body;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::{Value, json};

/// What goes back to the client.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    content: Content,
    /// The methods of the resource, for `OPTIONS`.
    pub(crate) allow: Option<&'static str>,
    /// Seconds, for `Retry-After`.
    retry_after: Option<u64>,
}

#[derive(Debug)]
enum Content {
    Nothing,
    Json(Value),
    Text { media_type: &'static str, text: String },
}

const JSON: &str = "application/json; charset=utf-8";

impl Answer {
    pub(crate) fn json(status: StatusCode, body: Value) -> Self {
        Self { status, content: Content::Json(body), allow: None, retry_after: None }
    }

    pub(crate) fn ok(body: impl Into<Value>) -> Self {
        Self::json(StatusCode::OK, body.into())
    }

    /// JSON that is text already.
    pub(crate) fn stored(text: impl Into<String>) -> Self {
        Self { content: Content::Text { media_type: JSON, text: text.into() }, ..Self::ok(()) }
    }

    /// `{"message": text}`
    pub(crate) fn message(status: StatusCode, text: impl Into<String>) -> Self {
        Self::json(status, json!({ "message": text.into() }))
    }

    pub(crate) fn not_found() -> Self {
        Self::message(StatusCode::NOT_FOUND, "Not found")
    }

    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::message(StatusCode::BAD_REQUEST, text)
    }

    /// What the reference says where it has no better word.
    pub(crate) fn unexpected() -> Self {
        Self::message(StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error occurred")
    }

    /// The same, with the seconds after which another attempt is worth it.
    pub(crate) const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(crate) const fn no_content() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            content: Content::Nothing,
            allow: None,
            retry_after: None,
        }
    }

    /// What is there already is what was sent.
    pub(crate) const fn not_modified() -> Self {
        Self {
            status: StatusCode::NOT_MODIFIED,
            content: Content::Nothing,
            allow: None,
            retry_after: None,
        }
    }

    pub(crate) fn options(methods: &'static str) -> Self {
        Self { allow: Some(methods), ..Self::no_content() }
    }

    pub(crate) fn text(media_type: &'static str, text: String) -> Self {
        Self {
            status: StatusCode::OK,
            content: Content::Text { media_type, text },
            allow: None,
            retry_after: None,
        }
    }

    /// The page the reference's web server sends for what it refuses itself.
    pub(crate) fn page(status: StatusCode) -> Self {
        let title = status.to_string();
        let text = format!(
            "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n\
             <center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
        );
        let content = Content::Text { media_type: "text/html; charset=UTF-8", text };
        Self { status, content, allow: None, retry_after: None }
    }

    /// The HTTP form; to `HEAD` the length without the body.
    pub(crate) fn into_response(self, method: &Method) -> Response<Body> {
        let (media_type, bytes) = match self.content {
            Content::Nothing => (None, Vec::new()),
            Content::Json(value) => (Some(JSON), value.to_string().into_bytes()),
            Content::Text { media_type, text } => (Some(media_type), text.into_bytes()),
        };
        let length = bytes.len();
        let body = if method == Method::HEAD { Body::empty() } else { Body::from(bytes) };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(media_type) = media_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        response
    }
}
