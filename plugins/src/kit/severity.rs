//! Severities and facilities of syslog (RFC 5424, 6.2.1).

use gateway_model::schema::Record;
use serde::Deserialize;

/// How bad it is; the number is syslog's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Debug = 7,
    Info = 6,
    Notice = 5,
    Warning = 4,
    Err = 3,
    Crit = 2,
    Alert = 1,
    Emerg = 0,
}

/// Which severity an answer's status has, and from which on entries are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Severities {
    pub(crate) least: Severity,
    pub(crate) successful: Severity,
    pub(crate) client_errors: Severity,
    pub(crate) server_errors: Severity,
}

impl Severities {
    /// The severity of a status, `None` when it is not worth an entry.
    pub(crate) const fn of(self, status: u16) -> Option<Severity> {
        let severity = match status {
            500.. => self.server_errors,
            400.. => self.client_errors,
            _ => self.successful,
        };
        if severity as u8 <= self.least as u8 { Some(severity) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::{Severities, Severity};

    #[test]
    fn a_status_has_a_severity() {
        let severities = Severities {
            least: Severity::Warning,
            successful: Severity::Info,
            client_errors: Severity::Warning,
            server_errors: Severity::Crit,
        };
        let seen = [200, 399, 400, 499, 500, 599].map(|status| severities.of(status));
        let (warning, crit) = (Some(Severity::Warning), Some(Severity::Crit));
        assert_eq!(seen, [None, None, warning, warning, crit, crit]);
    }
}
