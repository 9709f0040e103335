//! Subscriptions to CAPIF events (ETSI GS MEC 011 v3, clauses 9.2.6 and 9.2.7). There is no GET.
//! One that says until when is gone by then.

use axum::response::{IntoResponse, Response};
use gateway_model::{Id, Item, Ref};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::super::asked::OfApp;
use super::super::reading::{Broken, Reader};
use super::super::refusal::Refusal;
use super::super::subscriptions::{callback, refusal, there};
use super::super::{created, tagged};
use super::description::{DISCOVERY_EXTENSIONS, PUBLISHING_EXTENSIONS, features};
use super::merge;
use crate::entities::{Events, Store, Subscription};
use crate::etag::IfMatch;
use crate::face::{self, Face};
use crate::{Platform, etag, subscriptions};

/// Either bit will do: the specifications of the other resources differ.
const EXTENSIONS: u64 = PUBLISHING_EXTENSIONS | DISCOVERY_EXTENSIONS;

/// `POST …/subscriptions`
pub(super) async fn subscribe(own: OfApp) -> Result<Response, Refusal> {
    let OfApp { platform, app, asked, .. } = own;
    let members = asked.body().await?;
    let subscription = read(&platform, Id::random(), app, &members)?;
    subscriptions::create(&platform, &subscription).await.map_err(refusal)?;
    if members.get("requestTestNotification") == Some(&Value::Bool(true)) {
        platform.notifier.test(subscription.id);
    }
    let tag = etag::of_subscription(&subscription);
    Ok(created(&platform, &face::subscription(&subscription), &tag, &view(&subscription)))
}

/// `PUT …/subscriptions/{subscriptionId}`
pub(super) async fn replace(own: OfApp<String>) -> Result<Response, Refusal> {
    let (present, if_match) = find(&own)?;
    let members = own.asked.body().await?;
    put(&own.platform, &present, &if_match, |_| members.clone()).await
}

/// `PATCH …/subscriptions/{subscriptionId}`
pub(super) async fn change(own: OfApp<String>) -> Result<Response, Refusal> {
    let (present, if_match) = find(&own)?;
    let patch = Value::Object(own.asked.patch().await?);
    let patched = |present: &Subscription| {
        let mut merged = view(present);
        merge(&mut merged, &patch);
        merged.as_object().cloned().unwrap_or_default()
    };
    put(&own.platform, &present, &if_match, patched).await
}

/// `DELETE …/subscriptions/{subscriptionId}`
pub(super) async fn unsubscribe(own: OfApp<String>) -> Result<Response, Refusal> {
    let (present, _) = find(&own)?;
    subscriptions::remove(&own.platform, Store::Events, present.app.id, present.id())
        .await
        .map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Puts what `members` makes of a subscription in its place, as long as that is the one the client
/// wants to change.
async fn put(
    platform: &Platform,
    found: &Subscription,
    if_match: &IfMatch,
    members: impl Fn(&Subscription) -> Map<String, Value>,
) -> Result<Response, Refusal> {
    let (app, id) = (found.app.id, found.id);
    let next = subscriptions::change(platform, Store::Events, app, id, |present| {
        if !if_match.admits(&etag::of_subscription(present)) {
            return Err(Refusal::stale());
        }
        read(platform, id, app, &members(present))
    });
    let next = next.await?;
    Ok(tagged(StatusCode::OK, &etag::of_subscription(&next), &view(&next)))
}

fn find(own: &OfApp<String>) -> Result<(Item<Subscription>, IfMatch), Refusal> {
    let found = there(&own.catalog, Store::Events, own.app, &own.name)?;
    let if_match = own.asked.matching(&etag::of_subscription(&found))?;
    Ok((found, if_match))
}

fn read(
    platform: &Platform,
    id: Id,
    app: Id,
    members: &Map<String, Value>,
) -> Result<Subscription, Refusal> {
    let broken = Broken::default();
    let body = Reader::new(members, &broken);
    let named = |text: &str| !text.is_empty();
    let events = body.texts("events", named).unwrap_or_default();
    if events.is_empty() {
        body.refuse("events", "must have an element");
    }
    let (mut api_ids, mut aef_ids) = (Vec::new(), Vec::new());
    for filter in body.objects("eventFilters").unwrap_or_default() {
        api_ids.extend(filter.texts("apiIds", named).unwrap_or_default());
        aef_ids.extend(filter.texts("aefIds", named).unwrap_or_default());
        filter.texts("apiInvokerIds", named);
    }
    let request = body.object("eventReq");
    let ends = request.as_ref().and_then(|request| seconds_left(platform, request));
    body.boolean("requestTestNotification");
    let offered = body.one_of("supportedFeatures", features).map(|wanted| wanted & EXTENSIONS);
    let mut shown = body.document();
    // WebSockets are negotiated, and not offered.
    shown.remove("websockNotifConfig");
    shown.retain(|name, _| KEPT.contains(&name.as_str()));
    // Of how to be told, only until when is decided; the rest is left out, as what is not offered.
    shown.remove("eventReq");
    if let Some(until) = request.filter(|_| ends.is_some()).and_then(|one| one.text("monDur", 64)) {
        shown.insert("eventReq".to_owned(), json!({ "monDur": until }));
    }
    if let Some(offered) = offered {
        shown.insert("supportedFeatures".to_owned(), json!(format!("{offered:x}")));
    }
    let callback_reference = callback(platform, &body, "notificationDestination");
    let events = Events { events, api_ids, aef_ids, extensions: offered.unwrap_or(0) != 0, shown };
    broken.unless(Subscription {
        id,
        app: Ref::new(app),
        store: Store::Events,
        callback_reference,
        criteria: None,
        app_instance_id: None,
        face: Face::Standard,
        events: Some(events),
        ends,
    })
}

/// A subscription as a client may ask for it.
pub(super) fn example() -> Value {
    json!({
        "events": ["SERVICE_API_AVAILABLE", "SERVICE_API_UNAVAILABLE"],
        "notificationDestination": "http://192.0.2.7:8080/events",
    })
}

/// Subscriptions may be made for this long, seconds: what the store takes.
const LONGEST: u64 = 100_000_000;

/// How many seconds a subscription has to live: until `monDur`, when it says so (3GPP TS 29.523,
/// clause 5.3.2.3.6).
fn seconds_left(platform: &Platform, request: &Reader<'_>) -> Option<u64> {
    let end = request.one_of("monDur", |text| text.parse::<jiff::Timestamp>().ok())?;
    let now = platform.clock.unix_ms();
    let left = u64::try_from(end.as_millisecond()).unwrap_or_default().saturating_sub(now);
    if left == 0 {
        request.refuse("monDur", "must be in the future");
    }
    let seconds = left.div_ceil(1000);
    if seconds > LONGEST {
        request.refuse("monDur", "must be within three years");
    }
    Some(seconds)
}

/// Members a client gets back.
const KEPT: [&str; 5] =
    ["events", "eventFilters", "eventReq", "notificationDestination", "requestTestNotification"];

fn view(subscription: &Subscription) -> Value {
    let shown = subscription.events.as_ref().map(|events| events.shown.clone());
    Value::Object(shown.unwrap_or_default())
}
