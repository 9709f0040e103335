use std::sync::Arc;

use gateway_model::Violations;

use super::config::Config;
use crate::contract::{ANY, Handler, Phases, Plugin, Setup, Summary};
use crate::kit::datagrams::Datagrams;
use crate::kit::entries::{self, CustomMembers};
use crate::kit::queue::{Queue, Queues, milliseconds};

/// One instance (kong/plugins/udp-log/handler.lua).
pub(crate) struct UdpLog {
    queue: Arc<Queue>,
    members: CustomMembers,
}

impl Plugin for UdpLog {
    const NAME: &'static str = "udp-log";
    const PRIORITY: i32 = 8;
    const PHASES: Phases = Phases::LOG;
    const PROTOCOLS: &'static [&'static str] = ANY;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let members = CustomMembers::prepare(config.custom_fields_by_lua.as_ref(), setup)?;
        let sender = || {
            let timeout = milliseconds(config.timeout, 10_000.0);
            Ok(Datagrams { host: config.host, port: config.port, timeout }.deliver())
        };
        Ok(Self { queue: Queues::of(setup, entries::AT_ONCE, sender)?, members })
    }
}

impl Handler for UdpLog {
    fn log(&self, summary: &Summary<'_>) {
        entries::push(&self.queue, summary, &self.members);
    }
}
