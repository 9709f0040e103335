//! Publishing service APIs (ETSI GS MEC 011 v3, clauses 9.2.4 and 9.2.5).

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Map, Value};

use super::super::asked::OfApp;
use super::super::refusal::Refusal;
use super::super::service_mgmt::{find, refusal};
use super::super::{created, shown, tagged};
use super::description::{self, Base, PUBLISHING_EXTENSIONS, describe};
use super::merge;
use crate::entities::ServiceInstance;
use crate::{Platform, etag, services};

/// `GET …/service-apis`
pub(super) async fn list(OfApp { platform, catalog, app, .. }: OfApp) -> Response {
    let all: Vec<Value> = catalog
        .children::<ServiceInstance>("app", app)
        .map(|instance| view(&platform, &instance, true))
        .collect();
    super::super::json(StatusCode::OK, &all)
}

/// `POST …/service-apis`
pub(super) async fn publish(own: OfApp) -> Result<Response, Refusal> {
    let OfApp { platform, app, asked, .. } = own;
    let members = asked.body().await?;
    let info = description::read(&platform, &members, Base::New)?;
    let instance = services::register(&platform, app, &info).await.map_err(refusal)?;
    let location = format!("/published-apis/v1/{app}/service-apis/{}", instance.service_id());
    let body = view(&platform, &instance, extended(&members));
    Ok(created(&platform, &location, &etag::of_service(&instance), &body))
}

/// `GET …/service-apis/{serviceApiId}`
pub(super) async fn show(own: OfApp<String>) -> Result<Response, Refusal> {
    let instance = find(&own.catalog, own.app, &own.name)?;
    Ok(shown(&own.asked, &etag::of_service(&instance), &view(&own.platform, &instance, true)))
}

/// `PUT …/service-apis/{serviceApiId}`
pub(super) async fn replace(own: OfApp<String>) -> Result<Response, Refusal> {
    let OfApp { platform, catalog, app, name, asked, .. } = own;
    let present = find(&catalog, app, &name)?;
    let if_match = asked.matching(&etag::of_service(&present))?;
    let members = asked.body().await?;
    let read =
        |present: &ServiceInstance| description::read(&platform, &members, Base::Replace(present));
    let instance = services::change(&platform, app, present.id(), &if_match, read).await?;
    Ok(changed(&platform, &instance, extended(&members)))
}

/// `PATCH …/service-apis/{serviceApiId}`: a merge patch of what GET shows.
pub(super) async fn change(own: OfApp<String>) -> Result<Response, Refusal> {
    let OfApp { platform, catalog, app, name, asked, .. } = own;
    let present = find(&catalog, app, &name)?;
    let if_match = asked.matching(&etag::of_service(&present))?;
    let patch = asked.patch().await?;
    let mut extensions = true;
    let read = |present: &ServiceInstance| {
        let mut merged = view(&platform, present, true);
        merge(&mut merged, &Value::Object(patch.clone()));
        let members = merged.as_object().cloned().unwrap_or_default();
        extensions = extended(&members);
        description::read(&platform, &members, Base::Patch(present, &patch))
    };
    let instance = services::change(&platform, app, present.id(), &if_match, read).await?;
    Ok(changed(&platform, &instance, extensions))
}

/// `DELETE …/service-apis/{serviceApiId}`
pub(super) async fn unpublish(own: OfApp<String>) -> Result<Response, Refusal> {
    let OfApp { platform, catalog, app, name, asked, .. } = own;
    let present = find(&catalog, app, &name)?;
    let if_match = asked.if_match();
    services::remove(&platform, app, present.id(), &if_match).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn changed(platform: &Platform, instance: &ServiceInstance, extensions: bool) -> Response {
    let body = view(platform, instance, extensions);
    tagged(StatusCode::OK, &etag::of_service(instance), &body)
}

/// Whether a client reads the platform's own members.
fn extended(members: &Map<String, Value>) -> bool {
    let features = members.get("supportedFeatures").and_then(Value::as_str);
    let features = features.and_then(description::features).unwrap_or(0);
    features & PUBLISHING_EXTENSIONS != 0
}

fn view(platform: &Platform, instance: &ServiceInstance, extensions: bool) -> Value {
    let mut body = describe(&platform.settings.published, instance, extensions);
    if extensions {
        body["supportedFeatures"] = format!("{PUBLISHING_EXTENSIONS:x}").into();
    }
    body
}
