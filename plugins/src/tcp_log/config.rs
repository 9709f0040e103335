use std::collections::BTreeMap;

use gateway_model::schema::Record;
use serde::Deserialize;

/// Sends an entry about every exchange over TCP (kong/plugins/tcp-log/schema.lua).
#[derive(Deserialize, Record)]
pub(crate) struct Config {
    /// Where to: a name or an address.
    #[record(is("host", types::host))]
    pub(super) host: String,
    /// The port there.
    #[record(between(0, 65535))]
    pub(super) port: u16,
    /// Milliseconds connecting and sending may take.
    #[record(default = 10_000)]
    pub(super) timeout: Option<f64>,
    /// Milliseconds an idle connection is kept.
    #[record(default = 60_000)]
    pub(super) keepalive: Option<f64>,
    /// Whether TLS is spoken. The other end's certificate is not verified.
    #[record(default = false)]
    pub(super) tls: bool,
    /// The server name asked for; unset means the host.
    pub(super) tls_sni: Option<String>,
    /// Members by dotted path, of Lua code. Of that there are constants only: `return 'v'`.
    #[record(keys(|k| k.len_min(1)), values(|v| v.len_min(1)))]
    pub(super) custom_fields_by_lua: Option<BTreeMap<String, String>>,
}
