//! What a start puts into the catalog, and what a later one leaves alone.

use std::num::NonZeroU32;
use std::sync::Arc;

use gateway_control::Control;
use gateway_model::entities::{Consumer, PluginInstance, Route, Service};
use gateway_model::{Change, Document, Entity as _, Key, Secret};
use mep::auth::keyfile::RsaPrivateKey;
use mep::auth::token::TokenIssuer;
use mep::entities::Seed;
use mep::{Bootstrap, PlatformSettings, SeedError};
use serde_json::{Value, json};

use crate::kit::{A, ISSUER, NOW_MS, Rig, control};

/// Every entity of the gateway, with those of its members that were seeded: defaults are the
/// gateway's and its plugins' own matter.
fn shown(control: &Control) -> Value {
    let catalog = control.catalog();
    let kinds = [Consumer::KIND, "jwt_secrets", Service::KIND, Route::KIND, PluginInstance::KIND];
    let shown = kinds.into_iter().map(|kind| {
        let all = catalog.collection(kind).unwrap().iter().map(|stored| {
            let seed = catalog.get::<Seed>(Seed::id_of(kind, stored.id())).unwrap();
            let mut document = within(&stored.document(), &seed.document);
            document.shift_remove("rsa_public_key");
            Value::Object(document)
        });
        (kind.to_owned(), Value::Array(all.collect()))
    });
    Value::Object(shown.collect())
}

/// What a document has of the members of another.
fn within(document: &Document, members: &Document) -> Document {
    let one = |(name, member): (&String, &Value)| {
        let value = match (&document[name], member) {
            (Value::Object(value), Value::Object(member)) => within(value, member).into(),
            (value, _) => value.clone(),
        };
        (name.clone(), value)
    };
    members.iter().map(one).collect()
}

async fn patch(control: &Control, kind: &'static str, name: (&'static str, &str), document: Value) {
    let key = Key::Unique(name.0, name.1.to_owned());
    let Value::Object(document) = document else { panic!("an object") };
    control.apply(vec![Change::Patch { kind, key, document }]).await.unwrap();
}

fn plugin(
    control: &Control,
    service: &str,
    name: &str,
) -> Option<gateway_model::Item<PluginInstance>> {
    let catalog = control.catalog();
    let service = catalog.by::<Service>("name", service)?;
    catalog.children::<PluginInstance>("service", service.id()).find(|plugin| plugin.name == name)
}

fn public_key(control: &Control) -> String {
    let key = Key::Unique("key", "mepauth".to_owned());
    let catalog = control.catalog();
    catalog.find("jwt_secrets", &key).unwrap().text("rsa_public_key").unwrap().to_owned()
}

async fn seed(control: &Control, edit: impl FnOnce(&mut PlatformSettings)) -> Rig {
    seed_signing(control, edit, Arc::clone(&ISSUER)).await
}

async fn seed_signing(
    control: &Control,
    edit: impl FnOnce(&mut PlatformSettings),
    issuer: Arc<TokenIssuer>,
) -> Rig {
    let mut settings = PlatformSettings::default();
    edit(&mut settings);
    let rig = Rig::over(control.clone(), settings, issuer, NOW_MS);
    rig.platform.seed().await.unwrap();
    rig
}

#[tokio::test]
async fn what_a_first_start_puts_in() {
    let control = control().await;
    seed(&control, |_| {}).await;
    insta::assert_json_snapshot!("seeded", shown(&control));
    assert_eq!(public_key(&control), ISSUER.key().public_key_pem().unwrap());
}

#[tokio::test]
async fn a_second_start_changes_nothing() {
    let control = control().await;
    seed(&control, |_| {}).await;
    let before = control.catalog().revision();
    seed(&control, |_| {}).await;
    assert_eq!(control.catalog().revision(), before);
}

#[tokio::test]
async fn what_an_operator_did_stays() {
    let control = control().await;
    seed(&control, |_| {}).await;
    patch(&control, Route::KIND, ("name", "mepauth"), json!({"paths": ["/mep/token"]})).await;
    let limit = plugin(&control, "mepserver", "rate-limiting").unwrap();
    let edit = json!({"config": {"minute": 7}}).as_object().unwrap().clone();
    let hidden = plugin(&control, "mepserver", "pre-function").unwrap();
    control
        .apply(vec![
            Change::Patch { kind: PluginInstance::KIND, key: Key::Id(limit.id()), document: edit },
            Change::Delete { kind: PluginInstance::KIND, key: Key::Id(hidden.id()) },
        ])
        .await
        .unwrap();
    let before = control.catalog().revision();
    seed(&control, |_| {}).await;
    assert_eq!(control.catalog().revision(), before);

    // Not even when the settings changed; what nobody touched follows them.
    seed(&control, |settings| {
        settings.rate_limits.mp1 = NonZeroU32::new(2000);
        settings.rate_limits.auth = None;
    })
    .await;
    let minute =
        |service| plugin(&control, service, "rate-limiting").unwrap().config["minute"].clone();
    assert_eq!(minute("mepserver"), json!(7));
    assert!(!plugin(&control, "mepauth", "rate-limiting").unwrap().enabled);
    assert!(plugin(&control, "mepserver", "pre-function").is_none());
    let route = control.catalog().by::<Route>("name", "mepauth").unwrap();
    assert_eq!(route.paths.as_deref(), Some(["/mep/token".to_owned()].as_slice()));
}

#[tokio::test]
async fn a_deleted_service_is_not_put_back_and_stops_nothing() {
    let control = control().await;
    seed(&control, |_| {}).await;
    let catalog = control.catalog();
    let delete = |kind, id| Change::Delete { kind, key: Key::Id(id) };
    let service = catalog.by::<Service>("name", "mepserver").unwrap().id();
    let routes = catalog.children::<Route>("service", service);
    let mut changes: Vec<Change> = routes.map(|route| delete(Route::KIND, route.id())).collect();
    assert_eq!(changes.len(), 2);
    changes.push(delete(Service::KIND, service));
    control.apply(changes).await.unwrap();
    let before = control.catalog().revision();
    seed(&control, |_| {}).await;
    assert_eq!(control.catalog().revision(), before);
}

#[tokio::test]
async fn a_rotated_key_is_followed_and_an_operator_s_own_is_not_overwritten() {
    let control = control().await;
    seed(&control, |_| {}).await;
    let rotated = Arc::new(TokenIssuer::from(RsaPrivateKey::generate().unwrap()));
    seed_signing(&control, |_| {}, Arc::clone(&rotated)).await;
    assert_eq!(public_key(&control), rotated.key().public_key_pem().unwrap());

    let other = RsaPrivateKey::generate().unwrap().public_key_pem().unwrap();
    let edit = json!({"rsa_public_key": other});
    patch(&control, "jwt_secrets", ("key", "mepauth"), edit).await;
    seed_signing(&control, |_| {}, rotated).await;
    assert_eq!(public_key(&control), other);
}

#[tokio::test]
async fn what_the_original_s_bootstrap_left_is_taken_over() {
    let control = control().await;
    let object = |value: Value| value.as_object().unwrap().clone();
    let insert = |kind, value| Change::Insert { kind, document: object(value) };
    let old = RsaPrivateKey::generate().unwrap().public_key_pem().unwrap();
    control
        .apply(vec![
            insert(Consumer::KIND, json!({"username": "mepauth.jwt"})),
            insert(
                "jwt_secrets",
                json!({"consumer": {"username": "mepauth.jwt"}, "key": "mepauth",
                       "algorithm": "RS512", "rsa_public_key": old}),
            ),
            insert(Service::KIND, json!({"name": "mepserver", "url": "https://10.0.0.1:8088"})),
            insert(PluginInstance::KIND, json!({"name": "jwt", "service": {"name": "mepserver"}})),
        ])
        .await
        .unwrap();
    seed(&control, |_| {}).await;
    let catalog = control.catalog();
    assert_eq!(catalog.all::<Consumer>().count(), 1);
    // Its service stays as it is; what was missing hangs on it.
    let service = catalog.by::<Service>("name", "mepserver").unwrap();
    assert_eq!(service.host, "10.0.0.1");
    assert_eq!(catalog.children::<PluginInstance>("service", service.id()).count(), 5);
    assert_eq!(catalog.children::<Route>("service", service.id()).count(), 2);
    assert_eq!(public_key(&control), ISSUER.key().public_key_pem().unwrap());
}

fn bootstrap(access_key: &str, secret_key: &str) -> Bootstrap {
    Bootstrap {
        app_instance_id: A.to_owned(),
        access_key: access_key.to_owned(),
        secret_key: Secret::new(secret_key.to_owned()),
        required_services: "*".to_owned(),
    }
}

#[tokio::test]
async fn a_first_app_is_made_up_once() {
    let control = control().await;
    let rig = Rig::over(control.clone(), PlatformSettings::default(), Arc::clone(&ISSUER), NOW_MS);
    let generated = rig.platform.seed().await.unwrap().generated.unwrap();
    assert_eq!((generated.access_key.len(), generated.secret_key.expose().len()), (20, 64));
    assert!(rig.platform.seed().await.unwrap().generated.is_none());
    let key = Key::Unique("access_key", generated.access_key);
    let delete = Change::Delete { kind: "mep_app_credentials", key };
    control.apply(vec![delete]).await.unwrap();
    assert!(rig.platform.seed().await.unwrap().generated.is_none(), "an operator removed it");
}

#[tokio::test]
async fn a_configured_app_is_written_when_it_changed() {
    let control = control().await;
    let first = bootstrap(&"a".repeat(20), &"s".repeat(64));
    seed(&control, |settings| settings.bootstrap = Some(first.clone())).await;
    let before = control.catalog().revision();
    seed(&control, |settings| settings.bootstrap = Some(first.clone())).await;
    assert_eq!(control.catalog().revision(), before);
    let second = bootstrap(&"a".repeat(20), &"t".repeat(64));
    seed(&control, |settings| settings.bootstrap = Some(second)).await;
    assert_eq!(control.catalog().revision().0, before.0 + 1);
    let stored =
        control.catalog().by::<mep::entities::AppCredential>("access_key", &"a".repeat(20));
    assert_eq!(stored.unwrap().app_name, "initApp");
}

#[tokio::test]
async fn a_published_app_needs_permission() {
    let control = control().await;
    let secret = "DXPb4sqElKhcHe07Kw5uorayETwId1JOjjOIRomRs5wyszoCR5R7AtVa28KT3lSc";
    for (bootstrap, allowed, refused) in [
        (bootstrap("QVUJMSUMgS0VZLS0tLS0", &"s".repeat(64)), false, true),
        (bootstrap(&"a".repeat(20), secret), false, true),
        (bootstrap("QVUJMSUMgS0VZLS0tLS0", secret), true, false),
    ] {
        let settings = PlatformSettings {
            bootstrap: Some(bootstrap),
            allow_default_credentials: allowed,
            ..PlatformSettings::default()
        };
        let rig = Rig::over(control.clone(), settings, Arc::clone(&ISSUER), NOW_MS);
        let outcome = rig.platform.seed().await;
        assert_eq!(matches!(outcome, Err(SeedError::PublishedDefault)), refused, "{outcome:?}");
    }
}
