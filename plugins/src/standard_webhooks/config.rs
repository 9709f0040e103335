use gateway_model::Secret;
use gateway_model::schema::Record;
use serde::Deserialize;

/// Lets only signed webhooks pass (kong/plugins/standard-webhooks/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// The secret shared with the sender, used as it stands.
    #[record(referenceable, encrypted)]
    pub(super) secret_v1: Secret<String>,
    /// Seconds a webhook may be old.
    #[record(default = 300, gt(-1))]
    pub(super) tolerance_second: i64,
}
