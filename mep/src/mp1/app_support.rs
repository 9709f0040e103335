//! Application support: rules, time, readiness and the end (contract sections 4.10 to 4.13; ETSI GS
//! MEC 011, clause 7.2).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use gateway_model::{Id, Item};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::rule_bodies::{DnsRuleBody, TrafficRuleBody};
use super::support_bodies::{
    AppReadyConfirmation, AppTerminationConfirmation, CurrentTime, NtpServerView, TimeStamp,
    TimingCaps,
};
use super::told::of_app;
use super::{Call, OfApp, STALE, bytes, bytes_up_to};
use crate::auth::credential::AppInstanceId;
use crate::dialect::casefold;
use crate::dialect::rules::length;
use crate::entities::{
    AppConfiguration, AppOperation, DnsRule, OperationAction, RuleState, TrafficRule,
};
use crate::etag::{self, IfMatch};
use crate::life::{self, ConfirmFault};
use crate::notification::Form;
use crate::openapi::{Api, Operation, Routes};
use crate::problem::{Code, Problem, json_reply};
use crate::rules::{self, RuleFault};
use crate::timing::Reading;
use crate::{Platform, subscriptions};

pub(super) fn routes() -> Routes<Arc<Platform>> {
    const ROOT: &str = "/mep/mec_app_support/v1";
    const OK: StatusCode = StatusCode::OK;
    let at = |rest: &str| format!("{ROOT}/applications/{{appInstanceId}}{rest}");
    Routes::of(Api::DialectSupport)
        .at(&at("/dns_rules"), |on| {
            let told = of_app("The DNS rules of an application");
            on.get(dns_rules, told.lists::<DnsRuleBody>("The rules."))
        })
        .at(&at("/dns_rules/{dnsRuleId}"), |on| {
            let shown = of_app("A DNS rule").may_miss().answers::<DnsRuleBody>(OK, "The rule.");
            let replaced = of_app("Switches a DNS rule on or off")
                .takes::<DnsRuleBody>(json!({
                    "dnsRuleId": "rule-1", "domainName": "www.example.com",
                    "ipAddressType": "IP_V4", "ipAddress": "192.0.2.10", "ttl": 30,
                    "state": "ACTIVE",
                }))
                .answers::<DnsRuleBody>(OK, "The rule, which is in effect.")
                .may_miss()
                .matching()
                .problems(&[StatusCode::SERVICE_UNAVAILABLE]);
            on.get(dns_rule, shown).put(replace_dns_rule, replaced)
        })
        .at(&at("/traffic_rules"), |on| {
            let told = of_app("The traffic rules of an application");
            on.get(traffic_rules, told.lists::<TrafficRuleBody>("The rules."))
        })
        .at(&at("/traffic_rules/{trafficRuleId}"), |on| {
            let shown =
                of_app("A traffic rule").may_miss().answers::<TrafficRuleBody>(OK, "The rule.");
            let replaced = of_app("Changes a traffic rule, or switches it")
                .takes::<TrafficRuleBody>(json!({
                    "trafficRuleId": "rule-1", "filterType": "FLOW", "priority": 1,
                    "trafficFilter": [{"srcAddress": ["192.0.2.0/24"], "protocol": ["TCP"]}],
                    "action": "DROP", "state": "ACTIVE",
                }))
                .answers::<TrafficRuleBody>(OK, "The rule, which is in effect.")
                .may_miss()
                .matching()
                .problems(&[StatusCode::SERVICE_UNAVAILABLE]);
            on.get(traffic_rule, shown).put(replace_traffic_rule, replaced)
        })
        .at(&at("/confirm_ready"), |on| {
            let told = of_app("The application is up")
                .takes::<AppReadyConfirmation>(json!({"indication": "READY"}))
                .answers_nothing(StatusCode::NO_CONTENT, "Noted.")
                .problems(&[StatusCode::CONFLICT]);
            on.post(confirm_ready, told)
        })
        .at(&at("/confirm_termination"), |on| {
            let told = of_app("The application is done")
                .takes::<AppTerminationConfirmation>(json!({"operationAction": "TERMINATING"}))
                .answers_nothing(StatusCode::NO_CONTENT, "Its end goes on.")
                .problems(&[StatusCode::CONFLICT]);
            on.post(confirm_termination, told)
        })
        .at(&at("/callback"), |on| {
            let told = Operation::new("Passes a message on to another application")
                .by_app()
                .header("callbackReference", "Where the message goes.")
                .answers_nothing(StatusCode::NO_CONTENT, "It was passed on.")
                .problems(&[StatusCode::BAD_REQUEST, StatusCode::SERVICE_UNAVAILABLE]);
            on.post(relay, told)
        })
        .at(&format!("{ROOT}/timing/current_time"), |on| {
            let told = Operation::new("What time it is").by_app();
            let told = told.problems(&[StatusCode::BAD_REQUEST]);
            on.get(current_time, told.answers::<CurrentTime>(OK, "The time."))
        })
        .at(&format!("{ROOT}/timing/timing_caps"), |on| {
            let told = Operation::new("Where to ask for the time").by_app();
            let told = told.problems(&[StatusCode::BAD_REQUEST]);
            on.get(timing_caps, told.answers::<TimingCaps>(OK, "The servers."))
        })
}

const fn not_found(detail: &'static str) -> Problem {
    Problem::new(Code::NotFound, detail)
}

const fn bad(detail: &'static str) -> Problem {
    Problem::new(Code::BadRequest, detail)
}

/// The longest id of a rule there can be.
const LONGEST_ID: usize = 63;

async fn dns_rules(OfApp { platform, app, .. }: OfApp) -> Response {
    let rules = rules::dns(&platform.control.catalog(), app);
    let bodies: Vec<_> = rules.iter().map(|rule| DnsRuleBody::of(rule)).collect();
    json_reply(StatusCode::OK, &bodies)
}

async fn dns_rule(own: OfApp<String>) -> Result<Response, Problem> {
    let rule = find_dns(&own.platform, own.app, &own.name)?;
    Ok(tagged(&DnsRuleBody::of(&rule)))
}

fn find_dns(platform: &Platform, app: Id, rule: &str) -> Result<Item<DnsRule>, Problem> {
    if length(rule) > LONGEST_ID {
        let detail = "dns rule id validation failed, invalid length";
        return Err(Problem::new(Code::Parameter, detail));
    }
    let found = platform.control.catalog().get::<DnsRule>(DnsRule::id_of(app, rule));
    found.ok_or(not_found("dns rule retrieval failed"))
}

/// A reply with the tag of what it shows.
fn tagged<T: serde::Serialize>(body: &T) -> Response {
    ([etag::header(&etag::of(body))], json_reply(StatusCode::OK, body)).into_response()
}

/// Switches a DNS rule on or off; nothing else of it may change.
///
/// `PUT …/dns_rules/{dnsRuleId}`; ETSI GS MEC 011, clause 7.2.10.3.2.
async fn replace_dns_rule(
    OfApp { platform, app, name: rule }: OfApp<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let if_match = IfMatch::of(&headers);
    let find = || {
        let present = find_dns(&platform, app, &rule)?;
        let stored = DnsRuleBody::of(&present);
        if if_match.admits(&etag::of(&stored)) { Ok((present, stored)) } else { Err(STALE) }
    };
    find()?;
    // A body may be long in coming: nobody is kept waiting by it.
    let wanted: DnsRuleBody = super::object(body).await?;
    let _turn = platform.turns.of(app).await;
    let (present, stored) = find()?;
    if !wanted.dns_rule_id.is_empty() && wanted.dns_rule_id != stored.dns_rule_id {
        return Err(bad("dns identifier miss-match"));
    }
    let rest = |body: &DnsRuleBody| {
        let DnsRuleBody { domain_name, ip_address_type, ip_address, ttl, .. } = body.clone();
        (domain_name, ip_address_type, ip_address, ttl)
    };
    if rest(&wanted) != rest(&stored) {
        return Err(bad("update supported only for state"));
    }
    let state = RuleState::parse(&wanted.state).ok_or(bad("invalid dns state input"))?;
    let next = DnsRule { state, ..(*present).clone() };
    let failed = "failed to apply the dns modification";
    let next = rules::change_dns(&platform, &present, next).await.map_err(|fault| match fault {
        RuleFault::Moved => not_found("dns rule retrieval failed"),
        _ => Problem::new(Code::RemoteFailed, failed),
    })?;
    Ok(tagged(&DnsRuleBody::of(&next)))
}

async fn traffic_rules(OfApp { platform, app, .. }: OfApp) -> Response {
    let rules = rules::traffic(&platform.control.catalog(), app);
    let bodies: Vec<_> = rules.iter().map(|rule| TrafficRuleBody::of(rule)).collect();
    json_reply(StatusCode::OK, &bodies)
}

async fn traffic_rule(own: OfApp<String>) -> Result<Response, Problem> {
    let failed = "traffic rule retrieval failed";
    let rule = find_traffic(&own.platform, own.app, &own.name, failed)?;
    Ok(tagged(&TrafficRuleBody::of(&rule)))
}

/// `unconfigured` is told of an app that has no configuration at all.
fn find_traffic(
    platform: &Platform,
    app: Id,
    rule: &str,
    unconfigured: &'static str,
) -> Result<Item<TrafficRule>, Problem> {
    if length(rule) > LONGEST_ID {
        let detail = "traffic rule id validation failed, invalid length";
        return Err(Problem::new(Code::Parameter, detail));
    }
    let catalog = platform.control.catalog();
    if catalog.get::<AppConfiguration>(app).is_none() {
        return Err(not_found(unconfigured));
    }
    let found = catalog.get::<TrafficRule>(TrafficRule::id_of(app, rule));
    found.ok_or(not_found("traffic rule does not exist"))
}

/// Puts another rule in the place of one.
///
/// `PUT …/traffic_rules/{trafficRuleId}`; ETSI GS MEC 011, clause 7.2.8.3.2.
async fn replace_traffic_rule(
    OfApp { platform, app, name: rule }: OfApp<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if length(&rule) > LONGEST_ID {
        find_traffic(&platform, app, &rule, "")?;
    }
    let bytes = bytes_up_to(body, usize::MAX).await?;
    let wanted: TrafficRuleBody = casefold::from_slice(&bytes)
        .map_err(|why| Problem::with(Code::BadRequest, why.to_string()))?;
    let wanted_id = wanted.traffic_rule_id.clone();
    let wanted = wanted.read(app, 0).map_err(|fields| {
        let text = format!("validation failed on: {}", fields.join(" "));
        Problem::with(Code::BadRequest, text)
    })?;
    let _turn = platform.turns.of(app).await;
    let present = find_traffic(&platform, app, &rule, "update rule retrieval failed")?;
    let next = TrafficRule {
        id: present.id(),
        position: present.position,
        rule_id: wanted_id.clone(),
        ..wanted
    };
    if next == *present {
        return Ok(json_reply(StatusCode::OK, &TrafficRuleBody::of(&present)));
    }
    if !IfMatch::of(&headers).admits(&etag::of(&TrafficRuleBody::of(&present))) {
        return Err(STALE);
    }
    if wanted_id != present.rule_id {
        return Err(Problem::new(Code::Unreadable, "traffic identifier miss-match"));
    }
    let failed = "failed to apply configuration on data-plane";
    let next =
        rules::change_traffic(&platform, &present, next).await.map_err(|fault| match fault {
            RuleFault::Moved => not_found("traffic rule does not exist"),
            RuleFault::Unsupported(why) => Problem::with(Code::BadRequest, why.to_string()),
            RuleFault::NotApplied => Problem::new(Code::RemoteFailed, failed),
        })?;
    Ok(tagged(&TrafficRuleBody::of(&next)))
}

/// The application is up.
///
/// `POST …/confirm_ready`; ETSI GS MEC 011, clause 7.2.12.3.4. The app need not be known.
async fn confirm_ready(
    State(platform): State<Arc<Platform>>,
    Path(path): Path<String>,
    call: Call,
    body: Body,
) -> Result<StatusCode, Problem> {
    by_itself(&call, &path)?;
    let invalid = Problem::new(Code::Unreadable, "validate param failed");
    let ready: AppReadyConfirmation =
        casefold::from_slice(&bytes(body).await?).map_err(|_| invalid.clone())?;
    if ready.indication != "READY" {
        return Err(invalid);
    }
    let busy = AppInstanceId::id(&path)
        .is_some_and(|app| platform.control.catalog().get::<AppOperation>(app).is_some());
    if busy {
        let detail = "configuration sync for application is in progress on confirm ready";
        return Err(Problem::new(Code::Inactive, detail));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The application is done.
///
/// `POST …/confirm_termination`; ETSI GS MEC 011, clause 7.2.11.3.4.
async fn confirm_termination(
    State(platform): State<Arc<Platform>>,
    Path(path): Path<String>,
    call: Call,
    body: Body,
) -> Result<StatusCode, Problem> {
    by_itself(&call, &path)?;
    let invalid = Problem::new(Code::Unreadable, "validate param failed");
    let done: AppTerminationConfirmation =
        casefold::from_slice(&bytes(body).await?).map_err(|_| invalid)?;
    let nothing = Problem::new(Code::Inactive, "no termination is going on");
    let other = Problem::new(Code::Parameter, "operation action is not matching");
    let app = AppInstanceId::id(&path).ok_or(nothing.clone())?;
    let pending = platform.control.catalog().get::<crate::entities::AppTermination>(app);
    let Some(action) = OperationAction::parse(&done.operation_action) else {
        return Err(if pending.is_some() { other } else { nothing });
    };
    life::confirm(&platform, app, action).await.map_err(|fault| match fault {
        ConfirmFault::NothingPending => nothing,
        ConfirmFault::OtherAction => other,
        ConfirmFault::NotStored => {
            Problem::new(Code::StoreFailed, "the confirmation could not be stored")
        }
    })?;
    Ok(StatusCode::NO_CONTENT)
}

/// By the gateway, an app speaks for itself alone.
fn by_itself(call: &Call, path: &str) -> Result<(), Problem> {
    if call.by_gateway { call.speaks_for(path) } else { Ok(()) }
}

/// Passes a message of one application on to another, whose answer does not matter.
async fn relay(
    State(platform): State<Arc<Platform>>,
    Path(_): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    const INVALID: Problem = Problem::new(Code::Callback, "Callback Url validation failed");
    let target = headers.get("callbackReference").and_then(|value| value.to_str().ok());
    let target = target.filter(|target| subscriptions::may_be_called(&platform, target));
    let target = target.ok_or(INVALID)?;
    let text = String::from_utf8(bytes(body).await?.to_vec())
        .map_err(|_| Problem::new(Code::BadRequest, "read request body error"))?;
    platform.outbound.post(target, Form::DIALECT, text).await.map_err(|why| {
        tracing::warn!(%why, "a message could not be passed on");
        Problem::new(Code::RemoteFailed, "callback could not be reached")
    })?;
    Ok(StatusCode::NO_CONTENT)
}

/// What time it is, by the platform's own source.
///
/// `GET …/timing/current_time`; ETSI GS MEC 011, clause 7.2.6.3.1.
async fn current_time(State(platform): State<Arc<Platform>>) -> Result<Response, Problem> {
    let now = now(&platform, "Current time get failed").await?;
    Ok(json_reply(StatusCode::OK, &CurrentTime::of(now)))
}

/// Where an application may ask for the time itself.
///
/// `GET …/timing/timing_caps`; ETSI GS MEC 011, clause 7.2.5.3.1.
async fn timing_caps(State(platform): State<Arc<Platform>>) -> Result<Response, Problem> {
    let now = now(&platform, "Timing caps get failed").await?;
    let servers = platform.ports.time.server();
    let ntp_servers = servers.as_ref().map(NtpServerView::of).into_iter().collect();
    let body = TimingCaps { time_stamp: TimeStamp::of(now), ntp_servers: Some(ntp_servers) };
    Ok(json_reply(StatusCode::OK, &body))
}

async fn now(platform: &Platform, failed: &'static str) -> Result<Reading, Problem> {
    platform.ports.time.now().await.map_err(|why| {
        tracing::warn!(%why, "no time");
        Problem::new(Code::NoTime, failed)
    })
}
