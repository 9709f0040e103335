//! How management configures applications (contract sections 5.1 and 5.2).

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use gateway_model::{Catalog, Id, Ref};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::worker::{self, Job, Rules};
use super::{BUSY, app};
use crate::auth::credential::AppInstanceId;
use crate::commit::{absent, commit};
use crate::dialect::casefold;
use crate::dialect::rules::length;
use crate::entities::{
    self, AppConfiguration, AppOperation, AppTask, DnsRule, RuleState, TaskResult,
};
use crate::mp1::bytes_up_to;
use crate::mp1::rule_bodies::{DnsRuleBody, TrafficRuleBody};
use crate::problem::{Code, Problem, json_reply};
use crate::{Platform, applications, rules};

/// The largest configuration, bytes.
const MOST: usize = 32_768;

const UNKNOWN: Problem = Problem::new(Code::NoService, "app instance not found");
const NOTHING: Problem = Problem::new(Code::NotFound, "no modification data found in the input");

const fn duplicate(detail: &'static str) -> Problem {
    Problem::new(Code::Duplicate, detail)
}

/// A configuration on the wire, members in the original's order.
#[derive(Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = edgegallery::AppdConfiguration)]
pub(super) struct AppdBody {
    app_traffic_rule: Option<Vec<TrafficRuleBody>>,
    #[serde(rename = "appDNSRule")]
    app_dns_rule: Option<Vec<DnsRuleBody>>,
    app_support_mp1: bool,
    app_name: String,
}

/// How a task stands, on the wire; with the original's capital letter.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = edgegallery::TaskProgress)]
pub(super) struct Progress<'a> {
    task_id: String,
    app_instance_id: String,
    config_result: TaskResult,
    /// Percent.
    config_phase: String,
    #[serde(rename = "Detailed")]
    detailed: &'a str,
}

/// A configuration that keeps every rule.
struct Wanted {
    rules: Rules,
    supports_mp1: bool,
    app_name: String,
}

/// A configuration as a client may send it.
pub(super) fn example() -> serde_json::Value {
    serde_json::json!({
        "appTrafficRule": [{
            "trafficRuleId": "rule-1", "filterType": "FLOW", "priority": 1,
            "trafficFilter": [{"srcAddress": ["192.0.2.0/24"], "protocol": ["TCP"]}],
            "action": "DROP", "state": "INACTIVE",
        }],
        "appDNSRule": [{
            "dnsRuleId": "rule-1", "domainName": "www.example.com", "ipAddressType": "IP_V4",
            "ipAddress": "192.0.2.10", "ttl": 30, "state": "INACTIVE",
        }],
        "appSupportMp1": true, "appName": "camera",
    })
}

async fn read(platform: &Platform, app: Id, body: Body) -> Result<Wanted, Problem> {
    let bytes = bytes_up_to(body, MOST).await?;
    let body: AppdBody = casefold::from_slice(&bytes)
        .map_err(|why| Problem::with(Code::BadRequest, why.to_string()))?;
    let mut broken = Vec::new();
    let (mut dns, mut traffic) = (Vec::new(), Vec::new());
    for (rule, at) in body.app_traffic_rule.into_iter().flatten().zip(0..) {
        match rule.read(app, at) {
            Ok(rule) => traffic.push(rule),
            Err(fields) => broken.extend(fields),
        }
    }
    for (rule, at) in body.app_dns_rule.into_iter().flatten().zip(0..) {
        match rule.read(app, at) {
            Ok(rule) => dns.push(rule),
            Err(fields) => broken.extend(fields),
        }
    }
    if !(1..=63).contains(&length(&body.app_name)) {
        broken.push("AppName");
    }
    let mut ids = BTreeSet::new();
    if !dns.iter().all(|rule| ids.insert(rule.id)) {
        broken.push("DNSRuleID");
    }
    if !traffic.iter().all(|rule| ids.insert(rule.id)) {
        broken.push("TrafficRuleID");
    }
    if !broken.is_empty() {
        let fields: String = broken.iter().map(|field| format!(" {field}")).collect();
        let text = format!("Invalid value for input on: {fields}");
        return Err(Problem::with(Code::BadRequest, text));
    }
    for rule in traffic.iter().filter(|rule| rule.state == RuleState::Active) {
        platform.ports.traffic.check(rule).map_err(|why| {
            let text = format!("traffic rule {}: {why}", rule.rule_id);
            Problem::with(Code::BadRequest, text)
        })?;
    }
    let (supports_mp1, app_name) = (body.app_support_mp1, body.app_name);
    Ok(Wanted { rules: Rules { dns, traffic }, supports_mp1, app_name })
}

/// `POST …/appd_configuration`
pub(super) async fn create(
    State(platform): State<Arc<Platform>>,
    Path(path): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let app = app(&path)?;
    let wanted = read(&platform, app, body).await?;
    begin(&platform, app, |catalog| {
        if catalog.get::<AppConfiguration>(app).is_some() {
            return Err(duplicate("duplicate app instance"));
        }
        free_name(catalog, app, &wanted.app_name)?;
        idle(catalog, app)?;
        free_domains(catalog, app, &wanted.rules.dns, |_| true)?;
        if wanted.rules.is_empty() {
            return Err(NOTHING);
        }
        Ok(Job::new(configuration(app, &wanted), wanted.rules.clone()))
    })
    .await
}

/// `PUT …/appd_configuration`
pub(super) async fn replace(
    State(platform): State<Arc<Platform>>,
    Path(path): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let app = app(&path)?;
    let wanted = read(&platform, app, body).await?;
    begin(&platform, app, |catalog| {
        let present = catalog.get::<AppConfiguration>(app).ok_or(UNKNOWN)?;
        idle(catalog, app)?;
        if present.app_name != wanted.app_name {
            return Err(Problem::new(Code::StoreFailed, "app-name doesn't match"));
        }
        if wanted.rules.steps(catalog, app).is_empty() {
            return Err(NOTHING);
        }
        free_domains(catalog, app, &wanted.rules.dns, |rule| {
            catalog.get::<DnsRule>(rule.id).is_none_or(|stored| stored.key != rule.key)
        })?;
        Ok(Job::new(configuration(app, &wanted), wanted.rules.clone()))
    })
    .await
}

/// `DELETE …/appd_configuration`
pub(super) async fn remove(
    State(platform): State<Arc<Platform>>,
    Path(path): Path<String>,
) -> Result<Response, Problem> {
    let app = app(&path)?;
    begin(&platform, app, |catalog| {
        let present = catalog.get::<AppConfiguration>(app).ok_or(UNKNOWN)?;
        idle(catalog, app)?;
        Ok(Job::removing(&present))
    })
    .await
}

/// `GET …/appd_configuration`
pub(super) async fn show(
    State(platform): State<Arc<Platform>>,
    Path(path): Path<String>,
) -> Result<Response, Problem> {
    let app = app(&path)?;
    let catalog = platform.control.catalog();
    let failed = Problem::new(Code::NotFound, "appD config retrieval failed");
    let present = catalog.get::<AppConfiguration>(app).ok_or(failed)?;
    let traffic = rules::traffic(&catalog, app);
    let dns = rules::dns(&catalog, app);
    let body = AppdBody {
        app_traffic_rule: Some(traffic.iter().map(|rule| TrafficRuleBody::of(rule)).collect()),
        app_dns_rule: Some(dns.iter().map(|rule| DnsRuleBody::of(rule)).collect()),
        app_support_mp1: present.supports_mp1,
        app_name: present.app_name.clone(),
    };
    Ok(json_reply(StatusCode::OK, &body))
}

/// `GET …/tasks/{taskId}/appd_configuration`
pub(super) async fn task(
    State(platform): State<Arc<Platform>>,
    Path(path): Path<String>,
) -> Result<Response, Problem> {
    // Tasks have ids of the same form.
    let id = AppInstanceId::id(&path)
        .ok_or(Problem::new(Code::Parameter, "taskId validation failed, invalid uuid"))?;
    let failed = Problem::new(Code::NotFound, "task rule retrieval failed");
    let task = platform.control.catalog().get::<AppTask>(id).ok_or(failed)?;
    let phase = match task.result {
        TaskResult::Success => 100,
        TaskResult::Failure => 0,
        TaskResult::Processing => platform.progress.get(&id).map_or(0, |percent| *percent),
    };
    Ok(progress(&task, phase, &task.detail))
}

fn progress(task: &AppTask, phase: u32, detailed: &str) -> Response {
    let body = Progress {
        task_id: task.id.to_string(),
        app_instance_id: task.app_instance.to_string(),
        config_result: task.result,
        config_phase: phase.to_string(),
        detailed,
    };
    json_reply(StatusCode::OK, &body)
}

/// Notes that a change is under way and begins it.
async fn begin(
    platform: &Arc<Platform>,
    app: Id,
    plan: impl Fn(&Catalog) -> Result<Job, Problem>,
) -> Result<Response, Problem> {
    let task = AppTask {
        id: Id::random(),
        app_instance: app,
        result: TaskResult::Processing,
        detail: String::new(),
        began_at_ms: platform.clock.unix_ms(),
    };
    let job = commit(&platform.control, |catalog| {
        let job = plan(catalog)?;
        let operation = AppOperation {
            id: app,
            app: Ref::new(app),
            task: task.id,
            app_name: job.app_name().to_owned(),
            names: job.names(),
            node: Some(platform.settings.node.to_string()),
            lease_ms: task.began_at_ms.saturating_add(worker::LEASE_MS),
        };
        let mut changes = vec![absent::<AppOperation>(app)];
        changes.extend(applications::missing(catalog, app));
        changes.push(entities::put(task.id, &task));
        changes.push(entities::put(app, &operation));
        Ok((changes, job))
    })
    .await
    .map_err(|refused| {
        refused.or(Problem::new(Code::StoreFailed, "the operation could not be stored"))
    })?;
    platform.progress.insert(task.id, 0);
    tokio::spawn(worker::run(Arc::clone(platform), app, task.clone(), job));
    Ok(progress(&task, 0, "Operation In progress"))
}

/// Refuses when something else is under way with the app.
fn idle(catalog: &Catalog, app: Id) -> Result<(), Problem> {
    let busy = catalog.get::<AppOperation>(app).is_some() || applications::is_ending(catalog, app);
    if busy { Err(BUSY) } else { Ok(()) }
}

fn free_name(catalog: &Catalog, app: Id, name: &str) -> Result<(), Problem> {
    let configured = catalog.by::<AppConfiguration>("app_name", name);
    let under_way = catalog
        .all::<AppOperation>()
        .any(|operation| operation.id != app && operation.app_name == name);
    let taken = configured.is_some_and(|other| other.id != app) || under_way;
    if taken { Err(duplicate("duplicate app name")) } else { Ok(()) }
}

/// Refuses names that are used twice, or by another app; `looked_at` chooses which of the rules are
/// compared with those of others.
fn free_domains(
    catalog: &Catalog,
    app: Id,
    rules: &[DnsRule],
    looked_at: impl Fn(&DnsRule) -> bool,
) -> Result<(), Problem> {
    let mut keys = BTreeSet::new();
    let once = rules.iter().all(|rule| keys.insert(rule.key.as_str()));
    let free = rules.iter().filter(|rule| looked_at(rule)).all(|rule| {
        let stored = catalog.by::<DnsRule>("key", &rule.key);
        let under_way = catalog
            .all::<AppOperation>()
            .any(|operation| operation.id != app && operation.names.contains(&rule.key));
        stored.is_none_or(|other| other.app.id == app) && !under_way
    });
    if once && free { Ok(()) } else { Err(duplicate("duplicate dns entry")) }
}

fn configuration(app: Id, wanted: &Wanted) -> AppConfiguration {
    AppConfiguration {
        id: app,
        app: Ref::new(app),
        app_name: wanted.app_name.clone(),
        supports_mp1: wanted.supports_mp1,
    }
}
