//! An axum router as a service inside the proxy.

use axum::Router;
use bytes::Bytes;
use futures::future::BoxFuture;
use gateway_proxy::{Embedded, EmbeddedBody};
use http_body_util::BodyExt;
use tower::ServiceExt;

/// A router the proxy calls in-process once the plugin chain is through.
pub(crate) struct EmbeddedRouter {
    router: Router,
    body_limit: u64,
}

impl EmbeddedRouter {
    /// A router that gets bodies of at most `body_limit` bytes.
    pub(crate) const fn new(router: Router, body_limit: u64) -> Self {
        Self { router, body_limit }
    }
}

impl Embedded for EmbeddedRouter {
    fn call(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'static, http::Response<EmbeddedBody>> {
        let router = self.router.clone();
        Box::pin(async move {
            let request = request.map(axum::body::Body::from);
            match router.oneshot(request).await {
                Ok(answer) => answer.map(|body| body.map_err(Into::into).boxed_unsync()),
                Err(never) => match never {},
            }
        })
    }

    fn body_limit(&self) -> u64 {
        self.body_limit
    }
}
