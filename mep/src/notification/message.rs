//! [`Event`]: what became of a service instance, and the text that tells it.

use std::sync::Arc;

use gateway_model::{Entity as _, Item, Write};
use serde::Serialize;
use serde_json::{Value, json};

use super::outbound::Form;
use crate::dialect::json;
use crate::entities::{Events, ServiceInstance, State, Subscription, service_id};
use crate::face::{self, Face};
use crate::settings::Published;
use crate::standard::describe;

/// What became of a service instance.
pub(super) struct Event {
    pub(super) change: Kind,
    /// As it is now, or as it was when it is gone.
    pub(super) instance: Item<ServiceInstance>,
    /// The state it had before; `None` of one that is new.
    before: Option<State>,
}

/// The kinds of events (ETSI GS MEC 011, clause 8.1.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Added,
    Removed,
    /// Nothing but the state is another.
    State,
    Attributes,
}

impl Kind {
    /// `state_changed` gives a change of state alone a word of its own, which the original did not.
    const fn word(self, state_changed: bool) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Removed => "REMOVED",
            Self::State if state_changed => "STATE_CHANGED",
            Self::State | Self::Attributes => "ATTRIBUTES_CHANGED",
        }
    }
}

impl Event {
    /// The event in a write, `None` when it is about something else or shows nothing new: a
    /// heartbeat is no news.
    pub(super) fn of(write: &Write) -> Option<Self> {
        if write.kind != ServiceInstance::KIND {
            return None;
        }
        let before = write.before.as_ref().and_then(Item::<ServiceInstance>::new);
        let after = write.after.as_ref().and_then(Item::<ServiceInstance>::new);
        let state = before.as_ref().map(|before| before.state);
        let (change, instance) = match (before, after) {
            (None, Some(after)) => (Kind::Added, after),
            (Some(before), None) => (Kind::Removed, before),
            (Some(before), Some(after)) => {
                let rest_is_same = before.info == after.info
                    && before.publications == after.publications
                    && before.app == after.app;
                match (rest_is_same, before.state == after.state) {
                    (true, true) => return None,
                    (true, false) => (Kind::State, after),
                    _ => (Kind::Attributes, after),
                }
            }
            (None, None) => return None,
        };
        Some(Self { change, instance, before: state })
    }

    /// The event in CAPIF's words (3GPP TS 29.222, clause 8.3.4.3).
    pub(super) fn capif(&self) -> &'static str {
        let active = |state: Option<State>| state == Some(State::Active);
        let now = self.instance.state;
        match self.change {
            Kind::Added => "SERVICE_API_AVAILABLE",
            Kind::Removed => "SERVICE_API_UNAVAILABLE",
            _ if now == State::Active && !active(self.before) => "SERVICE_API_AVAILABLE",
            _ if now != State::Active && active(self.before) => "SERVICE_API_UNAVAILABLE",
            _ => "SERVICE_API_UPDATE",
        }
    }

    /// The notification for one subscriber: JSON text, members in the original's order.
    pub(super) fn body(&self, subscription: &Subscription, telling: &Telling) -> String {
        if let Some(events) = &subscription.events {
            return self.capif_body(subscription, events, telling);
        }
        let standard = subscription.face == Face::Standard;
        let id = service_id(self.instance.id);
        let link = match (self.change, standard) {
            (Kind::Removed, true) => None,
            (Kind::Removed, false) => Some(json!({})),
            _ => {
                let href = format!("/mec_service_mgmt/v1/services/{id}");
                Some(json!({"href": telling.link(subscription, &href)}))
            }
        };
        let own = telling.link(subscription, &face::subscription(subscription));
        let body = Body {
            notification_type: "SerAvailabilityNotification",
            service_references: [Reference {
                link,
                ser_name: &self.instance.info.ser_name,
                ser_instance_id: &id,
                state: self.instance.state.as_str(),
                change_type: self.change.word(standard || telling.state_changed),
            }],
            links: json!({"subscription": {"href": own}}),
        };
        // Texts and text keys only: it can be written.
        json::to_string(&body).unwrap_or_default()
    }

    fn capif_body(
        &self,
        subscription: &Subscription,
        events: &Events,
        telling: &Telling,
    ) -> String {
        let event = self.capif();
        let detail = match event {
            "SERVICE_API_UNAVAILABLE" => json!({"apiIds": [service_id(self.instance.id)]}),
            _ => {
                let described = describe(&telling.published, &self.instance, events.extensions);
                json!({"serviceAPIDescriptions": [described]})
            }
        };
        let body = json!({
            "subscriptionId": subscription.id.to_string(),
            "events": event,
            "eventDetail": detail,
        });
        body.to_string()
    }
}

/// What notifications depend on besides what happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Telling {
    /// Whether subscribers of the dialect are told of a change of state in a word of its own.
    pub(super) state_changed: bool,
    /// Where the gateway offers services.
    pub(super) published: Published,
}

impl Telling {
    /// A link as the subscriber's face has it.
    fn link(&self, subscription: &Subscription, path: &str) -> String {
        match subscription.face {
            Face::Dialect => path.to_owned(),
            Face::Standard => self.published.link(path),
        }
    }
}

/// What a subscriber is told.
#[derive(Clone)]
pub(super) enum Notice {
    /// What became of a service.
    Service(Arc<Event>),
    /// That it can be reached (ETSI GS MEC 009, clause 6.12a).
    Test,
}

impl Notice {
    /// The notification for one subscriber, and how it is written.
    pub(super) fn written(&self, subscription: &Subscription, telling: &Telling) -> (Form, String) {
        let form = match subscription.face {
            Face::Dialect => Form::DIALECT,
            Face::Standard => Form::STANDARD,
        };
        let body = match self {
            Self::Service(event) => event.body(subscription, telling),
            Self::Test => {
                let own = telling.link(subscription, &face::subscription(subscription));
                json!({"subscription": own}).to_string()
            }
        };
        (form, body)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    notification_type: &'a str,
    service_references: [Reference<'a>; 1],
    #[serde(rename = "_links")]
    links: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<Value>,
    ser_name: &'a str,
    ser_instance_id: &'a str,
    state: &'a str,
    change_type: &'a str,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::entities::{ServiceInstance, State};
    use crate::test_kit::{control, instance, register, subscribe, subscription};

    /// What comes of `second` after `first`; `None` stands for no service.
    async fn event(
        first: Option<&ServiceInstance>,
        second: Option<&ServiceInstance>,
    ) -> Option<Event> {
        let control = control().await;
        let mut feed = control.feed();
        let id = first.or(second).unwrap().id;
        let step = |to: Option<&ServiceInstance>| match to {
            Some(to) => register(to),
            None => vec![crate::entities::remove::<ServiceInstance>(id)],
        };
        if first.is_some() {
            control.apply(step(first)).await.unwrap();
            feed.recv().await.unwrap();
        }
        control.apply(step(second)).await.unwrap();
        let committed = feed.try_recv().ok()?;
        committed.writes.iter().find_map(Event::of)
    }

    #[tokio::test]
    async fn only_what_shows_is_told() {
        let plain = instance("x");
        let renewed = ServiceInstance { renewed_at_ms: 7, ..plain.clone() };
        let suspended = ServiceInstance { state: State::Suspended, ..renewed.clone() };
        let mut local = plain.clone();
        local.info.is_local = !local.info.is_local;
        let both = ServiceInstance { info: local.info.clone(), ..suspended.clone() };
        let rows = [
            (None, Some(&plain), false, Some("ADDED")),
            (Some(&plain), None, false, Some("REMOVED")),
            (Some(&plain), Some(&plain), false, None),
            (Some(&plain), Some(&renewed), false, None),
            (Some(&plain), Some(&local), false, Some("ATTRIBUTES_CHANGED")),
            (Some(&plain), Some(&suspended), false, Some("ATTRIBUTES_CHANGED")),
            (Some(&suspended), Some(&plain), false, Some("ATTRIBUTES_CHANGED")),
            (Some(&plain), Some(&suspended), true, Some("STATE_CHANGED")),
            (Some(&plain), Some(&both), true, Some("ATTRIBUTES_CHANGED")),
        ];
        for (at, (first, second, state_changed, wanted)) in rows.into_iter().enumerate() {
            let event = event(first, second).await;
            let word = event.map(|event| event.change.word(state_changed));
            assert_eq!(word, wanted, "row {at}");
        }
    }

    #[tokio::test]
    async fn bodies_byte_for_byte() {
        let plain = instance("x");
        let subscriber = subscription(9, "http://a.test/", "{}");
        let (service, app) = (plain.service_id(), subscriber.app.id);
        let body = |link: &str, change: &str| {
            format!(
                r#"{{"notificationType":"SerAvailabilityNotification","serviceReferences":[{{"link":{link},"serName":"x","serInstanceId":"{service}","state":"ACTIVE","changeType":"{change}"}}],"_links":{{"subscription":{{"href":"/mec_service_mgmt/v1/applications/{app}/subscriptions/00000000-0000-0000-0000-000000000009"}}}}}}"#
            )
        };
        let added = event(None, Some(&plain)).await.unwrap();
        let link = format!(r#"{{"href":"/mec_service_mgmt/v1/services/{service}"}}"#);
        assert_eq!(added.body(&subscriber, &Telling::default()), body(&link, "ADDED"));
        let removed = event(Some(&plain), None).await.unwrap();
        assert_eq!(removed.body(&subscriber, &Telling::default()), body("{}", "REMOVED"));
        let subscriber = Subscription { face: Face::Standard, ..subscriber };
        let gone = removed.body(&subscriber, &Telling::default());
        assert_eq!(gone, body("", "REMOVED").replacen(r#""link":,"#, "", 1));
    }

    #[tokio::test]
    async fn the_words_of_capif() {
        let active = instance("x");
        let suspended = ServiceInstance { state: State::Suspended, ..active.clone() };
        let mut inactive = active.clone();
        (inactive.state, inactive.info.version) = (State::Inactive, "2".to_owned());
        let rows = [
            (None, Some(&active), "SERVICE_API_AVAILABLE"),
            (Some(&active), None, "SERVICE_API_UNAVAILABLE"),
            (Some(&active), Some(&suspended), "SERVICE_API_UNAVAILABLE"),
            (Some(&inactive), Some(&active), "SERVICE_API_AVAILABLE"),
            (Some(&suspended), Some(&inactive), "SERVICE_API_UPDATE"),
        ];
        for (at, (first, second, wanted)) in rows.into_iter().enumerate() {
            assert_eq!(event(first, second).await.unwrap().capif(), wanted, "row {at}");
        }
    }

    #[tokio::test]
    async fn a_subscription_is_no_event() {
        let control = control().await;
        let mut feed = control.feed();
        control.apply(subscribe(&subscription(1, "http://a.test/", "{}"))).await.unwrap();
        let committed = feed.recv().await.unwrap();
        assert!(committed.writes.iter().all(|write| Event::of(write).is_none()));
    }
}
