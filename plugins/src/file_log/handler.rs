use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use gateway_model::Violations;
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

use super::config::Config;
use crate::contract::{ANY, Handler, Phases, Plugin, Setup, Summary};
use crate::kit::entries::{self, CustomMembers};
use crate::kit::queue::{Deliver, Queue, Queues};

/// One instance (kong/plugins/file-log/handler.lua).
pub(crate) struct FileLog {
    queue: Arc<Queue>,
    members: CustomMembers,
}

impl Plugin for FileLog {
    const NAME: &'static str = "file-log";
    const PRIORITY: i32 = 9;
    const PHASES: Phases = Phases::LOG;
    const PROTOCOLS: &'static [&'static str] = ANY;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let members = CustomMembers::prepare(config.custom_fields_by_lua.as_ref(), setup)?;
        let appender = || {
            let Config { path, reopen, .. } = config;
            Ok(Appender { path, reopen, open: Mutex::new(None) }.deliver())
        };
        Ok(Self { queue: Queues::of(setup, entries::AT_ONCE, appender)?, members })
    }
}

impl Handler for FileLog {
    fn log(&self, summary: &Summary<'_>) {
        entries::push(&self.queue, summary, &self.members);
    }
}

/// The file entries go to, opened at the first.
struct Appender {
    path: String,
    reopen: bool,
    open: Mutex<Option<File>>,
}

impl Appender {
    fn deliver(self) -> Deliver {
        let appender = Arc::new(self);
        Arc::new(move |batch| {
            let appender = Arc::clone(&appender);
            async move {
                let told = |why: io::Error| format!("{}: {why}", appender.path);
                appender.append(&batch).await.map_err(told)
            }
            .boxed()
        })
    }

    async fn append(&self, batch: &[Bytes]) -> io::Result<()> {
        let mut lines = Vec::with_capacity(batch.iter().map(|entry| entry.len() + 1).sum());
        for entry in batch {
            lines.extend_from_slice(entry);
            lines.push(b'\n');
        }
        let mut open = self.open.lock().await;
        let mut file = match open.take().filter(|_| !self.reopen) {
            Some(file) => file,
            None => OpenOptions::new().append(true).create(true).open(&self.path).await?,
        };
        file.write_all(&lines).await?;
        file.flush().await?;
        *open = Some(file);
        Ok(())
    }
}
