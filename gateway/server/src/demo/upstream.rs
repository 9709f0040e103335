//! The small app the demo puts behind the gateway.

use anyhow::Result;
use axum::extract::Request;
use axum::routing::any;
use axum::{Json, Router};
use serde_json::json;
use tokio::task::JoinHandle;

/// Serves on a free loopback port; gives its URL.
///
/// # Errors
///
/// When no port is to be had.
pub(super) async fn start() -> Result<(String, JoinHandle<()>)> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let router = Router::new().fallback(any(hello));
    let serving = tokio::spawn(async move {
        // It ends with the demo.
        let _ = axum::serve(listener, router).await;
    });
    Ok((url, serving))
}

async fn hello(request: Request) -> Json<serde_json::Value> {
    let consumer = request.headers().get("x-consumer-username").and_then(|v| v.to_str().ok());
    Json(
        json!({"greeting": "hello from the app", "path": request.uri().path(), "consumer": consumer}),
    )
}
