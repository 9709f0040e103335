//! One change of an application's configuration: rule by rule, and all back when one fails.

use std::sync::Arc;

use gateway_model::{Catalog, Change, Entity, Id, Item, Rejection};

use crate::commit::{require, unchanged};
use crate::entities::{
    self, AppConfiguration, AppOperation, AppTask, DnsRule, TaskResult, TrafficRule,
};
use crate::rules::{Step, app_is_there};
use crate::{Platform, life, rules};

/// What is to be done.
pub(super) struct Job {
    configuration: AppConfiguration,
    removes: bool,
    wanted: Rules,
}

impl Job {
    /// Brings a configuration into effect.
    pub(super) const fn new(configuration: AppConfiguration, wanted: Rules) -> Self {
        Self { configuration, removes: false, wanted }
    }

    /// Takes one out of it.
    pub(super) fn removing(configuration: &Item<AppConfiguration>) -> Self {
        let configuration = (**configuration).clone();
        Self { configuration, removes: true, wanted: Rules::default() }
    }

    pub(super) fn app_name(&self) -> &str {
        &self.configuration.app_name
    }

    /// Keys of the domain names the app will have.
    pub(super) fn names(&self) -> Vec<String> {
        self.wanted.dns.iter().map(|rule| rule.key.clone()).collect()
    }
}

/// The rules an app is to have.
#[derive(Clone, Default)]
pub(super) struct Rules {
    pub(super) dns: Vec<DnsRule>,
    pub(super) traffic: Vec<TrafficRule>,
}

impl Rules {
    pub(super) const fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.traffic.is_empty()
    }

    /// What has to happen to each rule: DNS rules first. A rule that only moved in the list is not
    /// another one.
    pub(super) fn steps(&self, catalog: &Catalog, app: Id) -> Vec<Step> {
        let same = |before: &DnsRule, rule: &DnsRule| {
            *rule == DnsRule { position: rule.position, ..before.clone() }
        };
        let dns = differences(&rules::dns(catalog, app), &self.dns, |rule| rule.id, same);
        let same = |before: &TrafficRule, rule: &TrafficRule| {
            *rule == TrafficRule { position: rule.position, ..before.clone() }
        };
        let traffic =
            differences(&rules::traffic(catalog, app), &self.traffic, |rule| rule.id, same);
        let dns = dns.into_iter().map(|(before, after)| Step::Dns { before, after });
        let traffic = traffic.into_iter().map(|(before, after)| Step::Traffic { before, after });
        dns.chain(traffic).collect()
    }
}

/// Each rule that is wanted and not there in the same form, then each that is there and not wanted;
/// `is` tells whether two of one id are the same.
fn differences<R: Entity + Clone>(
    stored: &[Item<R>],
    wanted: &[R],
    id: impl Fn(&R) -> Id,
    is: impl Fn(&R, &R) -> bool,
) -> Vec<(Option<R>, Option<R>)> {
    let mut found = Vec::new();
    for rule in wanted {
        let before = stored.iter().find(|old| id(old) == id(rule)).map(|old| &**old);
        if !before.is_some_and(|before| is(before, rule)) {
            found.push((before.cloned(), Some(rule.clone())));
        }
    }
    let gone = stored.iter().filter(|old| wanted.iter().all(|rule| id(rule) != id(old)));
    found.extend(gone.map(|old| (Some((**old).clone()), None)));
    found
}

const DNS_FAILED: &str = "Failed in configuring dns rule on remote dns-server/data-plane.";
const TRAFFIC_FAILED: &str = "Failed in configuring traffic rule on remote data-plane.";
const STORE_FAILED: &str = "Internal error(failed to write appdconfig db).";
const UNEXPECTED: &str = "Unexpected error in processing.";

/// Does it, and says how it ended. Success is told once everything is stored.
pub(super) async fn run(platform: Arc<Platform>, app: Id, task: AppTask, job: Job) {
    let _turn = platform.turns.of(app).await;
    let outcome = attempt(&platform, app, &task, &job).await;
    if let Err(reason) = outcome {
        tracing::warn!(app.id = %app, task.id = %task.id, reason, "configuration failed");
        let failed =
            AppTask { result: TaskResult::Failure, detail: reason.to_owned(), ..task.clone() };
        let changes = vec![
            under_way(app, task.id),
            entities::put(task.id, &failed),
            entities::remove::<AppOperation>(app),
        ];
        if let Err(rejection) = platform.control.apply(changes).await {
            tracing::error!(task.id = %task.id, %rejection, "a task could not be ended");
        }
    }
    platform.progress.remove(&task.id);
}

/// How often it is planned: the app may change its rules by another node meanwhile.
const ROUNDS: u32 = 16;

/// What has to happen is planned here, in the app's turn: since the operation was accepted the app
/// may have changed a rule.
async fn attempt(
    platform: &Platform,
    app: Id,
    task: &AppTask,
    job: &Job,
) -> Result<(), &'static str> {
    let mut done = Vec::new();
    let mut rounds = 0;
    let rejection = loop {
        rounds += 1;
        let catalog = platform.control.catalog();
        let steps = job.wanted.steps(&catalog, app);
        let changes = changes(&catalog, app, task, job, &steps);
        let total = steps.len().max(1);
        for (at, step) in steps.into_iter().enumerate() {
            if let Err(why) = step.apply(platform).await {
                tracing::warn!(app.id = %app, %why, "a rule did not take effect");
                undo(platform, &done).await;
                return Err(match step {
                    Step::Dns { .. } => DNS_FAILED,
                    Step::Traffic { .. } => TRAFFIC_FAILED,
                });
            }
            done.push(step);
            // The last part is the store's.
            let percent = (at + 1) * 99 / total;
            platform.progress.insert(task.id, u32::try_from(percent).unwrap_or(99));
        }
        match platform.control.apply(changes).await {
            Ok(_) => return Ok(()),
            Err(Rejection::Condition(_))
                if rounds < ROUNDS && is_under_way(&platform.control.catalog(), app, task.id) => {}
            Err(rejection) => break rejection,
        }
    };
    tracing::warn!(app.id = %app, %rejection, "a configuration could not be stored");
    undo(platform, &done).await;
    Err(match rejection {
        Rejection::Store(_) => STORE_FAILED,
        _ if done.iter().any(|step| matches!(step, Step::Dns { .. })) => DNS_FAILED,
        _ => UNEXPECTED,
    })
}

async fn undo(platform: &Platform, steps: &[Step]) {
    for step in steps.iter().rev() {
        step.revert(platform).await;
    }
}

/// Everything in one: the rules, the configuration, and the end of the task; as long as the app's
/// rules are those the steps were planned for.
fn changes(catalog: &Catalog, app: Id, task: &AppTask, job: &Job, steps: &[Step]) -> Vec<Change> {
    let mut changes = vec![app_is_there(app), under_way(app, task.id)];
    changes.extend(rules::dns(catalog, app).iter().map(unchanged));
    changes.extend(rules::traffic(catalog, app).iter().map(unchanged));
    // What goes gives its name free for what comes.
    for step in steps {
        match step {
            Step::Dns { before: Some(rule), after: None } => {
                changes.push(entities::remove::<DnsRule>(rule.id));
            }
            Step::Traffic { before: Some(rule), after: None } => {
                changes.push(entities::remove::<TrafficRule>(rule.id));
            }
            _ => {}
        }
    }
    for step in steps {
        match step {
            Step::Dns { after: Some(rule), .. } => changes.push(entities::put(rule.id, rule)),
            Step::Traffic { after: Some(rule), .. } => changes.push(entities::put(rule.id, rule)),
            _ => {}
        }
    }
    changes.push(if job.removes {
        entities::remove::<AppConfiguration>(app)
    } else {
        entities::put(app, &job.configuration)
    });
    changes.push(entities::remove::<AppOperation>(app));
    let done = AppTask { result: TaskResult::Success, ..task.clone() };
    changes.push(entities::put(task.id, &done));
    changes
}

/// The operation is still there, and is the one of this task: nobody took it for abandoned.
fn under_way(app: Id, task: Id) -> Change {
    require(move |catalog| is_under_way(catalog, app, task))
}

fn is_under_way(catalog: &Catalog, app: Id, task: Id) -> bool {
    catalog.get::<AppOperation>(app).is_some_and(|operation| operation.task == task)
}

/// How long an operation may take, milliseconds. Each of its steps is one call of a driver or one
/// write, so that no living node comes near.
pub(super) const LEASE_MS: u64 = 10 * 60 * 1000;

/// How long the outcome of a task is kept, milliseconds: a week.
const KEPT_MS: u64 = 7 * 24 * 3600 * 1000;

/// Whose operations are ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Those this node began before it was started, and those below.
    BeforeStart,
    /// Those whose node did not end them in time, whatever became of it.
    Overdue,
}

/// Ends what a stopped process left under way, and forgets old outcomes: the original left apps
/// locked for good. What other nodes are doing is theirs. `catalog` is as the process found it.
pub(crate) async fn abandoned(platform: &Platform, catalog: &Catalog, left: Left) {
    let now = platform.clock.unix_ms();
    let own = platform.settings.node.to_string();
    for operation in catalog.all::<AppOperation>() {
        let is_own = operation.node.as_ref().is_none_or(|node| *node == own);
        let is_left = operation.lease_ms < now || (left == Left::BeforeStart && is_own);
        if is_left {
            end(platform, catalog, &operation).await;
        }
    }
    let old: Vec<Change> = catalog
        .all::<AppTask>()
        .filter(|task| task.began_at_ms.saturating_add(KEPT_MS) < now)
        .map(|task| entities::remove::<AppTask>(task.id()))
        .collect();
    if old.is_empty() {
        return;
    }
    if let Err(rejection) = platform.control.apply(old).await {
        tracing::error!(%rejection, "old outcomes could not be forgotten");
    }
}

/// Ends one operation as failed, unless somebody else did meanwhile.
async fn end(platform: &Platform, catalog: &Catalog, operation: &AppOperation) {
    let (app, task) = (operation.id, operation.task);
    let mut changes = vec![under_way(app, task), entities::remove::<AppOperation>(app)];
    if let Some(task) = catalog.get::<AppTask>(task) {
        let detail = UNEXPECTED.to_owned();
        let failed = AppTask { result: TaskResult::Failure, detail, ..(*task).clone() };
        changes.push(entities::put(failed.id, &failed));
    }
    match platform.control.apply(changes).await {
        Ok(_) => tracing::warn!(app.id = %app, task.id = %task, "ended an operation left behind"),
        Err(rejection) => {
            tracing::warn!(app.id = %app, %rejection, "an operation left behind was not ended");
        }
    }
}

/// Looks for operations and ends whose time is over, once a minute, as long as the future is polled.
pub(crate) async fn end_overdue(platform: &Platform) {
    let mut look = tokio::time::interval(std::time::Duration::from_secs(60));
    loop {
        look.tick().await;
        abandoned(platform, &platform.control.catalog(), Left::Overdue).await;
        life::end_overdue(platform).await;
    }
}
