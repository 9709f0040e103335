//! From a request to its answer: path, method, body, and the headers every answer has.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use gateway_model::{Catalog, Registry};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, CONTENT_TYPE, ORIGIN, SERVER,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;

use crate::answer::Answer;
use crate::body::Payload;
use crate::nested::{Page, Resource};
use crate::{
    Admin, Ports, Served, Writes, collection, config, debug, extra, health, info, schemas, tags,
};

/// One request, as the operations see it.
pub(crate) struct Call<'a> {
    pub(crate) admin: &'a Admin,
    pub(crate) ports: &'a Ports,
    /// The catalog of the moment the request came in.
    pub(crate) catalog: Arc<Catalog>,
    /// `GET` also for `HEAD`.
    pub(crate) method: &'a Method,
    /// The path as sent, without a trailing slash.
    pub(crate) path: &'a str,
    /// The query, decoded.
    pub(crate) query: Vec<(String, String)>,
}

impl Call<'_> {
    pub(crate) fn registry(&self) -> &Registry {
        self.catalog.registry()
    }

    /// The first value of a query parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Members of a query or form that are read; more are refused (kong/api/arguments.lua).
pub(crate) const ARGUMENTS: usize = 1000;

const NEEDS_FILE: &str =
    "this endpoint is only available when Kong is configured to not use a database";

/// Serves one request.
pub(crate) async fn serve(
    State(served): State<Arc<Served>>,
    request: Request<Body>,
) -> Response<Body> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let admin = &served.admin;
    let answer = answer(&served, &parts, body).await.unwrap_or_else(|refusal| refusal);
    let preflight = answer.allow;
    let mut response = answer.into_response(&parts.method);
    let headers = response.headers_mut();
    allow_origin(admin, &parts.headers, headers);
    if let Some(methods) = preflight {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        let asked = parts.headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let asked = asked.unwrap_or(HeaderValue::from_static("Content-Type"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked);
    }
    if let Some(Ok(server)) = admin.headers.server.as_deref().map(HeaderValue::from_str) {
        headers.insert(SERVER, server);
    }
    if admin.headers.latency {
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        headers.insert(HeaderName::from_static("x-kong-admin-latency"), HeaderValue::from(ms));
    }
    response
}

async fn answer(served: &Served, parts: &Parts, body: Body) -> Result<Answer, Answer> {
    let Served { admin, ports } = served;
    let catalog = admin.control.catalog();
    let path = parts.uri.path().trim_end_matches('/');
    let segments = segments(path).ok_or_else(Answer::not_found)?;
    let resource = Resource::find(catalog.registry(), &segments);
    let resource = resource.or_else(|| extra::find(&ports.pages, &segments));
    let resource = resource.ok_or_else(Answer::not_found)?;
    let methods = resource.methods();
    if parts.method == Method::OPTIONS {
        return Ok(Answer::options(methods));
    }
    if !methods.split(", ").any(|method| method == parts.method.as_str()) {
        return Err(Answer::message(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"));
    }
    let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let query: Vec<(String, String)> = query.into_owned().take(ARGUMENTS + 1).collect();
    if query.len() > ARGUMENTS {
        return Err(Answer::bad_request("Too many arguments"));
    }
    let payload = match parts.method {
        Method::POST | Method::PUT | Method::PATCH => {
            let types: Vec<&HeaderValue> = parts.headers.get_all(CONTENT_TYPE).iter().collect();
            let yaml = matches!(resource, Resource::Page(Page::Config));
            Payload::read(&types, body, admin.body_limit, yaml).await?
        }
        _ => Payload::default(),
    };
    let method = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
    let call = Call { admin, ports, catalog, method, path, query };
    match resource {
        Resource::Collection(scope) => collection::collection(&call, &scope, &payload).await,
        Resource::Entity(scope, key) => collection::entity(&call, &scope, &key, &payload).await,
        Resource::Referenced { kind, key, field, target } => {
            collection::referenced(&call, (kind, &key), field, target, &payload).await
        }
        Resource::Page(page) => show(&call, page, &payload).await,
    }
}

async fn show(call: &Call<'_>, page: Page, payload: &Payload) -> Result<Answer, Answer> {
    match page {
        Page::Info => Ok(info::node(call)),
        Page::Status => info::status(call),
        Page::Endpoints => Ok(info::endpoints(call)),
        Page::EnabledPlugins => Ok(info::enabled_plugins(call)),
        Page::Metrics => info::metrics(call),
        // The reference keeps no list of tags without a database, and fails.
        Page::Tags if call.admin.writes == Writes::Declarative => Err(Answer::unexpected()),
        Page::Tags => tags::list(call, None),
        Page::Tag(tag) => tags::list(call, Some(&tag)),
        Page::Schema(kind) => schemas::kind(call, &kind),
        Page::PluginSchema(name) => schemas::plugin(call, &name),
        Page::PluginConfig(name) => schemas::plugin_config(call, &name),
        Page::Validate(kind) => schemas::validate(call, &kind, payload).await,
        Page::VaultSchema(name) => schemas::vault(call, &name),
        Page::Health { upstream } => health::show(call, &upstream),
        Page::AllTargets(scope) => collection::all(call, &scope),
        Page::Mark(mark) => health::mark(call, &mark),
        Page::LogLevel => debug::log_level(call),
        Page::SetLogLevel(level) => debug::set_log_level(call, &level, payload),
        Page::Timers => Ok(info::timers()),
        // What Kong answers unless its newer resolver is switched on.
        Page::Dns => Err(Answer::message(
            StatusCode::NOT_IMPLEMENTED,
            "not implemented with the legacy DNS client",
        )),
        Page::Filter(name) => {
            Err(Answer::message(StatusCode::NOT_FOUND, format!("Filter '{name}' not found")))
        }
        Page::Config if call.admin.writes == Writes::Store => Err(Answer::bad_request(NEEDS_FILE)),
        Page::Config if *call.method == Method::POST => config::load(call, payload).await,
        Page::Config => Ok(config::show(call)),
        // Nothing is cached that a write would not replace: no key is found, purging is done.
        Page::Cache { .. } if *call.method == Method::DELETE => Ok(Answer::no_content()),
        Page::Cache { .. } => Err(Answer::not_found()),
        Page::Unavailable(why) => Err(Answer::bad_request(why)),
        Page::Extra(page, parameters) => Ok(extra::serve(call, &page, &parameters, payload).await),
    }
}

/// The segments of a path, each decoded once; `None` for what is no text.
fn segments(path: &str) -> Option<Vec<String>> {
    let segments = path.strip_prefix('/').unwrap_or(path);
    if segments.is_empty() {
        return Some(Vec::new());
    }
    segments
        .split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8().ok().map(Into::into))
        .collect()
}

/// Every origin is allowed unless the addresses of Kong Manager are configured; then the first
/// of them stands in for others (kong/api/api_helpers.lua, cors).
fn allow_origin(admin: &Admin, request: &HeaderMap, answer: &mut HeaderMap) {
    let origin = request.get(ORIGIN);
    let known = |origin: &&HeaderValue| {
        admin.gui_origins.iter().any(|known| known.as_bytes() == origin.as_bytes())
    };
    let allowed = match admin.gui_origins.first() {
        None => origin.cloned().unwrap_or(HeaderValue::from_static("*")),
        Some(first) => match origin.filter(known) {
            Some(origin) => origin.clone(),
            None => HeaderValue::from_str(first).unwrap_or(HeaderValue::from_static("*")),
        },
    };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
}
