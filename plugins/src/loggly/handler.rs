use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use gateway_model::{Clock, Violations};
use jiff::Timestamp;

use super::config::Config;
use crate::contract::{ANY, Handler, Phases, Plugin, Setup, Summary};
use crate::kit::datagrams::Datagrams;
use crate::kit::entries::{self, CustomMembers};
use crate::kit::queue::{Queue, Queues, milliseconds};
use crate::kit::severity::Severities;

/// One instance (kong/plugins/loggly/handler.lua).
pub(crate) struct Loggly {
    queue: Arc<Queue>,
    members: CustomMembers,
    severities: Severities,
    hostname: String,
    /// `[token@41058 tag="kong"]`: 41058 is Loggly's number among enterprises.
    structured: String,
    clock: Clock,
}

/// `user`, which Kong uses whatever the entry.
const FACILITY: u8 = 1;

impl Plugin for Loggly {
    const NAME: &'static str = "loggly";
    const PRIORITY: i32 = 6;
    const PHASES: Phases = Phases::LOG;
    const PROTOCOLS: &'static [&'static str] = ANY;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let tags = config.tags.iter().flatten().map(|tag| format!("tag=\"{tag}\""));
        let tags = tags.collect::<Vec<_>>().join(" ");
        let members = CustomMembers::prepare(config.custom_fields_by_lua.as_ref(), setup)?;
        let structured = format!("[{}@41058 {tags}]", config.key.expose());
        let severities = config.severities();
        let sender = || {
            let host = config.host.unwrap_or_else(|| "logs-01.loggly.com".to_owned());
            let timeout = milliseconds(config.timeout, 10_000.0);
            Ok(Datagrams { host, port: config.port.unwrap_or(514), timeout }.deliver())
        };
        Ok(Self {
            queue: Queues::of(setup, entries::AT_ONCE, sender)?,
            members,
            severities,
            hostname: setup.tools.node.hostname.clone(),
            structured,
            clock: setup.tools.clock.clone(),
        })
    }
}

impl Handler for Loggly {
    fn log(&self, summary: &Summary<'_>) {
        let Some(severity) = self.severities.of(summary.status) else { return };
        let Some(entry) = entries::written(summary, &self.members) else { return };
        let second = i64::try_from(self.clock.unix_seconds()).unwrap_or_default();
        let time = Timestamp::from_second(second).unwrap_or_default();
        let priority = FACILITY * 8 + severity as u8;
        let head = format!("<{priority}>1 {time} {} kong - - {} ", self.hostname, self.structured);
        let mut message = BytesMut::with_capacity(head.len() + entry.len());
        message.put_slice(head.as_bytes());
        message.put_slice(&entry);
        self.queue.push(message.freeze());
    }
}
