//! What loggers share: log entries on their way into a queue, members in Lua.

use std::collections::BTreeMap;
use std::time::Duration;

use gateway_model::Violations;

use super::queue::{Parameters, Queue};
use crate::contract::Summary;

/// Puts the entry of an exchange in.
pub(crate) fn push(queue: &Queue, summary: &Summary<'_>) {
    match serde_json::to_vec(summary.entry()) {
        Ok(entry) => queue.push(entry.into()),
        Err(why) => tracing::error!(%why, "cannot write a log entry: {why}"),
    }
}

/// # Errors
///
/// When there are any: there is no Lua yet.
pub(crate) fn no_lua(fields: Option<&BTreeMap<String, String>>) -> Result<(), Violations> {
    if fields.is_none_or(BTreeMap::is_empty) {
        return Ok(());
    }
    let text = "Lua is not available yet; leave custom_fields_by_lua empty";
    Err(Violations::one("custom_fields_by_lua", text))
}

/// For loggers without queue parameters of their own: entries go out at once, those that wait
/// together, and are tried once.
pub(crate) const AT_ONCE: Parameters = Parameters {
    max_batch_size: 64,
    max_coalescing_delay: Duration::ZERO,
    max_entries: 10_000,
    max_bytes: usize::MAX,
    max_retry_time: Duration::ZERO,
    initial_retry_delay: Duration::from_millis(10),
    max_retry_delay: Duration::from_millis(10),
    concurrent: false,
};
