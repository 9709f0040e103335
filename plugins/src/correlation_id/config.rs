use gateway_model::schema::Record;
use serde::Deserialize;

/// Gives every request an id (kong/plugins/correlation-id/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// The header the id stands in. A client's own id is kept.
    #[record(default = "Kong-Request-ID")]
    pub(super) header_name: Option<String>,
    /// What ids are like.
    #[record(default = "uuid#counter")]
    pub(super) generator: Generator,
    /// Whether the client is told the id.
    #[record(default = false)]
    pub(super) echo_downstream: bool,
}

/// What ids are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
pub(crate) enum Generator {
    /// A random UUID each.
    #[serde(rename = "uuid")]
    Uuid,
    /// A UUID of this process, and a number counted up.
    #[serde(rename = "uuid#counter")]
    Counter,
    /// Our address and port, the process, the client's port, a number counted up, and the time in
    /// seconds.
    #[serde(rename = "tracker")]
    Tracker,
}
