//! [`Asked`]: one request to the standard's own face, and the checks all of them share.
//!
//! They are made in this order: token 401, application known 404, caller allowed 403, `Accept` 406,
//! query 400; then, with the resource found, `If-Match` 412, `Content-Type` 415, size 413, body 400.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use gateway_model::ports::Caller;
use gateway_model::{Catalog, Id};
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};

use super::reading;
use super::refusal::Refusal;
use crate::applications;
use crate::auth::credential::AppInstanceId;
use crate::entities::AppRegistration;
use crate::etag::IfMatch;
use crate::openapi::{Operation, one_of, optional, text};

/// The largest body, bytes.
const LARGEST_BODY: usize = 64 * 1024;

/// One request.
pub(crate) struct Asked {
    identity: Option<Id>,
    headers: HeaderMap,
    query: String,
    body: Body,
}

impl<S: Sync> FromRequest<S> for Asked {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        let (parts, body) = request.into_parts();
        let caller = parts.extensions.get::<Caller>();
        let named = match caller.filter(|caller| caller.by_gateway) {
            Some(caller) => caller.subject.clone(),
            None => {
                let header = parts.headers.get("x-appinstanceid");
                header.and_then(|value| value.to_str().ok()).map(Arc::from)
            }
        };
        let identity = named.and_then(|named| app_id(&named));
        let query = parts.uri.query().unwrap_or_default().to_owned();
        Ok(Self { identity, headers: parts.headers, query, body })
    }
}

/// An app instance id as it stands in paths and tokens.
pub(crate) fn app_id(text: &str) -> Option<Id> {
    AppInstanceId::parse(text).ok().and_then(|valid| Id::parse(valid.as_str()))
}

/// A parameter of a query.
#[derive(Clone, Copy)]
pub(crate) struct Parameter {
    name: &'static str,
    kind: Kind,
    /// What it asks for, as the documents tell it.
    says: &'static str,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Text, given once.
    Single,
    /// May be repeated, or hold commas; any of the values will do.
    List,
    /// `true` or `false`.
    Flag,
    /// One of these.
    OneOf(&'static [&'static str]),
}

impl Parameter {
    pub(crate) const fn single(name: &'static str, says: &'static str) -> Self {
        Self { name, kind: Kind::Single, says }
    }

    pub(crate) const fn list(name: &'static str, says: &'static str) -> Self {
        Self { name, kind: Kind::List, says }
    }

    pub(crate) const fn flag(name: &'static str, says: &'static str) -> Self {
        Self { name, kind: Kind::Flag, says }
    }

    pub(crate) const fn one_of(
        name: &'static str,
        words: &'static [&'static str],
        says: &'static str,
    ) -> Self {
        Self { name, kind: Kind::OneOf(words), says }
    }

    /// Whether a value is one of its.
    fn admit(&self, value: &str) -> Result<(), Refusal> {
        let name = self.name;
        match self.kind {
            _ if value.is_empty() => Err(Refusal::bad(format!("{name} is empty"))),
            Kind::Flag if !matches!(value, "true" | "false") => {
                Err(Refusal::bad(format!("{name} must be true or false")))
            }
            Kind::OneOf(words) if !words.contains(&value) => {
                Err(Refusal::bad(format!("{name} is not one of its values")))
            }
            _ => Ok(()),
        }
    }

    /// As the documents tell it.
    fn told(&self) -> ParameterBuilder {
        let schema = match self.kind {
            Kind::Single => text(),
            Kind::List => ArrayBuilder::new().items(text()).into(),
            Kind::Flag => ObjectBuilder::new().schema_type(Type::Boolean).into(),
            Kind::OneOf(words) => one_of(words),
        };
        optional(self.name, ParameterIn::Query, self.says).schema(Some(schema))
    }
}

impl Operation {
    /// Its query may have these.
    pub(super) fn queried(mut self, known: &[Parameter]) -> Self {
        for parameter in known {
            self = self.parameter(parameter.told());
        }
        self
    }
}

/// Parameters a resource knows, with what was given of them.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(&'static str, Vec<String>)>);

impl Query {
    pub(crate) fn list(&self, name: &str) -> Option<&[String]> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, values)| values.as_slice())
    }

    pub(crate) fn single(&self, name: &str) -> Option<&str> {
        self.list(name)?.first().map(String::as_str)
    }

    /// A flag.
    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        self.single(name).map(|value| value == "true")
    }
}

impl Asked {
    /// Who calls: the subject of the verified token.
    pub(crate) fn caller(&self) -> Result<Id, Refusal> {
        let refusal = || Refusal::new(StatusCode::UNAUTHORIZED, "a valid token is needed");
        self.identity.ok_or_else(refusal)
    }

    /// The caller of a resource that belongs to no application.
    pub(crate) fn anybody(&self) -> Result<Id, Refusal> {
        let caller = self.caller()?;
        self.accepts_json()?;
        Ok(caller)
    }

    /// The application in a path, for which the caller must be allowed to act.
    pub(crate) fn app(&self, catalog: &Catalog, path: &str) -> Result<Id, Refusal> {
        let caller = self.caller()?;
        let unknown = || Refusal::not_found("there is no such application instance");
        let app = app_id(path).ok_or_else(unknown)?;
        if !applications::is_known(catalog, app) {
            return Err(unknown());
        }
        if caller != app && !registered_by(catalog, app, caller) {
            return Err(Refusal::forbidden("the application instance is another's"));
        }
        self.accepts_json()?;
        Ok(app)
    }

    fn accepts_json(&self) -> Result<(), Refusal> {
        let mut accepted = self.headers.get_all(header::ACCEPT).iter().peekable();
        if accepted.peek().is_none() {
            return Ok(());
        }
        let fits = accepted
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(admits_json);
        if fits {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, "only application/json is served"))
    }

    /// Whether nothing is asked for in particular.
    pub(crate) fn has_no_query(&self) -> bool {
        self.query.is_empty()
    }

    /// Refuses any query: most resources know no parameter.
    pub(crate) fn no_query(&self) -> Result<(), Refusal> {
        self.query(&[]).map(drop)
    }

    /// What was asked for by these parameters. Any other is refused.
    pub(crate) fn query(&self, known: &[Parameter]) -> Result<Query, Refusal> {
        let mut query = Query::default();
        for (name, value) in url::form_urlencoded::parse(self.query.as_bytes()) {
            let Some(parameter) = known.iter().find(|known| known.name == name) else {
                // As much of it as tells one from another.
                let name: String = name.chars().take(64).collect();
                return Err(Refusal::bad(format!("the query parameter {name} is not known")));
            };
            let (name, values) = match parameter.kind {
                Kind::List => (parameter.name, value.split(',').map(str::to_owned).collect()),
                _ => (parameter.name, vec![value.into_owned()]),
            };
            for value in &values {
                parameter.admit(value)?;
            }
            match (query.0.iter_mut().find(|(given, _)| *given == name), parameter.kind) {
                (Some((_, given)), Kind::List) => given.extend(values),
                (Some(_), _) => return Err(Refusal::bad(format!("{name} is given twice"))),
                (None, _) => query.0.push((name, values)),
            }
        }
        Ok(query)
    }

    /// What state the client wants to change.
    pub(crate) fn if_match(&self) -> IfMatch {
        IfMatch::of(&self.headers)
    }

    /// Whether the client has the state of this tag already.
    pub(crate) fn has(&self, tag: &str) -> bool {
        IfMatch::none_match(&self.headers).names(tag)
    }

    /// The body: one JSON object.
    pub(crate) async fn body(self) -> Result<Map<String, Value>, Refusal> {
        self.body_of(&["application/json"]).await
    }

    /// The body of a PATCH.
    pub(crate) async fn patch(self) -> Result<Map<String, Value>, Refusal> {
        self.body_of(&["application/json", "application/merge-patch+json"]).await
    }

    async fn body_of(self, kinds: &[&str]) -> Result<Map<String, Value>, Refusal> {
        if let Some(kind) = self.headers.get(header::CONTENT_TYPE) {
            let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
            if !kinds.iter().any(|known| kind.trim().eq_ignore_ascii_case(known)) {
                let detail = format!("the body must be {}", kinds.join(" or "));
                return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
            }
        }
        match Limited::new(self.body, LARGEST_BODY).collect().await {
            Ok(body) => reading::object(&body.to_bytes()),
            Err(why) if why.is::<LengthLimitError>() => {
                let detail = format!("the body is larger than {LARGEST_BODY} bytes");
                Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
            }
            Err(_) => Err(Refusal::bad("the body could not be read")),
        }
    }
}

/// Whether an application was registered by somebody, who may act for it then.
pub(crate) fn registered_by(catalog: &Catalog, app: Id, caller: Id) -> bool {
    catalog.get::<AppRegistration>(app).is_some_and(|known| known.registrant == caller)
}

/// Whether one element of `Accept` lets JSON pass.
fn admits_json(element: &str) -> bool {
    let mut parts = element.split(';').map(str::trim);
    let range = parts.next().unwrap_or_default().to_ascii_lowercase();
    let refused = parts.any(|part| {
        let weight = part.strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        weight == Some(0.0)
    });
    !refused && matches!(range.as_str(), "*/*" | "application/*" | "application/json")
}

#[cfg(test)]
mod tests {
    use super::admits_json;

    #[test]
    fn elements_of_accept() {
        for (element, admits) in [
            ("*/*", true),
            (" application/json;charset=utf-8", true),
            ("Application/*; q=0.1", true),
            ("application/json;q=0", false),
            ("application/problem+json", false),
            ("text/html", false),
            ("", false),
        ] {
            assert_eq!(admits_json(element), admits, "{element}");
        }
    }
}
