//! Resolving the names of upstreams.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use super::scalar::{Word as _, choice};

#[derive(Debug)]
pub(crate) struct Names {
    /// Empty: those of the system.
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) hosts_file: PathBuf,
    /// Record types in the order they are tried.
    pub(crate) order: Vec<RecordOrder>,
    /// How long an answer is kept; absent: as it says itself.
    pub(crate) valid: Option<Duration>,
    /// How long an expired answer is used while a new one is fetched.
    pub(crate) stale: Duration,
    /// Answers kept.
    pub(crate) cache_size: usize,
    pub(crate) not_found: Duration,
    pub(crate) error: Duration,
    /// Send equal look-ups each for itself.
    pub(crate) no_sync: bool,
}

impl Names {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            servers: reader.each("dns_resolver", |text| {
                server(text).ok_or_else(|| {
                    format!(
                        "dns_resolver must be a comma separated list in the form of IPv4/6 or \
                         IPv4/6:port, got '{text}'"
                    )
                })
            }),
            hosts_file: reader.word("dns_hostsfile").into(),
            order: reader.each("dns_order", |text| {
                RecordOrder::from_word(&text.to_ascii_uppercase())
                    .ok_or_else(|| format!("dns_order: invalid entry '{text}'"))
            }),
            valid: reader.optional("dns_valid_ttl", 0..=u32::MAX).map(seconds),
            stale: reader.seconds("dns_stale_ttl"),
            cache_size: reader.whole("dns_cache_size", 1..=10_000_000),
            not_found: reader.seconds("dns_not_found_ttl"),
            error: reader.seconds("dns_error_ttl"),
            no_sync: reader.boolean("dns_no_sync"),
        }
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

/// `ip`, `ip:port`, `[ip]` or `[ip]:port`.
fn server(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(addr) => Some((addr, 53).into()),
        Err(_) => text.parse().ok(),
    }
}

choice! {
    /// One step in the order of look-ups.
    RecordOrder {
        /// The type that worked before.
        Last = "LAST",
        Srv = "SRV",
        A = "A",
        Aaaa = "AAAA",
        Cname = "CNAME",
    }
}
