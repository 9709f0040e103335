//! What plugins tell others of this process: traces, messages to the system log.

use std::path::PathBuf;

use super::reader::Reader;

#[derive(Debug)]
pub(crate) struct Observing {
    /// Parts of a request that are traced; empty for none.
    pub(crate) instrumentations: Vec<String>,
    /// Share of requests that are traced, from 0 to 1.
    pub(crate) sampling_rate: f64,
    /// The machine's system log.
    pub(crate) syslog: PathBuf,
}

/// The words of Kong (kong/observability/tracing/instrumentation.lua); those of DNS, database and
/// HTTP clients trace nothing here.
const PARTS: [&str; 10] = [
    "all",
    "request",
    "router",
    "balancer",
    "plugin_rewrite",
    "plugin_access",
    "plugin_header_filter",
    "dns_query",
    "db_query",
    "http_client",
];

impl Observing {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let parts = reader.each("tracing_instrumentations", |part| match part {
            "off" => Ok(None),
            part if PARTS.contains(&part) => Ok(Some(part.to_owned())),
            part => Err(format!("invalid tracing_instrumentations: {part}")),
        });
        let rate = "tracing_sampling_rate";
        Self {
            instrumentations: parts.into_iter().flatten().collect(),
            sampling_rate: reader.read(rate, |text| {
                super::scalar::number(text)
                    .filter(|share| (0.0..=1.0).contains(share))
                    .ok_or_else(|| format!("{rate} must be between 0 and 1"))
            }),
            syslog: reader.word("mep_syslog_socket").into(),
        }
    }
}
