//! Registrations of applications (ETSI GS MEC 011 v3, clauses 7.2.13 and 7.2.14).

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use gateway_model::{Catalog, Id, Item, Ref};
use http::StatusCode;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::asked::{Asked, Segment};
use super::reading::{Broken, Reader};
use super::refusal::Refusal;
use super::service_mgmt::{CategoryView, EndpointView, category_body, endpoint_body};
use super::told::anybody;
use super::{created, shown};
use crate::auth::credential::AppInstanceId;
use crate::commit::{absent, commit, require, unchanged};
use crate::entities::{self, AppRegistration};
use crate::openapi::{Api, Routes};
use crate::{Platform, applications, etag, life};

/// Registrations one caller may have made.
const MOST: usize = 50;

const DEPENDENCIES: [&str; 4] =
    ["appServiceRequired", "appServiceOptional", "appFeatureRequired", "appFeatureOptional"];

pub(super) fn routes() -> Routes<Arc<Platform>> {
    const ALL: &str = "/mec_app_support/v1/registrations";
    let example = || {
        json!({
            "appName": "camera", "appProvider": "example",
            "endpoint": {"uris": ["http://192.0.2.7:8080/"]},
            "appServiceOptional": [{"serName": "rni", "version": "1.4"}],
        })
    };
    let one = |summary| {
        anybody(summary, "7.2.14").refuses(&[StatusCode::FORBIDDEN, StatusCode::NOT_FOUND])
    };
    Routes::of(Api::Registrations)
        .at(ALL, |on| {
            let made = anybody("Registers an application instance", "7.2.13")
                .refuses(&[StatusCode::FORBIDDEN, StatusCode::NOT_FOUND])
                .reads::<AppInfo>(example())
                .stores()
                .creates::<AppInfo>("What is kept of it.");
            on.post(register, made)
        })
        .at(&format!("{ALL}/{{appInstanceId}}"), |on| {
            let shown = one("A registration").shows::<AppInfo>("The registration.");
            let replaced = one("Replaces a registration")
                .reads::<AppInfo>(example())
                .conditional()
                .stores()
                .does("It is replaced.")
                .with_header(StatusCode::NO_CONTENT, "ETag", "The entity-tag of its state.");
            let removed = one("Takes a registration back")
                .conditional()
                .stores()
                .does("The registration is gone, and with it all that only it made known.");
            on.get(show, shown).put(replace, replaced).delete(remove, removed)
        })
}

// What `check` reads.
/// What an application says about itself (ETSI GS MEC 011 v3, clause 7.1.2.6).
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what is read member by member")]
struct AppInfo {
    #[schema(min_length = 1)]
    app_name: String,
    #[schema(nullable = false)]
    app_provider: Option<String>,
    #[schema(nullable = false)]
    app_category: Option<CategoryView<'static>>,
    /// The id of its descriptor; of an application that management started.
    #[schema(nullable = false)]
    app_d_id: Option<String>,
    /// Given by the platform to who registers itself.
    #[schema(nullable = false)]
    app_instance_id: Option<String>,
    /// Where it is; of an application that management did not start.
    #[schema(nullable = false)]
    endpoint: Option<EndpointView<'static>>,
    #[schema(nullable = false)]
    app_service_required: Option<Vec<ServiceDependency>>,
    #[schema(nullable = false)]
    app_service_optional: Option<Vec<ServiceDependency>>,
    #[schema(nullable = false)]
    app_feature_required: Option<Vec<FeatureDependency>>,
    #[schema(nullable = false)]
    app_feature_optional: Option<Vec<FeatureDependency>>,
    /// Whether management started it; false when left out.
    #[schema(nullable = false)]
    is_ins_by_mec: Option<bool>,
    /// Anything.
    #[schema(nullable = false, value_type = Option<Object>)]
    app_profile: Option<Value>,
}

/// A service an application needs or can use.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what is read member by member")]
struct ServiceDependency {
    ser_name: String,
    version: String,
    #[schema(nullable = false)]
    ser_category: Option<CategoryView<'static>>,
}

/// A feature an application needs or can use.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what is read member by member")]
struct FeatureDependency {
    feature_name: String,
    version: String,
}

fn unknown() -> Refusal {
    Refusal::not_found("there is no such registration")
}

/// As if version 3 were absent, when an operator wants it so.
fn offered(platform: &Platform) -> Result<(), Refusal> {
    if platform.settings.registrations {
        return Ok(());
    }
    Err(Refusal::not_found("there is no such resource"))
}

/// `POST /registrations`
async fn register(
    State(platform): State<Arc<Platform>>,
    asked: Asked,
) -> Result<Response, Refusal> {
    offered(&platform)?;
    let caller = asked.anybody()?;
    asked.no_query()?;
    let members = asked.body().await?;
    let registration = new(&platform, caller, &members)?;
    let app = registration.id;
    commit(&platform.control, |catalog| {
        if catalog.get::<AppRegistration>(app).is_some() {
            return Err(Refusal::conflict("the application instance is registered already"));
        }
        if made_by(catalog, caller) >= MOST {
            let detail = format!("a caller may make {MOST} registrations");
            return Err(Refusal::forbidden(detail));
        }
        if applications::is_ending(catalog, app) {
            return Err(Refusal::ending());
        }
        let mut changes = vec![
            absent::<AppRegistration>(app),
            require(move |catalog| made_by(catalog, caller) < MOST),
        ];
        changes.extend(applications::missing(catalog, app));
        changes.push(entities::put(app, &registration));
        Ok((changes, ()))
    })
    .await
    .map_err(|refused| refused.or(Refusal::not_stored()))?;
    let location = format!("/mec_app_support/v1/registrations/{app}");
    Ok(created(&platform, &location, &tag(&registration), &registration.info))
}

/// The registration a body asks for.
fn new(
    platform: &Platform,
    caller: Id,
    members: &Map<String, Value>,
) -> Result<AppRegistration, Refusal> {
    let broken = Broken::default();
    let body = Reader::new(members, &broken);
    let by_management = check(&body);
    let named = body.text("appInstanceId", 64);
    if named.is_none() && by_management {
        body.refuse("appInstanceId", "is missing");
    }
    let app = match named.as_deref().map(AppInstanceId::id) {
        None => Id::random(),
        Some(Some(app)) if by_management || app == caller => app,
        Some(_) if by_management => {
            body.refuse("appInstanceId", "is not one of a known application");
            Id::random()
        }
        Some(_) => {
            body.refuse("appInstanceId", "is chosen by the platform");
            Id::random()
        }
    };
    let known = applications::is_known(&platform.control.catalog(), app);
    if by_management && named.is_some() && !known {
        body.refuse("appInstanceId", "is not one of a known application");
    }
    let info = shown_info(&body, app);
    broken.unless(())?;
    // Whoever registers an application may act for it, so nobody may register another's.
    if by_management && app != caller {
        return Err(Refusal::forbidden("the application instance is another's"));
    }
    Ok(AppRegistration { id: app, app: Ref::new(app), registrant: caller, by_management, info })
}

fn made_by(catalog: &Catalog, caller: Id) -> usize {
    catalog.all::<AppRegistration>().filter(|known| known.registrant == caller).count()
}

fn tag(registration: &AppRegistration) -> String {
    let tag = etag::of(&registration.info);
    format!("{}\"", &tag[..33])
}

/// A registration the caller may see and change: its own, or one it made.
fn of_caller(
    catalog: &Catalog,
    asked: &Asked,
    path: &str,
) -> Result<Item<AppRegistration>, Refusal> {
    let caller = asked.caller()?;
    let found = AppInstanceId::id(path).and_then(|app| catalog.get::<AppRegistration>(app));
    let found = found.ok_or_else(unknown)?;
    if found.id != caller && found.registrant != caller {
        return Err(Refusal::forbidden("the registration is another's"));
    }
    asked.anybody()?;
    asked.no_query()?;
    Ok(found)
}

/// `GET /registrations/{appInstanceId}`
async fn show(
    State(platform): State<Arc<Platform>>,
    Segment(app): Segment,
    asked: Asked,
) -> Result<Response, Refusal> {
    offered(&platform)?;
    let found = of_caller(&platform.control.catalog(), &asked, &app)?;
    Ok(shown(&asked, &tag(&found), &found.info))
}

/// `PUT /registrations/{appInstanceId}`
async fn replace(
    State(platform): State<Arc<Platform>>,
    Segment(app): Segment,
    asked: Asked,
) -> Result<Response, Refusal> {
    offered(&platform)?;
    let present = of_caller(&platform.control.catalog(), &asked, &app)?;
    let if_match = asked.if_match();
    if !if_match.admits(&tag(&present)) {
        return Err(Refusal::stale());
    }
    let members = asked.body().await?;
    let next = commit(&platform.control, |catalog| {
        let now = catalog.get::<AppRegistration>(present.id()).ok_or_else(unknown)?;
        if !if_match.admits(&tag(&now)) {
            return Err(Refusal::stale());
        }
        // It may be another one of this id by now.
        if now.registrant != present.registrant {
            return Err(Refusal::forbidden("the registration is another's"));
        }
        let next = changed(&now, &members)?;
        Ok((vec![unchanged(&now), entities::put(next.id, &next)], next))
    })
    .await
    .map_err(|refused| refused.or(Refusal::not_stored()))?;
    Ok(([etag::header(&tag(&next))], StatusCode::NO_CONTENT).into_response())
}

/// What a body makes of a registration.
fn changed(
    present: &AppRegistration,
    members: &Map<String, Value>,
) -> Result<AppRegistration, Refusal> {
    let broken = Broken::default();
    let body = Reader::new(members, &broken);
    let by_management = check(&body);
    let own = present.id.to_string();
    body.one_of("appInstanceId", |id| (id == own).then_some(()));
    if by_management != present.by_management {
        body.refuse("isInsByMec", "cannot change");
    }
    let info = shown_info(&body, present.id);
    broken.unless(())?;
    Ok(AppRegistration { info, ..present.clone() })
}

/// `DELETE /registrations/{appInstanceId}`: an application that is known by nothing else goes with
/// everything it has.
async fn remove(
    State(platform): State<Arc<Platform>>,
    Segment(app): Segment,
    asked: Asked,
) -> Result<Response, Refusal> {
    offered(&platform)?;
    let present = of_caller(&platform.control.catalog(), &asked, &app)?;
    let if_match = asked.if_match();
    life::unregister(&platform, present.id(), |now| {
        let same = now.registrant == present.registrant && if_match.admits(&tag(now));
        if same { Ok(()) } else { Err(Refusal::stale()) }
    })
    .await
    .map_err(|refused| refused.or(Refusal::not_stored()))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Checks the members of a registration; says whether management started the application.
fn check(body: &Reader<'_>) -> bool {
    const ANY: usize = usize::MAX;
    body.filled_text("appName", ANY);
    body.text("appProvider", ANY);
    if let Some(category) = body.object("appCategory") {
        category_body(&category);
    }
    body.object("appProfile");
    for list in ["appServiceRequired", "appServiceOptional"] {
        for dependency in body.objects(list).unwrap_or_default() {
            dependency.mandatory_text("serName", ANY);
            dependency.mandatory_text("version", ANY);
            if let Some(category) = dependency.object("serCategory") {
                category_body(&category);
            }
        }
    }
    for list in ["appFeatureRequired", "appFeatureOptional"] {
        for dependency in body.objects(list).unwrap_or_default() {
            dependency.mandatory_text("featureName", ANY);
            dependency.mandatory_text("version", ANY);
        }
    }
    if let Some(endpoint) = body.object("endpoint") {
        endpoint_body(&endpoint);
    }
    let by_management = body.boolean("isInsByMec").unwrap_or(false);
    if by_management {
        body.mandatory_text("appDId", ANY);
        for list in body.given(&DEPENDENCIES) {
            body.refuse(list, "is in the descriptor already");
        }
    } else if body.any("endpoint").is_none() {
        body.refuse("endpoint", "is missing");
    }
    by_management
}

/// The members that are kept and shown.
fn shown_info(body: &Reader<'_>, app: Id) -> Value {
    let document = body.document();
    let mut info = Map::new();
    for name in ["appName", "appProvider", "appCategory", "appDId"] {
        info.extend(
            document.get_key_value(name).map(|(name, value)| (name.clone(), value.clone())),
        );
    }
    info.insert("appInstanceId".to_owned(), json!(app.to_string()));
    for name in ["endpoint"].into_iter().chain(DEPENDENCIES) {
        info.extend(
            document.get_key_value(name).map(|(name, value)| (name.clone(), value.clone())),
        );
    }
    let by_management = document.get("isInsByMec").cloned().unwrap_or(json!(false));
    info.insert("isInsByMec".to_owned(), by_management);
    info.extend(
        document.get_key_value("appProfile").map(|(name, value)| (name.clone(), value.clone())),
    );
    Value::Object(info)
}
