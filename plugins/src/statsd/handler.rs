use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use gateway_model::Violations;

use super::config::Config;
use super::metrics::Lines;
use crate::contract::{ANY, Handler, Phases, Plugin, Setup, Summary};
use crate::kit::datagrams::Datagrams;
use crate::kit::queue::{Deliver, Queue, Queues};
use crate::kit::statsd::{lines, packed};
use crate::kit::stream::Stream;

/// One instance (kong/plugins/statsd/handler.lua).
pub(crate) struct Statsd {
    queue: Arc<Queue>,
    lines: Lines,
    /// Empty means all.
    statuses: Vec<RangeInclusive<u16>>,
}

/// Kong's, which has no setting for it.
const TIMEOUT: Duration = Duration::from_secs(1);
const KEEPALIVE: Duration = Duration::from_secs(60);

impl Plugin for Statsd {
    const NAME: &'static str = "statsd";
    const PRIORITY: i32 = 11;
    const PHASES: Phases = Phases::LOG;
    const PROTOCOLS: &'static [&'static str] = ANY;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let mut parameters = config.queue.parameters();
        parameters.deprecated(config.queue_size, config.flush_timeout);
        let ranges = config.allow_status_codes.iter().flatten().filter_map(|range| {
            let (first, last) = range.split_once('-')?;
            // A number too large for a status is above all of them.
            let number = |text: &str| text.parse().unwrap_or(u16::MAX);
            Some(number(first)..=number(last))
        });
        let statuses = ranges.collect();
        let lines = Lines::prepare(&config, &setup.tools.node.hostname);
        Ok(Self { queue: Queues::of(setup, parameters, || Ok(deliver(config)))?, lines, statuses })
    }
}

impl Handler for Statsd {
    fn log(&self, summary: &Summary<'_>) {
        let status = summary.status;
        if !self.statuses.is_empty() && !self.statuses.iter().any(|range| range.contains(&status)) {
            return;
        }
        let lines = self.lines.of(summary);
        if !lines.is_empty() {
            self.queue.push(lines.into());
        }
    }
}

fn deliver(config: Config) -> Deliver {
    let host = config.host.unwrap_or_else(|| "localhost".to_owned());
    let port = config.port.unwrap_or(8125);
    if config.use_tcp.unwrap_or_default() {
        return Stream::new(&host, port, TIMEOUT, KEEPALIVE).deliver_lines();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 65507")]
    let most = config.udp_packet_size.unwrap_or(0.0) as usize;
    let datagrams = Arc::new(Datagrams { host, port, timeout: TIMEOUT });
    Arc::new(move |batch| {
        let datagrams = Arc::clone(&datagrams);
        async move { datagrams.send(&packed(&lines(&batch), most)).await }.boxed()
    })
}
