use std::collections::BTreeMap;

use gateway_model::Secret;
use gateway_model::schema::Record;
use serde::Deserialize;

use crate::kit::severity::{Severities, Severity};

/// Sends an entry about every exchange to Loggly (kong/plugins/loggly/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// Where to: a name or an address.
    #[record(default = "logs-01.loggly.com", is("host", types::host))]
    pub(super) host: Option<String>,
    /// The port there.
    #[record(default = 514, between(0, 65535))]
    pub(super) port: Option<u16>,
    /// The customer's token.
    #[record(referenceable, encrypted)]
    pub(super) key: Secret<String>,
    /// Tags of the entries.
    #[record(set, default(["kong"]))]
    pub(super) tags: Option<Vec<String>>,
    /// The least severity that is sent.
    #[record(default = "info")]
    log_level: Option<Severity>,
    /// Severity of answers below 400.
    #[record(default = "info")]
    successful_severity: Option<Severity>,
    /// Severity of answers from 400 to 499.
    #[record(default = "info")]
    client_errors_severity: Option<Severity>,
    /// Severity of answers from 500 on.
    #[record(default = "info")]
    server_errors_severity: Option<Severity>,
    /// Milliseconds sending may take, finding the address included.
    #[record(default = 10_000)]
    pub(super) timeout: Option<f64>,
    /// Members by dotted path, of Lua code. Of that there are constants only: `return 'v'`.
    #[record(keys(|k| k.len_min(1)), values(|v| v.len_min(1)))]
    pub(super) custom_fields_by_lua: Option<BTreeMap<String, String>>,
}

impl Config {
    pub(super) fn severities(&self) -> Severities {
        let or_info = |severity: Option<Severity>| severity.unwrap_or(Severity::Info);
        Severities {
            least: or_info(self.log_level),
            successful: or_info(self.successful_severity),
            client_errors: or_info(self.client_errors_severity),
            server_errors: or_info(self.server_errors_severity),
        }
    }
}
