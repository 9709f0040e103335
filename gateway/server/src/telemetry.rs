//! Logs of the process: one subscriber, fed by us through `tracing` and by libraries through `log`.

use anyhow::Result;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings::logs::{LogFormat, LogLevel, LogTarget, Logs};

/// Starts logging to standard error or the file of `proxy_error_log`.
///
/// # Errors
///
/// When that file cannot be opened.
pub(crate) fn start(logs: &Logs) -> Result<()> {
    let level = match logs.level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Notice => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error | LogLevel::Crit | LogLevel::Alert | LogLevel::Emerg => "error",
    };
    // At `notice`, libraries only speak up when something is wrong.
    let filter = match logs.level {
        LogLevel::Debug => EnvFilter::new("debug,h2=info,hyper=info,rustls=info,sqlx=info"),
        LogLevel::Info => EnvFilter::new("info,sqlx=warn"),
        LogLevel::Notice => EnvFilter::new(
            "warn,gateway=info,gateway_server=info,gateway_control=info,gateway_proxy=info,\
             gateway_admin=info,plugins=info,mep=info,pingora_core=error,pingora_proxy=error",
        ),
        _ => EnvFilter::new(level),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let out = writer(&logs.proxy.error)?;
    let layer = tracing_subscriber::fmt::layer().with_writer(out).with_ansi(false);
    match logs.format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init()?,
        LogFormat::Text => registry.with(layer.with_target(false)).try_init()?,
    }
    Ok(())
}

type Writer = tracing_subscriber::fmt::writer::BoxMakeWriter;

fn writer(target: &LogTarget) -> Result<Writer> {
    Ok(match target {
        LogTarget::Off => Writer::new(std::io::sink),
        LogTarget::Stdout => Writer::new(std::io::stdout),
        LogTarget::Stderr => Writer::new(std::io::stderr),
        LogTarget::File(path) => Writer::new(open(path)?),
    })
}

/// Opens a log file for appending, making its folder.
///
/// # Errors
///
/// The path with the system's reason.
pub(crate) fn open(path: &std::path::Path) -> Result<std::fs::File> {
    use anyhow::Context as _;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))
}
