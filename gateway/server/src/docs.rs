//! The OpenAPI documents of the MEC platform and a page to try them, on the status listener.
//!
//! The page (Swagger UI, part of the binary) asks the platform's own listeners, which therefore let
//! it: [`tried`] is their side. The gateway's listener is the data plane; whoever wants to try it from
//! the page gives the routes a `cors` plugin.

use std::io::Read as _;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Redirect, Response};
use flate2::read::GzDecoder;
use mep::{Documents, Platform, Served, Servers};
use url::{Host, Url};
use utoipa_swagger_ui::{Config, Url as Shown};

/// What is served of the documents.
pub(crate) struct Docs {
    platform: Arc<Platform>,
    servers: Servers,
    /// Made when they are first asked for.
    documents: OnceLock<Documents>,
    page: OnceLock<Arc<Config<'static>>>,
}

const WHOLE: &str = "/openapi.json";
const PAGE: &str = "/docs";

impl Docs {
    /// Over the faces of a platform, which are served there.
    pub(crate) fn new(platform: &Arc<Platform>, servers: Servers) -> Arc<Self> {
        let platform = Arc::clone(platform);
        let (documents, page) = (OnceLock::new(), OnceLock::new());
        Arc::new(Self { platform, servers, documents, page })
    }

    /// The answer to a GET of a path with these headers, when it is one of ours.
    pub(crate) fn answer(&self, path: &str, asked: &HeaderMap) -> Option<Response> {
        if path == WHOLE {
            return Some(json(self.documents().whole.clone()));
        }
        if path.starts_with("/openapi/") {
            let mut faces = self.documents().faces.iter();
            return faces.find(|(known, ..)| *known == path).map(|(.., text)| json(text.clone()));
        }
        match path.strip_prefix(PAGE)? {
            "" => Some(Redirect::to(&format!("{PAGE}/")).into_response()),
            rest => self.file(rest.strip_prefix('/')?, takes_gzip(asked)),
        }
    }

    fn documents(&self) -> &Documents {
        self.documents.get_or_init(|| self.platform.documents(&self.servers))
    }

    /// A file of the page. Most are kept compressed.
    fn file(&self, name: &str, compressed: bool) -> Option<Response> {
        let page = self.page.get_or_init(|| Arc::new(self.config()));
        let file = utoipa_swagger_ui::serve(name, Arc::clone(page)).ok()??;
        let kind = HeaderValue::from_str(&file.content_type).ok()?;
        let mut bytes = file.bytes.into_owned();
        if file.gzpipped && !compressed {
            let packed = std::mem::take(&mut bytes);
            GzDecoder::new(&packed[..]).read_to_end(&mut bytes).ok()?;
        }
        let mut response = Response::new(Body::from(bytes));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if file.gzpipped && compressed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Some(response)
    }

    fn config(&self) -> Config<'static> {
        let whole = [Shown::with_primary("all", WHOLE, true)];
        let faces = self.documents().faces.iter();
        let faces = faces.map(|(path, says, _)| Shown::new(says, path));
        // Nothing is asked of anybody outside.
        Config::new(whole.into_iter().chain(faces)).validator_url("none")
    }
}

/// Whether a client takes answers compressed by gzip.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let lines = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    let mut codings = lines.flat_map(|line| line.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight != Some(0.0)
    })
}

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], text).into_response()
}

/// Lets the page try what `router` serves, and no other page.
pub(crate) fn tried(router: Router, pages: &[Served]) -> Router {
    if pages.is_empty() {
        return router;
    }
    let pages: Arc<[Served]> = pages.into();
    router.layer(middleware::from_fn_with_state(pages, cross_origin))
}

async fn cross_origin(
    State(pages): State<Arc<[Served]>>,
    request: Request,
    next: Next,
) -> Response {
    let origin = request.headers().get(header::ORIGIN);
    let Some(origin) = origin.filter(|origin| is_page(&pages, origin)).cloned() else {
        return next.run(request).await;
    };
    let asks = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if request.method() == Method::OPTIONS && asks {
        let wanted = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let mut allowed = StatusCode::NO_CONTENT.into_response();
        let methods = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
        allowed.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        let headers = wanted.map(|wanted| (header::ACCESS_CONTROL_ALLOW_HEADERS, wanted));
        allowed.headers_mut().extend(headers);
        allowed
    } else {
        next.run(request).await
    };
    let shown: [(HeaderName, HeaderValue); 3] = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("ETag, Location")),
        (header::VARY, HeaderValue::from_static("Origin")),
    ];
    for (name, value) in shown {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Whether an origin is that of the page, on this host or at the address the status listener has.
fn is_page(pages: &[Served], origin: &HeaderValue) -> bool {
    let Some(origin) = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok()) else {
        return false;
    };
    let (local, address) = match origin.host() {
        Some(Host::Domain(name)) => (name == "localhost", None),
        Some(Host::Ipv4(address)) => (address.is_loopback(), Some(IpAddr::from(address))),
        Some(Host::Ipv6(address)) => (address.is_loopback(), Some(IpAddr::from(address))),
        None => (false, None),
    };
    pages.iter().any(|page| {
        let scheme = if page.tls { "https" } else { "http" };
        origin.scheme() == scheme
            && origin.port_or_known_default() == Some(page.address.port())
            && (local || address == Some(page.address.ip()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_alone_may_ask() {
        let page = |tls, address: &str| Served { tls, address: address.parse().expect("address") };
        let pages = [page(false, "127.0.0.1:8100"), page(true, "192.0.2.7:443")];
        for (origin, may) in [
            ("http://127.0.0.1:8100", true),
            ("http://localhost:8100", true),
            ("http://[::1]:8100", true),
            ("https://192.0.2.7", true),
            ("http://192.0.2.7", false),
            ("http://192.0.2.7:8100", false),
            ("https://127.0.0.1:8100", false),
            ("http://127.0.0.1:8101", false),
            ("http://localhost.example.com:8100", false),
            ("http://example.com:8100", false),
            ("null", false),
        ] {
            assert_eq!(is_page(&pages, &HeaderValue::from_static(origin)), may, "{origin}");
        }
    }
}
