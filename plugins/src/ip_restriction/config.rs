use gateway_model::schema::{Check, Record};
use serde::Deserialize;

/// Lets in or refuses by client address (kong/plugins/ip-restriction/schema.lua).
///
/// `whitelist` and `blacklist`, the names of Kong 1, are accepted for `allow` and `deny`.
#[derive(Deserialize, Record)]
#[record(check = Check::AtLeastOneOf(&["allow", "deny"]))]
#[record(alias("whitelist", "allow"), alias("blacklist", "deny"))]
pub(crate) struct Config {
    /// Addresses and ranges let in; all others are refused.
    #[record(elements(|e| e.is("ip_or_cidr", types::ip_or_cidr)))]
    pub(super) allow: Option<Vec<String>>,
    /// Addresses and ranges refused, even when `allow` holds them.
    #[record(elements(|e| e.is("ip_or_cidr", types::ip_or_cidr)))]
    pub(super) deny: Option<Vec<String>>,
    /// Status of a refusal; unset means 403.
    pub(super) status: Option<f64>,
    /// Text of a refusal; unset names the address.
    pub(super) message: Option<String>,
}
