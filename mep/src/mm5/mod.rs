//! Mm5 and service governance: what management asks of the platform (contract section 5).
//!
//! Nobody proves who they are here. By the gateway none of it is there unless an operator says so;
//! directly, whoever is on the list of trusted addresses may use it.

mod capabilities;
mod configuration;
mod governance;
mod worker;

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use gateway_model::Id;
use gateway_model::ports::Caller;
use http::StatusCode;
use serde_json::Value;

use self::capabilities::Capability;
use self::configuration::{AppdBody, Progress};
pub(crate) use self::worker::{Left, abandoned, end_overdue};
use crate::Platform;
use crate::auth::credential::AppInstanceId;
use crate::entities::OperationAction;
use crate::life::{self, EndFault};
use crate::mp1::Call;
use crate::mp1::told::of_app;
use crate::openapi::{Api, Operation, Routes, anything, text};
use crate::problem::{Code, Problem, json_reply};

pub(crate) fn routes(platform: &Arc<Platform>) -> Routes<Arc<Platform>> {
    const OK: StatusCode = StatusCode::OK;
    let bad = |summary: &str| Operation::new(summary).problems(&[StatusCode::BAD_REQUEST]);
    let management = Routes::of(Api::Management)
        .at("/mepcfg/app_lcm/v1/applications/{appInstanceId}/appd_configuration", |on| {
            let task = |summary: &str| {
                bad(summary)
                    .answers::<Progress<'_>>(OK, "The task that does it.")
                    .problems(&[StatusCode::FORBIDDEN])
            };
            let shown = bad("How an application is configured").may_miss();
            let made = task("Configures an application");
            let replaced = task("Configures an application anew").may_miss();
            let removed = task("Takes the configuration of an application away").may_miss();
            on.get(configuration::show, shown.answers::<AppdBody>(OK, "The configuration."))
                .post(configuration::create, made.takes::<AppdBody>(configuration::example()))
                .put(configuration::replace, replaced.takes::<AppdBody>(configuration::example()))
                .delete(configuration::remove, removed)
        })
        .at("/mepcfg/app_lcm/v1/tasks/{taskId}/appd_configuration", |on| {
            let told = bad("How a task stands").may_miss();
            on.get(configuration::task, told.answers::<Progress<'_>>(OK, "How it stands."))
        })
        .at("/mep/mec_app_support/v1/applications/{appInstanceId}/AppInstanceTermination", |on| {
            let told = of_app("Ends an application and takes all it has")
                .problems(&[StatusCode::FORBIDDEN])
                .responds(OK, "It ends.", Some(("application/json", text())));
            on.delete(terminate, told)
        })
        .at("/mepcfg/mec_platform_config/v1/capabilities", |on| {
            let told = Operation::new("Which services there are and who waits for them")
                .query("ser_name", "Of this name.")
                .query("ser_category_id", "Of the category of this id.");
            on.get(capabilities::list, told.lists::<Capability<'_>>("The services."))
        })
        .at("/mepcfg/mec_platform_config/v1/capabilities/{serviceId}", |on| {
            let told = bad("A service and who waits for it").may_miss();
            on.get(capabilities::one, told.answers::<Capability<'_>>(OK, "The service."))
        });
    let enveloped = |summary: &str| {
        Operation::new(summary).answers::<governance::Envelope<Value>>(OK, "The numbers.")
    };
    let governance = Routes::of(Api::Governance)
        .at("/mep/service_govern/v1/services", |on| {
            on.get(governance::services, enveloped("All services"))
        })
        .at("/mep/service_govern/v1/subscribe_statistic", |on| {
            on.get(governance::subscriptions, enveloped("Who asked to be told of services"))
        })
        .at("/mep/service_govern/v1/kong_log", |on| {
            let taken = bad("Takes a line of a log, which is not kept")
                .takes_anything(serde_json::json!({"client_ip": "192.0.2.7"}))
                .responds(OK, "Taken: `null`.", Some(("application/json", anything())));
            let counted = enveloped("Calls of each service on each of the last seven days");
            on.get(governance::calls, counted).post(governance::take_log, taken)
        });
    management.merge(governance).around(|router| {
        router.route_layer(middleware::from_fn_with_state(Arc::clone(platform), admit))
    })
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
    AppInstanceId::id(path)
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
