//! The process itself: its folder, identity, threads, and the plugins it offers.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use uuid::Uuid;

use super::reader::Reader;
use super::scalar::{choice, size};

/// What a machine needs before any plugin does.
const LEAST_LUA_MEMORY: u64 = 8 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Process {
    /// Folder for state, keys, logs and the pid file; as given, so relative to the working
    /// directory when it is.
    pub(crate) prefix: PathBuf,
    /// Unset: made on first start and kept in the prefix.
    pub(crate) node_id: Option<Uuid>,
    /// Whether `start` returns once the gateway is ready.
    pub(crate) daemon: bool,
    pub(crate) workers: Workers,
    /// Client connections for each worker.
    pub(crate) connections: usize,
    /// Files that may be open; absent for as many as the system allows.
    pub(crate) open_files: Option<u64>,
    pub(crate) role: Role,
    pub(crate) plugins: EnabledPlugins,
    /// Where Lua modules are.
    pub(crate) lua_package_path: String,
    /// How long one call of Lua code may compute.
    pub(crate) lua_time: Duration,
    /// Bytes the Lua code of one worker may hold.
    pub(crate) lua_memory: usize,
}

impl Process {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let role = reader.choice("role");
        if role != Role::Traditional {
            reader.refuse("role", "role: this gateway runs as 'traditional' only");
        }
        Self {
            prefix: reader.word("prefix").into(),
            node_id: reader.read("node_id", |text| match text {
                "" => Ok(None),
                text => Uuid::try_parse(text)
                    .map(Some)
                    .map_err(|_| format!("node_id must be a valid UUID, not '{text}'")),
            }),
            daemon: reader.boolean("nginx_daemon"),
            workers: reader.read("nginx_worker_processes", |text| match text {
                "auto" => Ok(Workers::Auto),
                text => text.parse().map(Workers::Count).map_err(|_| {
                    format!(
                        "nginx_worker_processes must be 'auto' or a number above 0, not '{text}'"
                    )
                }),
            }),
            connections: reader
                .read("nginx_events_worker_connections", |text| {
                    auto("nginx_events_worker_connections", text)
                })
                .and_then(|most| usize::try_from(most).ok())
                .unwrap_or(16_384),
            open_files: reader.read("nginx_main_worker_rlimit_nofile", |text| {
                auto("nginx_main_worker_rlimit_nofile", text)
            }),
            role,
            plugins: EnabledPlugins::read(reader),
            lua_package_path: reader.word("lua_package_path"),
            lua_time: Duration::from_millis(reader.whole("mep_lua_time", 1..=60_000)),
            lua_memory: reader.read("mep_lua_memory", |text| match size(text) {
                Some(bytes) if bytes >= LEAST_LUA_MEMORY => {
                    usize::try_from(bytes).map_err(|_| "mep_lua_memory is too large".to_owned())
                }
                _ => Err(format!("mep_lua_memory must be a size of at least 8m, not '{text}'")),
            }),
        }
    }
}

/// `auto`, or a number above 0.
fn auto(key: &str, text: &str) -> Result<Option<u64>, String> {
    match text.parse() {
        _ if text == "auto" => Ok(None),
        Ok(number) if number > 0 => Ok(Some(number)),
        _ => Err(format!("{key} must be 'auto' or a number above 0, not '{text}'")),
    }
}

/// How many threads the proxy uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workers {
    /// One for each processor the process may use.
    Auto,
    Count(NonZeroUsize),
}

impl Workers {
    pub(crate) fn threads(self) -> NonZeroUsize {
        match self {
            Self::Auto => thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            Self::Count(threads) => threads,
        }
    }
}

choice! {
    /// The part of a node in Kong's hybrid mode.
    Role {
        DataPlane = "data_plane",
        ControlPlane = "control_plane",
        /// A node that does both, the only one there is here.
        Traditional = "traditional",
    }
}

/// Which plugins may be configured. Whether the names exist is for the one who has the plugins to
/// say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnabledPlugins {
    /// Everything that is built in.
    pub(crate) bundled: bool,
    /// Further ones by name, each once.
    pub(crate) names: Vec<String>,
}

impl EnabledPlugins {
    fn read(reader: &mut Reader<'_>) -> Self {
        let mut enabled = Self { bundled: false, names: Vec::new() };
        for name in [reader.list("plugins"), reader.list("custom_plugins")].concat() {
            match name.as_str() {
                "bundled" => enabled.bundled = true,
                "off" => {}
                _ if enabled.names.contains(&name) => {}
                _ => enabled.names.push(name),
            }
        }
        enabled
    }
}
