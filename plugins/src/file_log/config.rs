use std::collections::BTreeMap;

use gateway_model::schema::Record;
use serde::Deserialize;

/// Appends an entry about every exchange to a file (kong/plugins/file-log/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// The file; made when there is none.
    #[record(matches(r"^[^\s*&%\\`][^*&%\\`]*[^\s*&%\\`]$"), error("not a valid filename"))]
    pub(super) path: String,
    /// Whether the file is opened for each write: needed when others move it away.
    #[record(default = false)]
    pub(super) reopen: bool,
    /// Members by dotted path, of Lua code. Of that there are constants only: `return 'v'`.
    #[record(keys(|k| k.len_min(1)), values(|v| v.len_min(1)))]
    pub(super) custom_fields_by_lua: Option<BTreeMap<String, String>>,
}
