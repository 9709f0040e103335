//! Subscriptions of both APIs (ETSI GS MEC 011, clauses 7.2.3, 7.2.4, 8.2.8 and 8.2.9).

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use gateway_model::{Catalog, Id, Item, Ref};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::asked::OfApp;
use super::reading::Reader;
use super::refusal::Refusal;
use super::service_mgmt::{CategoryView, category};
use super::told::of_app;
use super::{Link, created, shown};
use crate::auth::credential::AppInstanceId;
use crate::entities::{Criteria, State as ServiceState, Store, Subscription};
use crate::face::{self, Face};
use crate::openapi::{Api, Routes, one_of};
use crate::subscriptions::{self, MOST_SUBSCRIPTIONS, SubscriptionFault, find, may_be_called};
use crate::{Platform, etag};

pub(super) fn routes() -> Routes<Arc<Platform>> {
    Routes::of(Api::ServiceManagement)
        .merge(of::<AvailabilityView<'_>>(
            Store::Availability,
            json!({
                "subscriptionType": Store::Availability.type_name(),
                "callbackReference": "http://192.0.2.7:8080/notifications",
                "filteringCriteria": {"serNames": ["rni"], "states": ["ACTIVE"]},
            }),
        ))
        .merge(of::<TerminationView<'_>>(
            Store::Termination,
            json!({
                "subscriptionType": Store::Termination.type_name(),
                "callbackReference": "http://192.0.2.7:8080/notifications",
                "appInstanceId": "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f",
            }),
        ))
}

/// The resources of one store, whose subscriptions are `V` on the wire.
fn of<V: ToSchema>(store: Store, example: Value) -> Routes<Arc<Platform>> {
    let (api, clauses) = match store {
        Store::Termination => {
            let clauses = ["7.2.3.3.1", "7.2.3.3.4", "7.2.4.3.1", "7.2.4.3.5"];
            (Api::ApplicationSupport, clauses)
        }
        _ => (Api::ServiceManagement, ["8.2.8.3.1", "8.2.8.3.4", "8.2.9.3.1", "8.2.9.3.5"]),
    };
    let all = format!("/{}/v1/applications/{{appInstanceId}}/subscriptions", store.api());
    let one = format!("{all}/{{subscriptionId}}");
    Routes::of(api)
        .at(&all, |on| {
            let listed = of_app("The subscriptions of an application", clauses[0])
                .answers::<SubscriptionLinkList>(StatusCode::OK, "Links to them.");
            let made = of_app("Subscribes", clauses[1])
                .reads::<V>(example)
                .stores()
                .creates::<V>("The subscription.");
            on.get(async move |own| list(store, own).await, listed)
                .post(async move |own| subscribe(store, own).await, made)
        })
        .at(&one, |on| {
            let told = of_app("A subscription", clauses[2]).shows::<V>("The subscription.");
            let removed = of_app("Unsubscribes", clauses[3])
                .conditional()
                .stores()
                .does("Nothing is told any more.");
            on.get(async move |own| show(store, own).await, told)
                .delete(async move |own| unsubscribe(store, own).await, removed)
        })
}

fn unknown() -> Refusal {
    Refusal::not_found("there is no such subscription")
}

impl From<SubscriptionFault> for Refusal {
    fn from(fault: SubscriptionFault) -> Self {
        refusal(fault)
    }
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

async fn list(store: Store, OfApp { platform, catalog, app, .. }: OfApp) -> Response {
    let kind = store.type_name();
    let subscriptions = subscriptions::of_app(&catalog, store, app)
        .map(|one| platform.settings.published.link(&face::subscription(&one)))
        .map(|href| SubscriptionLink { href, subscription_type: kind, rel: kind })
        .collect();
    let own = format!("/{}/v1/applications/{app}/subscriptions", store.api());
    let own = Link { href: platform.settings.published.link(&own) };
    let body = SubscriptionLinkList { links: SubscriptionLinks { own, subscriptions } };
    super::json(StatusCode::OK, &body)
}

async fn subscribe(store: Store, own: OfApp) -> Result<Response, Refusal> {
    let OfApp { platform, app, asked, .. } = own;
    let subscription = asked.read(|body| read(&platform, store, app, body)).await?;
    subscriptions::create(&platform, &subscription).await.map_err(refusal)?;
    let location = face::subscription(&subscription);
    let tag = etag::of_subscription(&subscription);
    Ok(created(&platform, &location, &tag, &view(&platform, &subscription)))
}

async fn show(store: Store, own: OfApp<String>) -> Result<Response, Refusal> {
    let found = there(&own.catalog, store, own.app, &own.name)?;
    Ok(shown(&own.asked, &etag::of_subscription(&found), &view(&own.platform, &found)))
}

async fn unsubscribe(store: Store, own: OfApp<String>) -> Result<Response, Refusal> {
    let found = there(&own.catalog, store, own.app, &own.name)?;
    own.asked.matching(&etag::of_subscription(&found))?;
    subscriptions::remove(&own.platform, store, own.app, found.id()).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// One subscription of an application in one store.
pub(super) fn there(
    catalog: &Catalog,
    store: Store,
    app: Id,
    path: &str,
) -> Result<Item<Subscription>, Refusal> {
    AppInstanceId::id(path).and_then(|id| find(catalog, store, app, id)).ok_or_else(unknown)
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
        ends: None,
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

/// What an application asks to be told of (clauses 7.1.3.2 and 8.1.3.2).
#[derive(Serialize)]
#[serde(untagged)]
enum View<'a> {
    Availability(AvailabilityView<'a>),
    Termination(TerminationView<'a>),
}

/// Services that come, change and go.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SerAvailabilityNotificationSubscription)]
struct AvailabilityView<'a> {
    #[schema(read_only)]
    subscription_id: String,
    #[schema(schema_with = availability)]
    subscription_type: &'static str,
    /// Where notifications go: an absolute URI of http or https without a fragment.
    #[schema(format = "uri", max_length = 2048)]
    callback_reference: &'a str,
    #[serde(rename = "_links")]
    #[schema(read_only)]
    links: OwnLink,
    /// Which services; all when left out.
    #[serde(skip_serializing_if = "CriteriaView::is_empty")]
    filtering_criteria: CriteriaView<'a>,
}

/// The end of the application.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AppTerminationNotificationSubscription)]
struct TerminationView<'a> {
    #[schema(read_only)]
    subscription_id: String,
    #[schema(schema_with = termination)]
    subscription_type: &'static str,
    /// Where notifications go: an absolute URI of http or https without a fragment.
    #[schema(format = "uri", max_length = 2048)]
    callback_reference: &'a str,
    #[serde(rename = "_links")]
    #[schema(read_only)]
    links: OwnLink,
    /// The application of the path.
    app_instance_id: &'a str,
}

fn availability() -> RefOr<Schema> {
    one_of(&[Store::Availability.type_name()])
}

fn termination() -> RefOr<Schema> {
    one_of(&[Store::Termination.type_name()])
}

/// All that are given must hold, each by any of its members. Only one of serInstanceIds, serNames
/// and serCategories may be given.
#[derive(Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FilteringCriteria)]
struct CriteriaView<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ser_instance_ids: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ser_names: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ser_categories: Vec<CategoryView<'a>>,
    /// States after the change.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<ServiceState>)]
    states: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    is_local: Option<bool>,
}

impl CriteriaView<'_> {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where something is.
#[derive(Serialize, ToSchema)]
#[schema(as = SelfLink)]
struct OwnLink {
    #[serde(rename = "self")]
    own: Link,
}

fn view<'a>(platform: &Platform, subscription: &'a Subscription) -> View<'a> {
    let own = platform.settings.published.link(&face::subscription(subscription));
    let subscription_id = subscription.id.to_string();
    let subscription_type = subscription.store.type_name();
    let callback_reference = &subscription.callback_reference;
    let links = OwnLink { own: Link { href: own } };
    if let Some(app_instance_id) = &subscription.app_instance_id {
        return View::Termination(TerminationView {
            subscription_id,
            subscription_type,
            callback_reference,
            links,
            app_instance_id,
        });
    }
    let filtering_criteria = subscription.criteria.as_ref().map(criteria_view).unwrap_or_default();
    View::Availability(AvailabilityView {
        subscription_id,
        subscription_type,
        callback_reference,
        links,
        filtering_criteria,
    })
}

fn criteria_view(criteria: &Criteria) -> CriteriaView<'_> {
    let categories = criteria.ser_categories.as_deref().unwrap_or_default();
    CriteriaView {
        ser_instance_ids: criteria.ser_instance_ids.as_deref().unwrap_or_default(),
        ser_names: criteria.ser_names.as_deref().unwrap_or_default(),
        ser_categories: categories.iter().map(category).collect(),
        states: criteria.states.as_deref().unwrap_or_default(),
        is_local: criteria.is_local,
    }
}

/// The subscriptions of an application.
#[derive(Serialize, ToSchema)]
struct SubscriptionLinkList {
    #[serde(rename = "_links")]
    links: SubscriptionLinks,
}

#[derive(Serialize, ToSchema)]
struct SubscriptionLinks {
    #[serde(rename = "self")]
    own: Link,
    subscriptions: Vec<SubscriptionLink>,
}

/// One subscription. `rel` is what version 2.1.1 calls its type.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SubscriptionLink {
    href: String,
    subscription_type: &'static str,
    rel: &'static str,
}
