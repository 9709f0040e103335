//! Registering, replacing and removing a service.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use gateway_model::Id;
use http::{HeaderMap, StatusCode, header};

use super::{service_id, view};
use crate::Platform;
use crate::entities::{ServiceInfo, ServiceInstance};
use crate::etag::{self, IfMatch};
use crate::face::Face;
use crate::mp1::{BROKEN_RULE, ENDING, OfApp, STALE, object};
use crate::problem::{Code, Problem};
use crate::services::{self, ServiceFault};

const INVALID_ID: Problem = Problem::new(Code::BadRequest, "invalid service ID");
const UNKNOWN: Problem = Problem::new(Code::NoService, "find service failed");

/// Registers a service and offers its endpoints by the gateway, both or neither.
///
/// `POST …/applications/{appInstanceId}/services`; ETSI GS MEC 011, clause 8.2.6.3.4. Endpoints the
/// gateway cannot serve are left out with a line in the log; the registration succeeds.
pub(super) async fn register(
    OfApp { platform, app, .. }: OfApp,
    body: Body,
) -> Result<Response, Problem> {
    let info = requested(&platform, body).await?;
    let instance =
        services::register(&platform, app, &info).await.map_err(|fault| match fault {
            ServiceFault::Ending => ENDING,
            ServiceFault::Full => {
                Problem::new(Code::RegisterFailed, "registered services have achieve the limit")
            }
            ServiceFault::NoId => Problem::new(Code::RegisterFailed, "service creation failed"),
            _ => Problem::new(Code::RegisterFailed, "service register failed"),
        })?;
    let location = Face::Dialect.service(app, instance.id);
    let reply = echo(StatusCode::CREATED, &info, app, &instance);
    Ok(([(header::LOCATION, location)], reply).into_response())
}

/// Replaces a service: what the request leaves out is gone.
///
/// `PUT …/applications/{appInstanceId}/services/{serviceId}`; ETSI GS MEC 011, clause 8.2.7.3.2.
/// Endpoints that stay keep the name the gateway offers them under.
pub(super) async fn replace(
    OfApp { platform, app, name }: OfApp<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let id = service_id(&name).ok_or(INVALID_ID)?;
    let info = requested(&platform, body).await?;
    let if_match = IfMatch::of(&headers);
    let instance = services::replace(&platform, app, id, &info, &if_match)
        .await
        .map_err(|fault| refusal(fault, Code::UpdateFailed, "service update failed"))?;
    Ok(echo(StatusCode::OK, &info, app, &instance))
}

/// Removes a service and all the gateway offers of it.
///
/// `DELETE …/applications/{appInstanceId}/services/{serviceId}`; ETSI GS MEC 011, clause 8.2.7.3.5.
pub(super) async fn remove(
    OfApp { platform, app, name }: OfApp<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let id = service_id(&name).ok_or(INVALID_ID)?;
    services::remove(&platform, app, id, &IfMatch::of(&headers))
        .await
        .map_err(|fault| refusal(fault, Code::DeleteFailed, "service delete failed"))?;
    Ok(StatusCode::NO_CONTENT)
}

/// A service as a client may send it.
pub(super) fn example() -> serde_json::Value {
    serde_json::json!({
        "serName": "rni",
        "serCategory": {"href": "/catalogue/1", "id": "cat-1", "name": "RNI", "version": "v1"},
        "version": "1.4", "state": "ACTIVE", "transportId": "rest", "serializer": "JSON",
        "transportInfo": {
            "id": "rest", "name": "REST", "type": "REST_HTTP", "protocol": "http",
            "version": "2.0", "endpoint": {"uris": ["http://192.0.2.7:8080"]},
        },
        "livenessInterval": 60,
    })
}

fn refusal(fault: ServiceFault, code: Code, detail: &'static str) -> Problem {
    match fault {
        ServiceFault::Unknown => UNKNOWN,
        ServiceFault::Stale => STALE,
        ServiceFault::Suspended => BROKEN_RULE,
        _ => Problem::new(code, detail),
    }
}

/// The request with what was filled in.
fn echo(status: StatusCode, info: &ServiceInfo, app: Id, instance: &ServiceInstance) -> Response {
    let reply = view::echo(status, info, app, instance.id);
    ([etag::header(&etag::of_service(instance))], reply).into_response()
}

/// A service as a client wants it, checked, with the platform's own interval.
async fn requested(platform: &Platform, body: Body) -> Result<ServiceInfo, Problem> {
    let mut info: ServiceInfo = object(body).await?;
    if info.scope_of_locality.is_empty() {
        info.scope_of_locality = ServiceInfo::default().scope_of_locality;
    }
    if !info.is_valid() {
        return Err(BROKEN_RULE);
    }
    if info.liveness_interval != 0 {
        info.liveness_interval = platform.settings.liveness_interval.get().into();
    }
    Ok(info)
}
