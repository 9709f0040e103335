//! [`Event`]: what became of a service instance, and the text that tells it.

use gateway_model::{Entity as _, Item, Write};
use serde::Serialize;
use serde_json::{Value, json};

use crate::dialect::json;
use crate::entities::{ServiceInstance, Subscription, service_id};
use crate::mp1::href;

/// What became of a service instance.
pub(super) struct Event {
    change: &'static str,
    /// As it is now, or as it was when it is gone.
    pub(super) instance: Item<ServiceInstance>,
    gone: bool,
}

impl Event {
    /// The event in a write, `None` when it is about something else or shows nothing new: a
    /// heartbeat is no news. `state_changed` gives a change of state alone a word of its own.
    pub(super) fn of(write: &Write, state_changed: bool) -> Option<Self> {
        if write.kind != ServiceInstance::KIND {
            return None;
        }
        let before = write.before.as_ref().and_then(Item::<ServiceInstance>::new);
        let after = write.after.as_ref().and_then(Item::<ServiceInstance>::new);
        let (change, instance, gone) = match (before, after) {
            (None, Some(after)) => ("ADDED", after, false),
            (Some(before), None) => ("REMOVED", before, true),
            (Some(before), Some(after)) => {
                let rest_is_same = before.info == after.info
                    && before.publications == after.publications
                    && before.app == after.app;
                match (rest_is_same, before.state == after.state) {
                    (true, true) => return None,
                    (true, false) if state_changed => ("STATE_CHANGED", after, false),
                    _ => ("ATTRIBUTES_CHANGED", after, false),
                }
            }
            (None, None) => return None,
        };
        Some(Self { change, instance, gone })
    }

    /// The notification for one subscriber: JSON text, members in the original's order.
    pub(super) fn body(&self, subscription: &Subscription) -> String {
        let id = service_id(self.instance.id);
        let link = match self.gone {
            true => json!({}),
            false => json!({"href": format!("/mec_service_mgmt/v1/services/{id}")}),
        };
        let body = Body {
            notification_type: "SerAvailabilityNotification",
            service_references: [Reference {
                link,
                ser_name: &self.instance.info.ser_name,
                ser_instance_id: &id,
                state: self.instance.state.as_str(),
                change_type: self.change,
            }],
            links: json!({"subscription": {"href": href(subscription)}}),
        };
        // Texts and text keys only: it can be written.
        json::to_string(&body).unwrap_or_default()
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
    link: Value,
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
        state_changed: bool,
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
        committed.writes.iter().find_map(|write| Event::of(write, state_changed))
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
            let event = event(first, second, state_changed).await;
            assert_eq!(event.map(|event| event.change), wanted, "row {at}");
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
        let added = event(None, Some(&plain), false).await.unwrap();
        let link = format!(r#"{{"href":"/mec_service_mgmt/v1/services/{service}"}}"#);
        assert_eq!(added.body(&subscriber), body(&link, "ADDED"));
        let removed = event(Some(&plain), None, false).await.unwrap();
        assert_eq!(removed.body(&subscriber), body("{}", "REMOVED"));
    }

    #[tokio::test]
    async fn a_subscription_is_no_event() {
        let control = control().await;
        let mut feed = control.feed();
        control.apply(subscribe(&subscription(1, "http://a.test/", "{}"))).await.unwrap();
        let committed = feed.recv().await.unwrap();
        assert!(committed.writes.iter().all(|write| Event::of(write, false).is_none()));
    }
}
