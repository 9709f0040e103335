//! Subscriptions of both APIs (ETSI GS MEC 011, clauses 7.2.3, 7.2.4, 8.2.8 and 8.2.9).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use gateway_model::{Catalog, Id, Item, Ref};
use http::StatusCode;
use serde_json::{Value, json};
use url::Url;

use super::asked::{Asked, app_id};
use super::reading::{Broken, Reader};
use super::refusal::Refusal;
use super::service_mgmt::category;
use super::{created, shown};
use crate::entities::{Criteria, Store, Subscription};
use crate::face::{self, Face};
use crate::subscriptions::{
    self, MOST_SUBSCRIPTIONS, SubscriptionFault, find, may_be_called, of_app,
};
use crate::{Platform, etag};

pub(super) fn router() -> Router<Arc<Platform>> {
    let of = |store: Store| {
        let all = format!("/{}/v1/applications/{{app}}/subscriptions", store.api());
        let one = format!("{all}/{{subscription}}");
        Router::new()
            .route(
                &all,
                get(async move |platform, path, asked| list(store, platform, path, asked).await)
                    .post(async move |platform, path, asked| {
                        subscribe(store, platform, path, asked).await
                    }),
            )
            .route(
                &one,
                get(async move |platform, path, asked| show(store, platform, path, asked).await)
                    .delete(async move |platform, path, asked| {
                        unsubscribe(store, platform, path, asked).await
                    }),
            )
    };
    Router::new().merge(of(Store::Availability)).merge(of(Store::Termination))
}

fn unknown() -> Refusal {
    Refusal::not_found("there is no such subscription")
}

pub(super) fn refusal(fault: SubscriptionFault) -> Refusal {
    match fault {
        SubscriptionFault::Full => {
            let detail = format!("an application may have {MOST_SUBSCRIPTIONS} subscriptions");
            Refusal::forbidden(detail)
        }
        SubscriptionFault::Ending => Refusal::ending(),
        SubscriptionFault::Unknown => unknown(),
        SubscriptionFault::NotStored => Refusal::not_stored(),
    }
}

async fn list(
    store: Store,
    State(platform): State<Arc<Platform>>,
    Path(app): Path<String>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let catalog = platform.control.catalog();
    let app = asked.app(&catalog, &app)?;
    asked.no_query()?;
    let kind = store.type_name();
    let links: Vec<Value> = of_app(&catalog, store, app)
        .map(|one| platform.settings.published.link(&face::subscription(&one)))
        .map(|href| json!({"href": href, "subscriptionType": kind, "rel": kind}))
        .collect();
    let own = format!("/{}/v1/applications/{app}/subscriptions", store.api());
    let own = platform.settings.published.link(&own);
    let body = json!({"_links": {"self": {"href": own}, "subscriptions": links}});
    Ok(super::json(StatusCode::OK, &body))
}

async fn subscribe(
    store: Store,
    State(platform): State<Arc<Platform>>,
    Path(app): Path<String>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let app = asked.app(&platform.control.catalog(), &app)?;
    asked.no_query()?;
    let members = asked.body().await?;
    let broken = Broken::default();
    let subscription = read(&platform, store, app, &Reader::new(&members, &broken));
    let subscription = broken.unless(subscription)?;
    subscriptions::create(&platform, &subscription).await.map_err(refusal)?;
    let location = face::subscription(&subscription);
    let tag = etag::of_subscription(&subscription);
    Ok(created(&platform, &location, &tag, &view(&platform, &subscription)))
}

async fn show(
    store: Store,
    State(platform): State<Arc<Platform>>,
    Path((app, subscription)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let catalog = platform.control.catalog();
    let app = asked.app(&catalog, &app)?;
    asked.no_query()?;
    let found = there(&catalog, store, app, &subscription)?;
    Ok(shown(&asked, &etag::of_subscription(&found), &view(&platform, &found)))
}

async fn unsubscribe(
    store: Store,
    State(platform): State<Arc<Platform>>,
    Path((app, subscription)): Path<(String, String)>,
    asked: Asked,
) -> Result<Response, Refusal> {
    let catalog = platform.control.catalog();
    let app = asked.app(&catalog, &app)?;
    asked.no_query()?;
    let found = there(&catalog, store, app, &subscription)?;
    if !asked.if_match().admits(&etag::of_subscription(&found)) {
        return Err(Refusal::stale());
    }
    subscriptions::remove(&platform, store, app, found.id()).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// One subscription of an application in one store.
pub(super) fn there(
    catalog: &Catalog,
    store: Store,
    app: Id,
    path: &str,
) -> Result<Item<Subscription>, Refusal> {
    app_id(path).and_then(|id| find(catalog, store, app, id)).ok_or_else(unknown)
}

fn read(platform: &Platform, store: Store, app: Id, body: &Reader<'_>) -> Subscription {
    body.word("subscriptionType", &[store.type_name()]);
    let criteria = match store {
        Store::Availability => {
            Some(body.object("filteringCriteria").map(|body| criteria(&body)).unwrap_or_default())
        }
        _ => None,
    };
    let app_instance_id = (store == Store::Termination).then(|| {
        let own = app.to_string();
        body.word("appInstanceId", &[own.as_str()])
    });
    Subscription {
        id: Id::random(),
        app: Ref::new(app),
        store,
        callback_reference: callback(platform, body, "callbackReference"),
        criteria,
        app_instance_id,
        face: Face::Standard,
        events: None,
    }
}

/// A URI that may be called.
pub(super) fn callback(platform: &Platform, body: &Reader<'_>, name: &str) -> String {
    let text = body.mandatory_text(name, 2048);
    if body.any(name).is_none() {
        return text;
    }
    let plain = Url::parse(&text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.fragment().is_none() && url.has_host()
    });
    if !plain {
        body.refuse(name, "is no absolute URI of http or https without a fragment");
    } else if !may_be_called(platform, &text) {
        body.refuse(name, "leads where no notification may go");
    }
    text
}

fn criteria(body: &Reader<'_>) -> Criteria {
    let any = |text: &str| !text.is_empty();
    let states = ["ACTIVE", "INACTIVE", "SUSPENDED"];
    let given = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
    let categories = body.objects("serCategories").unwrap_or_default();
    let categories: Vec<_> = categories.iter().map(super::service_mgmt::category_body).collect();
    let criteria = Criteria {
        ser_instance_ids: given(body.texts("serInstanceIds", any)),
        ser_names: given(body.texts("serNames", any)),
        ser_categories: Some(categories).filter(|list| !list.is_empty()),
        states: given(body.texts("states", |state| states.contains(&state))),
        is_local: body.boolean("isLocal"),
    };
    let exclusive = [
        criteria.ser_instance_ids.is_some(),
        criteria.ser_names.is_some(),
        criteria.ser_categories.is_some(),
    ];
    if exclusive.into_iter().filter(|given| *given).count() > 1 {
        body.refuse("", "may have only one of serInstanceIds, serNames and serCategories");
    }
    criteria
}

/// A subscription as clients see it.
fn view(platform: &Platform, subscription: &Subscription) -> Value {
    let own = platform.settings.published.link(&face::subscription(subscription));
    let criteria = subscription.criteria.as_ref().map(|criteria| {
        super::service_mgmt::filled([
            ("serInstanceIds", json!(criteria.ser_instance_ids)),
            ("serNames", json!(criteria.ser_names)),
            (
                "serCategories",
                criteria
                    .ser_categories
                    .as_ref()
                    .map(|list| list.iter().map(category).collect())
                    .unwrap_or_default(),
            ),
            ("states", json!(criteria.states)),
            ("isLocal", json!(criteria.is_local)),
        ])
    });
    let criteria =
        criteria.filter(|criteria| criteria.as_object().is_some_and(|one| !one.is_empty()));
    super::service_mgmt::filled([
        ("subscriptionId", json!(subscription.id.to_string())),
        ("subscriptionType", json!(subscription.store.type_name())),
        ("callbackReference", json!(subscription.callback_reference)),
        ("_links", json!({"self": {"href": own}})),
        ("filteringCriteria", json!(criteria)),
        ("appInstanceId", json!(subscription.app_instance_id)),
    ])
}
