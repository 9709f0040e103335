//! Heartbeats of one service.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use gateway_model::{Catalog, Id, Item};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{owned, service_id};
use crate::Platform;
use crate::dialect::casefold;
use crate::entities::{ServiceInstance, State as Liveness};
use crate::liveness::turn;
use crate::mp1::{BROKEN_RULE, Call, WRONG_TYPES, bytes};
use crate::problem::{Code, Problem, json_reply};

/// The state of a service and its last heartbeat.
///
/// `GET …/applications/{appInstanceId}/services/{serviceId}/liveness`; ETSI GS MEC 011, clause
/// 8.2.10.3.1.
pub(super) async fn show(
    State(platform): State<Arc<Platform>>,
    Path((path, service)): Path<(String, String)>,
    call: Call,
) -> Result<Response, Problem> {
    // The original looked at the id before the caller here, and after it below.
    let id = service_id(&service).ok_or(Problem::new(Code::Parameter, "Invalid service ID"))?;
    let app = call.app(&path)?;
    let unknown = Problem::new(Code::NoService, "service instance id in heartbeat not found");
    let silent = Problem::new(Code::NoHeartbeat, "Invalid get heartbeat request");
    let instance = beating(&platform.control.catalog(), app, id, unknown, silent)?;
    let seen_ms = platform.heartbeats.last(&instance);
    let body = View {
        state: instance.state.as_str(),
        time_stamp: TimeStamp { seconds: seen_ms / 1000, nano_seconds: seen_ms % 1000 * 1_000_000 },
        interval: instance.info.liveness_interval,
    };
    Ok(json_reply(StatusCode::OK, &body))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    state: &'static str,
    time_stamp: TimeStamp,
    interval: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TimeStamp {
    seconds: u64,
    nano_seconds: u64,
}

/// Renews the liveness of a service: one heartbeat.
///
/// `PATCH …/applications/{appInstanceId}/services/{serviceId}/liveness`; ETSI GS MEC 011, clause
/// 8.2.10.3.3. EdgeGallery's agents use `PUT`. Nothing is written as long as the service is active.
pub(super) async fn renew(
    State(platform): State<Arc<Platform>>,
    Path((path, service)): Path<(String, String)>,
    call: Call,
    body: Body,
) -> Result<StatusCode, Problem> {
    let app = call.app(&path)?;
    let id = service_id(&service).ok_or(Problem::new(Code::BadRequest, "Invalid service ID"))?;
    wants_active(&bytes(body).await?)?;
    let unknown = Problem::new(Code::NoService, "service instance id not found");
    let silent = Problem::new(Code::NoHeartbeat, "Invalid heartbeat update request");
    // A service that turns in between is looked at again; one that turns more often than this
    // is not kept alive by one heartbeat.
    for _ in 0..4 {
        let catalog = platform.control.catalog();
        let instance = beating(&catalog, app, id, unknown.clone(), silent.clone())?;
        if instance.state == Liveness::Inactive {
            let detail = "The service is in INACTIVE state";
            return Err(Problem::new(Code::Inactive, detail));
        }
        platform.heartbeats.beat(id, platform.clock.unix_ms(), &platform.control);
        let kept = instance.state == Liveness::Active
            || turn(&platform.control, &platform.clock, &instance, Liveness::Active, None).await;
        // A suspension under way when the heartbeat was noted is undone in the next round.
        if kept && is_active(&platform, id) {
            platform.metrics.heartbeats.inc();
            return Ok(StatusCode::NO_CONTENT);
        }
    }
    Err(Problem::new(Code::UpdateFailed, "heartbeat update failed"))
}

fn is_active(platform: &Platform, id: Id) -> bool {
    let now = platform.control.catalog().get::<ServiceInstance>(id);
    now.is_some_and(|instance| instance.state == Liveness::Active)
}

/// A service of the caller's that sends heartbeats.
fn beating(
    catalog: &Catalog,
    app: Id,
    id: Id,
    unknown: Problem,
    silent: Problem,
) -> Result<Item<ServiceInstance>, Problem> {
    let instance = owned(catalog, app, id).ok_or(unknown)?;
    if instance.info.liveness_interval == 0 { Err(silent) } else { Ok(instance) }
}

fn wants_active(body: &[u8]) -> Result<(), Problem> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Request {
        state: String,
    }
    if body.is_empty() {
        return Err(Problem::new(Code::Parameter, "request body is empty"));
    }
    let request: Request = casefold::from_slice(body).map_err(|_| WRONG_TYPES)?;
    if request.state == "ACTIVE" { Ok(()) } else { Err(BROKEN_RULE) }
}
