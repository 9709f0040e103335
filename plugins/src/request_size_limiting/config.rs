use gateway_model::schema::Record;
use serde::Deserialize;

/// Refuses requests whose body is too large (kong/plugins/request-size-limiting/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// The largest body let in, in `size_unit`.
    #[record(default = 128)]
    pub(super) allowed_payload_size: Option<i64>,
    /// What `allowed_payload_size` counts.
    #[record(default = "megabytes")]
    pub(super) size_unit: Unit,
    /// Whether a request must tell its length, unless it comes in chunks.
    #[record(default = false)]
    pub(super) require_content_length: bool,
}

/// A unit of size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    /// 2^20 bytes.
    Megabytes,
    /// 2^10 bytes.
    Kilobytes,
    Bytes,
}

impl Config {
    /// The largest body let in, bytes. A negative size lets in none.
    pub(super) fn limit(&self) -> u64 {
        let unit = match self.size_unit {
            Unit::Megabytes => 1 << 20,
            Unit::Kilobytes => 1 << 10,
            Unit::Bytes => 1,
        };
        let size = self.allowed_payload_size.unwrap_or(128);
        u64::try_from(size).unwrap_or_default().saturating_mul(unit)
    }
}
