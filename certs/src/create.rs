//! Files that appear whole or not at all, and never replace one that is there.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::CertsError;

/// For private keys: the owner alone reads them.
pub(crate) const PRIVATE: u32 = 0o600;
/// For certificates and public keys.
pub(crate) const PUBLIC: u32 = 0o644;

/// Makes the folder, readable by its owner alone, and its parents.
pub(crate) fn folder(dir: &Path) -> Result<(), CertsError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(failed("creating the folder", dir))
}

/// Writes a new file with exactly this mode; `false` when one was there already, or came to be
/// there meanwhile. The content is on the disk before the name is.
pub(crate) fn file(path: &Path, content: &str, mode: u32) -> Result<bool, CertsError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<bool> {
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .permissions(Permissions::from_mode(PRIVATE))
            .tempfile_in(dir)?;
        file.write_all(content.as_bytes())?;
        // Set on the open file, where the process's umask has no say.
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Ok(_) => Ok(true),
            Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(refused) => Err(refused.error),
        }
    };
    write().map_err(failed("writing", path))
}

/// Writes a new file and takes note of it; what is there already is left alone.
pub(crate) fn note(
    path: &Path,
    content: &str,
    mode: u32,
    created: &mut Vec<PathBuf>,
) -> Result<(), CertsError> {
    if file(path, content, mode)? {
        created.push(path.to_owned());
    }
    Ok(())
}

/// The text of a file, or nothing when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, CertsError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(failed("reading", path)(cause)),
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CertsError {
    let path = path.to_owned();
    move |cause| CertsError::File { doing, path, cause }
}
