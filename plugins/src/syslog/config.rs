use std::collections::BTreeMap;

use gateway_model::schema::Record;
use serde::Deserialize;

use crate::kit::severity::{Severities, Severity};

/// Hands an entry about every exchange to the system log (kong/plugins/syslog/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// The least severity that is logged.
    #[record(default = "info")]
    log_level: Severity,
    /// Severity of answers below 400.
    #[record(default = "info")]
    successful_severity: Severity,
    /// Severity of answers from 400 to 499.
    #[record(default = "info")]
    client_errors_severity: Severity,
    /// Severity of answers from 500 on.
    #[record(default = "info")]
    server_errors_severity: Severity,
    /// Members by dotted path, of Lua code. Of that there are constants only: `return 'v'`.
    #[record(keys(|k| k.len_min(1)), values(|v| v.len_min(1)))]
    pub(super) custom_fields_by_lua: Option<BTreeMap<String, String>>,
    /// Which part of the system the entries are told to come from.
    #[record(default = "user")]
    pub(super) facility: Facility,
}

impl Config {
    pub(super) const fn severities(&self) -> Severities {
        Severities {
            least: self.log_level,
            successful: self.successful_severity,
            client_errors: self.client_errors_severity,
            server_errors: self.server_errors_severity,
        }
    }
}

/// A part of the system; the number is syslog's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Facility {
    Auth = 4,
    Authpriv = 10,
    Cron = 9,
    Daemon = 3,
    Ftp = 11,
    Kern = 0,
    Lpr = 6,
    Mail = 2,
    News = 7,
    Syslog = 5,
    User = 1,
    Uucp = 8,
    Local0 = 16,
    Local1 = 17,
    Local2 = 18,
    Local3 = 19,
    Local4 = 20,
    Local5 = 21,
    Local6 = 22,
    Local7 = 23,
}
