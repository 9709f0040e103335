use std::sync::Arc;

use gateway_model::Violations;

use super::config::Config;
use crate::contract::{ANY, Handler, Phases, Plugin, Setup, Summary};
use crate::kit::entries::{self, CustomMembers};
use crate::kit::queue::{Queue, Queues, milliseconds};
use crate::kit::stream::Stream;

/// One instance (kong/plugins/tcp-log/handler.lua).
pub(crate) struct TcpLog {
    queue: Arc<Queue>,
    members: CustomMembers,
}

impl Plugin for TcpLog {
    const NAME: &'static str = "tcp-log";
    const PRIORITY: i32 = 7;
    const PHASES: Phases = Phases::LOG;
    const PROTOCOLS: &'static [&'static str] = ANY;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let members = CustomMembers::prepare(config.custom_fields_by_lua.as_ref(), setup)?;
        let timeout = milliseconds(config.timeout, 10_000.0);
        let keepalive = milliseconds(config.keepalive, 60_000.0);
        let mut stream = Stream::new(&config.host, config.port, timeout, keepalive);
        if config.tls {
            stream = stream
                .over_tls(config.tls_sni.as_deref())
                .map_err(|why| Violations::one("tls_sni", why))?;
        }
        let sender = || Ok(stream.deliver_lines());
        Ok(Self { queue: Queues::of(setup, entries::AT_ONCE, sender)?, members })
    }
}

impl Handler for TcpLog {
    fn log(&self, summary: &Summary<'_>) {
        entries::push(&self.queue, summary, &self.members);
    }
}
