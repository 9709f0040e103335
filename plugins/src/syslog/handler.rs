use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::FutureExt;
use gateway_model::{Clock, Violations};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::net::UnixDatagram;

use super::config::{Config, Facility};
use crate::contract::{ANY, Handler, Phases, Plugin, Setup, Summary};
use crate::kit::entries::{self, CustomMembers};
use crate::kit::queue::{Deliver, Queue, Queues};
use crate::kit::severity::{Severities, Severity};

/// One instance (kong/plugins/syslog/handler.lua).
pub(crate) struct Syslog {
    queue: Arc<Queue>,
    members: CustomMembers,
    severities: Severities,
    facility: Facility,
    clock: Clock,
}

impl Plugin for Syslog {
    const NAME: &'static str = "syslog";
    const PRIORITY: i32 = 4;
    const PHASES: Phases = Phases::LOG;
    const PROTOCOLS: &'static [&'static str] = ANY;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let socket = setup.tools.node.syslog.clone();
        Ok(Self {
            queue: Queues::of(setup, entries::AT_ONCE, || Ok(deliver(socket)))?,
            members: CustomMembers::prepare(config.custom_fields_by_lua.as_ref(), setup)?,
            severities: config.severities(),
            facility: config.facility,
            clock: setup.tools.clock.clone(),
        })
    }
}

impl Handler for Syslog {
    fn log(&self, summary: &Summary<'_>) {
        let Some(severity) = self.severities.of(summary.status) else { return };
        if let Some(entry) = entries::written(summary, &self.members) {
            self.queue.push(message(self.facility, severity, &self.clock, &entry));
        }
    }
}

/// A message as syslog(3) writes it: `<14>Jan  1 00:00:30 kong[4711]: …`, local time.
fn message(facility: Facility, severity: Severity, clock: &Clock, entry: &[u8]) -> Bytes {
    let second = i64::try_from(clock.unix_seconds()).unwrap_or_default();
    let time = TimeZone::system().to_datetime(Timestamp::from_second(second).unwrap_or_default());
    let priority = facility as u8 * 8 + severity as u8;
    let process = std::process::id();
    let head = format!("<{priority}>{} kong[{process}]: ", time.strftime("%b %e %H:%M:%S"));
    let mut message = BytesMut::with_capacity(head.len() + entry.len());
    message.put_slice(head.as_bytes());
    message.put_slice(entry);
    message.freeze()
}

fn deliver(socket: PathBuf) -> Deliver {
    let socket: Arc<Path> = socket.into();
    Arc::new(move |batch| {
        let socket = Arc::clone(&socket);
        async move {
            let told = |why: io::Error| format!("{}: {why}", socket.display());
            send(&socket, &batch).await.map_err(told)
        }
        .boxed()
    })
}

/// A datagram an entry; one that is too long does not keep back the others.
async fn send(socket: &Path, batch: &[Bytes]) -> io::Result<()> {
    let from = UnixDatagram::unbound()?;
    from.connect(socket)?;
    let mut result = Ok(());
    for entry in batch {
        if let Err(why) = from.send(entry).await {
            result = Err(why);
        }
    }
    result
}
