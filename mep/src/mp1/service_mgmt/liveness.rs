//! Heartbeats of one service.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use gateway_model::{Catalog, Id, Item};
use http::StatusCode;

use super::service_id;
use crate::Platform;
use crate::dialect::casefold;
use crate::entities::ServiceInstance;
use crate::liveness::{Renewal, renewed};
use crate::mp1::support_bodies::{ServiceLivenessInfo, ServiceLivenessUpdate, TimeStamp};
use crate::mp1::{BROKEN_RULE, Call, OfApp, WRONG_TYPES, bytes};
use crate::problem::{Code, Problem, json_reply};
use crate::services::owned;

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
    let body = ServiceLivenessInfo {
        state: instance.state,
        time_stamp: TimeStamp::of_ms(seen_ms),
        interval: instance.info.liveness_interval,
    };
    Ok(json_reply(StatusCode::OK, &body))
}

/// Renews the liveness of a service: one heartbeat.
///
/// `PATCH …/applications/{appInstanceId}/services/{serviceId}/liveness`; ETSI GS MEC 011, clause
/// 8.2.10.3.3. EdgeGallery's agents use `PUT`. Nothing is written as long as the service is active.
pub(super) async fn renew(
    OfApp { platform, app, name }: OfApp<String>,
    body: Body,
) -> Result<StatusCode, Problem> {
    let id = service_id(&name).ok_or(Problem::new(Code::BadRequest, "Invalid service ID"))?;
    wants_active(&bytes(body).await?)?;
    let unknown = Problem::new(Code::NoService, "service instance id not found");
    let silent = Problem::new(Code::NoHeartbeat, "Invalid heartbeat update request");
    renewed(&platform, || {
        beating(&platform.control.catalog(), app, id, unknown.clone(), silent.clone())
    })
    .await
    .map_err(|fault| match fault {
        Renewal::Refused(problem) => problem,
        Renewal::Inactive => Problem::new(Code::Inactive, "The service is in INACTIVE state"),
        Renewal::Failed => Problem::new(Code::UpdateFailed, "heartbeat update failed"),
    })?;
    Ok(StatusCode::NO_CONTENT)
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
    if body.is_empty() {
        return Err(Problem::new(Code::Parameter, "request body is empty"));
    }
    let request: ServiceLivenessUpdate = casefold::from_slice(body).map_err(|_| WRONG_TYPES)?;
    if request.state == "ACTIVE" { Ok(()) } else { Err(BROKEN_RULE) }
}
