//! The AK/SK API: which key pair an app has and what it may discover.

use axum::body::Body;
use axum::response::Response;
use gateway_model::Rejection;
use http_body_util::{BodyExt as _, Limited};

use super::{error, success};
use crate::Platform;
use crate::auth::credential::{AccessKey, AppInstanceId};
use crate::auth::requests::{ConfigurationRefusal, ConfigurationView, KeyConfiguration};
use crate::entities::{self, AppCredential};

/// Larger bodies are not read, bytes.
const READABLE: usize = 1 << 20;

/// Stores the key pair of an app, or replaces it.
pub(super) async fn put(platform: &Platform, app: &str, body: Body) -> Response {
    match store(platform, app, body).await {
        // The original echoed the secret key.
        Ok(stored) => success(&stored.echo(platform.settings.strict_original)),
        Err(refusal) => refused(&refusal),
    }
}

async fn store(
    platform: &Platform,
    app: &str,
    body: Body,
) -> Result<KeyConfiguration, ConfigurationRefusal> {
    let id = AppInstanceId::id(app).ok_or(ConfigurationRefusal::AppInstanceId)?;
    let body = Limited::new(body, READABLE).collect().await;
    let body = body.map_err(|cause| ConfigurationRefusal::Body(cause.to_string()))?.to_bytes();
    let pair = KeyConfiguration::parse(&body)?;
    let published =
        pair.access_key.is_published_default() || pair.secret_key.is_published_default();
    if published && !platform.settings.allow_default_credentials {
        tracing::warn!(app.id = app, "refused a key pair that everybody knows");
        return Err(ConfigurationRefusal::Keys);
    }
    let sealed = platform
        .sealing
        .seal(pair.secret_key.expose().as_bytes())
        .map_err(|_| ConfigurationRefusal::Store)?;
    let services = pair.required_services_text();
    let credential =
        AppCredential::new(id, pair.access_key.as_str(), sealed, &pair.app_name, &services);
    match platform.control.apply(vec![entities::put(id, &credential)]).await {
        Ok(_) => Ok(pair),
        Err(Rejection::Unique { .. }) => Err(ConfigurationRefusal::Keys),
        Err(rejection) => {
            tracing::error!(app.id = app, %rejection, "a key pair could not be stored");
            Err(ConfigurationRefusal::Store)
        }
    }
}

/// Shows what is stored for an app, without the secret.
pub(super) fn show(platform: &Platform, app: &str) -> Response {
    let Some(id) = AppInstanceId::id(app) else {
        return refused(&ConfigurationRefusal::AppInstanceIdRead);
    };
    let catalog = platform.control.catalog();
    let Some(stored) = catalog.get::<AppCredential>(id) else {
        return refused(&ConfigurationRefusal::Unknown);
    };
    match (AppInstanceId::parse(app), AccessKey::parse(&stored.access_key)) {
        (Ok(app), Ok(access_key)) => success(&ConfigurationView::new(
            &app,
            &access_key,
            &stored.app_name,
            &stored.required_services,
        )),
        _ => refused(&ConfigurationRefusal::Unknown),
    }
}

/// Forgets the key pair of an app, also when it has none.
pub(super) async fn delete(platform: &Platform, app: &str) -> Response {
    let Some(id) = AppInstanceId::id(app) else {
        return refused(&ConfigurationRefusal::AppInstanceIdRead);
    };
    match platform.control.apply(vec![entities::remove::<AppCredential>(id)]).await {
        Ok(_) => success("Delete success."),
        Err(rejection) => {
            tracing::error!(app.id = app, %rejection, "a key pair could not be removed");
            refused(&ConfigurationRefusal::Store)
        }
    }
}

fn refused(refusal: &ConfigurationRefusal) -> Response {
    error(refusal.status(), &refusal.to_string())
}
