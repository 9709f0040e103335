//! What Kong Manager reads from the node that serves it: where the Admin API is
//! (kong/admin_gui/init.lua). Its pages are not part of this gateway; they are served by whoever has
//! them, with this `kconfig.js` beside them.

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use crate::settings::gui::Gui;

/// The port a browser reaches the Admin API at, without TLS and with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) plain: Option<u16>,
    pub(crate) tls: Option<u16>,
}

/// Serves `kconfig.js` below `admin_gui_path`, and asks robots to stay away.
pub(crate) fn router(gui: &Gui, ports: Ports) -> Router {
    let script: axum::body::Bytes = script(gui, ports).into();
    let at = format!("{}/kconfig.js", gui.path.trim_end_matches('/'));
    let serve = move |request: Request| {
        let answer = answer(&request, &at, &script);
        async move { answer }
    };
    Router::new().fallback(serve)
}

fn answer(request: &Request, at: &str, script: &axum::body::Bytes) -> Response {
    let told = |status: StatusCode, text: &str| {
        let kind = [(CONTENT_TYPE, "application/json; charset=utf-8")];
        (status, kind, json!({ "message": text }).to_string()).into_response()
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return told(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
    }
    match request.uri().path() {
        "/robots.txt" => {
            ([(CONTENT_TYPE, "text/plain")], "User-agent: *\nDisallow: /").into_response()
        }
        path if path == at => {
            let head = [
                (CONTENT_TYPE, "application/javascript; charset=UTF-8"),
                (CACHE_CONTROL, "no-cache"),
            ];
            (head, script.clone()).into_response()
        }
        _ => told(StatusCode::NOT_FOUND, "Not found"),
    }
}

/// All values are texts; what is not there is the empty one.
fn script(gui: &Gui, ports: Ports) -> String {
    let port = |port: Option<u16>| port.map(|port| port.to_string()).unwrap_or_default();
    let rows = [
        ("ADMIN_GUI_PATH", gui.path.clone()),
        ("ADMIN_API_URL", gui.api_url.clone().unwrap_or_default()),
        ("ADMIN_API_PORT", port(ports.plain)),
        ("ADMIN_API_SSL_PORT", port(ports.tls)),
        ("ANONYMOUS_REPORTS", "false".to_owned()),
    ];
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'").replace('<', "\\x3c");
    let rows = rows.map(|(name, value)| format!("  '{name}': '{}'", quoted(&value)));
    format!("window.K_CONFIG = {{\n{}\n}}\n", rows.join(",\n"))
}
