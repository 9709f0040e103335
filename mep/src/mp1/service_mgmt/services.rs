//! Registering, replacing and removing a service.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use gateway_model::{Catalog, Change, Id, Ref};
use http::{StatusCode, header};
use url::Url;

use super::{owned, service_id, view};
use crate::Platform;
use crate::auth::credential::random;
use crate::commit::{commit, require, unchanged};
use crate::entities::{self, AppInstance, Links, Publication, ServiceInfo, ServiceInstance};
use crate::entities::{ServiceName, State as Liveness};
use crate::exposure;
use crate::mp1::{BROKEN_RULE, Call, object};
use crate::problem::{Code, Problem, json_reply};

/// Services one app may have.
pub(super) const MOST_SERVICES: usize = 50;

const INVALID_ID: Problem = Problem::new(Code::BadRequest, "invalid service ID");
const UNKNOWN: Problem = Problem::new(Code::NoService, "find service failed");

/// Registers a service and offers its endpoints by the gateway, both or neither.
///
/// `POST …/applications/{appInstanceId}/services`; ETSI GS MEC 011, clause 8.2.6.3.4. Endpoints the
/// gateway cannot serve are left out with a line in the log; the registration succeeds.
pub(super) async fn register(
    State(platform): State<Arc<Platform>>,
    Path(path): Path<String>,
    call: Call,
    body: Body,
) -> Result<Response, Problem> {
    let outcome = register_as(&platform, &path, &call, body).await;
    let result = if outcome.is_ok() { "registered" } else { "refused" };
    platform.metrics.registrations.with_label_values(&[result]).inc();
    outcome
}

async fn register_as(
    platform: &Platform,
    path: &str,
    call: &Call,
    body: Body,
) -> Result<Response, Problem> {
    let app = call.app(path)?;
    let mut info = requested(platform, body).await?;
    let wanted = publishable(platform, &info);
    let id = commit(&platform.control, |catalog| {
        if is_full(catalog, app) {
            let limit = "registered services have achieve the limit";
            return Err(Problem::new(Code::RegisterFailed, limit));
        }
        let id = new_id(&info.ser_name)?;
        let (publications, mut changes) = offers(catalog, &info, &wanted, &[]);
        changes.push(require(move |catalog| !is_full(catalog, app)));
        changes.extend(missing_parents(catalog, app, &info.ser_name));
        let instance = instance(platform, id, app, &info, publications);
        changes.push(entities::put(id, &instance));
        Ok((changes, id))
    })
    .await
    .map_err(|refused| refused.or(Problem::new(Code::RegisterFailed, "service register failed")))?;
    let location = view::location(path, id, "/mep");
    info.links.own = view::liveness_link(&info, path, id);
    let reply = json_reply(StatusCode::CREATED, &view::echo(&info, id, &info.links));
    Ok(([(header::LOCATION, location)], reply).into_response())
}

/// Replaces a service: what the request leaves out is gone. Its name cannot change.
///
/// `PUT …/applications/{appInstanceId}/services/{serviceId}`; ETSI GS MEC 011, clause 8.2.7.3.2.
/// Endpoints that stay keep the name the gateway offers them under.
pub(super) async fn replace(
    State(platform): State<Arc<Platform>>,
    Path((path, service)): Path<(String, String)>,
    call: Call,
    body: Body,
) -> Result<Response, Problem> {
    let app = call.app(&path)?;
    let id = service_id(&service).ok_or(INVALID_ID)?;
    let mut info = requested(&platform, body).await?;
    let wanted = publishable(&platform, &info);
    commit(&platform.control, |catalog| {
        let present = owned(catalog, app, id).ok_or(UNKNOWN)?;
        if present.info.ser_name != info.ser_name {
            return Err(BROKEN_RULE);
        }
        let (publications, mut changes) = offers(catalog, &info, &wanted, &present.publications);
        changes.push(unchanged(&present));
        let instance = instance(&platform, id, app, &info, publications);
        changes.push(entities::put(id, &instance));
        Ok((changes, ()))
    })
    .await
    .map_err(|refused| refused.or(Problem::new(Code::UpdateFailed, "service update failed")))?;
    info.links.own = view::liveness_link(&info, &path, id);
    Ok(json_reply(StatusCode::OK, &view::echo(&info, id, &info.links)))
}

/// Removes a service and all the gateway offers of it.
///
/// `DELETE …/applications/{appInstanceId}/services/{serviceId}`; ETSI GS MEC 011, clause 8.2.7.3.5.
pub(super) async fn remove(
    State(platform): State<Arc<Platform>>,
    Path((path, service)): Path<(String, String)>,
    call: Call,
) -> Result<StatusCode, Problem> {
    let app = call.app(&path)?;
    let id = service_id(&service).ok_or(INVALID_ID)?;
    commit(&platform.control, |catalog| {
        let present = owned(catalog, app, id).ok_or(UNKNOWN)?;
        let mut changes = vec![unchanged(&present)];
        let offers = present.publications.iter();
        changes.extend(offers.flat_map(|offer| exposure::withdraw(catalog, &offer.name)));
        changes.push(entities::remove::<ServiceInstance>(id));
        Ok((changes, ()))
    })
    .await
    .map_err(|refused| refused.or(Problem::new(Code::DeleteFailed, "service delete failed")))?;
    Ok(StatusCode::NO_CONTENT)
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
    info.links = Links { own: Default::default(), ..info.links };
    Ok(info)
}

/// The endpoints the gateway can offer; the others are logged.
fn publishable(platform: &Platform, info: &ServiceInfo) -> Vec<Url> {
    let registry = Arc::clone(platform.control.catalog().registry());
    exposure::endpoints(info, &platform.guard, &registry)
        .into_iter()
        .filter_map(|endpoint| {
            endpoint
                .inspect_err(
                    |why| tracing::warn!(service.name = info.ser_name, %why, "endpoint left out"),
                )
                .ok()
        })
        .collect()
}

fn offers(
    catalog: &Catalog,
    info: &ServiceInfo,
    wanted: &[Url],
    present: &[Publication],
) -> (Vec<Publication>, Vec<Change>) {
    exposure::plan(catalog, wanted, present, &mut || exposure::name_of(&info.ser_name))
}

fn instance(
    platform: &Platform,
    id: Id,
    app: Id,
    info: &ServiceInfo,
    publications: Vec<Publication>,
) -> ServiceInstance {
    ServiceInstance {
        id,
        app: Ref::new(app),
        service_name: Ref::new(ServiceName::id_of(&info.ser_name)),
        info: info.clone(),
        // `is_valid` accepts these two only.
        state: Liveness::requested(&info.state).unwrap_or(Liveness::Inactive),
        publications,
        renewed_at_ms: platform.clock.unix_ms(),
        shown: OnceLock::new(),
    }
}

fn is_full(catalog: &Catalog, app: Id) -> bool {
    catalog.children::<ServiceInstance>("app", app).count() >= MOST_SERVICES
}

/// The app and the name a service refers to, where nobody needed them before.
fn missing_parents(catalog: &Catalog, app: Id, name: &str) -> Vec<Change> {
    let mut changes = Vec::new();
    if catalog.get::<AppInstance>(app).is_none() {
        changes.push(entities::put(app, &AppInstance { id: app }));
    }
    let id = ServiceName::id_of(name);
    if catalog.get::<ServiceName>(id).is_none() {
        changes.push(entities::put(id, &ServiceName { id, name: name.to_owned() }));
    }
    changes
}

/// A new id: the first half tells the name, the second is random.
///
/// Instances of one name share their first 16 digits, which the original took from the key its
/// registry kept the name under.
fn new_id(name: &str) -> Result<Id, Problem> {
    let failed = |_| Problem::new(Code::RegisterFailed, "service creation failed");
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&name_digits(name));
    bytes[8..].copy_from_slice(random::<8>().map_err(failed)?.as_slice());
    Ok(Id::from_bytes(bytes))
}

fn name_digits(name: &str) -> [u8; 8] {
    let key = format!("/cse-sr/ms/indexes////default/{name}/1.0.0");
    let mut digits = [0; 8];
    digits.copy_from_slice(&digest(&SHA256, key.as_bytes()).as_ref()[..8]);
    digits
}

#[cfg(test)]
mod tests {
    use super::name_digits;

    #[test]
    fn ids_begin_as_the_original_s() {
        for (name, digits) in [
            ("FaceRegService5", "45ddaf1ccf79c4be"),
            ("sampleapp", "d9f72dad154cbd9e"),
            ("locationService", "96beb13604560329"),
            ("ExampleService", "b695b0e956b830b9"),
            ("facerecognition_service", "016ca380a1a93720"),
        ] {
            assert_eq!(hex::encode(name_digits(name)), digits, "{name}");
        }
    }
}
