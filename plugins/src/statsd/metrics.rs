//! The lines of an exchange (kong/plugins/statsd/log.lua).

use std::fmt::Write as _;

use gateway_model::Item;
use gateway_model::entities::{Consumer, Service};

use super::config::{
    Config, ConsumerIdentifier, Metric, Name, ServiceIdentifier, TagStyle, WorkspaceIdentifier,
};
use crate::contract::{Summary, WORKSPACE};
use crate::kit::statsd::{StatType, rate};

/// How figures of one instance are written.
pub(super) struct Lines {
    prefix: String,
    hostname: String,
    style: Option<TagStyle>,
    metrics: Vec<Prepared>,
}

/// A figure with everything it may leave to defaults.
struct Prepared {
    name: Name,
    kind: &'static str,
    rate: String,
    consumer: ConsumerIdentifier,
    service: ServiceIdentifier,
    workspace: WorkspaceIdentifier,
}

impl Lines {
    /// `hostname` is this machine's; its dots would be read as parts of names.
    pub(super) fn prepare(config: &Config, hostname: &str) -> Self {
        let hostname = hostname.replace('.', "_");
        let mut prefix = config.prefix.clone().unwrap_or_else(|| "kong".to_owned());
        if config.hostname_in_prefix.unwrap_or_default() && config.tag_style.is_none() {
            let _ = write!(prefix, ".node.{hostname}");
        }
        let one = |metric: &Metric| Prepared {
            name: metric.name,
            kind: metric.stat_type.letters(),
            rate: rate(metric.sample_rate),
            consumer: metric.consumer_identifier.unwrap_or(config.consumer_identifier_default),
            service: metric.service_identifier.unwrap_or(config.service_identifier_default),
            workspace: metric.workspace_identifier.unwrap_or(config.workspace_identifier_default),
        };
        let metrics = config.metrics.iter().flatten().map(one).collect();
        Self { prefix, hostname, style: config.tag_style, metrics }
    }

    /// The lines of an exchange, joined; empty when there are none.
    pub(super) fn of(&self, summary: &Summary<'_>) -> String {
        let mut lines = String::with_capacity(64 * self.metrics.len());
        for metric in &self.metrics {
            match self.style {
                None => self.named(metric, summary, &mut lines),
                Some(style) => self.tagged(metric, style, summary, &mut lines),
            }
        }
        lines
    }

    /// Everything in the name.
    fn named(&self, metric: &Prepared, summary: &Summary<'_>, lines: &mut String) {
        let facts = summary.facts;
        let scope = scope(facts.service.as_ref(), metric.service);
        let consumer = || consumer(facts.identity.consumer.as_ref(), metric.consumer);
        let status = summary.status;
        let counter = StatType::Counter.letters();
        let mut line = |name: &str, value: &dyn std::fmt::Display, kind: &str, rate: &str| {
            separate(lines);
            let _ = write!(lines, "{}.{name}:{value}|{kind}{rate}", self.prefix);
        };
        let per_user = |name: &dyn Fn(&str) -> String| consumer().map(|user| name(&user));
        let counted = match metric.name {
            Name::UniqueUsers => {
                if let Some(user) = consumer() {
                    let set = StatType::Set.letters();
                    line(&format!("{scope}.user.uniques"), &user, set, "");
                }
                return;
            }
            Name::RequestPerUser => per_user(&|user| format!("{scope}.user.{user}.request.count")),
            Name::StatusCount => Some(format!("{scope}.status.{status}")),
            Name::StatusCountPerUser => {
                per_user(&|user| format!("{scope}.user.{user}.status.{status}"))
            }
            Name::StatusCountPerWorkspace => {
                let workspace = workspace(metric.workspace);
                Some(format!("{scope}.workspace.{workspace}.status.{status}"))
            }
            Name::StatusCountPerUserPerRoute => facts.route.as_ref().and_then(|route| {
                per_user(&|user| format!("route.{}.user.{user}.status.{status}", route.id()))
            }),
            Name::ShdictUsage => None,
            plain => {
                if let Some((name, value)) = figure(plain, summary) {
                    line(&format!("{scope}.{name}"), &value, metric.kind, &metric.rate);
                }
                return;
            }
        };
        if let Some(name) = counted {
            line(&name, &1, counter, &metric.rate);
        }
    }

    /// Where and who in tags; figures whose name would tell it are left out, as in Kong.
    fn tagged(
        &self,
        metric: &Prepared,
        style: TagStyle,
        summary: &Summary<'_>,
        lines: &mut String,
    ) {
        let Some((name, value)) = figure(metric.name, summary) else { return };
        let facts = summary.facts;
        let mut tags: Vec<(&str, String)> = Vec::new();
        if let Some(service) = facts.service.as_ref().and_then(|one| named(one, metric.service)) {
            tags.push(("service", service));
            if let Some(route) = &facts.route {
                let name = route.name.clone().unwrap_or_else(|| route.id().to_string());
                tags.push(("route", name));
            }
            tags.push(("workspace", workspace(metric.workspace).to_owned()));
            if let Some(user) = consumer(facts.identity.consumer.as_ref(), metric.consumer) {
                tags.push(("consumer", user));
            }
            tags.push(("node", self.hostname.clone()));
            tags.push(("status", summary.status.to_string()));
        }
        separate(lines);
        let (prefix, kind, rate) = (&self.prefix, metric.kind, &metric.rate);
        let joined = |between: char| {
            let one = |(name, value): &(&str, String)| format!("{name}{between}{value}");
            tags.iter().map(one).collect::<Vec<_>>().join(",")
        };
        let _ = if tags.is_empty() {
            write!(lines, "{prefix}.{name}:{value}|{kind}{rate}")
        } else {
            match style {
                TagStyle::Dogstatsd => {
                    write!(lines, "{prefix}.{name}:{value}|{kind}{rate}|#{}", joined(':'))
                }
                TagStyle::Influxdb => {
                    write!(lines, "{prefix}.{name},{}:{value}|{kind}{rate}", joined('='))
                }
                TagStyle::Librato => {
                    write!(lines, "{prefix}.{name}#{}:{value}|{kind}{rate}", joined('='))
                }
                TagStyle::Signalfx => {
                    write!(lines, "{prefix}.{name}[{}]:{value}|{kind}{rate}", joined('='))
                }
            }
        };
    }
}

fn separate(lines: &mut String) {
    if !lines.is_empty() {
        lines.push('\n');
    }
}

/// A figure that is one number: its name and value; none for those made of names, and for the time
/// of an upstream that was not asked.
fn figure(name: Name, summary: &Summary<'_>) -> Option<(&'static str, u64)> {
    let latencies = summary.latencies;
    Some(match name {
        Name::RequestCount => ("request.count", 1),
        Name::RequestSize => ("request.size", summary.request_size),
        Name::ResponseSize => ("response.size", summary.response_size),
        Name::Latency => ("latency", latencies.request),
        Name::UpstreamLatency => ("upstream_latency", latencies.upstream?),
        Name::KongLatency => ("kong_latency", latencies.kong),
        _ => return None,
    })
}

fn scope(service: Option<&Item<Service>>, by: ServiceIdentifier) -> String {
    match service {
        None => "global.unmatched".into(),
        Some(service) => {
            let name = named(service, by).unwrap_or_else(|| "unnamed".to_owned());
            format!("service.{}", name.replace('.', "_"))
        }
    }
}

fn named(service: &Item<Service>, by: ServiceIdentifier) -> Option<String> {
    match by {
        ServiceIdentifier::ServiceId => Some(service.id().to_string()),
        ServiceIdentifier::ServiceName => service.name.clone(),
        ServiceIdentifier::ServiceHost => Some(service.host.to_string()),
        ServiceIdentifier::ServiceNameOrHost => {
            Some(service.name.clone().unwrap_or_else(|| service.host.to_string()))
        }
    }
}

fn consumer(consumer: Option<&Item<Consumer>>, by: ConsumerIdentifier) -> Option<String> {
    let consumer = consumer?;
    match by {
        ConsumerIdentifier::ConsumerId => Some(consumer.id().to_string()),
        ConsumerIdentifier::CustomId => consumer.custom_id.clone(),
        ConsumerIdentifier::Username => consumer.username.clone(),
    }
}

const fn workspace(by: WorkspaceIdentifier) -> &'static str {
    match by {
        WorkspaceIdentifier::WorkspaceId => WORKSPACE.0,
        WorkspaceIdentifier::WorkspaceName => WORKSPACE.1,
    }
}
