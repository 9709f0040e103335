//! What is known of applications, and how all of one is let go at once.

use gateway_model::{Catalog, Change, Document, Id, Key};
use serde_json::json;

use crate::entities::{
    self, AppConfiguration, AppCredential, AppInstance, AppOperation, AppRegistration,
    AppTermination, ServiceInstance,
};
use crate::exposure;

/// Whether an app instance id is one of an application: it has a key pair, a configuration or a
/// registration, or is just ending. What it keeps here does not make it known.
pub(crate) fn is_known(catalog: &Catalog, app: Id) -> bool {
    catalog.get::<AppCredential>(app).is_some()
        || catalog.get::<AppConfiguration>(app).is_some()
        || catalog.get::<AppRegistration>(app).is_some()
        || catalog.get::<AppOperation>(app).is_some()
        || is_ending(catalog, app)
}

/// Whether it was told to end.
pub(crate) fn is_ending(catalog: &Catalog, app: Id) -> bool {
    catalog.get::<AppTermination>(app).is_some()
}

/// The entity all of an application's belongings refer to, where nobody needed it before.
pub(crate) fn missing(catalog: &Catalog, app: Id) -> Option<Change> {
    let instance = AppInstance { id: app };
    catalog.get::<AppInstance>(app).is_none().then(|| entities::put(app, &instance))
}

/// Takes the services of an application off the gateway and out of the catalog.
pub(crate) fn withdraw_services(catalog: &Catalog, app: Id) -> Vec<Change> {
    let mut changes = Vec::new();
    for instance in catalog.children::<ServiceInstance>("app", app) {
        let offers = instance.publications.iter();
        changes.extend(offers.flat_map(|offer| exposure::withdraw(catalog, &offer.name)));
        changes.push(entities::remove::<ServiceInstance>(instance.id()));
    }
    changes
}

/// Everything of an application goes: services and their routes, subscriptions, rules,
/// configuration, registration, key pair; and its tokens are refused from then on. One change.
pub(crate) fn release(catalog: &Catalog, app: Id, now_ms: u64, token_ms: u64) -> Vec<Change> {
    let mut changes = withdraw_services(catalog, app);
    // The rest refers to it and goes along.
    changes.push(entities::remove::<AppInstance>(app));
    changes.push(entities::remove::<AppCredential>(app));
    changes.extend(revoke(catalog, app, now_ms, token_ms));
    changes
}

/// The kind of what the plugin `app-revocation` looks at, which brings it.
const REVOCATIONS: &str = "mep_revocations";

/// Refuses the tokens an app has by now. Memories that are of no use any more go.
pub(crate) fn revoke(catalog: &Catalog, app: Id, now_ms: u64, token_ms: u64) -> Vec<Change> {
    let Some(known) = catalog.collection(REVOCATIONS) else { return Vec::new() };
    let stale = known.iter().filter(|stored| {
        let until = stored.document().get("expiring_until_ms").and_then(serde_json::Value::as_u64);
        until.is_some_and(|until| until < now_ms)
    });
    let mut changes: Vec<Change> = stale
        .map(|stored| Change::Delete { kind: REVOCATIONS, key: Key::Id(stored.id()) })
        .collect();
    let id = Id::derived(REVOCATIONS, &app.to_string());
    let document = json!({
        "id": id,
        "subject": app.to_string(),
        "expiring_until_ms": now_ms.saturating_add(token_ms),
    });
    let document = document.as_object().cloned().unwrap_or_else(Document::new);
    changes.retain(
        |change| !matches!(change, Change::Delete { key: Key::Id(gone), .. } if *gone == id),
    );
    changes.push(Change::Upsert { kind: REVOCATIONS, key: Key::Id(id), document });
    changes
}
