//! The log entry of a stream (kong/pdk/log.lua, serialize of the stream subsystem).

use serde_json::{Value, json};

use super::{WORKSPACE, entity, tries};
use crate::contract::{Facts, Latencies, Try};

/// One finished stream: what a log entry tells of it.
pub struct SessionLog<'a> {
    /// What is known of it.
    pub facts: &'a Facts,
    /// The listener's port as seen outside.
    pub port: u16,
    /// nginx's name for the outcome: 200, 403, 500, 502.
    pub status: u16,
    /// Bytes from the client.
    pub received: u64,
    /// Bytes to the client.
    pub sent: u64,
    /// Bytes from the upstream.
    pub upstream_received: u64,
    /// Bytes to the upstream.
    pub upstream_sent: u64,
    /// The addresses asked, one entry a try.
    pub tries: &'a [Try],
    /// How long it took: until the upstream was connected, and in all.
    pub latencies: Latencies,
}

/// The log entry of a stream.
pub fn session_entry(log: &SessionLog<'_>) -> Value {
    let facts = log.facts;
    let mut session = json!({
        "received": log.received,
        "sent": log.sent,
        "status": log.status,
        "server_port": log.port,
    });
    if let Some(tls) = &facts.client.tls {
        session["tls"] = json!({"version": tls.version, "cipher": tls.cipher, "client_verify": tls.client_verify});
    }
    let mut entry = json!({
        "session": session,
        "upstream": {"received": log.upstream_received, "sent": log.upstream_sent},
        "latencies": {"kong": log.latencies.kong, "session": log.latencies.request},
        "tries": tries(log.tries),
        "client_ip": facts.client.ip.to_canonical(),
        "started_at": facts.started_ms,
        "workspace": WORKSPACE.0,
        "workspace_name": WORKSPACE.1,
    });
    if let Some(route) = &facts.route {
        entry["route"] = entity(route.document(), true);
    }
    if let Some(service) = &facts.service {
        entry["service"] = entity(service.document(), true);
    }
    entry
}
