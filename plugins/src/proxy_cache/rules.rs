//! What Cache-Control and Expires say (RFC 7234, 5.2 and 5.3), as far as Kong heeds them.

use std::collections::HashMap;

use http::{HeaderMap, header};

/// The directives of Cache-Control. One without a value counts as 1.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Directives(HashMap<String, Option<u64>>);

impl Directives {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut all = HashMap::new();
        for line in headers.get_all(header::CACHE_CONTROL) {
            for part in line.to_str().unwrap_or_default().split(',') {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                let name = name.trim().to_ascii_lowercase();
                if !name.is_empty() {
                    all.insert(name, value.trim().trim_matches('"').parse().ok());
                }
            }
        }
        Self(all)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The number of a directive that has one.
    pub(super) fn seconds(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied().flatten()
    }
}

/// Seconds an answer says to be good for; 0 when it does not say.
pub(super) fn good_for(directives: &Directives, headers: &HeaderMap, now: u64) -> u64 {
    if let Some(seconds) = directives.seconds("s-maxage").or_else(|| directives.seconds("max-age"))
    {
        return seconds;
    }
    let expires = headers.get_all(header::EXPIRES).iter().next_back();
    expires
        .and_then(|value| value.to_str().ok())
        .and_then(|text| jiff::fmt::rfc2822::parse(text).ok())
        .and_then(|time| u64::try_from(time.timestamp().as_second()).ok())
        .map_or(0, |second| second.saturating_sub(now))
}
