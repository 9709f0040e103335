//! Refusals in Kong's words: `code`, `name`, `message`, `fields` (kong/db/errors.lua).

use gateway_model::{Rejection, Violations};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::answer::Answer;

/// Kong's long error form.
pub(crate) fn long(
    status: StatusCode,
    code: u8,
    name: &str,
    message: impl Into<String>,
    fields: Option<Map<String, Value>>,
) -> Answer {
    let mut body = json!({ "code": code, "name": name, "message": message.into() });
    if let (Some(fields), Some(members)) = (fields, body.as_object_mut()) {
        members.insert("fields".to_owned(), Value::Object(fields));
    }
    Answer::json(status, body)
}

/// A path segment where only an id may stand.
pub(crate) fn invalid_primary_key() -> Answer {
    let text = "expected a valid UUID";
    let fields = Map::from_iter([("id".to_owned(), text.into())]);
    let message = format!("invalid primary key: '{{id=\"{text}\"}}'");
    long(StatusCode::BAD_REQUEST, 1, "invalid primary key", message, Some(fields))
}

/// A path segment that can be no value of the unique field it stands for.
pub(crate) fn invalid_unique(field: &str, problem: &Value) -> Answer {
    let text = problem.as_str().map_or_else(|| problem.to_string(), str::to_owned);
    let fields = Map::from_iter([(field.to_owned(), text.as_str().into())]);
    let name = format!("invalid unique {field}");
    long(StatusCode::BAD_REQUEST, 10, &name, text, Some(fields))
}

/// A query parameter the operation does not take so.
pub(crate) fn invalid_option(option: &str, problem: &str) -> Answer {
    let body = json!({
        "code": 11,
        "name": "invalid options",
        "message": format!("invalid option ({option}: {problem})"),
        "options": { option: problem },
    });
    Answer::json(StatusCode::BAD_REQUEST, body)
}

/// A write while the configuration is a file.
pub(crate) fn unsupported(message: String) -> Answer {
    long(StatusCode::METHOD_NOT_ALLOWED, 12, "operation unsupported", message, None)
}

/// A document that breaks its schema.
pub(crate) fn invalid(violations: Violations) -> Answer {
    let message = violations.message();
    let fields = Some(violations.into_fields());
    long(StatusCode::BAD_REQUEST, 2, "schema violation", message, fields)
}

impl From<Rejection> for Answer {
    fn from(rejection: Rejection) -> Self {
        let bad = StatusCode::BAD_REQUEST;
        let message = rejection.to_string();
        let one = |name: &str, value: Value| Some(Map::from_iter([(name.to_owned(), value)]));
        match rejection {
            Rejection::Invalid(violations) => invalid(violations),
            Rejection::PrimaryKey { id } => {
                let fields = one("id", id.to_string().into());
                long(bad, 3, "primary key violation", message, fields)
            }
            Rejection::Unique { fields, .. } => {
                let name = "unique constraint violation";
                long(StatusCode::CONFLICT, 5, name, message, Some(fields))
            }
            Rejection::Reference { field, id, .. } => {
                let fields = one(field, json!({ "id": id }));
                long(bad, 4, "foreign key violation", message, fields)
            }
            Rejection::Referenced { by, .. } => {
                let fields = one("@referenced_by", by.into());
                long(bad, 4, "foreign key violation", message, fields)
            }
            Rejection::InUse { .. } => long(bad, 19, "referenced by others", message, None),
            Rejection::Unresolved { field, name, ref value, kind } => {
                let text = format!(
                    "the foreign key cannot be resolved with '{{{name}=\"{value}\"}}' for an \
                     existing '{kind}' entity"
                );
                let fields = one(field, json!({ name: text }));
                long(bad, 13, "foreign keys unresolved", message, fields)
            }
            Rejection::NotFound { key, .. } => {
                long(StatusCode::NOT_FOUND, 6, "not found", message, Some(key.fields()))
            }
            Rejection::Option { option, text } => invalid_option(option, &text),
            Rejection::ReadOnly(text) => unsupported(text),
            Rejection::Condition(text) => Self::message(StatusCode::CONFLICT, text),
            Rejection::Store(_) => Self::message(StatusCode::SERVICE_UNAVAILABLE, message),
            _ => Self::message(StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error occurred"),
        }
    }
}
