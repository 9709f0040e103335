//! Service management: offering, finding and keeping alive (ETSI GS MEC 011, clause 8.2).

pub(crate) mod discovery;
mod liveness;
mod services;
mod transports;
pub(crate) mod view;

use std::sync::Arc;

use gateway_model::Id;
use http::StatusCode;
use serde_json::json;

use self::view::{TransportView, View};
use super::support_bodies::{ServiceLivenessInfo, ServiceLivenessUpdate};
use super::told::of_app;
use crate::Platform;
use crate::dialect::rules::is_service_id;
use crate::entities::ServiceInfo;
use crate::openapi::{Api, Operation, Routes};

pub(super) fn routes() -> Routes<Arc<Platform>> {
    const APP: &str = "/mep/mec_service_mgmt/v1/applications/{appInstanceId}/services";
    const ALL: &str = "/mep/mec_service_mgmt/v1/services";
    const CREATED: StatusCode = StatusCode::CREATED;
    let one = format!("{APP}/{{serviceId}}");
    Routes::of(Api::DialectServices)
        .at(APP, |on| {
            let made = of_app("Registers a service")
                .takes::<ServiceInfo>(services::example())
                .answers::<View<'_>>(CREATED, "The service as it was sent, with its id.")
                .with_header(CREATED, "Location", "Where it is.")
                .with_header(CREATED, "ETag", "The entity-tag of its state.")
                .problems(&[StatusCode::CONFLICT]);
            on.get(discovery::of_app, discovery::told(of_app("The services of an application")))
                .post(services::register, made)
        })
        .at(&one, |on| {
            let shown = of_app("A service of an application").may_miss();
            let replaced = of_app("Replaces a service")
                .takes::<ServiceInfo>(services::example())
                .answers::<View<'_>>(StatusCode::OK, "The service as it was sent.")
                .may_miss()
                .matching();
            let removed = of_app("Withdraws a service")
                .answers_nothing(StatusCode::NO_CONTENT, "The service is gone.")
                .may_miss()
                .matching();
            let says = "The service, with the gateway's endpoints.";
            on.get(discovery::one_of_app, shown.answers::<View<'_>>(StatusCode::OK, says))
                .put(services::replace, replaced)
                .delete(services::remove, removed)
        })
        .at(&format!("{one}/liveness"), |on| {
            let shown = of_app("When a service was last alive")
                .answers::<ServiceLivenessInfo>(StatusCode::OK, "Its last heartbeat.")
                .may_miss();
            let renewed = |summary: &str| {
                of_app(summary)
                    .takes::<ServiceLivenessUpdate>(json!({"state": "ACTIVE"}))
                    .answers_nothing(StatusCode::NO_CONTENT, "It is alive.")
                    .may_miss()
                    .problems(&[StatusCode::CONFLICT])
            };
            // The original knew no PATCH, which is the method of the standard.
            on.get(liveness::show, shown)
                .put(liveness::renew, renewed("A heartbeat"))
                .patch(liveness::renew, renewed("A heartbeat, with the standard's method"))
        })
        .at("/mep/mec_service_mgmt/v1/transports", |on| {
            let told = Operation::new("The transports of the platform").by_app();
            on.get(transports::list, told.lists::<TransportView<'_>>("The transports."))
        })
        .at(ALL, |on| {
            let told = Operation::new("The services the caller may use").by_app();
            on.get(discovery::of_all, discovery::told(told))
        })
        .at(&format!("{ALL}/{{serviceId}}"), |on| {
            let told = Operation::new("A service the caller may use").by_app();
            let told = told.problems(&[StatusCode::BAD_REQUEST]).may_miss();
            on.get(discovery::one_of_all, told.answers::<View<'_>>(StatusCode::OK, "The service."))
        })
}

/// The id in a path, `None` when it is not one of a service instance.
pub(crate) fn service_id(path: &str) -> Option<Id> {
    let mut bytes = [0; 16];
    let valid = is_service_id(path) && hex::decode_to_slice(path, &mut bytes).is_ok();
    valid.then(|| Id::from_bytes(bytes))
}
