//! Log files that can be opened anew while they are written: how they are rotated (USR1).

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use arc_swap::ArcSwap;

/// The log files of this process.
#[derive(Default)]
pub(crate) struct LogFiles(Mutex<Vec<LogFile>>);

/// One log file; clones write to the same.
#[derive(Clone)]
pub(crate) struct LogFile {
    path: Arc<PathBuf>,
    file: Arc<ArcSwap<File>>,
}

impl LogFiles {
    /// Opens a log file for appending, making its folder.
    ///
    /// # Errors
    ///
    /// The path with the system's reason.
    pub(crate) fn open(&self, path: &Path) -> Result<LogFile> {
        let file = Arc::new(ArcSwap::from_pointee(open(path)?));
        let log = LogFile { path: Arc::new(path.to_owned()), file };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(log.clone());
        Ok(log)
    }

    /// Opens every file anew, under the path it had. One that cannot be opened goes on as it is.
    pub(crate) fn reopen(&self) {
        for log in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            match open(&log.path) {
                Ok(file) => log.file.store(Arc::new(file)),
                Err(error) => tracing::error!("a log file is not opened anew: {error:#}"),
            }
        }
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        (&**self.file.load()).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        (&**self.file.load()).flush()
    }
}

/// Opens a file for appending, making its folder.
///
/// # Errors
///
/// The path with the system's reason.
pub(crate) fn open(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))
}
