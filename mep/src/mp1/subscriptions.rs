//! Subscriptions of both stores: asking to be told, looking what was asked, and taking it back
//! (ETSI GS MEC 011, clauses 7.2.3, 7.2.4, 8.2.8 and 8.2.9).
//!
//! The stores differ in their path, in what a subscription may say, and in nothing else.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{AppendHeaders, IntoResponse, Response};
use gateway_model::{Id, Ref};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::told::of_app;
use super::{BROKEN_RULE, ENDING, OfApp, object};
use crate::auth::credential::AppInstanceId;
use crate::dialect::rules::{is_id, is_name, is_uri, length};
use crate::entities::{Criteria, Store, Subscription};
use crate::face::{self, Face};
use crate::openapi::{Api, Routes};
use crate::problem::{Code, Problem, json_reply};
use crate::subscriptions::{self, SubscriptionFault, find};
use crate::{Platform, etag};

const UNKNOWN: Problem = Problem::new(Code::NotFound, "subscription not exist");

pub(super) fn routes(store: Store) -> Routes<Arc<Platform>> {
    const CREATED: StatusCode = StatusCode::CREATED;
    let all = format!("/mep/{}/v1/applications/{{appInstanceId}}/subscriptions", store.api());
    let (api, example) = match store {
        Store::Termination => {
            let own = "5abe4782-2c70-4e47-9a4e-0ee3a1a0fd1f";
            (Api::DialectSupport, ("appInstanceId", serde_json::json!(own)))
        }
        _ => {
            let criteria = serde_json::json!({"serNames": ["rni"], "states": ["ACTIVE"]});
            (Api::DialectServices, ("filteringCriteria", criteria))
        }
    };
    let mut body = serde_json::json!({
        "subscriptionType": store.type_name(),
        "callbackReference": "http://192.0.2.7:8080/notifications",
    });
    body[example.0] = example.1;
    Routes::of(api)
        .at(&all, |on| {
            let listed = of_app("The subscriptions of an application")
                .answers::<LinkList>(StatusCode::OK, "Links to them.")
                .may_miss();
            let made = of_app("Subscribes")
                .takes::<Request>(body)
                .answers::<View<'_>>(CREATED, "The subscription.")
                .with_header(CREATED, "Location", "Where it is, without `/mep`.")
                .with_header(CREATED, "ETag", "The entity-tag of its state.")
                .problems(&[StatusCode::CONFLICT]);
            on.get(async move |own| list(store, own).await, listed)
                .post(async move |own, body| subscribe(store, own, body).await, made)
        })
        .at(&format!("{all}/{{subscriptionId}}"), |on| {
            let shown = of_app("A subscription")
                .answers::<View<'_>>(StatusCode::OK, "The subscription.")
                .may_miss();
            let removed = of_app("Unsubscribes")
                .answers_nothing(StatusCode::NO_CONTENT, "Nothing is told any more.")
                .may_miss();
            on.get(async move |own| show(store, own).await, shown)
                .delete(async move |own| unsubscribe(store, own).await, removed)
        })
}

async fn subscribe(
    store: Store,
    OfApp { platform, app, .. }: OfApp,
    body: Body,
) -> Result<Response, Problem> {
    let request: Request = object(body).await?;
    if !request.is_valid(store) || !may_be_called(&platform, &request.callback_reference) {
        return Err(BROKEN_RULE);
    }
    let mut criteria = request.filtering_criteria;
    // The dialect cannot tell "not local" from nothing.
    criteria.is_local = criteria.is_local.filter(|local| *local);
    let subscription = Subscription {
        id: Id::random(),
        app: Ref::new(app),
        store,
        callback_reference: request.callback_reference,
        criteria: (store == Store::Availability).then_some(criteria),
        app_instance_id: (store == Store::Termination).then_some(request.app_instance_id),
        face: Face::Dialect,
        events: None,
        ends: None,
    };
    subscriptions::create(&platform, &subscription).await.map_err(|fault| match fault {
        SubscriptionFault::Full => {
            Problem::new(Code::SubscriptionFailed, "subscription has over the limit")
        }
        SubscriptionFault::Ending => ENDING,
        _ => Problem::new(Code::StoreFailed, "subscription not stored"),
    })?;
    let reply = json_reply(StatusCode::CREATED, &View::of(&subscription));
    let location = (header::LOCATION, face::subscription(&subscription));
    Ok((AppendHeaders([location, tag(&subscription)]), reply).into_response())
}

fn tag(subscription: &Subscription) -> (header::HeaderName, String) {
    (header::ETAG, etag::of_subscription(subscription))
}

async fn show(store: Store, own: OfApp<String>) -> Result<Response, Problem> {
    let id = id(&own.name)?;
    let found = find(&own.platform.control.catalog(), store, own.app, id).ok_or(UNKNOWN)?;
    Ok(([tag(&found)], json_reply(StatusCode::OK, &View::of(&found))).into_response())
}

async fn list(store: Store, OfApp { platform, app, .. }: OfApp) -> Result<Response, Problem> {
    let catalog = platform.control.catalog();
    let hrefs: Vec<String> =
        subscriptions::of_app(&catalog, store, app).map(|one| face::subscription(&one)).collect();
    if hrefs.is_empty() {
        let none = "get subscription failed, subscription not exist";
        return Err(Problem::new(Code::NotFound, none));
    }
    let rel = store.type_name();
    let link = |href| Link { href, rel, subscription_type: rel };
    let subscriptions = hrefs.into_iter().map(link).collect();
    let href = format!("/{}/v1/applications/{app}/subscriptions", store.api());
    let body = LinkList { links: ListLinks { own: Href { href }, subscriptions } };
    Ok(json_reply(StatusCode::OK, &body))
}

async fn unsubscribe(store: Store, own: OfApp<String>) -> Result<StatusCode, Problem> {
    let id = id(&own.name)?;
    subscriptions::remove(&own.platform, store, own.app, id).await.map_err(
        |fault| match fault {
            SubscriptionFault::Unknown => UNKNOWN,
            _ => Problem::new(Code::DeleteFailed, "subscription not deleted"),
        },
    )?;
    Ok(StatusCode::NO_CONTENT)
}

fn id(path: &str) -> Result<Id, Problem> {
    // Subscriptions have ids of the same form.
    AppInstanceId::id(path)
        .ok_or(Problem::new(Code::Parameter, "subscription ID validation failed, invalid uuid"))
}

/// Whether notifications may go there. A path is a URI to the dialect; nobody is ever called at it.
fn may_be_called(platform: &Platform, callback: &str) -> bool {
    callback.starts_with('/') || subscriptions::may_be_called(platform, callback)
}

/// The subscriptions of an application.
#[derive(Serialize, ToSchema)]
#[schema(as = edgegallery::SubscriptionLinkList)]
struct LinkList {
    #[serde(rename = "_links")]
    links: ListLinks,
}

#[derive(Serialize, ToSchema)]
#[schema(as = edgegallery::SubscriptionLinks)]
struct ListLinks {
    #[serde(rename = "self")]
    own: Href,
    subscriptions: Vec<Link>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = edgegallery::SubscriptionLink)]
struct Link {
    href: String,
    rel: &'static str,
    subscription_type: &'static str,
}

/// A subscription as a client asks for it, for either store. `_links` is not looked at.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = edgegallery::SubscriptionPost)]
struct Request {
    subscription_type: String,
    callback_reference: String,
    filtering_criteria: Criteria,
    app_instance_id: String,
}

impl Request {
    fn is_valid(&self, store: Store) -> bool {
        let types = [Store::Availability, Store::Termination].map(Store::type_name);
        types.contains(&self.subscription_type.as_str())
            && is_uri(&self.callback_reference)
            && match store {
                Store::Availability => is_valid(&self.filtering_criteria),
                Store::Termination => AppInstanceId::parse(&self.app_instance_id).is_ok(),
                Store::Events => false,
            }
    }
}

fn is_valid(criteria: &Criteria) -> bool {
    let every = |list: &Option<Vec<String>>, rule: &dyn Fn(&str) -> bool| {
        list.iter().flatten().all(|text| rule(text))
    };
    every(&criteria.ser_instance_ids, &|id| length(id) <= 32 && is_id(id))
        && every(&criteria.ser_names, &|name| length(name) <= 128 && is_name(name))
        && every(&criteria.states, &|state| ["ACTIVE", "INACTIVE", "SUSPENDED"].contains(&state))
}

/// A subscription as clients see it, members in the original's order.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = edgegallery::Subscription)]
struct View<'a> {
    #[schema(value_type = String)]
    subscription_id: Id,
    subscription_type: &'static str,
    callback_reference: &'a str,
    #[serde(rename = "_links")]
    links: OwnLink,
    #[serde(skip_serializing_if = "Option::is_none")]
    filtering_criteria: Option<&'a Criteria>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_instance_id: Option<&'a str>,
}

impl<'a> View<'a> {
    fn of(subscription: &'a Subscription) -> Self {
        Self {
            subscription_id: subscription.id,
            subscription_type: subscription.store.type_name(),
            callback_reference: &subscription.callback_reference,
            links: OwnLink { own: Href { href: face::subscription(subscription) } },
            filtering_criteria: subscription.criteria.as_ref(),
            app_instance_id: subscription.app_instance_id.as_deref(),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = edgegallery::SelfLink)]
struct OwnLink {
    #[serde(rename = "self")]
    own: Href,
}

/// A link as the standard has it.
#[derive(Serialize, ToSchema)]
#[schema(as = edgegallery::Link)]
pub(super) struct Href {
    pub(super) href: String,
}
