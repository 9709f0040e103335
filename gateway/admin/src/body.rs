//! [`Payload`]: what a client sent, by its content type.

use axum::body::Body;
use bytes::Bytes;
use gateway_model::Document;
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;

use crate::answer::Answer;
use crate::dispatch::ARGUMENTS;
use crate::form::{self, Shape};

/// What a client sent.
#[derive(Debug, Default)]
pub(crate) enum Payload {
    /// No body.
    #[default]
    Nothing,
    /// A JSON object.
    Json(Document),
    /// YAML, where that is taken.
    Yaml(String),
    /// Members of a form, in order. What they mean depends on the kind written.
    Form(Vec<(String, String)>),
}

impl Payload {
    /// Reads a body of at most `limit` bytes; `yaml` says whether YAML is taken.
    pub(crate) async fn read(
        types: &[&HeaderValue],
        body: Body,
        limit: usize,
        yaml: bool,
    ) -> Result<Self, Answer> {
        if types.len() > 1 {
            return Err(Answer::bad_request("Multiple Content-Type headers not allowed"));
        }
        let media_type =
            types.first().and_then(|value| value.to_str().ok()).map(str::to_ascii_lowercase);
        let bytes = whole(body, limit).await?;
        let Some(media_type) = media_type else {
            let unsupported = || Answer::page(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            return if bytes.is_empty() { Ok(Self::Nothing) } else { Err(unsupported()) };
        };
        if media_type.starts_with("application/json") {
            return json(&bytes).map(Self::Json);
        }
        let is_yaml =
            ["application/yaml", "text/yaml"].iter().any(|name| media_type.starts_with(name));
        if yaml && is_yaml {
            let text = String::from_utf8(bytes.to_vec());
            return text.map(Self::Yaml).map_err(|_| Answer::page(StatusCode::BAD_REQUEST));
        }
        let members = if media_type.starts_with("application/x-www-form-urlencoded") {
            form_urlencoded::parse(&bytes).into_owned().take(ARGUMENTS + 1).collect()
        } else if media_type.starts_with("multipart/form-data") {
            // The boundary is case-sensitive: the header as sent.
            multipart(types[0], bytes).await?
        } else {
            return Err(Answer::page(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        };
        if members.len() > ARGUMENTS {
            return Err(Answer::bad_request("Too many arguments"));
        }
        Ok(Self::Form(members))
    }

    /// One member as text, where no schema says what it is.
    pub(crate) fn member(&self, name: &str) -> Option<String> {
        match self {
            Self::Nothing | Self::Yaml(_) => None,
            Self::Json(document) => document
                .get(name)
                .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            Self::Form(members) => {
                members.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
            }
        }
    }

    /// The document sent; `shape` gives the members of a form their types.
    pub(crate) fn document(&self, shape: &Shape<'_>) -> Document {
        match self {
            Self::Nothing | Self::Yaml(_) => Document::new(),
            Self::Json(document) => document.clone(),
            Self::Form(members) => form::document(members, shape),
        }
    }
}

async fn whole(body: Body, limit: usize) -> Result<Bytes, Answer> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(why) if why.is::<LengthLimitError>() => {
            Err(Answer::page(StatusCode::PAYLOAD_TOO_LARGE))
        }
        Err(_) => Err(Answer::page(StatusCode::BAD_REQUEST)),
    }
}

/// A JSON object. A list counts as an empty object, as in the reference, whose lists are tables
/// too; it stumbles over any other value, and so its clients are told.
fn json(bytes: &[u8]) -> Result<Document, Answer> {
    let value: Option<Value> = serde_json::from_slice(bytes)
        .or_else(|_| serde_json::from_slice(&escape_controls(bytes)))
        .ok();
    match value {
        Some(Value::Object(document)) => Ok(document),
        Some(Value::Array(_)) => Ok(Document::new()),
        Some(_) => Err(Answer::unexpected()),
        None => Err(Answer::bad_request("Cannot parse JSON body")),
    }
}

/// Escapes raw control characters inside strings: clients that paste a PEM file into a JSON
/// template send line feeds there, and Kong's parser lets them.
fn escape_controls(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let mut in_string = false;
    let mut escaped = false;
    for byte in bytes {
        match byte {
            0..0x20 if in_string && !escaped => {
                out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                continue;
            }
            b'"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = *byte == b'\\' && !escaped && in_string;
        out.push(*byte);
    }
    out
}

async fn multipart(
    media_type: &HeaderValue,
    bytes: Bytes,
) -> Result<Vec<(String, String)>, Answer> {
    let refuse = || Answer::bad_request("Cannot parse multipart body");
    let boundary = media_type.to_str().ok().and_then(|text| multer::parse_boundary(text).ok());
    let stream = futures::stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
    let mut parts = multer::Multipart::new(stream, boundary.ok_or_else(refuse)?);
    let mut members = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(|_| refuse())? {
        let Some(name) = part.name().map(str::to_owned) else { continue };
        members.push((name, part.text().await.map_err(|_| refuse())?));
        if members.len() > ARGUMENTS {
            break;
        }
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::json;

    #[test]
    fn raw_control_characters_are_taken_as_they_are() {
        for (text, wanted) in [
            ("{\"a\": \"one\ntwo\"}", json!({"a": "one\ntwo"})),
            ("{\n\"a\"\n:\t\"\u{1}\t\r\n\"\n}", json!({"a": "\u{1}\t\r\n"})),
            ("{\"a\": \"q\\\"\n\\\\\", \"b\": \"\n\"}", json!({"a": "q\"\n\\", "b": "\n"})),
            ("[]", json!({})),
        ] {
            let document = json(text.as_bytes()).expect("is read");
            assert_eq!(serde_json::Value::Object(document), wanted, "for {text}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "{\"a\":", "\"x\"", "5", "{\"a\": \"\\\n\"}", "\u{0}", "{\"a\": \"\n"] {
            assert!(json(text.as_bytes()).is_err(), "for {text}");
        }
    }
}
