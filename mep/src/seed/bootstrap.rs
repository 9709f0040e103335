//! The bootstrap app: whose key pair is there from the start.

use gateway_model::{Document, Entity, Id, Rejection, Secret};

use super::{SeedError, Seeded};
use crate::Platform;
use crate::auth::credential::{AccessKey, AppInstanceId, SecretKey};
use crate::entities::{self, AppCredential, Seed};
use crate::settings::Bootstrap;

/// The name the original gave it.
const APP_NAME: &str = "initApp";
/// The key of the memory that one was made up.
const GENERATED: &str = "bootstrap";

/// Writes the configured app; without one, and on the very first start only, makes one up.
///
/// A made-up app may discover everything: it belongs to whoever started the platform.
pub(super) async fn seed(platform: &Platform) -> Result<Seeded, SeedError> {
    if let Some(bootstrap) = &platform.settings.bootstrap {
        store(platform, bootstrap, None).await?;
        return Ok(Seeded::default());
    }
    let catalog = platform.control.catalog();
    let memory = Id::derived(Seed::KIND, GENERATED);
    let begun =
        catalog.get::<Seed>(memory).is_some() || catalog.all::<AppCredential>().next().is_some();
    if begun {
        return Ok(Seeded::default());
    }
    let generated = Bootstrap {
        app_instance_id: AppInstanceId::random().to_string(),
        access_key: AccessKey::random().map_err(|_| SeedError::KeyPair)?.to_string(),
        secret_key: Secret::new(
            SecretKey::random().map_err(|_| SeedError::KeyPair)?.expose().to_owned(),
        ),
        required_services: "*".to_owned(),
    };
    store(platform, &generated, Some(memory)).await?;
    Ok(Seeded { generated: Some(generated) })
}

async fn store(
    platform: &Platform,
    bootstrap: &Bootstrap,
    memory: Option<Id>,
) -> Result<(), SeedError> {
    let app = AppInstanceId::parse(&bootstrap.app_instance_id).map_err(SeedError::Bootstrap)?;
    let access_key = AccessKey::parse(&bootstrap.access_key).map_err(SeedError::Bootstrap)?;
    let secret_key =
        SecretKey::parse(bootstrap.secret_key.expose()).map_err(SeedError::Bootstrap)?;
    let published = access_key.is_published_default() || secret_key.is_published_default();
    if published && !platform.settings.allow_default_credentials {
        return Err(SeedError::PublishedDefault);
    }
    let id = Id::parse(app.as_str()).ok_or(SeedError::KeyPair)?;
    if is_stored(platform, id, bootstrap) {
        return Ok(());
    }
    let secret = secret_key.expose().as_bytes();
    let sealed = platform.sealing.seal(secret).map_err(|_| SeedError::KeyPair)?;
    let services = &bootstrap.required_services;
    let credential = AppCredential::new(id, access_key.as_str(), sealed, APP_NAME, services);
    let remember = memory.map(|id| entities::put(id, &Seed { id, document: Document::new() }));
    let changes = [entities::put(id, &credential)].into_iter().chain(remember).collect();
    match platform.control.apply(changes).await {
        Ok(_) => Ok(()),
        Err(Rejection::Unique { .. }) => Err(SeedError::AccessKeyTaken),
        Err(rejection) => Err(SeedError::Rejected(rejection)),
    }
}

/// Whether the app is there just so: a start that changes nothing writes nothing.
fn is_stored(platform: &Platform, id: Id, bootstrap: &Bootstrap) -> bool {
    platform.control.catalog().get::<AppCredential>(id).is_some_and(|stored| {
        let opened = platform.sealing.open(&stored.sealed());
        stored.access_key == bootstrap.access_key
            && stored.required_services == bootstrap.required_services
            && opened.is_ok_and(|secret| *secret == bootstrap.secret_key.expose().as_bytes())
    })
}
