//! Mm5 and service governance: what management asks of the platform (contract section 5).
//!
//! Nobody proves who they are here. By the gateway none of it is there unless an operator says so;
//! directly, whoever is on the list of trusted addresses may use it.

mod capabilities;
mod configuration;
mod governance;
mod worker;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use gateway_model::Id;
use gateway_model::ports::Caller;
use http::StatusCode;

pub(crate) use self::worker::{Left, abandoned, end_overdue};
use crate::Platform;
use crate::auth::credential::AppInstanceId;
use crate::entities::OperationAction;
use crate::life::{self, EndFault};
use crate::mp1::Call;
use crate::problem::{Code, Problem, json_reply};

pub(crate) fn router(platform: &Arc<Platform>) -> Router<Arc<Platform>> {
    const LCM: &str = "/mepcfg/app_lcm/v1";
    const GOVERNANCE: &str = "/mep/service_govern/v1";
    const CAPABILITIES: &str = "/mepcfg/mec_platform_config/v1/capabilities";
    Router::new()
        .route(
            &format!("{LCM}/applications/{{app}}/appd_configuration"),
            get(configuration::show)
                .post(configuration::create)
                .put(configuration::replace)
                .delete(configuration::remove),
        )
        .route(&format!("{LCM}/tasks/{{task}}/appd_configuration"), get(configuration::task))
        .route(
            "/mep/mec_app_support/v1/applications/{app}/AppInstanceTermination",
            delete(terminate),
        )
        .route(CAPABILITIES, get(capabilities::list))
        .route(&format!("{CAPABILITIES}/{{service}}"), get(capabilities::one))
        .route(&format!("{GOVERNANCE}/services"), get(governance::services))
        .route(&format!("{GOVERNANCE}/subscribe_statistic"), get(governance::subscriptions))
        .route(&format!("{GOVERNANCE}/kong_log"), get(governance::calls).post(governance::take_log))
        .route_layer(middleware::from_fn_with_state(Arc::clone(platform), admit))
}

/// Lets nobody in by the gateway, unless an operator wants it as it was.
async fn admit(State(platform): State<Arc<Platform>>, request: Request, next: Next) -> Response {
    let by_gateway = request.extensions().get::<Caller>().is_some_and(|caller| caller.by_gateway);
    if by_gateway && !platform.settings.management_by_gateway {
        return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    }
    next.run(request).await
}

/// An app instance id in a path of Mm5.
fn app(path: &str) -> Result<Id, Problem> {
    AppInstanceId::parse(path)
        .ok()
        .and_then(|valid| Id::parse(valid.as_str()))
        .ok_or(Problem::new(Code::Parameter, "app Instance ID validation failed, invalid uuid"))
}

const BUSY: Problem =
    Problem::new(Code::NotAllowed, "app instance has other operation in progress");

/// Ends an application, known or not.
///
/// `DELETE …/applications/{appInstanceId}/AppInstanceTermination`: contract section 5.3.
async fn terminate(
    State(platform): State<Arc<Platform>>,
    Path(path): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    call.speaks_for(&path)?;
    // Whatever is no app instance id has nothing here.
    if let Ok(app) = app(&path) {
        let ended = life::terminate(&platform, app, OperationAction::Terminating).await;
        ended.map_err(|fault| match fault {
            EndFault::Busy => BUSY,
            EndFault::NotStored => {
                Problem::new(Code::DeleteFailed, "the termination could not be stored")
            }
        })?;
    }
    Ok(json_reply(StatusCode::OK, ""))
}
