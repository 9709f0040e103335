//! Application support (ETSI GS MEC 011, clause 7).

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use gateway_model::{Catalog, Id, Item};
use http::StatusCode;
use serde_json::json;

use super::asked::{ByAnybody, OfApp};
use super::refusal::Refusal;
use super::rule_bodies::{DnsRuleView, TrafficRuleView};
use super::told::{anybody, of_app};
use super::{reading, rule_bodies, shown, tagged};
use crate::Platform;
use crate::entities::{AppOperation, DnsRule, OperationAction, TrafficRule};
use crate::etag::{self, IfMatch};
use crate::life::{self, ConfirmFault};
use crate::mp1::rule_bodies::{DnsRuleBody, TrafficRuleBody};
use crate::mp1::support_bodies::{
    AppReadyConfirmation, AppTerminationConfirmation, CurrentTime, NtpServerView, TimeStamp,
    TimingCaps,
};
use crate::openapi::{Api, Routes};
use crate::rules::{self, RuleFault};
use crate::timing::Reading;

pub(super) fn routes() -> Routes<Arc<Platform>> {
    const ROOT: &str = "/mec_app_support/v1";
    let app = |rest: &str| format!("{ROOT}/applications/{{appInstanceId}}{rest}");
    Routes::of(Api::ApplicationSupport)
        .at(&app("/dns_rules"), |on| {
            let told = of_app("The DNS rules of an application", "7.2.9.3.1");
            on.get(dns_rules, told.lists::<DnsRuleView<'_>>("The rules."))
        })
        .at(&app("/dns_rules/{dnsRuleId}"), |on| {
            let show = of_app("A DNS rule", "7.2.10.3.1").shows::<DnsRuleView<'_>>("The rule.");
            let replace = of_app("Changes a DNS rule, or switches it", "7.2.10.3.2")
                .reads::<DnsRuleView<'_>>(json!({
                    "dnsRuleId": "rule-1", "domainName": "www.example.com",
                    "ipAddressType": "IP_V4", "ipAddress": "192.0.2.10", "ttl": 30,
                    "state": "ACTIVE",
                }))
                .conditional()
                .stores()
                .replaces::<DnsRuleView<'_>>("The rule, which is in effect.");
            on.get(dns_rule, show).put(replace_dns_rule, replace)
        })
        .at(&app("/traffic_rules"), |on| {
            let told = of_app("The traffic rules of an application", "7.2.7.3.1");
            on.get(traffic_rules, told.lists::<TrafficRuleView<'_>>("The rules."))
        })
        .at(&app("/traffic_rules/{trafficRuleId}"), |on| {
            let show =
                of_app("A traffic rule", "7.2.8.3.1").shows::<TrafficRuleView<'_>>("The rule.");
            let replace = of_app("Changes a traffic rule, or switches it", "7.2.8.3.2")
                .reads::<TrafficRuleView<'_>>(json!({
                    "trafficRuleId": "rule-1", "filterType": "FLOW", "priority": 1,
                    "trafficFilter": [{"srcAddress": ["192.0.2.0/24"], "protocol": ["TCP"]}],
                    "action": "DROP", "state": "ACTIVE",
                }))
                .conditional()
                .stores()
                .replaces::<TrafficRuleView<'_>>("The rule, which is in effect.");
            on.get(traffic_rule, show).put(replace_traffic_rule, replace)
        })
        .at(&app("/confirm_ready"), |on| {
            let told = of_app("The application is up", "7.2.12.3.4")
                .reads::<AppReadyConfirmation>(json!({"indication": "READY"}))
                .refuses(&[StatusCode::CONFLICT])
                .does("Noted.");
            on.post(confirm_ready, told)
        })
        .at(&app("/confirm_termination"), |on| {
            let told = of_app("The application is done", "7.2.11.3.4")
                .reads::<AppTerminationConfirmation>(json!({"operationAction": "TERMINATING"}))
                .stores()
                .does("Its end goes on.");
            on.post(confirm_termination, told)
        })
        .at(&format!("{ROOT}/timing/current_time"), |on| {
            let told = anybody("What time it is", "7.2.6.3.1");
            on.get(current_time, told.answers::<CurrentTime>(StatusCode::OK, "The time."))
        })
        .at(&format!("{ROOT}/timing/timing_caps"), |on| {
            let told = anybody("Where to ask for the time", "7.2.5.3.1");
            on.get(timing_caps, told.answers::<TimingCaps>(StatusCode::OK, "The servers."))
        })
}

/// The tag of a rule: both faces tell the same.
fn dns_tag(rule: &DnsRule) -> String {
    etag::of(&DnsRuleBody::of(rule))
}

fn traffic_tag(rule: &TrafficRule) -> String {
    etag::of(&TrafficRuleBody::of(rule))
}

fn find_dns(catalog: &Catalog, app: Id, rule: &str) -> Result<Item<DnsRule>, Refusal> {
    let found = catalog.get::<DnsRule>(DnsRule::id_of(app, rule));
    found.ok_or_else(|| Refusal::not_found("there is no such DNS rule"))
}

fn find_traffic(catalog: &Catalog, app: Id, rule: &str) -> Result<Item<TrafficRule>, Refusal> {
    let found = catalog.get::<TrafficRule>(TrafficRule::id_of(app, rule));
    found.ok_or_else(|| Refusal::not_found("there is no such traffic rule"))
}

/// `GET …/dns_rules`: clause 7.2.9.3.1.
async fn dns_rules(OfApp { catalog, app, .. }: OfApp) -> Response {
    let rules = rules::dns(&catalog, app);
    let rules: Vec<_> = rules.iter().map(|rule| rule_bodies::dns_view(rule)).collect();
    super::json(StatusCode::OK, &rules)
}

/// `GET …/dns_rules/{dnsRuleId}`: clause 7.2.10.3.1.
async fn dns_rule(own: OfApp<String>) -> Result<Response, Refusal> {
    let rule = find_dns(&own.catalog, own.app, &own.name)?;
    Ok(shown(&own.asked, &dns_tag(&rule), &rule_bodies::dns_view(&rule)))
}

/// `PUT …/dns_rules/{dnsRuleId}`: clause 7.2.10.3.2. The answer comes after the effect.
async fn replace_dns_rule(own: OfApp<String>) -> Result<Response, Refusal> {
    let OfApp { platform, catalog, app, name, asked, .. } = own;
    let if_match = asked.matching(&dns_tag(&*find_dns(&catalog, app, &name)?))?;
    // A body may be long in coming: nobody is kept waiting by it.
    let members = asked.body().await?;
    let _turn = platform.turns.of(app).await;
    let present = find_dns(&platform.control.catalog(), app, &name)?;
    still(&if_match, &dns_tag(&present))?;
    let next = reading::read(&members, |body| rule_bodies::dns(body, &present))?;
    if next.domain_name != present.domain_name {
        return Err(Refusal::forbidden("domainName is management's and cannot change"));
    }
    let next = rules::change_dns(&platform, &present, next).await.map_err(refusal)?;
    Ok(tagged(StatusCode::OK, &dns_tag(&next), &rule_bodies::dns_view(&next)))
}

/// Refuses where the state the client wants to change is there no more.
fn still(if_match: &IfMatch, tag: &str) -> Result<(), Refusal> {
    if if_match.admits(tag) { Ok(()) } else { Err(Refusal::stale()) }
}

fn refusal(fault: RuleFault) -> Refusal {
    match fault {
        RuleFault::Moved => Refusal::conflict("the rule changed meanwhile"),
        RuleFault::Unsupported(why) => Refusal::bad(why.to_string()),
        RuleFault::NotApplied => {
            let detail = "the name server or the data plane did not take it; nothing changed";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }
}

/// `GET …/traffic_rules`: clause 7.2.7.3.1.
async fn traffic_rules(OfApp { catalog, app, .. }: OfApp) -> Response {
    let rules = rules::traffic(&catalog, app);
    let rules: Vec<_> = rules.iter().map(|rule| rule_bodies::traffic_view(rule)).collect();
    super::json(StatusCode::OK, &rules)
}

/// `GET …/traffic_rules/{trafficRuleId}`: clause 7.2.8.3.1.
async fn traffic_rule(own: OfApp<String>) -> Result<Response, Refusal> {
    let rule = find_traffic(&own.catalog, own.app, &own.name)?;
    Ok(shown(&own.asked, &traffic_tag(&rule), &rule_bodies::traffic_view(&rule)))
}

/// `PUT …/traffic_rules/{trafficRuleId}`: clause 7.2.8.3.2.
async fn replace_traffic_rule(own: OfApp<String>) -> Result<Response, Refusal> {
    let OfApp { platform, catalog, app, name, asked, .. } = own;
    let if_match = asked.matching(&traffic_tag(&*find_traffic(&catalog, app, &name)?))?;
    let members = asked.body().await?;
    let _turn = platform.turns.of(app).await;
    let present = find_traffic(&platform.control.catalog(), app, &name)?;
    still(&if_match, &traffic_tag(&present))?;
    let next = reading::read(&members, |body| rule_bodies::traffic(body, &present))?;
    let next = rules::change_traffic(&platform, &present, next).await.map_err(refusal)?;
    Ok(tagged(StatusCode::OK, &traffic_tag(&next), &rule_bodies::traffic_view(&next)))
}

/// `POST …/confirm_ready`: clause 7.2.12.3.4.
async fn confirm_ready(own: OfApp) -> Result<Response, Refusal> {
    let OfApp { platform, app, asked, .. } = own;
    asked.read(|body| body.word("indication", &["READY"])).await?;
    if platform.control.catalog().get::<AppOperation>(app).is_some() {
        return Err(Refusal::conflict("management is configuring the application"));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST …/confirm_termination`: clause 7.2.11.3.4.
async fn confirm_termination(own: OfApp) -> Result<Response, Refusal> {
    let OfApp { platform, app, asked, .. } = own;
    let action =
        asked.read(|body| body.mandatory_one_of("operationAction", OperationAction::parse));
    let action = action.await?.unwrap_or(OperationAction::Terminating);
    life::confirm(&platform, app, action).await.map_err(|fault| match fault {
        ConfirmFault::NothingPending => Refusal::conflict("no termination is under way"),
        ConfirmFault::OtherAction => Refusal::bad("operationAction is not the announced one"),
        ConfirmFault::NotStored => Refusal::not_stored(),
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /timing/current_time`: clause 7.2.6.3.1.
async fn current_time(ByAnybody { platform, .. }: ByAnybody) -> Response {
    let now = now(&platform).await;
    super::json(StatusCode::OK, &CurrentTime::of(now))
}

/// `GET /timing/timing_caps`: clause 7.2.5.3.1.
async fn timing_caps(ByAnybody { platform, .. }: ByAnybody) -> Response {
    let now = now(&platform).await;
    let server = platform.ports.time.server();
    let ntp_servers = server.map(|server| vec![NtpServerView::of(&server)]);
    let body = TimingCaps { time_stamp: TimeStamp::of(now), ntp_servers };
    super::json(StatusCode::OK, &body)
}

/// The time of the source or, when it does not answer, of the system's clock.
async fn now(platform: &Platform) -> Reading {
    platform.ports.time.now().await.unwrap_or_else(|why| {
        tracing::debug!(%why, "the system's clock has to do");
        Reading::of(&platform.clock)
    })
}
