use gateway_model::schema::{Check, Record};
use serde::Deserialize;

/// Lets in or refuses by group (kong/plugins/acl/schema.lua).
///
/// `whitelist` and `blacklist`, the names of Kong 1, are accepted for `allow` and `deny`.
#[derive(Deserialize, Record)]
#[record(check = Check::OnlyOneOf(&["allow", "deny"]))]
#[record(check = Check::AtLeastOneOf(&["allow", "deny"]))]
#[record(alias("whitelist", "allow"), alias("blacklist", "deny"))]
pub(crate) struct Config {
    /// Groups let in; all others are refused.
    pub(super) allow: Option<Vec<String>>,
    /// Groups refused; all others are let in.
    pub(super) deny: Option<Vec<String>>,
    /// Whether the upstream is not told the groups.
    #[record(default = false)]
    pub(super) hide_groups_header: bool,
    /// Whether groups that an authentication plugin found count even for a consumer with a
    /// credential.
    #[record(default = false)]
    pub(super) always_use_authenticated_groups: bool,
}
