//! Requests as a corpus has them: readable, and not yet checked by any parser.

use axum::Router;
use axum::body::Body;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

/// `METHOD target`, header lines, an empty line, the body. The method may be missing.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) target: Uri,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Vec<u8>,
}

/// Requests of one input, which follow one another.
const MOST: usize = 6;

impl Asked {
    /// All of an input, with a NUL between them. Those no HTTP parser would have let pass are left
    /// out.
    pub(crate) fn all(data: &[u8]) -> impl Iterator<Item = Self> {
        data.split(|byte| *byte == 0).filter_map(Self::read).take(MOST)
    }

    fn read(data: &[u8]) -> Option<Self> {
        let (first, mut rest) = line(data);
        let first = first.strip_suffix(b"\r").unwrap_or(first);
        let mut words = first.splitn(2, |byte| *byte == b' ');
        let method = Method::from_bytes(words.next()?).ok()?;
        let target = Uri::try_from(words.next()?).ok()?;
        if !target.path().starts_with('/') {
            return None;
        }
        let mut headers = Vec::new();
        while !rest.is_empty() {
            let (header, after) = line(rest);
            rest = after;
            if header.is_empty() {
                break;
            }
            let colon = header.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&header[..colon]).ok()?;
            headers.push((name, HeaderValue::from_bytes(header[colon + 1..].trim_ascii()).ok()?));
        }
        Some(Self { method, target, headers, body: rest.to_vec() })
    }

    /// As a request with this body type.
    pub(crate) fn request<B: From<Vec<u8>>>(self) -> Request<B> {
        let mut request = Request::new(B::from(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target;
        request.headers_mut().extend(self.headers);
        request
    }
}

/// The status a router answers a request with; what is called JSON is JSON.
pub(crate) async fn answered(router: &Router, request: Request<Body>) -> StatusCode {
    let target = request.uri().clone();
    let answered = router.clone().oneshot(request).await;
    let answer = answered.expect("a router always answers");
    let (head, body) = answer.into_parts();
    let body = body.collect().await.expect("a body that was made").to_bytes();
    let kind = head.headers.get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
        let read = serde_json::from_slice::<serde_json::Value>(&body);
        assert!(read.is_ok() || body.is_empty(), "{target}: {body:?}");
    }
    head.status
}

/// What stands before the first line end, and what after it.
fn line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}
