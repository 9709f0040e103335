//! The access log: one line an exchange or a stream, in Kong's formats, written by a thread of its
//! own.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use http::{HeaderMap, Version, header};
use jiff::Timestamp;
use plugins::contract::{SessionLog, Summary};

/// A handle on the access log. Lines that find the queue full are dropped and counted.
#[derive(Clone, Debug)]
pub struct AccessLog {
    lines: SyncSender<String>,
    lost: Arc<AtomicU64>,
}

const QUEUE: usize = 8192;
/// Between two writes. A line stands in the file this much later at the most.
const GATHER: Duration = Duration::from_millis(5);

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
        let request = summary.request;
        self.request(&Line {
            client: summary.facts.client.ip,
            at_ms: summary.facts.started_ms,
            request: format_args!(
                "{} {} {}",
                request.method,
                Quoted(summary.uri, "%22"),
                version(request.version)
            ),
            status: summary.status,
            size: summary.response_body_size,
            headers: Some(&request.headers),
            id: Some(&summary.facts.request_id),
        });
    }

    /// Queues the line of one stream: Kong's format `basic` (kong/templates/nginx_kong_stream.lua).
    pub(crate) fn stream(&self, log: &SessionLog<'_>, protocol: &str) {
        let millis = log.latencies.request;
        self.queue(format!(
            "{} [{}] {protocol} {} {} {} {}.{:03}\n",
            log.facts.client.ip,
            LocalTime(log.facts.started_ms),
            log.status,
            log.sent,
            log.received,
            millis / 1000,
            millis % 1000,
        ));
    }

    /// Queues the line of a request.
    pub fn request(&self, line: &Line<'_>) {
        self.queue(line.text());
    }

    fn queue(&self, line: String) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.lines.try_send(line)
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes lines until no handle is left, flushing when the queue runs empty.
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
        // Under load the next lines gather meanwhile: one wake and one write for all of them.
        std::thread::sleep(GATHER);
    }
}

/// A time as nginx writes it, in the time zone of everything else here.
struct LocalTime(u64);

thread_local! {
    /// The second a line of this thread was last written in, and its text.
    static LAST: RefCell<(u64, String)> = RefCell::default();
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = self.0 / 1000;
        LAST.with_borrow_mut(|(last, text)| {
            if *last != second {
                let time = i64::try_from(second).ok();
                let time = time.and_then(|second| Timestamp::from_second(second).ok());
                let spelled = time.map(|time| time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string());
                (*last, *text) = (second, spelled.unwrap_or_default());
            }
            f.write_str(text)
        })
    }
}

/// A text inside quotes: quotes in it are written as `escape`.
struct Quoted<'a>(&'a str, &'static str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.0.split('"');
        f.write_str(parts.next().unwrap_or_default())?;
        parts.try_for_each(|part| f.write_str(self.1).and_then(|()| f.write_str(part)))
    }
}

/// One request, as nginx's combined format tells of it.
pub struct Line<'a> {
    /// The client.
    pub client: IpAddr,
    /// When it began, Unix milliseconds.
    pub at_ms: u64,
    /// The request line, without quotes and control characters.
    pub request: fmt::Arguments<'a>,
    /// Status of the answer.
    pub status: u16,
    /// Bytes of its body.
    pub size: u64,
    /// Where `Referer` and `User-Agent` are.
    pub headers: Option<&'a HeaderMap>,
    /// Kong's addition to the format (kong/templates/nginx_kong.lua, kong_log_format).
    pub id: Option<&'a str>,
}

impl Line<'_> {
    fn text(&self) -> String {
        let header = |name| {
            let value = self.headers.and_then(|headers| headers.get(name));
            let value = value.and_then(|value| value.to_str().ok());
            Quoted(value.unwrap_or("-"), "\\x22")
        };
        let mut text = String::with_capacity(256);
        let written = write!(
            text,
            "{} - - [{}] \"{}\" {} {} \"{}\" \"{}\"",
            self.client,
            LocalTime(self.at_ms),
            self.request,
            self.status,
            self.size,
            header(header::REFERER),
            header(header::USER_AGENT),
        );
        debug_assert!(written.is_ok(), "text takes everything");
        if let Some(id) = self.id {
            text.push_str(" kong_request_id: \"");
            text.push_str(id);
            text.push('"');
        }
        text.push('\n');
        text
    }
}

/// A version as a request line has it.
pub const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}
