//! Putting rules into effect: the data plane first, then the catalog, and back when either refuses.
//!
//! Each node of a store has a data plane of its own. The node that is asked decides whether a rule
//! can be; the others [`follow`] what was stored.

use std::sync::Arc;

use gateway_control::Committed;
use gateway_model::{Catalog, Entity, Id, Item, Write};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, MutexGuard, broadcast, watch};

use crate::Platform;
use crate::commit::{commit, require, unchanged};
use crate::entities::{self, AppInstance, DnsRule, RuleState, TrafficRule};
use crate::platform::over;
use crate::traffic::{DriverError, Unsupported};

/// Why a rule stays as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RuleFault {
    /// It changed or went meanwhile.
    Moved,
    /// The data plane cannot do that.
    Unsupported(Unsupported),
    /// The data plane or the name server did not.
    NotApplied,
}

/// One place for each of several groups of apps: rules of one app change one after the other.
#[derive(Debug)]
pub(crate) struct Turns([Mutex<()>; 64]);

impl Turns {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| Mutex::new(())))
    }

    /// Waits until nobody else changes rules of this app.
    pub(crate) async fn of(&self, app: Id) -> MutexGuard<'_, ()> {
        let sum = app.as_bytes().iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        self.0[usize::from(sum) % self.0.len()].lock().await
    }
}

/// An app's DNS rules in their order.
pub(crate) fn dns(catalog: &Catalog, app: Id) -> Vec<Item<DnsRule>> {
    let mut rules: Vec<_> = catalog.children::<DnsRule>("app", app).collect();
    rules.sort_by_key(|rule| rule.position);
    rules
}

/// An app's traffic rules in their order.
pub(crate) fn traffic(catalog: &Catalog, app: Id) -> Vec<Item<TrafficRule>> {
    let mut rules: Vec<_> = catalog.children::<TrafficRule>("app", app).collect();
    rules.sort_by_key(|rule| rule.position);
    rules
}

/// Puts `next` in the place of a DNS rule.
pub(crate) async fn change_dns(
    platform: &Platform,
    present: &Item<DnsRule>,
    next: DnsRule,
) -> Result<DnsRule, RuleFault> {
    if **present == next {
        return Ok(next);
    }
    let step = Step::Dns { before: Some((**present).clone()), after: Some(next.clone()) };
    step.apply(platform).await.map_err(|_| RuleFault::NotApplied)?;
    let stored = commit(&platform.control, |catalog| {
        let there = catalog.get::<DnsRule>(next.id).is_some_and(|now| now.same(present));
        if !there {
            return Err(RuleFault::Moved);
        }
        Ok((vec![unchanged(present), entities::put(next.id, &next)], ()))
    })
    .await
    .map_err(|refused| refused.or(RuleFault::NotApplied));
    if let Err(fault) = stored {
        step.revert(platform).await;
        return Err(fault);
    }
    Ok(next)
}

/// Puts `next` in the place of a traffic rule.
pub(crate) async fn change_traffic(
    platform: &Platform,
    present: &Item<TrafficRule>,
    next: TrafficRule,
) -> Result<TrafficRule, RuleFault> {
    if **present == next {
        return Ok(next);
    }
    if next.state == RuleState::Active {
        platform.ports.traffic.check(&next).map_err(RuleFault::Unsupported)?;
    }
    let step = Step::Traffic { before: Some((**present).clone()), after: Some(next.clone()) };
    step.apply(platform).await.map_err(|_| RuleFault::NotApplied)?;
    let stored = commit(&platform.control, |catalog| {
        let there = catalog.get::<TrafficRule>(next.id).is_some_and(|now| now.same(present));
        if !there {
            return Err(RuleFault::Moved);
        }
        Ok((vec![unchanged(present), entities::put(next.id, &next)], ()))
    })
    .await
    .map_err(|refused| refused.or(RuleFault::NotApplied));
    if let Err(fault) = stored {
        step.revert(platform).await;
        return Err(fault);
    }
    Ok(next)
}

/// What becomes of an app's active rules when it goes.
pub(crate) fn end_of_all(catalog: &Catalog, app: Id) -> Vec<Step> {
    let dns = dns(catalog, app).into_iter().filter(|rule| rule.state == RuleState::Active);
    let dns = dns.map(|rule| Step::Dns { before: Some((*rule).clone()), after: None });
    let traffic = traffic(catalog, app).into_iter().filter(|rule| rule.state == RuleState::Active);
    let traffic = traffic.map(|rule| Step::Traffic { before: Some((*rule).clone()), after: None });
    dns.chain(traffic).collect()
}

/// Has the data plane forget rules whose app is gone from the catalog already, once nobody changes
/// them any more. What stays behind is taken out at the next start.
pub(crate) async fn forget(platform: &Platform, app: Id, ends: Vec<Step>) {
    if ends.is_empty() {
        return;
    }
    let _turn = platform.turns.of(app).await;
    for end in ends {
        // The app may be back meanwhile, with a rule of this id.
        if let Err(why) = end.at(&platform.control.catalog()).apply(platform).await {
            tracing::error!(app.id = %app, %why, "a rule was not withdrawn");
        }
    }
}

/// Has this node's data plane do what nodes of the same store decided, until `shutdown` says so.
/// What it refuses is told to the operator: the rule is in effect elsewhere.
pub(crate) async fn follow(
    platform: &Platform,
    mut feed: broadcast::Receiver<Arc<Committed>>,
    mut shutdown: watch::Receiver<bool>,
) {
    if platform.ports.peers.is_none() {
        return;
    }
    loop {
        let heard = tokio::select! {
            () = over(&mut shutdown) => return,
            heard = feed.recv() => heard,
        };
        match heard {
            // What this node stored is in effect already.
            Ok(committed) if committed.ours => {}
            Ok(committed) => {
                for write in committed.writes.iter() {
                    keep_up(platform, write).await;
                }
            }
            Err(RecvError::Lagged(_)) => platform.reconcile().await,
            Err(RecvError::Closed) => return,
        }
    }
}

/// Does to a rule what is true of it now.
async fn keep_up(platform: &Platform, write: &Write) {
    let rule = write.before.as_ref().or(write.after.as_ref());
    let app = rule.and_then(|rule| {
        let dns = || rule.entity::<DnsRule>().map(|rule| rule.app.id);
        rule.entity::<TrafficRule>().map(|rule| rule.app.id).or_else(dns)
    });
    let Some(app) = app else { return };
    let _turn = platform.turns.of(app).await;
    let catalog = platform.control.catalog();
    let step = if write.kind == DnsRule::KIND {
        let (before, after) = versions(write, &catalog);
        Step::Dns { before, after }
    } else {
        let (before, after) = versions(write, &catalog);
        Step::Traffic { before, after }
    };
    if let Err(why) = step.apply(platform).await {
        tracing::error!(app.id = %app, rule.id = %write.id, %why, "a rule is not in effect here");
    }
}

/// What a rule was before a write, and is now.
fn versions<R: Entity + Clone>(write: &Write, catalog: &Catalog) -> (Option<R>, Option<R>) {
    let before = write.before.as_ref().and_then(|rule| rule.entity::<R>());
    (before.cloned(), catalog.get::<R>(write.id).map(|rule| (*rule).clone()))
}

/// Keeps a change of rules from outliving their app.
pub(crate) fn app_is_there(app: Id) -> gateway_model::Change {
    require(move |catalog| catalog.get::<AppInstance>(app).is_some())
}

/// What happens to one rule.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Dns { before: Option<DnsRule>, after: Option<DnsRule> },
    Traffic { before: Option<TrafficRule>, after: Option<TrafficRule> },
}

impl Step {
    /// Makes the data plane do it. The name server follows the catalog by itself.
    pub(crate) async fn apply(&self, platform: &Platform) -> Result<(), DriverError> {
        let driver = &platform.ports.traffic;
        match self {
            Self::Dns { before, after } => {
                if !platform.settings.dns_agent.asks_data_plane() {
                    return Ok(());
                }
                let active = |rule: &Option<DnsRule>| {
                    rule.clone().filter(|rule| rule.state == RuleState::Active)
                };
                match (active(before), active(after)) {
                    (_, Some(rule)) => driver.apply_dns(&rule).await,
                    (Some(rule), None) => driver.withdraw_dns(&rule).await,
                    (None, None) => Ok(()),
                }
            }
            Self::Traffic { before, after } => {
                let active = |rule: &Option<TrafficRule>| {
                    rule.clone().filter(|rule| rule.state == RuleState::Active)
                };
                match (active(before), active(after)) {
                    (_, Some(rule)) => driver.apply(&rule).await,
                    (Some(rule), None) => driver.withdraw(&rule).await,
                    (None, None) => Ok(()),
                }
            }
        }
    }

    /// Undoes it, as far as the data plane lets us: what the catalog says by now is in effect then,
    /// which may be something else than was before. To be called in the app's turn.
    pub(crate) async fn revert(&self, platform: &Platform) {
        let back = match self.clone() {
            Self::Dns { before, after } => Self::Dns { before: after.or(before), after: None },
            Self::Traffic { before, after } => {
                Self::Traffic { before: after.or(before), after: None }
            }
        };
        if let Err(why) = back.at(&platform.control.catalog()).apply(platform).await {
            tracing::error!(%why, "a rule could not be taken back");
        }
    }

    /// The step from what was before to what the catalog says.
    fn at(self, catalog: &Catalog) -> Self {
        fn now<R: Entity + Clone>(catalog: &Catalog, id: Option<Id>) -> Option<R> {
            catalog.get::<R>(id?).map(|rule| (*rule).clone())
        }
        match self {
            Self::Dns { before, .. } => {
                let after = now(catalog, before.as_ref().map(|rule| rule.id));
                Self::Dns { before, after }
            }
            Self::Traffic { before, .. } => {
                let after = now(catalog, before.as_ref().map(|rule| rule.id));
                Self::Traffic { before, after }
            }
        }
    }
}
