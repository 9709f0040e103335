//! [`NodeMetrics`]: what the process as a whole reports, without any instance of the plugin.

use std::sync::Arc;

use gateway_model::ports::Health;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, IntGaugeVec, Opts};

use super::families::Families;
use crate::contract::Tools;

/// What the process as a whole reports. Each part is asked for when `/metrics` is; parts nobody can
/// tell are left out.
///
/// The families are Kong's, so that existing dashboards find them; where their names speak of
/// nginx and Lua, they stand for what takes that place here.
pub struct NodeMetrics {
    node_id: String,
    version: String,
    connections: Option<Read<Connections>>,
    requests: Option<Read<u64>>,
    timers: Option<Read<Timers>>,
    datastore: Option<Read<bool>>,
    memory: Option<Read<u64>>,
    targets: Option<Read<Vec<Target>>>,
}

type Read<T> = Box<dyn Fn() -> T + Send + Sync>;

/// Connections of clients, as nginx counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Accepted since the start.
    pub accepted: u64,
    /// Served since the start; less than accepted when some had to be dropped.
    pub handled: u64,
    /// Open now.
    pub active: u64,
    /// Open, and sending a request.
    pub reading: u64,
    /// Open, and being answered.
    pub writing: u64,
    /// Open, and idle.
    pub waiting: u64,
}

/// One address of an upstream's target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The upstream's name.
    pub upstream: String,
    /// Name and port as configured.
    pub target: String,
    /// Address and port; empty when the name does not resolve.
    pub address: String,
    /// How it is.
    pub health: Health,
}

/// Background tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// At work.
    pub running: u64,
    /// Waiting for their time.
    pub pending: u64,
}

impl NodeMetrics {
    /// A node of this id and version, of which nothing else is known.
    pub fn new(node_id: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            node_id: node_id.into(),
            version: version.into(),
            connections: None,
            requests: None,
            timers: None,
            datastore: None,
            memory: None,
            targets: None,
        }
    }

    /// Says how to tell the connections: `kong_nginx_connections_total`.
    #[must_use]
    pub fn connections(mut self, read: impl Fn() -> Connections + Send + Sync + 'static) -> Self {
        self.connections = Some(Box::new(read));
        self
    }

    /// Says how to tell the requests since the start: `kong_nginx_requests_total`.
    #[must_use]
    pub fn requests(mut self, read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.requests = Some(Box::new(read));
        self
    }

    /// Says how to tell the background tasks: `kong_nginx_timers`.
    #[must_use]
    pub fn timers(mut self, read: impl Fn() -> Timers + Send + Sync + 'static) -> Self {
        self.timers = Some(Box::new(read));
        self
    }

    /// Says how to tell whether the store answers: `kong_datastore_reachable`.
    #[must_use]
    pub fn datastore(mut self, read: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.datastore = Some(Box::new(read));
        self
    }

    /// Says how to tell the bytes this process holds: `kong_memory_workers_lua_vms_bytes`, which
    /// counts one worker's memory in Kong and the whole process' here.
    #[must_use]
    pub fn memory(mut self, read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.memory = Some(Box::new(read));
        self
    }

    /// Says how to tell the health of targets: `kong_upstream_target_health`. No targets, no family.
    #[must_use]
    pub fn targets(mut self, read: impl Fn() -> Vec<Target> + Send + Sync + 'static) -> Self {
        self.targets = Some(Box::new(read));
        self
    }

    /// Shows all this, and the plugin's own families, in the metrics of the process.
    ///
    /// # Errors
    ///
    /// When a family of the same name is there already: this is done once.
    pub fn register(self, tools: &Tools) -> prometheus::Result<()> {
        Families::of(tools);
        let lua = crate::lua::Engine::of(tools);
        tools.metrics.register(Box::new(NodeCollector::new(self, lua)?))
    }
}

struct NodeCollector {
    node: NodeMetrics,
    /// Holds the dictionaries Lua code shares.
    lua: Arc<crate::lua::Engine>,
    dictionaries: [IntGaugeVec; 2],
    info: IntGaugeVec,
    connections: IntGaugeVec,
    requests: IntGaugeVec,
    timers: IntGaugeVec,
    datastore: IntGauge,
    memory: IntGaugeVec,
    targets: IntGaugeVec,
}

impl NodeCollector {
    fn new(node: NodeMetrics, lua: Arc<crate::lua::Engine>) -> prometheus::Result<Self> {
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels)
        };
        let info = gauges("kong_node_info", "Id and version of the node", &["node_id", "version"])?;
        info.with_label_values(&[&node.node_id, &node.version]).set(1);
        Ok(Self {
            info,
            connections: gauges(
                "kong_nginx_connections_total",
                "Connections of clients, by state",
                &["node_id", "subsystem", "state"],
            )?,
            requests: gauges(
                "kong_nginx_requests_total",
                "Requests since the start",
                &["node_id", "subsystem"],
            )?,
            timers: gauges("kong_nginx_timers", "Background tasks, by state", &["state"])?,
            datastore: IntGauge::new(
                "kong_datastore_reachable",
                "Whether the store answers: 1 or 0",
            )?,
            memory: gauges(
                "kong_memory_workers_lua_vms_bytes",
                "Bytes the process holds",
                &["node_id", "pid", "kong_subsystem"],
            )?,
            targets: gauges(
                "kong_upstream_target_health",
                "Health of targets: 1 for the state an address is in",
                &["upstream", "target", "address", "state", "subsystem"],
            )?,
            dictionaries: [
                gauges(
                    "kong_memory_lua_shared_dict_bytes",
                    "Bytes used in a dictionary that Lua code shares",
                    &["node_id", "shared_dict", "kong_subsystem"],
                )?,
                gauges(
                    "kong_memory_lua_shared_dict_total_bytes",
                    "Bytes a dictionary that Lua code shares may use",
                    &["node_id", "shared_dict", "kong_subsystem"],
                )?,
            ],
            lua,
            node,
        })
    }
}

impl Collector for NodeCollector {
    fn desc(&self) -> Vec<&Desc> {
        [
            self.info.desc(),
            self.connections.desc(),
            self.requests.desc(),
            self.timers.desc(),
            self.datastore.desc(),
            self.memory.desc(),
            self.targets.desc(),
            self.dictionaries[0].desc(),
            self.dictionaries[1].desc(),
        ]
        .concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let id = self.node.node_id.as_str();
        let mut families = self.info.collect();
        if let Some(read) = &self.node.connections {
            let now = read();
            for (state, value) in [
                ("accepted", now.accepted),
                ("active", now.active),
                ("handled", now.handled),
                ("reading", now.reading),
                ("total", now.handled),
                ("waiting", now.waiting),
                ("writing", now.writing),
            ] {
                self.connections.with_label_values(&[id, "http", state]).set(signed(value));
            }
            families.extend(self.connections.collect());
        }
        if let Some(read) = &self.node.requests {
            self.requests.with_label_values(&[id, "http"]).set(signed(read()));
            families.extend(self.requests.collect());
        }
        if let Some(read) = &self.node.timers {
            let now = read();
            self.timers.with_label_values(&["running"]).set(signed(now.running));
            self.timers.with_label_values(&["pending"]).set(signed(now.pending));
            families.extend(self.timers.collect());
        }
        if let Some(read) = &self.node.datastore {
            self.datastore.set(read().into());
            families.extend(self.datastore.collect());
        }
        if let Some(read) = &self.node.memory {
            let pid = std::process::id().to_string();
            self.memory.with_label_values(&[id, &pid, "http"]).set(signed(read()));
            families.extend(self.memory.collect());
        }
        for (name, used, most) in self.lua.dictionary_sizes() {
            for (gauge, bytes) in self.dictionaries.iter().zip([used, most]) {
                gauge.with_label_values(&[id, name, "http"]).set(signed(bytes as u64));
            }
        }
        families.extend(self.dictionaries.iter().flat_map(Collector::collect));
        let targets = self.node.targets.as_ref().map(|read| read()).unwrap_or_default();
        // Targets come and go: what is told is what there is now.
        self.targets.reset();
        for one in &targets {
            for (state, name) in STATES {
                let labels = [&*one.upstream, &*one.target, &*one.address, name, "http"];
                self.targets.with_label_values(&labels).set((one.health == state).into());
            }
        }
        if !targets.is_empty() {
            families.extend(self.targets.collect());
        }
        families
    }
}

/// Each is told of each address, as 1 or 0 (kong/plugins/prometheus/exporter.lua).
const STATES: [(Health, &str); 4] = [
    (Health::Off, "healthchecks_off"),
    (Health::Healthy, "healthy"),
    (Health::Unhealthy, "unhealthy"),
    (Health::DnsError, "dns_error"),
];

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
