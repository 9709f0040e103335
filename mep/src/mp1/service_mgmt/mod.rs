//! Service management: offering, finding and keeping alive (ETSI GS MEC 011, clause 8.2).

pub(crate) mod discovery;
mod liveness;
mod services;
mod transports;
pub(crate) mod view;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use gateway_model::Id;

use crate::Platform;
use crate::dialect::rules::is_service_id;

pub(super) fn router() -> Router<Arc<Platform>> {
    const APP: &str = "/mep/mec_service_mgmt/v1/applications/{app}/services";
    const ALL: &str = "/mep/mec_service_mgmt/v1/services";
    let one = format!("{APP}/{{service}}");
    let liveness = format!("{one}/liveness");
    Router::new()
        .route(APP, get(discovery::of_app).post(services::register))
        .route(&one, get(discovery::one_of_app).put(services::replace).delete(services::remove))
        .route(
            &liveness,
            // The original knew no PATCH, which is the method of the standard.
            get(liveness::show).put(liveness::renew).patch(liveness::renew),
        )
        .route("/mep/mec_service_mgmt/v1/transports", get(transports::list))
        .route(ALL, get(discovery::of_all))
        .route(&format!("{ALL}/{{service}}"), get(discovery::one_of_all))
}

/// The id in a path, `None` when it is not one of a service instance.
pub(crate) fn service_id(path: &str) -> Option<Id> {
    let mut bytes = [0; 16];
    let valid = is_service_id(path) && hex::decode_to_slice(path, &mut bytes).is_ok();
    valid.then(|| Id::from_bytes(bytes))
}
