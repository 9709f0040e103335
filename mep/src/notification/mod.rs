//! Telling subscribers what became of services (ETSI GS MEC 011, clause 8.4).
//!
//! The feed of committed changes is matched with the subscriptions of the same catalog
//! ([`matching`]); what comes of it goes through a bounded queue per subscriber ([`delivery`]). A
//! subscriber that is slow or gone delays nobody else. Queues live in memory: what is not delivered
//! when the process ends is lost.

mod delivery;
mod matching;
mod resolver;

use std::net::IpAddr;
use std::sync::Arc;

use gateway_control::{Committed, Control};
use gateway_model::catalog::Collection;
use gateway_model::{Catalog, Entity, Stored, Write};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use self::delivery::Courier;
use crate::dialect::json;
use crate::entities::{ServiceInstance, Store, Subscription, service_id};
use crate::guard::Guard;
use crate::metrics::Metrics;
use crate::mp1::href;
use crate::platform::over;
use crate::settings::Delivery;

/// Follows the feed and hands notifications to the courier.
pub(crate) struct Notifier {
    courier: Arc<Courier>,
    control: Control,
    metrics: Metrics,
    state_changed: bool,
}

impl Notifier {
    pub(crate) fn new(
        settings: Delivery,
        own_address: Option<IpAddr>,
        control: Control,
        guard: Arc<Guard>,
        metrics: Metrics,
    ) -> Result<Self, reqwest::Error> {
        let state_changed = settings.state_changed;
        let courier = Courier::new(settings, own_address, control.clone(), guard, metrics.clone())?;
        Ok(Self { courier: Arc::new(courier), control, metrics, state_changed })
    }

    /// Follows the feed until `shutdown` says so.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut feed: broadcast::Receiver<Arc<Committed>>,
        mut shutdown: watch::Receiver<bool>,
    ) {
        self.count(&self.control.catalog());
        loop {
            tokio::select! {
                () = over(&mut shutdown) => break,
                committed = feed.recv() => match committed {
                    Ok(committed) => self.follow(&committed),
                    Err(RecvError::Lagged(missed)) => {
                        self.metrics.missed_commits.inc_by(missed);
                        tracing::warn!(missed, "too many commits to notify anybody of");
                    }
                    Err(RecvError::Closed) => break,
                },
            }
        }
        self.courier.stop();
    }

    fn follow(&self, committed: &Committed) {
        let events: Vec<Event<'_>> = committed
            .writes
            .iter()
            .filter_map(|write| Event::of(write, self.state_changed))
            .collect();
        if events.is_empty() {
            return;
        }
        self.count(&committed.catalog);
        for subscription in committed.catalog.all::<Subscription>() {
            let Some(criteria) = subscription.criteria.as_ref() else { continue };
            if subscription.store != Store::Availability {
                continue;
            }
            for event in events.iter().filter(|event| matching::matches(criteria, event.instance)) {
                self.courier.send(&subscription, event.body(&subscription));
            }
        }
    }

    fn count(&self, catalog: &Catalog) {
        let instances = catalog.collection(ServiceInstance::KIND).map_or(0, Collection::len);
        self.metrics.service_instances.set(i64::try_from(instances).unwrap_or(i64::MAX));
    }
}

/// What became of a service instance.
struct Event<'a> {
    change: &'static str,
    /// As it is now, or as it was when it is gone.
    instance: &'a ServiceInstance,
    gone: bool,
}

impl<'a> Event<'a> {
    /// The event in a write, `None` when it is about something else or shows nothing new: a
    /// heartbeat is no news.
    fn of(write: &'a Write, state_changed: bool) -> Option<Self> {
        let typed = |stored: &'a Option<Arc<Stored>>| {
            stored.as_ref().and_then(|stored| stored.entity::<ServiceInstance>())
        };
        let (change, instance, gone) = match (typed(&write.before), typed(&write.after)) {
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
    fn body(&self, subscription: &Subscription) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            notification_type: &'a str,
            service_references: [Reference<'a>; 1],
            #[serde(rename = "_links")]
            links: serde_json::Value,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Reference<'a> {
            link: serde_json::Value,
            ser_name: &'a str,
            ser_instance_id: &'a str,
            state: &'a str,
            change_type: &'a str,
        }
        let id = service_id(self.instance.id);
        let link = match self.gone {
            true => serde_json::json!({}),
            false => serde_json::json!({"href": format!("/mec_service_mgmt/v1/services/{id}")}),
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
            links: serde_json::json!({"subscription": {"href": href(subscription)}}),
        };
        // Texts and text keys only: it can be written.
        json::to_string(&body).unwrap_or_default()
    }
}
