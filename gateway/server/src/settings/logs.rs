//! What is logged, how, and where to.

use std::path::{Path, PathBuf};

use super::reader::Reader;
use super::scalar::choice;

#[derive(Debug)]
pub(crate) struct Logs {
    pub(crate) level: LogLevel,
    pub(crate) format: LogFormat,
    pub(crate) proxy: LogTargets,
    /// Every stream.
    pub(crate) stream_access: LogTarget,
    pub(crate) admin: LogTargets,
    pub(crate) status: LogTargets,
    /// Requests on the direct listeners of the MEC platform.
    pub(crate) mep_access: LogTarget,
}

impl Logs {
    pub(super) fn read(reader: &mut Reader<'_>, prefix: &Path) -> Self {
        let mut target = |key| LogTarget::read(reader, key, prefix);
        let proxy =
            LogTargets { access: target("proxy_access_log"), error: target("proxy_error_log") };
        let stream_access = target("proxy_stream_access_log");
        let admin =
            LogTargets { access: target("admin_access_log"), error: target("admin_error_log") };
        let status =
            LogTargets { access: target("status_access_log"), error: target("status_error_log") };
        let mep_access = target("mep_access_log");
        Self {
            level: reader.choice("log_level"),
            format: reader.choice("mep_log_format"),
            proxy,
            stream_access,
            admin,
            status,
            mep_access,
        }
    }
}

/// The two logs of one kind of listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogTargets {
    /// Every request.
    pub(crate) access: LogTarget,
    /// What goes wrong.
    pub(crate) error: LogTarget,
}

/// Where lines of a log go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogTarget {
    Off,
    Stdout,
    Stderr,
    /// A file to append to; its folder may have to be made.
    File(PathBuf),
}

impl LogTarget {
    /// NGINX takes a format or a level after the path; there is one format here.
    fn read(reader: &mut Reader<'_>, key: &str, prefix: &Path) -> Self {
        let text = reader.word(key);
        let (path, rest) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
        // The format of streams is named in the default.
        if !rest.is_empty() && rest != "basic" {
            reader.note(key, format!("{key}: '{}' after the path has no effect", rest.trim()));
        }
        match path {
            "off" => Self::Off,
            "/dev/stdout" => Self::Stdout,
            "/dev/stderr" => Self::Stderr,
            // Absolute paths stay as they are.
            path => Self::File(prefix.join(path)),
        }
    }
}

choice! {
    /// How severe an event must be to be logged, least severe first.
    LogLevel {
        Debug = "debug",
        Info = "info",
        Notice = "notice",
        Warn = "warn",
        Error = "error",
        Crit = "crit",
        Alert = "alert",
        Emerg = "emerg",
    }
}

choice! {
    /// The form of the process's own log.
    LogFormat {
        /// Lines for people.
        Text = "text",
        /// One object a line.
        Json = "json",
    }
}
