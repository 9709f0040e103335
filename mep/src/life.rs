//! The end of an application: told, waited for, and everything of it let go at once.
//!
//! | state | entered by | left by |
//! |---|---|---|
//! | known | key pair, configuration or registration | [`terminate`] |
//! | ending | [`terminate`], when somebody subscribed to it | [`confirm`], the grace period, or nobody took the notification |
//! | gone | one change that takes everything along | a new key pair, configuration or registration |
//!
//! Contract section 5.3; ETSI GS MEC 011, clauses 5.2.3 and 7.2.11.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use gateway_model::{Catalog, Change, Id, Item, Ref};
use serde_json::{Value, json};

use crate::commit::{Refused, absent, commit, unchanged};
use crate::entities::{
    self, AppConfiguration, AppCredential, AppOperation, AppRegistration, AppTermination,
    OperationAction, Store, Subscription,
};
use crate::face::{self, Face};
use crate::notification::Form;
use crate::rules::{self, Step};
use crate::settings::Published;
use crate::{Platform, applications, subscriptions};

/// Why an application does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndFault {
    /// Its configuration is being changed.
    Busy,
    /// The catalog refused.
    NotStored,
}

/// What follows from being told to end.
enum Outcome {
    /// Everything is gone; these rules the data plane has still to forget.
    Gone(Vec<Step>),
    /// It is waited for.
    Ending(AppTermination),
    /// It is waited for already.
    Already,
}

/// Ends an application: its services and its key pair go now, the rest when it confirmed, when its
/// time is over, or at once when nobody wants to be told.
pub(crate) async fn terminate(
    platform: &Arc<Platform>,
    app: Id,
    action: OperationAction,
) -> Result<(), EndFault> {
    let outcome = commit(&platform.control, |catalog| {
        if catalog.get::<AppOperation>(app).is_some() {
            return Err(EndFault::Busy);
        }
        if applications::is_ending(catalog, app) {
            return Ok((Vec::new(), Outcome::Already));
        }
        let mut changes = vec![absent::<AppOperation>(app), absent::<AppTermination>(app)];
        if subscriptions::of_app(catalog, Store::Termination, app).next().is_none() {
            changes.extend(release(platform, catalog, app));
            return Ok((changes, Outcome::Gone(rules::end_of_all(catalog, app))));
        }
        let marker = AppTermination {
            id: app,
            app: Ref::new(app),
            action,
            serial: Id::random(),
            node: Some(platform.settings.node.to_string()),
            deadline_ms: Some(deadline(platform)),
        };
        changes.extend(applications::withdraw_services(catalog, app));
        changes.push(entities::remove::<AppCredential>(app));
        changes.push(entities::put(app, &marker));
        Ok((changes, Outcome::Ending(marker)))
    })
    .await
    .map_err(|refused| refused.or(EndFault::NotStored))?;
    match outcome {
        Outcome::Gone(rules) => rules::forget(platform, app, rules).await,
        Outcome::Ending(marker) => {
            tracing::info!(app.id = %app, "the application was told to end");
            tokio::spawn(tell_and_wait(Arc::clone(platform), marker));
        }
        Outcome::Already => {}
    }
    Ok(())
}

/// Why a confirmation is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfirmFault {
    /// Nobody told it to end, or it has confirmed.
    NothingPending,
    /// It was told something else.
    OtherAction,
    /// The catalog refused.
    NotStored,
}

/// The application says that it is done.
pub(crate) async fn confirm(
    platform: &Platform,
    app: Id,
    action: OperationAction,
) -> Result<(), ConfirmFault> {
    let rules = commit(&platform.control, |catalog| {
        let marker = catalog.get::<AppTermination>(app).ok_or(ConfirmFault::NothingPending)?;
        if marker.action != action {
            return Err(ConfirmFault::OtherAction);
        }
        Ok(end(platform, catalog, &marker))
    })
    .await
    .map_err(|refused| refused.or(ConfirmFault::NotStored))?;
    rules::forget(platform, app, rules).await;
    tracing::info!(app.id = %app, "the application confirmed its end");
    Ok(())
}

/// Takes an application's registration back, if `admits` has nothing against that one. One that is
/// known by nothing else goes as a whole.
pub(crate) async fn unregister<E>(
    platform: &Platform,
    app: Id,
    admits: impl Fn(&AppRegistration) -> Result<(), E>,
) -> Result<(), Refused<E>> {
    let rules = commit(&platform.control, |catalog| {
        let Some(present) = catalog.get::<AppRegistration>(app) else {
            return Ok((Vec::new(), Vec::new()));
        };
        admits(&present)?;
        let mut changes = vec![unchanged(&present)];
        let known_otherwise = present.by_management
            || catalog.get::<AppCredential>(app).is_some()
            || catalog.get::<AppConfiguration>(app).is_some()
            || catalog.get::<AppOperation>(app).is_some();
        if known_otherwise {
            changes.push(entities::remove::<AppRegistration>(app));
            return Ok((changes, Vec::new()));
        }
        changes.extend([
            absent::<AppCredential>(app),
            absent::<AppConfiguration>(app),
            absent::<AppOperation>(app),
        ]);
        changes.extend(release(platform, catalog, app));
        Ok((changes, rules::end_of_all(catalog, app)))
    })
    .await?;
    rules::forget(platform, app, rules).await;
    Ok(())
}

/// When an end that begins now is over for sure: the app was told, it had its time, and its node
/// had a minute more for the store.
fn deadline(platform: &Platform) -> u64 {
    const SPARE: Duration = Duration::from_secs(60);
    let settings = &platform.settings;
    let lasting =
        settings.delivery.timeout.saturating_add(settings.graceful_timeout).saturating_add(SPARE);
    let lasting_ms = u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX);
    platform.clock.unix_ms().saturating_add(lasting_ms)
}

/// Goes on with the ends this node left behind when it stopped: each has its whole time again.
/// Those of other nodes are theirs, until they are [overdue](end_overdue).
pub(crate) fn resume(platform: &Arc<Platform>, catalog: &Catalog) {
    let own = platform.settings.node.to_string();
    for marker in catalog.all::<AppTermination>() {
        if marker.node.as_ref().is_some_and(|node| *node != own) {
            continue;
        }
        let (platform, marker) = (Arc::clone(platform), (*marker).clone());
        tokio::spawn(async move {
            tokio::time::sleep(platform.settings.graceful_timeout).await;
            let_go(&platform, &marker).await;
        });
    }
}

/// Lets everything go whose node did not in time: it is gone, or its store refused.
pub(crate) async fn end_overdue(platform: &Platform) {
    let now = platform.clock.unix_ms();
    for marker in platform.control.catalog().all::<AppTermination>() {
        if marker.deadline_ms.is_some_and(|deadline| deadline < now) {
            let_go(platform, &marker).await;
        }
    }
}

fn release(platform: &Platform, catalog: &Catalog, app: Id) -> Vec<Change> {
    let token_ms = platform.issuer.lifetime_seconds().saturating_mul(1000);
    applications::release(catalog, app, platform.clock.unix_ms(), token_ms)
}

fn end(
    platform: &Platform,
    catalog: &Catalog,
    marker: &Item<AppTermination>,
) -> (Vec<Change>, Vec<Step>) {
    let mut changes = vec![unchanged(marker)];
    changes.extend(release(platform, catalog, marker.id()));
    (changes, rules::end_of_all(catalog, marker.id()))
}

/// Tells all who subscribed, and waits for a confirmation as long as one of them took it.
async fn tell_and_wait(platform: Arc<Platform>, marker: AppTermination) {
    let grace = platform.settings.graceful_timeout;
    let catalog = platform.control.catalog();
    let mut calls: FuturesUnordered<_> =
        subscriptions::of_app(&catalog, Store::Termination, marker.app.id)
            .map(|subscription| tell(&platform, subscription, marker.action, grace))
            .collect();
    let mut taken = false;
    while !taken && let Some(accepted) = calls.next().await {
        taken = accepted;
    }
    if taken {
        let over = tokio::time::sleep(grace);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => break,
                Some(_) = calls.next(), if !calls.is_empty() => {}
            }
        }
    }
    drop(calls);
    let_go(&platform, &marker).await;
}

/// Whether a subscriber took the notification.
async fn tell(
    platform: &Platform,
    subscription: Item<Subscription>,
    action: OperationAction,
    grace: Duration,
) -> bool {
    let form = match subscription.face {
        Face::Dialect => Form::BARE,
        Face::Standard => Form::STANDARD,
    };
    let published = &platform.settings.published;
    let body = notification(published, &subscription, action, grace).to_string();
    match platform.outbound.post(&subscription.callback_reference, form, body).await {
        Ok(status) => status.is_success(),
        Err(why) => {
            tracing::warn!(subscription.id = %subscription.id, %why, "not told of its end");
            false
        }
    }
}

/// The notification, members in the original's order (ETSI GS MEC 011, clause 7.1.4.3).
fn notification(
    published: &Published,
    subscription: &Subscription,
    action: OperationAction,
    grace: Duration,
) -> Value {
    let face = subscription.face;
    let own = format!("{}{}", face.prefix(), face::subscription(subscription));
    let confirm = face.confirm_termination(subscription.app.id);
    let links = match face {
        Face::Dialect => json!({"subscription": own, "confirmTermination": confirm}),
        Face::Standard => {
            let link = |path: &str| json!({"href": published.link(path)});
            json!({"subscription": link(&own), "confirmTermination": link(&confirm)})
        }
    };
    json!({
        "notificationType": "AppTerminationNotification",
        "operationAction": action.as_str(),
        "maxGracefulTimeout": grace.as_secs(),
        "_links": links,
    })
}

/// Lets everything go, unless that ending is over.
async fn let_go(platform: &Platform, marker: &AppTermination) {
    let outcome = commit(&platform.control, |catalog| {
        let present = catalog.get::<AppTermination>(marker.id);
        let present = present.filter(|present| present.serial == marker.serial);
        Ok::<_, Infallible>(match present {
            Some(present) => end(platform, catalog, &present),
            None => (Vec::new(), Vec::new()),
        })
    })
    .await;
    match outcome {
        Ok(rules) => rules::forget(platform, marker.app.id, rules).await,
        Err(Refused::Rejection(rejection)) => {
            tracing::error!(app.id = %marker.id, %rejection, "the end could not be stored");
        }
        Err(Refused::Plan(never)) => match never {},
    }
}
