//! Logs of the process: one subscriber, fed by us through `tracing` and by libraries through `log`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use arc_swap::ArcSwap;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::log_file::LogFiles;
use crate::settings::Word as _;
use crate::settings::logs::{LogFormat, LogLevel, LogTarget, Logs};

/// Starts logging to standard error or the file of `proxy_error_log`.
///
/// # Errors
///
/// When that file cannot be opened.
pub(crate) fn start(logs: &Logs, files: &LogFiles) -> Result<Arc<Level>> {
    let (filter, handle) = reload::Layer::new(filter(logs.level));
    let registry = tracing_subscriber::registry().with(filter);
    let out = writer(&logs.proxy.error, files)?;
    let layer = tracing_subscriber::fmt::layer().with_writer(out).with_ansi(false);
    match logs.format {
        LogFormat::Json => {
            registry.with(layer.json().flatten_event(true)).with(ToPlugins).try_init()?;
        }
        LogFormat::Text => registry.with(layer.with_target(false)).with(ToPlugins).try_init()?,
    }
    let (at_start, changes) = (logs.level, AtomicU64::new(0));
    Ok(Arc::new(Level { at_start, current: ArcSwap::from_pointee(logs.level), changes, handle }))
}

/// Tells lines to the plugins that send them on.
struct ToPlugins;

impl<S: tracing::Subscriber> Layer<S> for ToPlugins {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let target = event.metadata().target();
        // What queues say of their deliveries would be delivered, and so on for ever.
        if !plugins::are_heard() || target.starts_with("plugins::kit::") {
            return;
        }
        let mut words = Words::default();
        event.record(&mut words);
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        plugins::tell(&plugins::Line {
            at_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            level: *event.metadata().level(),
            target,
            text: words.text,
            request: words.request,
        });
    }
}

/// What a line says, and of which request.
#[derive(Default)]
struct Words {
    text: String,
    request: Option<String>,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "request.id" && !value.is_empty() {
            self.request = Some(value.to_owned());
        } else if field.name() == "message" {
            value.clone_into(&mut self.text);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.text = format!("{value:?}");
        }
    }
}

fn filter(level: LogLevel) -> EnvFilter {
    // At `notice`, libraries only speak up when something is wrong. hickory's server says so much of
    // each question that whoever asks could fill the disk.
    EnvFilter::new(match level {
        // Libraries that print whole requests, credentials among them, are held back.
        LogLevel::Debug => {
            "debug,h2=info,hyper=info,rustls=info,sqlx=info,pingora_core=info,pingora_proxy=info,\
             ldap3=info,hickory_server=error"
        }
        LogLevel::Info => "info,sqlx=warn,hickory_server=error",
        LogLevel::Notice => {
            "warn,gateway=info,gateway_server=info,gateway_control=info,gateway_proxy=info,\
             gateway_admin=info,plugins=info,mep=info,hickory_server=error,pingora_core=error,\
             pingora_proxy=error"
        }
        LogLevel::Warn => "warn,hickory_server=error",
        LogLevel::Error | LogLevel::Crit | LogLevel::Alert | LogLevel::Emerg => "error",
    })
}

/// The level of logs, which the Admin API may change while the process runs.
pub(crate) struct Level {
    at_start: LogLevel,
    current: ArcSwap<LogLevel>,
    /// Counts changes, so that a return that was overtaken does not happen.
    changes: AtomicU64,
    handle: reload::Handle<EnvFilter, Registry>,
}

impl Level {
    fn change(&self, level: LogLevel) -> u64 {
        if let Err(error) = self.handle.reload(filter(level)) {
            tracing::error!("the level of logs stays: {error}");
        } else {
            self.current.store(Arc::new(level));
        }
        self.changes.fetch_add(1, Ordering::AcqRel) + 1
    }
}

/// The Admin API's view of a [`Level`].
pub(crate) struct Steered(pub(crate) Arc<Level>);

impl gateway_admin::LogLevel for Steered {
    fn level(&self) -> String {
        self.0.current.load().word().to_owned()
    }

    fn set(&self, level: &str, back_in: Option<Duration>) {
        let Some(wanted) = LogLevel::from_word(level) else { return };
        let change = self.0.change(wanted);
        let Some(back_in) = back_in else { return };
        let level = Arc::clone(&self.0);
        tokio::spawn(async move {
            tokio::time::sleep(back_in).await;
            if level.changes.load(Ordering::Acquire) == change {
                level.change(level.at_start);
            }
        });
    }
}

type Writer = tracing_subscriber::fmt::writer::BoxMakeWriter;

fn writer(target: &LogTarget, files: &LogFiles) -> Result<Writer> {
    Ok(match target {
        LogTarget::Off => Writer::new(std::io::sink),
        LogTarget::Stdout => Writer::new(std::io::stdout),
        LogTarget::Stderr => Writer::new(std::io::stderr),
        LogTarget::File(path) => {
            let file = files.open(path)?;
            Writer::new(move || file.clone())
        }
    })
}
