//! Arguments in request bodies: forms, JSON objects, multipart forms.

use std::borrow::Cow;

use bytes::Bytes;
use futures::FutureExt;
use http::header;
use pingora_http::RequestHeader;
use serde_json::Value;
use url::form_urlencoded;

use crate::contract::{Request, RequestBody};

/// The arguments of a body, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Arguments {
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(String, String)>),
    /// `application/json`: an object.
    Json(serde_json::Map<String, Value>),
    /// `multipart/form-data` and its boundary.
    Multipart(String, Vec<Part>),
}

/// One part of a multipart form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    /// The name of the field.
    pub(crate) name: String,
    /// The name of the file, when it is one.
    pub(crate) file_name: Option<String>,
    /// Its type, when it tells one.
    pub(crate) content_type: Option<String>,
    /// What it holds.
    pub(crate) data: Bytes,
}

impl Arguments {
    /// The arguments of a body that was read whole; `None` when it has none a handler could name.
    pub(crate) fn of(request: &Request<'_>) -> Option<Self> {
        Self::read(request.head, request.facts.body.bytes()?)
    }

    pub(crate) fn read(head: &RequestHeader, body: &Bytes) -> Option<Self> {
        let kind = head.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let media = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media.as_str() {
            "application/x-www-form-urlencoded" => {
                Some(Self::Form(form_urlencoded::parse(body).into_owned().collect()))
            }
            "application/json" => match serde_json::from_slice(body).ok()? {
                Value::Object(members) => Some(Self::Json(members)),
                _ => None,
            },
            "multipart/form-data" => {
                let boundary = multer::parse_boundary(kind).ok()?;
                let parts = parts(&boundary, body)?;
                Some(Self::Multipart(boundary, parts))
            }
            _ => None,
        }
    }

    /// Every text this argument has.
    pub(crate) fn texts<'a>(&'a self, name: &str) -> Vec<Cow<'a, str>> {
        match self {
            Self::Form(pairs) => {
                let named = pairs.iter().filter(|(known, _)| known == name);
                named.map(|(_, value)| Cow::Borrowed(&**value)).collect()
            }
            Self::Json(members) => match members.get(name) {
                Some(Value::String(text)) => vec![Cow::Borrowed(text)],
                Some(Value::Array(items)) => {
                    items.iter().filter_map(Value::as_str).map(Cow::Borrowed).collect()
                }
                _ => Vec::new(),
            },
            Self::Multipart(_, parts) => {
                let named = parts.iter().filter(|part| part.name == name);
                named.map(|part| String::from_utf8_lossy(&part.data)).collect()
            }
        }
    }

    /// Takes an argument away; whether it was there.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        match self {
            Self::Form(pairs) => {
                let before = pairs.len();
                pairs.retain(|(known, _)| known != name);
                pairs.len() < before
            }
            Self::Json(members) => members.shift_remove(name).is_some(),
            Self::Multipart(_, parts) => {
                let before = parts.len();
                parts.retain(|part| part.name != name);
                parts.len() < before
            }
        }
    }

    /// The body that has these arguments.
    pub(crate) fn bytes(&self) -> Bytes {
        match self {
            Self::Form(pairs) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(pairs);
                form.finish().into()
            }
            Self::Json(members) => serde_json::to_vec(members).unwrap_or_default().into(),
            Self::Multipart(boundary, parts) => multipart(boundary, parts),
        }
    }

    /// Sends these instead of what the client sent.
    pub(crate) fn replace(&self, request: &mut Request<'_>) {
        request.facts.body = RequestBody::Replaced(self.bytes());
    }
}

/// Reads a whole multipart body; `None` when it is not well formed.
fn parts(boundary: &str, body: &Bytes) -> Option<Vec<Part>> {
    let stream =
        futures::stream::once(std::future::ready(Ok::<_, std::convert::Infallible>(body.clone())));
    let mut form = multer::Multipart::new(stream, boundary);
    let read = async {
        let mut parts = Vec::new();
        while let Some(field) = form.next_field().await? {
            parts.push(Part {
                name: field.name().unwrap_or_default().to_owned(),
                file_name: field.file_name().map(str::to_owned),
                content_type: field.content_type().map(ToString::to_string),
                data: field.bytes().await?,
            });
        }
        Ok::<_, multer::Error>(parts)
    };
    // All of the body is there: nothing to wait for.
    read.now_or_never()?.ok()
}

fn multipart(boundary: &str, parts: &[Part]) -> Bytes {
    let quoted = |text: &str| text.replace('"', "%22").replace(['\r', '\n'], " ");
    let mut body = Vec::new();
    for part in parts {
        let name = quoted(&part.name);
        let mut head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"");
        if let Some(file) = &part.file_name {
            head.push_str(&format!("; filename=\"{}\"", quoted(file)));
        }
        if let Some(kind) = &part.content_type {
            head.push_str(&format!("\r\nContent-Type: {kind}"));
        }
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(&part.data);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use bytes::Bytes;
    use http::Method;
    use pingora_http::RequestHeader;

    use super::Arguments;

    fn read(kind: &str, body: &str) -> Option<Arguments> {
        let mut head = RequestHeader::build(Method::POST, b"/", None).unwrap();
        head.insert_header("Content-Type", kind).unwrap();
        Arguments::read(&head, &Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn arguments_are_found_and_taken_away() {
        const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
        const PARTS: &str = "multipart/form-data; boundary=xx";
        let check = |kind: &str, body: &str, texts: &[&str], rest: &str| {
            let mut arguments = read(kind, body).unwrap();
            assert_eq!(arguments.texts("k"), texts, "{body}");
            assert_eq!(arguments.remove("k"), !texts.is_empty(), "{body}");
            assert_eq!(arguments.bytes(), rest, "{body}");
        };
        check(FORM, "k=a+b&z=1", &["a b"], "z=1");
        check(FORM, "k=1&k=2&z=%26", &["1", "2"], "z=%26");
        check(FORM, "z", &[], "z=");
        check("application/json", r#"{"k":"a","z":1}"#, &["a"], r#"{"z":1}"#);
        check("application/json", r#"{"z":[]}"#, &[], r#"{"z":[]}"#);
        check(
            PARTS,
            "--xx\r\nContent-Disposition: form-data; name=\"k\"\r\n\r\nv\r\n\
             --xx\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n\"\r\n\
             Content-Type: text/plain\r\n\r\nhello\r\n--xx--\r\n",
            &["v"],
            "--xx\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n\"\r\n\
             Content-Type: text/plain\r\n\r\nhello\r\n--xx--\r\n",
        );
    }

    #[test]
    fn bodies_without_arguments_have_none() {
        let check = |kind: &str, body: &str| assert_eq!(read(kind, body), None, "{kind} {body}");
        check("application/json", "[1]");
        check("application/json", "{");
        check("text/plain", "k=1");
        check("multipart/form-data", "k=1");
        check("multipart/form-data; boundary=xx", "--xx\r\nno end");
    }
}
