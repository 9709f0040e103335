//! [`AdminPage`]: a path of the Admin API that a plugin brings.

use std::sync::Arc;

use futures::future::BoxFuture;
use gateway_model::Catalog;
use http::{Method, StatusCode};
use serde_json::Value;

use super::Tools;

/// A path of the Admin API that a plugin brings. Served outside the request path.
pub struct AdminPage {
    /// `/proxy-cache/{cache_key}`; a part in braces takes anything.
    pub path: &'static str,
    /// What may be asked, sorted, as `Allow` lists it.
    pub methods: &'static str,
    /// Answers. `HEAD` is asked as `GET`.
    pub serve: fn(&PageCall<'_>) -> PageAnswer,
}

/// What was asked of a page.
pub struct PageCall<'a> {
    /// What outlives plugin instances.
    pub tools: &'a Arc<Tools>,
    /// The catalog of the moment.
    pub catalog: &'a Catalog,
    /// One of the page's.
    pub method: &'a Method,
    /// What stands in the place of each part in braces, decoded.
    pub parameters: &'a [String],
    /// A member of the body, as text.
    pub member: &'a dyn Fn(&str) -> Option<String>,
}

/// What a page says.
pub enum PageAnswer {
    /// 200 with this.
    Json(Value),
    /// This status, with this.
    Status(StatusCode, Value),
    /// What comes of this.
    Wait(BoxFuture<'static, PageAnswer>),
    /// 204.
    NoContent,
    /// 404.
    NotFound,
}
