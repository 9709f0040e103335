//! `/debug`: the level of logs, shown and changed while the process runs.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use crate::Writes;
use crate::answer::Answer;
use crate::body::Payload;
use crate::dispatch::Call;

const LEVELS: [&str; 8] = ["debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"];

/// Seconds a changed level lasts when the request says nothing.
const LASTS: u64 = 60;

/// `GET /debug/node/log-level`
pub(crate) fn log_level(call: &Call<'_>) -> Result<Answer, Answer> {
    Ok(Answer::message(StatusCode::OK, format!("log level: {}", level(call))))
}

fn level(call: &Call<'_>) -> String {
    match &call.ports.log_level {
        Some(port) => port.level(),
        None => {
            let configured = call.admin.node.configuration.get("log_level");
            configured.and_then(Value::as_str).unwrap_or("notice").to_owned()
        }
    }
}

/// `PUT /debug/node/log-level/{level}?timeout=60`; a timeout of 0 seconds changes it for good.
pub(crate) fn set_log_level(
    call: &Call<'_>,
    wanted: &str,
    payload: &Payload,
) -> Result<Answer, Answer> {
    if call.admin.writes == Writes::Declarative {
        let text = "cannot change log level when not using a database";
        return Err(Answer::message(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    if !LEVELS.contains(&wanted) {
        return Err(Answer::bad_request(format!("unknown log level: {wanted}")));
    }
    let seconds = seconds(call, payload)?;
    if level(call) == wanted {
        return Ok(Answer::message(StatusCode::OK, format!("log level is already {wanted}")));
    }
    let port = call.ports.log_level.as_ref().ok_or_else(|| {
        let text = "the log level of this process cannot be changed while it runs";
        Answer::message(StatusCode::NOT_IMPLEMENTED, text)
    })?;
    port.set(wanted, (seconds > 0).then(|| Duration::from_secs(seconds)));
    Ok(Answer::message(StatusCode::OK, "log level changed"))
}

fn seconds(call: &Call<'_>, payload: &Payload) -> Result<u64, Answer> {
    let sent = payload.member("timeout");
    let Some(text) = call.parameter("timeout").map(str::to_owned).or(sent) else {
        return Ok(LASTS);
    };
    text.parse().map_err(|_| Answer::bad_request("timeout must be greater than or equal to 0"))
}
