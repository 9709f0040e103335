use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use gateway_model::Violations;
use tokio::net::{UdpSocket, lookup_host};

use super::config::Config;
use crate::contract::{ANY, Handler, Phases, Plugin, Setup, Summary};
use crate::kit::entries;
use crate::kit::queue::{Deliver, Queue, Queues, seconds};

/// One instance (kong/plugins/udp-log/handler.lua).
pub(crate) struct UdpLog {
    queue: Arc<Queue>,
}

impl Plugin for UdpLog {
    const NAME: &'static str = "udp-log";
    const PRIORITY: i32 = 8;
    const PHASES: Phases = Phases::LOG;
    const PROTOCOLS: &'static [&'static str] = ANY;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        entries::no_lua(config.custom_fields_by_lua.as_ref())?;
        let sender = || {
            let timeout = seconds(config.timeout.map(|timeout| timeout / 1000.0), 10.0);
            let Config { host, port, .. } = config;
            Ok(deliver(Arc::new(Collector { host, port, timeout })))
        };
        Ok(Self { queue: Queues::of(setup, entries::AT_ONCE, sender)? })
    }
}

impl Handler for UdpLog {
    fn log(&self, summary: &Summary<'_>) {
        entries::push(&self.queue, summary);
    }
}

struct Collector {
    host: String,
    port: u16,
    timeout: Duration,
}

fn deliver(collector: Arc<Collector>) -> Deliver {
    Arc::new(move |batch| {
        let collector = Arc::clone(&collector);
        async move {
            let sent = tokio::time::timeout(collector.timeout, collector.send(&batch)).await;
            let told = |why| format!("{}:{}: {why}", collector.host, collector.port);
            sent.map_err(io::Error::from).flatten().map_err(told)
        }
        .boxed()
    })
}

impl Collector {
    /// A datagram an entry; one that is too long does not keep back the others.
    async fn send(&self, batch: &[Bytes]) -> io::Result<()> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let found = lookup_host((host, self.port)).await?.next();
        let to = found.ok_or_else(|| io::Error::other("no address"))?;
        let from: SocketAddr = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(from).await?;
        let mut result = Ok(());
        for entry in batch {
            if let Err(why) = socket.send_to(entry, to).await {
                result = Err(why);
            }
        }
        result
    }
}
