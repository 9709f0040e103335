//! The Admin API: bodies in its three forms, paths, queries.

use std::sync::Arc;

use axum::body::Body;
use gateway_admin::{Admin, Connections, Headers, Node, NodeStatus, Source, Writes, router};
use gateway_control::Control;
use gateway_control::store::memory::Memory;
use gateway_model::{Clock, Document, Id};
use http::StatusCode;

use crate::asked::{Asked, answered};
use crate::files::REGISTRY;
use crate::platform::with_runtime;

struct Idle;

impl NodeStatus for Idle {
    fn connections(&self) -> Connections {
        Connections::default()
    }

    fn memory_bytes(&self) -> u64 {
        0
    }

    fn source(&self) -> Source {
        Source::Database { reachable: true }
    }
}

/// Requests one after the other to a node that is empty at first: none fails inside.
pub(crate) fn forms(data: &[u8]) {
    with_runtime(async {
        let (registry, store) = (Arc::clone(&REGISTRY), Arc::new(Memory::new()));
        let started = Control::start(registry, store, Vec::new(), Clock::fixed(1)).await;
        let admin = Admin {
            control: started.expect("an empty store is loaded"),
            node: Node {
                version: "3.10.0".into(),
                id: Id::from_bytes([1; 16]),
                hostname: "node".into(),
                pid: 1,
                configuration: Document::new(),
            },
            status: Arc::new(Idle),
            metrics: None,
            gui_origins: Vec::new(),
            headers: Headers { server: None, latency: false },
            writes: Writes::Store,
            body_limit: 1 << 20,
        };
        for asked in Asked::all(data) {
            let target = asked.target.clone();
            let scalar = is_scalar(&asked.body);
            let status = answered(&router(admin.clone()), asked.request::<Body>()).await;
            // Some parts of a node are not there, and said to be.
            let known = match status {
                StatusCode::INTERNAL_SERVER_ERROR => scalar,
                _ => status.as_u16() < 500 || status == StatusCode::NOT_IMPLEMENTED,
            };
            assert!(known, "{target}: {status}");
        }
    });
}

/// Whether a body is JSON without members or elements, which Kong answers with 500.
fn is_scalar(body: &[u8]) -> bool {
    let read = serde_json::from_slice::<serde_json::Value>(body);
    // Control characters stand as they are in strings.
    body.trim_ascii_start().starts_with(b"\"")
        || read.is_ok_and(|value| !value.is_object() && !value.is_array())
}
