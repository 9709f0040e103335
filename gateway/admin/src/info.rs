//! What the node tells of itself: `/`, `/status`, `/endpoints`, `/plugins/enabled`, `/metrics`.

use gateway_model::Document;
use serde_json::{Value, json};

use crate::Source;
use crate::answer::Answer;
use crate::dispatch::Call;
use crate::nested;

/// `GET /`
pub(crate) fn node(call: &Call<'_>) -> Answer {
    let node = &call.admin.node;
    let available: Document = call
        .registry()
        .installed()
        .map(|plugin| {
            let about = json!({ "version": plugin.version, "priority": plugin.priority });
            (plugin.name.to_owned(), about)
        })
        .collect();
    Answer::ok(json!({
        "tagline": "Welcome to kong",
        "version": node.version,
        "edition": "community",
        "hostname": node.hostname,
        "node_id": node.id,
        // There is no Lua here; clients read the member as a text.
        "lua_version": "",
        "timers": { "running": 0, "pending": 0 },
        "pids": { "master": node.pid, "workers": [node.pid] },
        "plugins": { "available_on_server": available, "enabled_in_cluster": in_use(call) },
        "configuration": node.configuration,
    }))
}

/// Names of the plugins that are configured anywhere.
fn in_use(call: &Call<'_>) -> Vec<String> {
    let plugins = call.catalog.collection("plugins").into_iter().flat_map(|all| all.iter());
    let mut names: Vec<String> = plugins.filter_map(|plugin| plugin.text("name")).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// `GET /status`
pub(crate) fn status(call: &Call<'_>) -> Result<Answer, Answer> {
    let unit = Unit::read(call)?;
    let status = &call.admin.status;
    let connections = status.connections();
    let mut body = json!({
        "server": {
            "connections_accepted": connections.accepted,
            "connections_active": connections.active,
            "connections_handled": connections.handled,
            "connections_reading": connections.reading,
            "connections_writing": connections.writing,
            "connections_waiting": connections.waiting,
            "total_requests": connections.requests,
        },
        // One process without Lua: its memory stands where clients look for that of a worker.
        "memory": {
            "lua_shared_dicts": {},
            "workers_lua_vms": [{
                "pid": call.admin.node.pid,
                "http_allocated_gc": unit.show(status.memory_bytes()),
            }],
        },
    });
    match status.source() {
        Source::Database { reachable } => body["database"] = json!({ "reachable": reachable }),
        Source::Declarative { hash } => body["configuration_hash"] = hash.into(),
    }
    Ok(Answer::ok(body))
}

/// How `/status` shows sizes: `?unit=m&scale=2`.
struct Unit {
    letter: char,
    scale: usize,
}

impl Unit {
    fn read(call: &Call<'_>) -> Result<Self, Answer> {
        let unit = call.parameter("unit").unwrap_or("m");
        let letter = match unit.to_ascii_lowercase().as_str() {
            "b" => 'b',
            "k" => 'k',
            "m" => 'm',
            "g" => 'g',
            _ => {
                return Err(Answer::bad_request(format!(
                    "invalid unit '{unit}' (expected 'k/K', 'm/M', or 'g/G')"
                )));
            }
        };
        let scale = match call.parameter("scale") {
            None => 2,
            Some(text) => text.parse().ok().filter(|scale| *scale <= 20).ok_or_else(|| {
                Answer::bad_request(format!("invalid scale '{text}' (expected a number)"))
            })?,
        };
        Ok(Self { letter, scale })
    }

    fn show(&self, bytes: u64) -> Value {
        #[expect(clippy::cast_precision_loss, reason = "a size for people")]
        let of =
            |unit: f64, name: &str| format!("{:.*} {name}", self.scale, bytes as f64 / unit).into();
        match self.letter {
            'b' => bytes.into(),
            'k' => of(1024.0, "KiB"),
            'm' => of(1024.0 * 1024.0, "MiB"),
            _ => of(1024.0 * 1024.0 * 1024.0, "GiB"),
        }
    }
}

/// `GET /timers`: this gateway waits in tasks, so there are no timers to count.
pub(crate) fn timers() -> Answer {
    let counts = json!({ "total": 0, "runs": 0, "running": 0, "pending": 0, "waiting": 0 });
    let flames = json!({ "running": "", "pending": "", "elapsed_time": "" });
    Answer::ok(json!({
        "worker": { "id": 0, "count": 1 },
        "stats": { "sys": counts, "timers": {}, "flamegraph": flames },
    }))
}

/// `GET /endpoints`
pub(crate) fn endpoints(call: &Call<'_>) -> Answer {
    Answer::ok(json!({ "data": nested::endpoints(call.registry(), &call.ports.pages) }))
}

/// `GET /plugins/enabled`
pub(crate) fn enabled_plugins(call: &Call<'_>) -> Answer {
    let names: Vec<&str> = call.registry().plugins().map(|plugin| plugin.name).collect();
    Answer::ok(json!({ "enabled_plugins": names }))
}

/// `GET /metrics`
pub(crate) fn metrics(call: &Call<'_>) -> Result<Answer, Answer> {
    let text = call.admin.metrics.as_ref().ok_or_else(Answer::not_found)?;
    Ok(Answer::text("text/plain; charset=UTF-8", text()))
}
