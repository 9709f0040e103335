//! `/config`: the declarative configuration of a node without a database.

use std::collections::BTreeMap;

use gateway_control::declarative::{self, DeclarativeError};
use gateway_model::{Rejection, rejection};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::LoadError;
use crate::answer::Answer;
use crate::body::Payload;
use crate::dispatch::Call;

/// `GET /config`
pub(crate) fn show(call: &Call<'_>) -> Answer {
    Answer::ok(json!({ "config": declarative::export(&call.catalog) }))
}

/// `POST /config?check_hash=1&flatten_errors=1`: everything declared, by kind and id, or nothing when this text is
/// served already.
pub(crate) async fn load(call: &Call<'_>, payload: &Payload) -> Result<Answer, Answer> {
    let declared = call.ports.declared.as_ref().ok_or_else(Answer::not_found)?;
    let text = text(payload).ok_or_else(no_document)?;
    if flag(call, payload, "check_hash") && declared.is_served(&text) {
        return Ok(Answer::not_modified());
    }
    let flat = flag(call, payload, "flatten_errors").then(|| text.clone());
    let loaded = declared.load(text).await;
    let loaded = loaded.map_err(|why| refusal(call, why, flat.as_deref()))?;
    let mut kinds: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for entity in &loaded.entities {
        let shown =
            Value::Object(loaded.catalog.registry().shown(entity.kind(), entity.document()));
        kinds.entry(entity.kind().kind).or_default().insert(entity.id().to_string(), shown);
    }
    Ok(Answer::json(StatusCode::CREATED, json!(kinds)))
}

/// YAML as it came, the text in a member `config`, or a JSON document that is the configuration.
fn text(payload: &Payload) -> Option<String> {
    match payload {
        Payload::Yaml(text) => Some(text.clone()),
        Payload::Json(document) if !document.contains_key("config") => {
            let mut document = document.clone();
            document.retain(|name, _| !FLAGS.contains(&name.as_str()));
            Some(Value::Object(document).to_string())
        }
        other => other.member("config"),
    }
}

/// Members of a body that are said about it.
const FLAGS: [&str; 2] = ["check_hash", "flatten_errors"];

fn flag(call: &Call<'_>, payload: &Payload, name: &str) -> bool {
    let sent = call.parameter(name).map(str::to_owned).or_else(|| payload.member(name));
    sent.is_some_and(|value| value == "1" || value == "true")
}

fn no_document() -> Answer {
    Answer::bad_request("expected a declarative configuration")
}

/// `flat` is the text that was refused, where the complaints are asked for entity by entity.
fn refusal(call: &Call<'_>, why: LoadError, flat: Option<&str>) -> Answer {
    match (why, flat) {
        (LoadError::Declarative(DeclarativeError::NoDocument), _) => no_document(),
        (LoadError::Declarative(why @ DeclarativeError::Invalid { .. }), Some(text)) => {
            let (entities, fields) = declarative::flattened(text, call.registry(), &why);
            let mut body = invalid(&fields);
            body["flattened_errors"] = entities.into();
            Answer::json(StatusCode::BAD_REQUEST, body)
        }
        (LoadError::Declarative(why), _) => {
            Answer::json(StatusCode::BAD_REQUEST, invalid(&why.fields()))
        }
        (LoadError::Refused(Rejection::Invalid(violations)), _) => {
            Answer::json(StatusCode::BAD_REQUEST, invalid(violations.fields()))
        }
        (LoadError::Refused(why), _) => why.into(),
        (LoadError::Busy(seconds), _) => Answer::message(
            StatusCode::TOO_MANY_REQUESTS,
            "Currently loading previous configuration",
        )
        .retry_after(seconds),
        (LoadError::TimedOut, _) => {
            Answer::message(StatusCode::GATEWAY_TIMEOUT, "Timed out while loading configuration")
        }
    }
}

/// Kong's error 14.
fn invalid(fields: &Map<String, Value>) -> Value {
    json!({
        "code": 14,
        "name": "invalid declarative configuration",
        "message": format!("declarative config is invalid: {}", rejection::lua(fields)),
        "fields": fields,
    })
}
