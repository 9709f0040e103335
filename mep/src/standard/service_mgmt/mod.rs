//! Service management (ETSI GS MEC 011, clause 8).

pub(super) mod body;
mod query;
pub(super) mod view;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use gateway_model::{Catalog, Id, Item};
use http::StatusCode;
use serde_json::json;

use self::body::ServiceInfoPost;
pub(super) use self::body::{category as category_body, endpoint as endpoint_body, serializers};
pub(super) use self::view::{CategoryView, EndpointView, category, view};
use self::view::{ServiceView, TransportView};
use super::asked::{Asked, ByAnybody, OfApp, Segment};
use super::reading;
use super::refusal::Refusal;
use super::told::{anybody, of_app};
use super::{created, json_text, shown, tagged};
use crate::entities::{
    AppCredential, AppRegistration, ServiceInstance, ServiceName, State as ServiceState, Visibility,
};
use crate::face::Face;
use crate::liveness::{Renewal, renewed};
use crate::mp1::service_mgmt::discovery::seen;
use crate::mp1::service_mgmt::service_id;
use crate::mp1::support_bodies::{ServiceLivenessInfo, ServiceLivenessUpdate, TimeStamp};
use crate::openapi::{Api, Routes};
use crate::services::{self, MOST_SERVICES, ServiceFault, owned};
use crate::{Platform, etag, transports};

pub(super) fn routes() -> Routes<Arc<Platform>> {
    const ROOT: &str = "/mec_service_mgmt/v1";
    let at = |rest: &str| format!("{ROOT}{rest}");
    let app = |rest: &str| format!("{ROOT}/applications/{{appInstanceId}}/services{rest}");
    Routes::of(Api::ServiceManagement)
        .at(&at("/services"), |on| {
            let told =
                anybody("The services the caller may use", "8.2.3.3.1").queried(&query::KNOWN);
            on.get(services_of_all, told.lists::<ServiceView<'_>>("The services."))
        })
        .at(&at("/services/{serviceId}"), |on| {
            let told = anybody("A service the caller may use", "8.2.4.3.1");
            let told = told.refuses(&[StatusCode::NOT_FOUND]);
            on.get(service_of_all, told.shows::<ServiceView<'_>>("The service."))
        })
        .at(&at("/transports"), |on| {
            let told = anybody("The transports of the platform", "8.2.5.3.1");
            on.get(all_transports, told.lists::<TransportView<'_>>("The transports."))
        })
        .at(&app(""), |on| {
            let listed = of_app("The services of an application", "8.2.6.3.1")
                .queried(&query::KNOWN)
                .lists::<ServiceView<'_>>("The services.");
            let made = of_app("Offers a service", "8.2.6.3.4")
                .reads::<ServiceInfoPost>(body::example())
                .stores()
                .creates::<ServiceView<'_>>("The service, with the endpoint as it was sent.");
            on.get(services_of_app, listed).post(register, made)
        })
        .at(&app("/{serviceId}"), |on| {
            let shown = of_app("A service of an application", "8.2.7.3.1")
                .shows::<ServiceView<'_>>("The service.");
            let replaced = of_app("Replaces a service", "8.2.7.3.2")
                .reads::<ServiceInfoPost>(body::example())
                .conditional()
                .stores()
                .replaces::<ServiceView<'_>>("The service, with the endpoint as it was sent.");
            let removed = of_app("Withdraws a service", "8.2.7.3.5")
                .conditional()
                .stores()
                .does("The service is gone.");
            on.get(service_of_app, shown).put(replace, replaced).delete(remove, removed)
        })
        .at(&app("/{serviceId}/liveness"), |on| {
            let shown = of_app("When a service was last alive", "8.2.10.3.1")
                .answers::<ServiceLivenessInfo>(StatusCode::OK, "Its last heartbeat.");
            let renewed = of_app("A heartbeat", "8.2.10.3.3")
                .patches::<ServiceLivenessUpdate>(json!({"state": "ACTIVE"}))
                .conditional()
                .stores()
                .does("The interval is the one that was told before.");
            on.get(liveness, shown).patch(renew, renewed)
        })
}

fn unknown() -> Refusal {
    Refusal::not_found("there is no such service")
}

impl From<ServiceFault> for Refusal {
    fn from(fault: ServiceFault) -> Self {
        refusal(fault)
    }
}

pub(super) fn refusal(fault: ServiceFault) -> Refusal {
    match fault {
        ServiceFault::Full => {
            Refusal::forbidden(format!("an application may have {MOST_SERVICES} services"))
        }
        ServiceFault::Ending => Refusal::ending(),
        ServiceFault::Unknown => unknown(),
        ServiceFault::Stale => Refusal::stale(),
        ServiceFault::Suspended => {
            Refusal::bad("state SUSPENDED is the platform's: a service has it or does not")
        }
        ServiceFault::NoId | ServiceFault::NotStored => Refusal::not_stored(),
    }
}

/// `GET /services`: clause 8.2.3.3.1.
async fn services_of_all(by: ByAnybody<query::Filter>) -> Response {
    let ByAnybody { platform, caller, query: filter, asked } = by;
    let catalog = platform.control.catalog();
    let credential = catalog.get::<AppCredential>(caller);
    if credential.is_some_and(|one| *one.visible() == Visibility::All) && asked.has_no_query() {
        let make = || array(&platform, &visible_to(&catalog, caller));
        return json_text(StatusCode::OK, platform.listed[1].text(&catalog, make));
    }
    let mut found = visible_to(&catalog, caller);
    found.retain(|instance| filter.matches(instance));
    list(&platform, &found)
}

/// `GET /services/{serviceId}`: clause 8.2.4.3.1.
async fn service_of_all(Segment(service): Segment, by: ByAnybody) -> Result<Response, Refusal> {
    let ByAnybody { platform, caller, asked, .. } = by;
    let catalog = platform.control.catalog();
    let instance = service_id(&service).and_then(|id| catalog.get::<ServiceInstance>(id));
    let instance = instance.filter(|instance| may_see(&catalog, caller, instance));
    let instance = instance.ok_or_else(unknown)?;
    Ok(one(&platform, &asked, &instance))
}

/// `GET …/services` of an application: clause 8.2.6.3.1.
async fn services_of_app(own: OfApp<(), query::Filter>) -> Response {
    let services = own.catalog.children::<ServiceInstance>("app", own.app);
    let found: Vec<_> = services.filter(|instance| own.query.matches(instance)).collect();
    list(&own.platform, &found)
}

/// `POST …/services`: clause 8.2.6.3.4.
async fn register(own: OfApp) -> Result<Response, Refusal> {
    let OfApp { platform, app, asked, .. } = own;
    let info = asked.read(|body| body::service(&platform, body, None)).await?;
    let instance = services::register(&platform, app, &info).await.map_err(refusal)?;
    let location = Face::Standard.service(app, instance.id);
    let shown = view::echo(&platform.settings.published, &instance, &info);
    Ok(created(&platform, &location, &etag::of_service(&instance), &shown))
}

/// `GET …/services/{serviceId}` of an application: clause 8.2.7.3.1.
async fn service_of_app(own: OfApp<String>) -> Result<Response, Refusal> {
    let instance = find(&own.catalog, own.app, &own.name)?;
    Ok(one(&own.platform, &own.asked, &instance))
}

/// `PUT …/services/{serviceId}`: clause 8.2.7.3.2.
async fn replace(own: OfApp<String>) -> Result<Response, Refusal> {
    let OfApp { platform, catalog, app, name, asked, .. } = own;
    let present = find(&catalog, app, &name)?;
    let if_match = asked.matching(&etag::of_service(&present))?;
    let info = asked.read(|body| body::service(&platform, body, Some(&name))).await?;
    let instance =
        services::replace(&platform, app, present.id(), &info, &if_match).await.map_err(refusal)?;
    let shown = view::echo(&platform.settings.published, &instance, &info);
    Ok(tagged(StatusCode::OK, &etag::of_service(&instance), &shown))
}

/// `DELETE …/services/{serviceId}`: clause 8.2.7.3.5.
async fn remove(own: OfApp<String>) -> Result<Response, Refusal> {
    let OfApp { platform, catalog, app, name, asked, .. } = own;
    let present = find(&catalog, app, &name)?;
    services::remove(&platform, app, present.id(), &asked.if_match()).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET …/liveness`: clause 8.2.10.3.1.
async fn liveness(own: OfApp<String>) -> Result<Response, Refusal> {
    let instance = beating(&own.catalog, own.app, &own.name)?;
    let seen_ms = own.platform.heartbeats.last(&instance);
    let body = ServiceLivenessInfo {
        state: instance.state,
        time_stamp: TimeStamp::of_ms(seen_ms),
        interval: instance.info.liveness_interval,
    };
    Ok(super::json(StatusCode::OK, &body))
}

/// `PATCH …/liveness`: clause 8.2.10.3.3. The interval is always the one the app was told, so that
/// there is nothing to answer.
async fn renew(own: OfApp<String>) -> Result<Response, Refusal> {
    let OfApp { platform, catalog, app, name, asked, .. } = own;
    let present = beating(&catalog, app, &name)?;
    asked.matching(&etag::of_service(&present))?;
    let active = [ServiceState::Active.as_str()];
    reading::read(&asked.patch().await?, |body| body.word("state", &active))?;
    renewed(&platform, || beating(&platform.control.catalog(), app, &name)).await.map_err(
        |fault| match fault {
            Renewal::Refused(refusal) => refusal,
            Renewal::Inactive => Refusal::conflict("the service is INACTIVE"),
            Renewal::Failed => Refusal::not_stored(),
        },
    )?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /transports`: clause 8.2.5.3.1.
async fn all_transports(ByAnybody { platform, .. }: ByAnybody) -> Response {
    let rest = transports::rest();
    let rest = view::transport(&rest, view::at_the_gateway(&platform.settings.published));
    super::json(StatusCode::OK, &[rest])
}

pub(super) fn find(
    catalog: &Catalog,
    app: Id,
    service: &str,
) -> Result<Item<ServiceInstance>, Refusal> {
    service_id(service).and_then(|id| owned(catalog, app, id)).ok_or_else(unknown)
}

/// A service of the app's that sends heartbeats.
fn beating(catalog: &Catalog, app: Id, service: &str) -> Result<Item<ServiceInstance>, Refusal> {
    let instance = find(catalog, app, service)?;
    if instance.info.liveness_interval == 0 {
        return Err(Refusal::not_found("the service sends no heartbeats"));
    }
    Ok(instance)
}

fn one(platform: &Platform, asked: &Asked, instance: &ServiceInstance) -> Response {
    shown(asked, &etag::of_service(instance), &view(&platform.settings.published, instance))
}

fn list(platform: &Platform, found: &[Item<ServiceInstance>]) -> Response {
    json_text(StatusCode::OK, array(platform, found))
}

fn array(platform: &Platform, found: &[Item<ServiceInstance>]) -> String {
    let texts: Vec<&str> =
        found.iter().map(|one| view::text(&platform.settings.published, one)).collect();
    format!("[{}]", texts.join(","))
}

/// The services an application may use: its own, those its key pair names, and those it said in its
/// registration that it needs.
pub(crate) fn visible_to(catalog: &Catalog, caller: Id) -> Vec<Item<ServiceInstance>> {
    let credential = catalog.get::<AppCredential>(caller);
    let nothing = Visibility::NONE;
    let visible = credential.as_ref().map_or(&nothing, |credential| credential.visible());
    let mut found = seen(catalog, visible, None);
    if *visible != Visibility::All {
        found.extend(catalog.children::<ServiceInstance>("app", caller));
        for name in needed(catalog, caller) {
            let id = ServiceName::id_of(&name);
            found.extend(catalog.children::<ServiceInstance>("service_name", id));
        }
        found.sort_by_key(Item::id);
        found.dedup_by_key(|instance| instance.id());
    }
    found
}

/// Whether an application may use a service.
pub(super) fn may_see(catalog: &Catalog, caller: Id, instance: &ServiceInstance) -> bool {
    let name = &instance.info.ser_name;
    instance.app.id == caller
        || catalog
            .get::<AppCredential>(caller)
            .is_some_and(|credential| credential.visible().allows(name))
        || needed(catalog, caller).iter().any(|needed| needed == name)
}

/// Names of services a registration says it needs or can use.
fn needed(catalog: &Catalog, app: Id) -> Vec<String> {
    let Some(registration) = catalog.get::<AppRegistration>(app) else { return Vec::new() };
    ["appServiceRequired", "appServiceOptional"]
        .iter()
        .filter_map(|list| registration.info.get(list)?.as_array())
        .flatten()
        .filter_map(|dependency| Some(dependency.get("serName")?.as_str()?.to_owned()))
        .collect()
}
