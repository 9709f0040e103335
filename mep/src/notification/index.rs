//! [`Index`]: which subscriptions may be about a service, without looking at all of them.

use std::collections::{BTreeSet, HashMap};

use gateway_model::{Catalog, Entity as _, Id, Item, Write};

use crate::entities::{Criteria, ServiceInstance, Store, Subscription};

/// Availability subscriptions by the services they ask for, to find the few worth a full match.
#[derive(Default)]
pub(super) struct Index(HashMap<Asks, BTreeSet<Id>>);

/// What a subscription is found by.
#[derive(PartialEq, Eq, Hash)]
enum Asks {
    /// A service instance, by the id clients see.
    Instance(String),
    /// Services of this name.
    Name(String),
    /// Neither; maybe a category, a state, or anything at all.
    Neither,
}

impl Index {
    /// The subscriptions of a catalog.
    pub(super) fn of(catalog: &Catalog) -> Self {
        let mut index = Self::default();
        for subscription in catalog.all::<Subscription>() {
            index.put(&subscription);
        }
        index
    }

    /// Takes over what a commit did to subscriptions.
    pub(super) fn follow(&mut self, writes: &[Write]) {
        for write in writes.iter().filter(|write| write.kind == Subscription::KIND) {
            if let Some(before) = write.before.as_ref().and_then(Item::new) {
                self.remove(&before);
            }
            if let Some(after) = write.after.as_ref().and_then(Item::new) {
                self.put(&after);
            }
        }
    }

    /// Subscriptions that may be about a service, each once; all others are not.
    pub(super) fn candidates(&self, instance: &ServiceInstance) -> impl Iterator<Item = Id> {
        let asking = |asks| self.0.get(&asks);
        let by_id = asking(Asks::Instance(instance.service_id()));
        let by_name = asking(Asks::Name(instance.info.ser_name.clone()));
        // Only these may ask by both.
        let once = move |id: &&Id| by_id.is_none_or(|by_id| !by_id.contains(*id));
        let by_name = by_name.into_iter().flatten().filter(once);
        let rest = asking(Asks::Neither).into_iter().flatten();
        by_id.into_iter().flatten().chain(by_name).chain(rest).copied()
    }

    fn put(&mut self, subscription: &Subscription) {
        for asks in Asks::of(subscription) {
            self.0.entry(asks).or_default().insert(subscription.id);
        }
    }

    fn remove(&mut self, subscription: &Subscription) {
        for asks in Asks::of(subscription) {
            if let Some(ids) = self.0.get_mut(&asks) {
                ids.remove(&subscription.id);
                if ids.is_empty() {
                    self.0.remove(&asks);
                }
            }
        }
    }
}

impl Asks {
    fn of(subscription: &Subscription) -> Vec<Self> {
        match subscription.store {
            Store::Availability => {}
            Store::Termination => return Vec::new(),
            Store::Events => {
                let ids = subscription.events.as_ref().map(|events| events.api_ids.clone());
                let ids = ids.unwrap_or_default();
                if ids.is_empty() {
                    return vec![Self::Neither];
                }
                return ids.into_iter().map(Self::Instance).collect();
            }
        }
        let Some(criteria) = &subscription.criteria else { return Vec::new() };
        let Criteria { ser_instance_ids, ser_names, ser_categories, .. } = criteria;
        if ser_categories.as_ref().is_some_and(|list| !list.is_empty()) {
            return vec![Self::Neither];
        }
        let ids = ser_instance_ids.iter().flatten().cloned().map(Self::Instance);
        let names = ser_names.iter().flatten().cloned().map(Self::Name);
        let asks: Vec<Self> = ids.chain(names).collect();
        if asks.is_empty() { vec![Self::Neither] } else { asks }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::entities::remove;
    use crate::face::Face;
    use crate::notification::matching::matches;
    use crate::test_kit::{control, instance, subscribe, subscription};

    /// What a look at every subscription finds.
    fn scan(catalog: &Catalog, instance: &ServiceInstance) -> Vec<Id> {
        let matching = |criteria: &Criteria| matches(criteria, instance, Face::Dialect);
        let availability = |subscription: &Item<Subscription>| {
            subscription.store == Store::Availability
                && subscription.criteria.as_ref().is_some_and(matching)
        };
        catalog.all::<Subscription>().filter(availability).map(|found| found.id()).collect()
    }

    fn find(index: &Index, catalog: &Catalog, instance: &ServiceInstance) -> Vec<Id> {
        let mut found: Vec<Id> = index
            .candidates(instance)
            .filter(|id| {
                let subscription = catalog.get::<Subscription>(*id).unwrap();
                matches(subscription.criteria.as_ref().unwrap(), instance, Face::Dialect)
            })
            .collect();
        found.sort();
        found
    }

    #[tokio::test]
    async fn finds_what_a_look_at_all_finds() {
        let mut services = ["x", "y", "z"].map(instance);
        services[2].info.is_local = false;
        let [x, y, _] = services.each_ref().map(ServiceInstance::service_id);
        let criteria = [
            "{}".to_owned(),
            r#"{"serNames":[]}"#.to_owned(),
            r#"{"serNames":["x"]}"#.to_owned(),
            r#"{"serNames":["x","y"]}"#.to_owned(),
            r#"{"serNames":["x"],"states":["SUSPENDED"]}"#.to_owned(),
            format!(r#"{{"serInstanceIds":["{x}"]}}"#),
            format!(r#"{{"serInstanceIds":["{x}","{y}"],"serNames":["y","z"]}}"#),
            format!(r#"{{"serInstanceIds":["{x}"],"serNames":["x","y"]}}"#),
            r#"{"states":["ACTIVE"]}"#.to_owned(),
            r#"{"isLocal":true}"#.to_owned(),
        ];
        let control = control().await;
        let mut feed = control.feed();
        let mut index = Index::of(&control.catalog());
        let check = |index: &Index, catalog: &Catalog| {
            let rebuilt = Index::of(catalog);
            for service in &services {
                let wanted = scan(catalog, service);
                assert_eq!(find(index, catalog, service), wanted, "followed");
                assert_eq!(find(&rebuilt, catalog, service), wanted, "rebuilt");
            }
        };
        for (number, criteria) in (0u16..).zip(&criteria) {
            let subscriber = subscription(number, "http://a.test/", criteria);
            control.apply(subscribe(&subscriber)).await.unwrap();
            let committed = feed.recv().await.unwrap();
            index.follow(&committed.writes);
            check(&index, &committed.catalog);
        }
        assert_eq!(services.each_ref().map(|one| scan(&control.catalog(), one).len()), [9, 7, 4]);
        // Each asks for something else from now on, then goes.
        for (number, criteria) in (0u16..).zip(criteria.iter().rev()) {
            let subscriber = subscription(number, "http://a.test/", criteria);
            control.apply(subscribe(&subscriber)).await.unwrap();
            if let Ok(committed) = feed.try_recv() {
                index.follow(&committed.writes);
                check(&index, &committed.catalog);
            }
        }
        for subscriber in control.catalog().all::<Subscription>() {
            control.apply(vec![remove::<Subscription>(subscriber.id())]).await.unwrap();
            let committed = feed.recv().await.unwrap();
            index.follow(&committed.writes);
            check(&index, &committed.catalog);
        }
        assert!(index.0.is_empty(), "nothing is left behind");
    }

    #[tokio::test]
    async fn subscriptions_to_termination_are_not_in_it() {
        let control = control().await;
        let mut ending = subscription(1, "http://a.test/", "{}");
        ending.store = Store::Termination;
        control.apply(subscribe(&ending)).await.unwrap();
        assert!(Index::of(&control.catalog()).0.is_empty());
    }
}
