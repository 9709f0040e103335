//! [`Window`]: which part of a list is shown, and where the next part is.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use gateway_model::{Id, Stored};
use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

use crate::answer::Answer;
use crate::dispatch::Call;
use crate::error;

/// Which part of a list is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// At most so many rows.
    pub(crate) size: usize,
    /// Only rows with a greater id.
    pub(crate) after: Option<Id>,
}

const DEFAULT: usize = 100;
const MOST: usize = 1000;

/// Unpadded base64 of a JSON list; what comes back may be padded.
const TOKEN: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Window {
    pub(crate) fn read(call: &Call<'_>) -> Result<Self, Answer> {
        let after = call.parameter("offset").map(|token| {
            let ids: Vec<Id> = decode(token)?;
            ids.first().copied().ok_or_else(|| invalid_offset(token, "bad json encoding"))
        });
        Ok(Self { size: size(call)?, after: after.transpose()? })
    }

    /// The list body of rows that begin after [`Window::after`].
    pub(crate) fn answer<'a>(
        &self,
        call: &Call<'_>,
        mut rows: impl Iterator<Item = &'a Arc<Stored>>,
        show: impl Fn(&'a Stored) -> Cow<'a, str>,
    ) -> Answer {
        let shown: Vec<&Arc<Stored>> = rows.by_ref().take(self.size).collect();
        let last = shown.last().filter(|_| rows.next().is_some());
        let token = last.map(|last| encode(&json!([last.id()])));
        let data: Vec<Cow<'_, str>> = shown.iter().map(|row| show(row)).collect();
        // Rows are text already; what stands around them is made without them.
        let around = body(call, Vec::new(), token).to_string();
        let rest = around.strip_prefix("{\"data\":[").unwrap_or("]}");
        Answer::stored(format!("{{\"data\":[{}{rest}", data.join(",")))
    }
}

/// The list body; `token` is there when more rows follow.
pub(crate) fn body(call: &Call<'_>, data: Vec<Value>, token: Option<String>) -> Value {
    let Some(token) = token else { return json!({ "data": data, "next": null }) };
    let mut next = format!("{}?offset={}", call.path, utf8_percent_encode(&token, QUERY));
    // Kong leaves the rest out below a parent (kong/api/endpoints.lua).
    if call.path.matches('/').count() == 1 {
        for name in ["tags", "size"] {
            if let Some(value) = call.parameter(name) {
                next.push_str(&format!("&{name}={}", utf8_percent_encode(value, QUERY)));
            }
        }
    }
    json!({ "data": data, "next": next, "offset": token })
}

pub(crate) fn encode(position: &Value) -> String {
    TOKEN.encode(position.to_string())
}

pub(crate) fn decode<T: serde::de::DeserializeOwned>(token: &str) -> Result<T, Answer> {
    let bytes = TOKEN.decode(token).map_err(|_| invalid_offset(token, "bad base64 encoding"))?;
    serde_json::from_slice(&bytes).map_err(|_| invalid_offset(token, "bad json encoding"))
}

pub(crate) fn size(call: &Call<'_>) -> Result<usize, Answer> {
    let Some(text) = call.parameter("size") else { return Ok(DEFAULT) };
    let refuse = |text: &str| error::long(StatusCode::BAD_REQUEST, 9, "invalid size", text, None);
    let number: f64 = text.parse().map_err(|_| refuse("size must be a number"))?;
    (1..=MOST)
        .find(|size| *size as f64 == number)
        .ok_or_else(|| refuse(&format!("size must be an integer between 1 and {MOST}")))
}

fn invalid_offset(token: &str, why: &str) -> Answer {
    let message = format!("'{token}' is not a valid offset: {why}");
    error::long(StatusCode::BAD_REQUEST, 7, "invalid offset", message, None)
}
