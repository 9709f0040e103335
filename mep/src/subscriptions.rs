//! Making and removing subscriptions: what both faces do once they have read a request.

use gateway_model::{Catalog, Id, Item};
use url::Url;

use crate::commit::{commit, require, unchanged};
use crate::entities::{self, Store, Subscription};
use crate::{Platform, applications};

/// Subscriptions one app may have in one store.
pub(crate) const MOST_SUBSCRIPTIONS: usize = 50;

/// Why subscriptions stay as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubscriptionFault {
    /// The app has as many as it may have.
    Full,
    /// The app was told to end.
    Ending,
    /// There is none, or it is another app's, or in another store.
    Unknown,
    /// The catalog refused.
    NotStored,
}

/// The subscriptions of an app in one store.
pub(crate) fn of_app(
    catalog: &Catalog,
    store: Store,
    app: Id,
) -> impl Iterator<Item = Item<Subscription>> {
    catalog.children::<Subscription>("app", app).filter(move |one| one.store == store)
}

/// One of them.
pub(crate) fn find(catalog: &Catalog, store: Store, app: Id, id: Id) -> Option<Item<Subscription>> {
    let found = catalog.get::<Subscription>(id);
    found.filter(|one| one.store == store && one.app.id == app)
}

/// Keeps a new subscription.
pub(crate) async fn create(
    platform: &Platform,
    subscription: &Subscription,
) -> Result<(), SubscriptionFault> {
    let Subscription { id, store, app, .. } = *subscription;
    let app = app.id;
    commit(&platform.control, |catalog| {
        if applications::is_ending(catalog, app) {
            return Err(SubscriptionFault::Ending);
        }
        if is_full(catalog, store, app) {
            return Err(SubscriptionFault::Full);
        }
        let mut changes = vec![require(move |catalog| {
            !is_full(catalog, store, app) && !applications::is_ending(catalog, app)
        })];
        changes.extend(applications::missing(catalog, app));
        changes.push(entities::put(id, subscription));
        Ok((changes, ()))
    })
    .await
    .map_err(|refused| refused.or(SubscriptionFault::NotStored))
}

/// Puts what `next` makes of a subscription in its place.
pub(crate) async fn change<E: From<SubscriptionFault>>(
    platform: &Platform,
    store: Store,
    app: Id,
    id: Id,
    mut next: impl FnMut(&Subscription) -> Result<Subscription, E>,
) -> Result<Subscription, E> {
    commit(&platform.control, |catalog| {
        let present = find(catalog, store, app, id).ok_or(SubscriptionFault::Unknown)?;
        let next = next(&present)?;
        Ok((vec![unchanged(&present), entities::put(id, &next)], next))
    })
    .await
    .map_err(|refused| refused.or(SubscriptionFault::NotStored.into()))
}

/// Removes a subscription.
pub(crate) async fn remove(
    platform: &Platform,
    store: Store,
    app: Id,
    id: Id,
) -> Result<(), SubscriptionFault> {
    commit(&platform.control, |catalog| {
        find(catalog, store, app, id).ok_or(SubscriptionFault::Unknown)?;
        let still_there = require(move |catalog| find(catalog, store, app, id).is_some());
        Ok((vec![still_there, entities::remove::<Subscription>(id)], ()))
    })
    .await
    .map_err(|refused| refused.or(SubscriptionFault::NotStored))
}

fn is_full(catalog: &Catalog, store: Store, app: Id) -> bool {
    of_app(catalog, store, app).count() >= MOST_SUBSCRIPTIONS
}

/// Whether an absolute URI may be called.
pub(crate) fn may_be_called(platform: &Platform, callback: &str) -> bool {
    match Url::parse(callback).map(|url| platform.guard.check(&url)) {
        Ok(Ok(())) => true,
        Ok(Err(why)) => {
            tracing::warn!(%why, "refused a callback");
            false
        }
        Err(why) => {
            tracing::debug!(%why, "refused a callback");
            false
        }
    }
}
