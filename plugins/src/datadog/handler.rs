use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use gateway_model::Violations;

use super::config::{Config, ConsumerIdentifier, Metric, Name};
use crate::contract::{ANY, Handler, Phases, Plugin, Setup, Summary};
use crate::kit::datagrams::Datagrams;
use crate::kit::queue::{Deliver, Queue, Queues};
use crate::kit::statsd::{lines, packed, rate};

/// One instance (kong/plugins/datadog/handler.lua).
pub(crate) struct Datadog {
    queue: Arc<Queue>,
    prefix: String,
    service_tag: String,
    status_tag: String,
    consumer_tag: String,
    metrics: Vec<Metric>,
}

impl Plugin for Datadog {
    const NAME: &'static str = "datadog";
    const PRIORITY: i32 = 10;
    const PHASES: Phases = Phases::LOG;
    const PROTOCOLS: &'static [&'static str] = ANY;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let host = config.host.unwrap_or_else(|| "localhost".to_owned());
        let mut parameters = config.queue.parameters();
        parameters.deprecated(config.queue_size, config.flush_timeout);
        let port = config.port.unwrap_or(8125);
        let or = |text: Option<String>, default: &str| text.unwrap_or_else(|| default.to_owned());
        Ok(Self {
            queue: Queues::of(setup, parameters, || Ok(deliver(host, port)))?,
            prefix: or(config.prefix, "kong"),
            service_tag: or(config.service_name_tag, "name"),
            status_tag: or(config.status_tag, "status"),
            consumer_tag: or(config.consumer_tag, "consumer"),
            metrics: config.metrics,
        })
    }
}

impl Handler for Datadog {
    fn log(&self, summary: &Summary<'_>) {
        let facts = summary.facts;
        let service = facts.service.as_ref().map_or(String::new(), |service| {
            let name = service.name.clone().unwrap_or_else(|| service.host.to_string());
            name.replace('.', "_")
        });
        let (service_tag, status_tag) = (&self.service_tag, &self.status_tag);
        let mut all = String::with_capacity(96 * self.metrics.len());
        for metric in &self.metrics {
            let Some((name, value)) = figure(metric.name, summary) else { continue };
            if !all.is_empty() {
                all.push('\n');
            }
            // Writing to a text cannot fail.
            let _ = write!(
                all,
                "{}.{name}:{value}|{}{}|#{service_tag}:{service},{status_tag}:{}",
                self.prefix,
                metric.stat_type.letters(),
                rate(metric.sample_rate),
                summary.status,
            );
            if let Some(consumer) = consumer(summary, metric) {
                let _ = write!(all, ",{}:{consumer}", self.consumer_tag);
            }
            for tag in metric.tags.iter().flatten() {
                let _ = write!(all, ",{tag}");
            }
        }
        if !all.is_empty() {
            self.queue.push(all.into());
        }
    }
}

/// The time of an upstream that was not asked is not told.
fn figure(name: Name, summary: &Summary<'_>) -> Option<(&'static str, u64)> {
    let latencies = summary.latencies;
    Some(match name {
        Name::RequestCount => ("request.count", 1),
        Name::RequestSize => ("request.size", summary.request_size),
        Name::ResponseSize => ("response.size", summary.response_size),
        Name::Latency => ("latency", latencies.request),
        Name::UpstreamLatency => ("upstream_latency", latencies.upstream?),
        Name::KongLatency => ("kong_latency", latencies.kong),
    })
}

fn consumer(summary: &Summary<'_>, metric: &Metric) -> Option<String> {
    let consumer = summary.facts.identity.consumer.as_ref()?;
    match metric.consumer_identifier? {
        ConsumerIdentifier::ConsumerId => Some(consumer.id().to_string().replace('-', "_")),
        ConsumerIdentifier::CustomId => consumer.custom_id.clone(),
        ConsumerIdentifier::Username => consumer.username.clone(),
    }
}

fn deliver(host: String, port: u16) -> Deliver {
    let timeout = Duration::from_secs(10);
    let datagrams = Arc::new(Datagrams { host, port, timeout });
    Arc::new(move |batch| {
        let datagrams = Arc::clone(&datagrams);
        async move { datagrams.send(&packed(&lines(&batch), 0)).await }.boxed()
    })
}
