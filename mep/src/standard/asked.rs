//! [`Asked`]: one request to the standard's own face, and the checks all of them share.
//!
//! They are made in this order: token 401, application known 404, caller allowed 403, `Accept` 406,
//! query 400; then, with the resource found, `If-Match` 412, `Content-Type` 415, size 413, body 400.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use gateway_model::ports::Caller;
use gateway_model::{Catalog, Id};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::parameter::{Parameter, Query};
use super::reading::{self, Reader};
use super::refusal::Refusal;
use crate::auth::credential::AppInstanceId;
use crate::entities::AppRegistration;
use crate::etag::IfMatch;
use crate::{Platform, applications};

/// The largest body, bytes.
const LARGEST_BODY: usize = 64 * 1024;

/// One request.
pub(crate) struct Asked {
    identity: Option<Id>,
    headers: HeaderMap,
    query: String,
    body: Body,
}

/// A request for what belongs to an application, from somebody who may act for it. The checks that do
/// not depend on what is asked for are made.
///
/// `N` is what the path names below the application, `Q` what its query asks for.
pub(crate) struct OfApp<N = (), Q = ()> {
    pub(crate) platform: Arc<Platform>,
    /// As it was when the checks were made.
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) app: Id,
    pub(crate) name: N,
    pub(crate) query: Q,
    pub(crate) asked: Asked,
}

impl<N: Named, Q: Queried> FromRequest<Arc<Platform>> for OfApp<N, Q> {
    type Rejection = Refusal;

    async fn from_request(request: Request, platform: &Arc<Platform>) -> Result<Self, Refusal> {
        let (mut parts, body) = request.into_parts();
        let path = Path::from_request_parts(&mut parts, platform).await;
        let asked = Asked::of(parts, body);
        let catalog = platform.control.catalog();
        // A path that cannot be read is nobody's.
        let (app, name) = N::of(path.map_or_else(|_| Default::default(), |Path(path)| path));
        let app = asked.app(&catalog, &app)?;
        let query = Q::read(&asked)?;
        Ok(Self { platform: Arc::clone(platform), catalog, app, name, query, asked })
    }
}

/// A request for what belongs to no application, from anybody with a token.
pub(crate) struct ByAnybody<Q = ()> {
    pub(crate) platform: Arc<Platform>,
    pub(crate) caller: Id,
    pub(crate) query: Q,
    pub(crate) asked: Asked,
}

impl<Q: Queried> FromRequest<Arc<Platform>> for ByAnybody<Q> {
    type Rejection = Refusal;

    async fn from_request(request: Request, platform: &Arc<Platform>) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let asked = Asked::of(parts, body);
        let caller = asked.anybody()?;
        let query = Q::read(&asked)?;
        Ok(Self { platform: Arc::clone(platform), caller, query, asked })
    }
}

/// What a path names that is no application's. One that cannot be read names nothing, so that who
/// asks is looked at first.
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let path = Path::from_request_parts(parts, state).await;
        Ok(Self(path.map_or_else(|_| String::new(), |Path(segment)| segment)))
    }
}

/// What a path names below an application.
pub(crate) trait Named: Sized + Send {
    /// The parameters of the path.
    type Path: DeserializeOwned + Default + Send;

    /// The application, and the rest.
    fn of(path: Self::Path) -> (String, Self);
}

impl Named for () {
    type Path = String;

    fn of(path: String) -> (String, Self) {
        (path, ())
    }
}

impl Named for String {
    type Path = (String, String);

    fn of(path: (String, String)) -> (String, Self) {
        path
    }
}

/// What a query asks for.
pub(crate) trait Queried: Sized + Send {
    fn read(asked: &Asked) -> Result<Self, Refusal>;
}

/// Nothing: most resources know no parameter.
impl Queried for () {
    fn read(asked: &Asked) -> Result<Self, Refusal> {
        asked.no_query()
    }
}

impl<S: Sync> FromRequest<S> for Asked {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Infallible> {
        let (parts, body) = request.into_parts();
        Ok(Self::of(parts, body))
    }
}

impl Asked {
    fn of(parts: Parts, body: Body) -> Self {
        let caller = parts.extensions.get::<Caller>();
        let named = match caller.filter(|caller| caller.by_gateway) {
            Some(caller) => caller.subject.clone(),
            None => {
                let header = parts.headers.get("x-appinstanceid");
                header.and_then(|value| value.to_str().ok()).map(Arc::from)
            }
        };
        let identity = named.and_then(|named| AppInstanceId::id(&named));
        let query = parts.uri.query().unwrap_or_default().to_owned();
        Self { identity, headers: parts.headers, query, body }
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
        let app = AppInstanceId::id(path).ok_or_else(unknown)?;
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
        Query::read(&self.query, known)
    }

    /// What state the client wants to change.
    pub(crate) fn if_match(&self) -> IfMatch {
        IfMatch::of(&self.headers)
    }

    /// Whether the client has the state of this tag already.
    pub(crate) fn has(&self, tag: &str) -> bool {
        IfMatch::none_match(&self.headers).names(tag)
    }

    /// What state the client wants to change, which has to be the one of this tag.
    pub(crate) fn matching(&self, tag: &str) -> Result<IfMatch, Refusal> {
        let if_match = self.if_match();
        if if_match.admits(tag) { Ok(if_match) } else { Err(Refusal::stale()) }
    }

    /// What `read` makes of the body; everything wrong with it is told at once.
    pub(crate) async fn read<T>(self, read: impl FnOnce(&Reader<'_>) -> T) -> Result<T, Refusal> {
        reading::read(&self.body().await?, read)
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
