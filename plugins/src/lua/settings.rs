//! [`Settings`]: what Lua code may do, and what it is told of the node.

use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value};

/// What Lua code may do, and what it is told of the node. Made once by the binary.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What code in configurations may see (`untrusted_lua`).
    pub untrusted: Untrusted,
    /// Modules sandboxed code may `require` (`untrusted_lua_sandbox_requires`).
    pub requires: Vec<String>,
    /// Globals sandboxed code sees besides, dotted (`untrusted_lua_sandbox_environment`).
    pub environment: Vec<String>,
    /// Where modules are looked for, `?` being the module's name (`lua_package_path`).
    pub package_path: String,
    /// How many machines there are at most: the number of worker threads.
    pub machines: usize,
    /// Bytes one machine may hold (`mep_lua_memory`).
    pub memory: usize,
    /// How long one call may compute, waiting not counted (`mep_lua_time`).
    pub time: Duration,
    /// What `kong.configuration` shows; without secrets.
    pub configuration: Map<String, Value>,
    /// What `kong.node.get_id` gives.
    pub node_id: String,
    /// Whom `kong.ip.is_trusted` trusts (`trusted_ips`).
    pub trusted: Vec<IpNet>,
}

/// What code in configurations may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Untrusted {
    /// Nothing: such code is refused.
    Off,
    /// A safe part of the language and the gateway.
    #[default]
    Sandbox,
    /// Everything a custom plugin sees.
    On,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            untrusted: Untrusted::Sandbox,
            requires: Vec::new(),
            environment: Vec::new(),
            package_path: Self::PACKAGE_PATH.to_owned(),
            machines: 2,
            memory: Self::MEMORY,
            time: Self::TIME,
            configuration: Map::new(),
            node_id: String::new(),
            trusted: Vec::new(),
        }
    }
}

impl Settings {
    /// Kong's `lua_package_path`.
    pub const PACKAGE_PATH: &str = "./?.lua;./?/init.lua;";
    /// 64 MiB.
    pub const MEMORY: usize = 64 * 1024 * 1024;
    /// A call that computes this long has gone astray; its worker serves nobody else meanwhile.
    pub const TIME: Duration = Duration::from_millis(500);
}
