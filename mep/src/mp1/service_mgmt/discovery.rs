//! Finding services.

pub(crate) mod filter;

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use gateway_model::{Catalog, Id, Item};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::OneOfBuilder;

use self::filter::{Filter, VersionRule};
use super::{service_id, view};
use crate::Platform;
use crate::dialect::rules::is_registry_name;
use crate::entities::{AppCredential, ServiceInstance, ServiceName, Visibility};
use crate::etag;
use crate::mp1::{Call, OfApp};
use crate::openapi::Operation;
use crate::problem::{self, Code, Problem, json_body, json_reply, json_text};
use crate::services::owned;

const INVALID_ID: Problem = Problem::new(Code::BadRequest, "invalid service id");
const UNKNOWN: Problem = Problem::new(Code::NoService, "service instance id not found");

/// The services an app offers.
///
/// `GET …/applications/{appInstanceId}/services`; ETSI GS MEC 011, clause 8.2.6.3.1.
pub(super) async fn of_app(
    OfApp { platform, app, .. }: OfApp,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let catalog = platform.control.catalog();
    list(&platform, &catalog, query.as_deref(), |name| {
        let own = catalog.children::<ServiceInstance>("app", app);
        own.filter(|instance| name.is_none_or(|name| instance.service_name.id == name)).collect()
    })
}

/// The services the caller may use.
///
/// `GET …/services`; ETSI GS MEC 011, clause 8.2.3.3.1. Which they are, the `required_services` of
/// the caller's key pair say; who has none sees none.
pub(super) async fn of_all(
    State(platform): State<Arc<Platform>>,
    RawQuery(query): RawQuery,
    call: Call,
) -> Result<Response, Refusal> {
    let catalog = platform.control.catalog();
    let credential = credential(&catalog, &call);
    let nothing = Visibility::NONE;
    let visible = credential.as_ref().map_or(&nothing, |credential| credential.visible());
    let whole = *visible == Visibility::All && query.as_deref().is_none_or(str::is_empty);
    if whole {
        let make = || array(&platform, &seen(&catalog, visible, None)) + "\n";
        let text = platform.listed[0].text(&catalog, make);
        return Ok(json_body(StatusCode::OK, text));
    }
    list(&platform, &catalog, query.as_deref(), |name| seen(&catalog, visible, name))
}

/// The services, of one name or of all, that are visible.
pub(crate) fn seen(
    catalog: &Catalog,
    visible: &Visibility,
    name: Option<Id>,
) -> Vec<Item<ServiceInstance>> {
    match (visible, name) {
        (_, Some(name)) => {
            let named = catalog.get::<ServiceName>(name);
            let allowed = named.is_some_and(|named| visible.allows(&named.name));
            if allowed { named_so(catalog, name).collect() } else { Vec::new() }
        }
        (Visibility::All, None) => catalog.all().collect(),
        (Visibility::Named(names), None) => {
            let ids = names.iter().map(|name| ServiceName::id_of(name));
            let mut found: Vec<Item<_>> = ids.flat_map(|name| named_so(catalog, name)).collect();
            found.sort_by_key(Item::id);
            found
        }
    }
}

/// One service of the caller's.
///
/// `GET …/applications/{appInstanceId}/services/{serviceId}`; ETSI GS MEC 011, clause 8.2.7.3.1.
pub(super) async fn one_of_app(
    OfApp { platform, app, name }: OfApp<String>,
) -> Result<Response, Problem> {
    let id = service_id(&name).ok_or(INVALID_ID)?;
    let instance = owned(&platform.control.catalog(), app, id).ok_or(UNKNOWN)?;
    Ok(one(&platform, &instance))
}

/// One service the caller may use, or offers itself.
///
/// `GET …/services/{serviceId}`; ETSI GS MEC 011, clause 8.2.4.3.1.
pub(super) async fn one_of_all(
    State(platform): State<Arc<Platform>>,
    Path(service): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let id = service_id(&service).ok_or(INVALID_ID)?;
    let catalog = platform.control.catalog();
    let instance = catalog.get::<ServiceInstance>(id).filter(|instance| {
        call.identity() == Some(instance.app.id)
            || credential(&catalog, &call)
                .is_some_and(|credential| credential.visible().allows(&instance.info.ser_name))
    });
    let instance = instance.ok_or(UNKNOWN)?;
    Ok(one(&platform, &instance))
}

fn one(platform: &Platform, instance: &ServiceInstance) -> Response {
    let text = view::shown(instance, &platform.settings.published);
    let reply = json_text(StatusCode::OK, text.to_owned());
    ([etag::header(&etag::of_service(instance))], reply).into_response()
}

fn credential(catalog: &Catalog, call: &Call) -> Option<Item<AppCredential>> {
    catalog.get::<AppCredential>(call.identity()?)
}

fn named_so(catalog: &Catalog, name: Id) -> impl Iterator<Item = Item<ServiceInstance>> {
    catalog.children::<ServiceInstance>("service_name", name)
}

/// Answers with those of `candidates` that the query asks for. `candidates` is told the id of a
/// service name when the query has one, so that it need not look at the others.
fn list(
    platform: &Platform,
    catalog: &Catalog,
    query: Option<&str>,
    candidates: impl FnOnce(Option<Id>) -> Vec<Item<ServiceInstance>>,
) -> Result<Response, Refusal> {
    let filter = Filter::parse(query.unwrap_or_default());
    let mut found = match filter.name.as_deref() {
        Some(name) => {
            if !asks_registry(catalog, name, &filter)? {
                return Ok(json_text(StatusCode::OK, "[]".to_owned()));
            }
            candidates(Some(ServiceName::id_of(name)))
        }
        None => {
            asks_instance(catalog, &filter)?;
            candidates(None)
        }
    };
    found.retain(|instance| filter.matches(instance, platform.settings.strict_original));
    Ok(json_text(StatusCode::OK, array(platform, &found)))
}

/// Services as a JSON array.
pub(crate) fn array(platform: &Platform, found: &[Item<ServiceInstance>]) -> String {
    let texts = || found.iter().map(|one| view::shown(one, &platform.settings.published));
    let length: usize = texts().map(|text| text.len() + 1).sum();
    let mut text = String::with_capacity(length + 2);
    text.push('[');
    for (at, shown) in texts().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(shown);
    }
    text.push(']');
    text
}

/// What the original's registry said to a query by name; `false` when it said "nothing".
fn asks_registry(catalog: &Catalog, name: &str, filter: &Filter) -> Result<bool, Refusal> {
    if !is_registry_name(name) {
        return Err(Refusal::parameters("the service name is not valid"));
    }
    let rule = filter.version.as_deref().unwrap_or("latest");
    let version =
        VersionRule::parse(rule).ok_or(Refusal::parameters("the version rule is not valid"))?;
    let absent = || Refusal::no_service(filter.instance_id.as_deref(), name, rule);
    let known = catalog.get::<ServiceName>(ServiceName::id_of(name)).is_some();
    if !known || filter.instance_id.is_some() || version == VersionRule::Other {
        return Err(absent());
    }
    Ok(version == VersionRule::Matches && !filter.internal)
}

/// A query by id asks only whether the instance exists.
fn asks_instance(catalog: &Catalog, filter: &Filter) -> Result<(), Refusal> {
    let Some(id) = filter.instance_id.as_deref() else { return Ok(()) };
    let nothing_at_all = catalog.all::<ServiceInstance>().next().is_none();
    let exists = service_id(id).is_some_and(|id| catalog.get::<ServiceInstance>(id).is_some());
    if exists || nothing_at_all {
        return Ok(());
    }
    Err(Problem::new(Code::NoInstance, "instance id not found").into())
}

/// A discovery that fails does so in one of two shapes: the platform's, or that of the registry the
/// original was built on.
#[derive(Debug)]
pub(super) enum Refusal {
    Platform(Problem),
    Registry { code: &'static str, message: &'static str, detail: String },
}

impl Refusal {
    fn parameters(detail: &str) -> Self {
        Self::Registry {
            code: "400001",
            message: "Invalid parameter(s)",
            detail: detail.to_owned(),
        }
    }

    fn no_service(application: Option<&str>, name: &str, version: &str) -> Self {
        let application = application.unwrap_or("default");
        Self::Registry {
            code: "400012",
            message: "Micro-service does not exist",
            detail: format!(
                "Consumer[][///] find provider[/{application}/{name}/{version}] failed, \
                 provider does not exist."
            ),
        }
    }
}

/// A failure of the registry the original was built on.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = edgegallery::RegistryError)]
struct Body<'a> {
    error_code: &'a str,
    error_message: &'a str,
    detail: &'a str,
}

/// What the documents tell of a list: its query, its bodies, its failures.
pub(super) fn told(told: Operation) -> Operation {
    let mut told = told
        .query("ser_name", "Of this name.")
        .query("instance_id", "Only asks whether this instance exists.")
        .query("ser_category_id", "Of the category of this id.")
        .query("scope_of_locality", "Of this locality.")
        .query("consumed_local_only", "Whether only local consumers may use it.")
        .query("is_local", "Whether it is local.")
        .query("version", "With ser_name, a rule on a version all services have: 1.0.0.")
        .lists::<view::View<'static>>("The services, with the gateway's endpoints.");
    let either = [told.named::<problem::Body<'static>>(), told.named::<Body<'static>>()];
    let either = either.into_iter().fold(OneOfBuilder::new(), OneOfBuilder::item);
    told.responds(StatusCode::BAD_REQUEST, "Bad Request", Some(("application/json", either.into())))
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Platform(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Platform(problem) => problem.into_response(),
            Self::Registry { code, message, detail } => {
                let body = Body { error_code: code, error_message: message, detail: &detail };
                json_reply(StatusCode::BAD_REQUEST, &body)
            }
        }
    }
}
