//! The access log: one line an exchange or a stream, in Kong's formats, written by a thread of its
//! own.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use jiff::Timestamp;
use plugins::contract::{SessionLog, Summary};

/// A handle on the access log. Lines that find the queue full are dropped and counted.
#[derive(Clone, Debug)]
pub struct AccessLog {
    lines: SyncSender<String>,
    lost: Arc<AtomicU64>,
}

const QUEUE: usize = 8192;

impl AccessLog {
    /// Starts the writing thread; it ends when the last handle is dropped.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn to(out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (lines, queue) = sync_channel(QUEUE);
        std::thread::Builder::new().name("access-log".into()).spawn(move || write(out, &queue))?;
        Ok(Self { lines, lost: Arc::default() })
    }

    /// How many lines were dropped.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Queues the line of one exchange.
    pub fn exchange(&self, summary: &Summary<'_>) {
        self.queue(line(summary));
    }

    /// Queues the line of one stream: Kong's format `basic` (kong/templates/nginx_kong_stream.lua).
    pub(crate) fn stream(&self, log: &SessionLog<'_>, protocol: &str) {
        let millis = log.latencies.request;
        self.queue(format!(
            "{} [{}] {protocol} {} {} {} {}.{:03}\n",
            log.facts.client.ip,
            local_time(log.facts.started_ms),
            log.status,
            log.sent,
            log.received,
            millis / 1000,
            millis % 1000,
        ));
    }

    fn queue(&self, line: String) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.lines.try_send(line)
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes lines as they come, flushing when the queue runs empty.
fn write(out: impl Write, queue: &Receiver<String>) {
    let mut out = std::io::BufWriter::new(out);
    while let Ok(line) = queue.recv() {
        let mut next = Some(line);
        while let Some(line) = next {
            if out.write_all(line.as_bytes()).is_err() {
                return;
            }
            next = queue.try_recv().ok();
        }
        if out.flush().is_err() {
            return;
        }
    }
}

/// As nginx writes it, in the time zone of everything else here.
fn local_time(unix_ms: u64) -> String {
    i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .map(|time| time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string())
        .unwrap_or_default()
}

/// nginx's combined format and Kong's request id (kong/templates/nginx_kong.lua, kong_log_format).
fn line(summary: &Summary<'_>) -> String {
    let header = |name: &str| {
        let value = summary.request.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or("-").replace('"', "\\x22")
    };
    let time = local_time(summary.facts.started_ms);
    let version = match summary.request.version {
        http::Version::HTTP_2 => "2.0",
        http::Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    format!(
        "{} - - [{time}] \"{} {} HTTP/{version}\" {} {} \"{}\" \"{}\" kong_request_id: \"{}\"\n",
        summary.facts.client.ip,
        summary.request.method,
        summary.uri.replace('"', "%22"),
        summary.status,
        summary.response_body_size,
        header("referer"),
        header("user-agent"),
        summary.facts.request_id,
    )
}
