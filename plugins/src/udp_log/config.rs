use std::collections::BTreeMap;

use gateway_model::schema::Record;
use serde::Deserialize;

/// Sends an entry about every exchange in a datagram (kong/plugins/udp-log/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// Where to: a name or an address.
    #[record(is("host", types::host))]
    pub(super) host: String,
    /// The port there.
    #[record(between(0, 65535))]
    pub(super) port: u16,
    /// Milliseconds sending may take, finding the address included.
    #[record(default = 10_000)]
    pub(super) timeout: Option<f64>,
    /// Members by dotted path, of Lua code. Of that there are constants only: `return 'v'`.
    #[record(keys(|k| k.len_min(1)), values(|v| v.len_min(1)))]
    pub(super) custom_fields_by_lua: Option<BTreeMap<String, String>>,
}
