//! Publishing service APIs (ETSI GS MEC 011 v3, clauses 9.2.4 and 9.2.5).

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use gateway_model::{Id, Item};
use http::StatusCode;
use serde_json::{Map, Value};

use super::super::asked::Asked;
use super::super::refusal::Refusal;
use super::super::service_mgmt::{find, refusal};
use super::super::{created, shown, tagged};
use super::description::{self, PUBLISHING_EXTENSIONS, describe};
use super::merge;
use crate::entities::ServiceInstance;
use crate::etag::IfMatch;
use crate::{Platform, etag, services};

/// `GET …/service-apis`
pub(super) async fn list(
    State(platform): State<Arc<Platform>>,
    Path(app): Path<String>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let catalog = platform.control.catalog();
    let app = asked.app(&catalog, &app)?;
    asked.no_query()?;
    let all: Vec<Value> = catalog
        .children::<ServiceInstance>("app", app)
        .map(|instance| view(&platform, &instance, true))
        .collect();
    Ok(super::super::json(StatusCode::OK, &all))
}

/// `POST …/service-apis`
pub(super) async fn publish(
    State(platform): State<Arc<Platform>>,
    Path(app): Path<String>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let app = asked.app(&platform.control.catalog(), &app)?;
    asked.no_query()?;
    let members = asked.body().await?;
    let info = description::read(&platform, &members, None)?;
    let instance = services::register(&platform, app, &info).await.map_err(refusal)?;
    let location = format!("/published-apis/v1/{app}/service-apis/{}", instance.service_id());
    let body = view(&platform, &instance, extended(&members));
    Ok(created(&platform, &location, &etag::of_service(&instance), &body))
}

/// `GET …/service-apis/{serviceApiId}`
pub(super) async fn show(
    State(platform): State<Arc<Platform>>,
    Path((app, service)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let (_, instance) = there(&platform, &asked, &app, &service)?;
    Ok(shown(&asked, &etag::of_service(&instance), &view(&platform, &instance, true)))
}

/// `PUT …/service-apis/{serviceApiId}`
pub(super) async fn replace(
    State(platform): State<Arc<Platform>>,
    Path((app, service)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let (app, present) = there(&platform, &asked, &app, &service)?;
    let if_match = current(&asked, &present)?;
    let members = asked.body().await?;
    put(&platform, app, &present, &members, &if_match).await
}

/// `PATCH …/service-apis/{serviceApiId}`: a merge patch of what GET shows.
pub(super) async fn change(
    State(platform): State<Arc<Platform>>,
    Path((app, service)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let (app, present) = there(&platform, &asked, &app, &service)?;
    let if_match = current(&asked, &present)?;
    let patch = asked.patch().await?;
    let mut merged = view(&platform, &present, true);
    merge(&mut merged, &Value::Object(patch));
    let members = merged.as_object().cloned().unwrap_or_default();
    put(&platform, app, &present, &members, &if_match).await
}

/// `DELETE …/service-apis/{serviceApiId}`
pub(super) async fn unpublish(
    State(platform): State<Arc<Platform>>,
    Path((app, service)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let (app, present) = there(&platform, &asked, &app, &service)?;
    let if_match = asked.if_match();
    services::remove(&platform, app, present.id(), &if_match).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn put(
    platform: &Platform,
    app: Id,
    present: &Item<ServiceInstance>,
    members: &Map<String, Value>,
    if_match: &IfMatch,
) -> Result<Response, Refusal> {
    let info = description::read(platform, members, Some(present))?;
    let instance =
        services::replace(platform, app, present.id(), &info, if_match).await.map_err(refusal)?;
    let body = view(platform, &instance, extended(members));
    Ok(tagged(StatusCode::OK, &etag::of_service(&instance), &body))
}

fn current(asked: &Asked, present: &ServiceInstance) -> Result<IfMatch, Refusal> {
    let if_match = asked.if_match();
    let stale = !if_match.admits(&etag::of_service(present));
    if stale { Err(Refusal::stale()) } else { Ok(if_match) }
}

fn there(
    platform: &Platform,
    asked: &Asked,
    app: &str,
    service: &str,
) -> Result<(Id, Item<ServiceInstance>), Refusal> {
    let catalog = platform.control.catalog();
    let app = asked.app(&catalog, app)?;
    asked.no_query()?;
    Ok((app, find(&catalog, app, service)?))
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
