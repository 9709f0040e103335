//! What the platform itself offers to transport with.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use crate::Platform;
use crate::problem::json_reply;
use crate::transports;

/// The platform's transports, members in the original's order.
///
/// `GET …/transports`; ETSI GS MEC 011, clause 8.2.5.3.1.
pub(super) async fn list(State(_): State<Arc<Platform>>) -> Response {
    let rest = transports::rest();
    let body = json!([{
        "id": rest.id,
        "name": rest.name,
        "description": rest.description,
        "type": rest.kind,
        "protocol": rest.protocol,
        "version": rest.version,
        "endpoint": {"uris": null, "addresses": null, "alternative": null},
        "security": rest.security,
    }]);
    json_reply(StatusCode::OK, &body)
}
