//! Telling subscribers what became of services (ETSI GS MEC 011, clause 8.4).
//!
//! The feed of committed changes becomes events ([`message`]), which are matched with the
//! subscriptions of the same catalog ([`index`], [`matching`]) and queued per subscription
//! ([`delivery`]); [`outbound`] makes the calls. A subscriber that is slow or gone delays nobody
//! else. Queues live in memory: what is not delivered when the process ends is lost. Of nodes that
//! share a store the one that wrote tells.

mod delivery;
mod index;
mod matching;
mod message;
mod outbound;
mod resolver;

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;

use gateway_control::{Committed, Control};
use gateway_model::catalog::Collection;
use gateway_model::{Catalog, Entity as _, Id};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use self::delivery::Courier;
use self::index::Index;
use self::message::{Event, Notice};
pub(crate) use self::outbound::{Form, Outbound};
pub(crate) use self::resolver::SystemNames;
use crate::entities::{ServiceInstance, Subscription};
use crate::metrics::Metrics;
use crate::platform::over;
use crate::settings::{Delivery, Published};

/// Follows the feed and hands notifications to the courier.
pub(crate) struct Notifier {
    courier: Arc<Courier>,
    control: Control,
    metrics: Metrics,
}

impl Notifier {
    pub(crate) fn new(
        settings: Delivery,
        outbound: Arc<Outbound>,
        published: Published,
        control: Control,
        metrics: Metrics,
    ) -> Self {
        let courier = Courier::new(settings, outbound, published, control.clone(), metrics.clone());
        Self { courier: Arc::new(courier), control, metrics }
    }

    /// Tells a new subscriber that it can be reached.
    pub(crate) fn test(&self, subscription: Id) {
        self.courier.send(subscription, Notice::Test);
    }

    /// Follows the feed until `shutdown` says so.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut feed: broadcast::Receiver<Arc<Committed>>,
        mut shutdown: watch::Receiver<bool>,
    ) {
        self.count(&self.control.catalog());
        // Made with the next commit, when there is none or commits are missing in it.
        let mut index = None;
        loop {
            let heard = tokio::select! {
                () = over(&mut shutdown) => break,
                heard = feed.recv() => heard,
            };
            if self.hear(heard, &mut index).is_break() {
                break;
            }
        }
        self.courier.stop();
    }

    /// What the feed says next; it ends when nobody is left to write.
    fn hear(
        &self,
        heard: Result<Arc<Committed>, RecvError>,
        index: &mut Option<Index>,
    ) -> ControlFlow<()> {
        match heard {
            Ok(committed) => self.follow(&committed, index),
            Err(RecvError::Lagged(missed)) => {
                *index = None;
                self.metrics.missed_commits.inc_by(missed);
                tracing::warn!(missed, "too many commits to notify anybody of");
            }
            Err(RecvError::Closed) => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Whoever is subscribed after a commit is told of all of it.
    fn follow(&self, committed: &Committed, index: &mut Option<Index>) {
        let catalog = &committed.catalog;
        match index {
            Some(index) => index.follow(&committed.writes),
            None => *index = Some(Index::of(catalog)),
        }
        for write in committed.writes.iter() {
            if write.kind == Subscription::KIND && write.after.is_none() {
                self.courier.forget(write.id);
            }
        }
        let events = committed.writes.iter().filter_map(Event::of);
        let mut any = false;
        for event in events.map(Arc::new) {
            any = true;
            if !committed.ours {
                continue;
            }
            for id in index.iter().flat_map(|index| index.candidates(&event.instance)) {
                let subscription = catalog.get::<Subscription>(id);
                if subscription.is_some_and(|found| matching::wants(&found, &event)) {
                    self.courier.send(id, Notice::Service(Arc::clone(&event)));
                }
            }
        }
        if any {
            self.count(catalog);
        }
    }

    fn count(&self, catalog: &Catalog) {
        let instances = catalog.collection(ServiceInstance::KIND).map_or(0, Collection::len);
        self.metrics.service_instances.set(i64::try_from(instances).unwrap_or(i64::MAX));
    }
}
