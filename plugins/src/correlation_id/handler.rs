use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gateway_model::{Clock, Id, Violations};
use http::{HeaderName, HeaderValue};

use super::config::{Config, Generator};
use crate::contract::{Facts, Flow, Handler, LogMembers, Phases, Plugin, Request, Response, Setup};

/// One instance (kong/plugins/correlation-id/handler.lua).
pub(crate) struct CorrelationId {
    header: HeaderName,
    /// The name as it is sent: HTTP/1 shows its case.
    spelling: String,
    generator: Generator,
    echo_downstream: bool,
    process: Arc<Process>,
    clock: Clock,
}

/// What all ids of this process share.
struct Process {
    id: Id,
    made: AtomicU64,
}

impl Plugin for CorrelationId {
    const NAME: &'static str = "correlation-id";
    const PRIORITY: i32 = 100_001;
    const PHASES: Phases = Phases::ACCESS.and(Phases::HEADER_FILTER);
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        let spelling = config.header_name.unwrap_or_else(|| "Kong-Request-ID".to_owned());
        let header = spelling
            .parse()
            .map_err(|_| Violations::one("header_name", "not usable as a header"))?;
        let process = || Process { id: Id::random(), made: AtomicU64::new(0) };
        Ok(Self {
            header,
            spelling,
            generator: config.generator,
            echo_downstream: config.echo_downstream,
            process: setup.tools.shared(|_| process()),
            clock: setup.tools.clock.clone(),
        })
    }
}

/// The id of an exchange, in its notes.
#[derive(Clone)]
struct Known(HeaderValue);

impl Handler for CorrelationId {
    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        let sent = request.head.headers.get(&self.header).filter(|value| !value.is_empty());
        let id = match sent.cloned() {
            Some(id) => id,
            None => {
                let id = self.make(request.facts);
                // A valid name and value are always taken.
                let _ = request.head.insert_header(self.spelling.clone(), id.clone());
                id
            }
        };
        let text = String::from_utf8_lossy(id.as_bytes()).into_owned();
        LogMembers::add(request.facts, "correlation_id", text.into());
        request.facts.notes.insert(Known(id));
        Flow::Continue
    }

    fn header_filter(&self, response: &mut Response<'_>) {
        if !self.echo_downstream {
            return;
        }
        // The access phase does not run for requests refused before it.
        let known = response.facts.notes.get::<Known>().map(|known| known.0.clone());
        let id = known.unwrap_or_else(|| self.make(response.facts));
        let _ = response.head.insert_header(self.spelling.clone(), id);
    }
}

impl CorrelationId {
    fn make(&self, facts: &Facts) -> HeaderValue {
        let next = || self.process.made.fetch_add(1, Ordering::Relaxed) + 1;
        let text = match self.generator {
            Generator::Uuid => Id::random().to_string(),
            Generator::Counter => format!("{}#{}", self.process.id, next()),
            Generator::Tracker => {
                let (here, there) = (facts.client.local, facts.client.peer);
                #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
                let seconds = self.clock.unix_ms() as f64 / 1000.0;
                let (ip, port, process) = (here.ip(), here.port(), std::process::id());
                format!("{ip}-{port}-{process}-{}-{}-{seconds:.3}", there.port(), next())
            }
        };
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}
