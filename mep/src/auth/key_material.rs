//! The files that the sealing key comes from, and how.
//!
//! A *root key* is derived from three parts: a *key component* that an operator may keep apart from
//! the folder, 256 random bytes, and a constant that the original's programs share. It does nothing
//! but wrap the random *work key*, which seals the values. Formulas, file names and lengths are the
//! original's, so its folder opens as it is.
//!
//! Losing any of the files loses every sealed value, so the folder belongs to the data it protects,
//! in a backup as well.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::num::NonZeroU32;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::pbkdf2;
use zeroize::Zeroizing;

use super::credential::{RandomFailed, random};
use super::sealing::{SealingFailed, SealingKey};

/// Opens the key material in `folder`, making first whatever is missing.
///
/// `component` is the operator's `KEY_COMPONENT`, of which the first 256 bytes count; without one, a
/// random component is kept in the folder itself, in the file `key_component`. Folders are made with
/// mode 0700 and files with 0600, each complete on disk before the next is begun. A folder whose
/// later files exist without the earlier ones is damaged, and nothing is made in it.
///
/// Deriving the root key takes 10 to 30 ms.
///
/// # Errors
///
/// A [`KeyMaterialError`] naming the file.
pub fn open_or_create(
    folder: &Path,
    component: Option<&[u8]>,
) -> Result<SealingKey, KeyMaterialError> {
    let files = Files::of(folder);
    files.check_for_gaps(component.is_none())?;
    if component.is_none() {
        create_random(&files.component)?;
    }
    create_random(&files.random)?;
    create_random(&files.salt)?;
    if !files.work_key.exists() {
        let work_key = random::<{ SealingKey::LENGTH }>()?;
        let (wrapped, nonce) = files.root_key(component)?.seal_bytes(work_key.as_slice())?;
        // A nonce without its key is from a start that was cut short.
        write(&files.nonce, &nonce)?;
        write(&files.work_key, &wrapped)?;
        tracing::info!(folder = %folder.display(), "made new key material");
    }
    open(folder, component)
}

/// Opens existing key material and makes nothing.
///
/// # Errors
///
/// A [`KeyMaterialError`] naming the file that is missing or does not fit.
pub fn open(folder: &Path, component: Option<&[u8]>) -> Result<SealingKey, KeyMaterialError> {
    let files = Files::of(folder);
    let root_key = files.root_key(component)?;
    let wrapped = read(&files.work_key)?;
    let nonce = read(&files.nonce)?;
    let mismatch = || KeyMaterialError::Mismatch { path: files.work_key.clone() };
    let work_key = root_key.open_bytes(&wrapped, &nonce).map_err(|_| mismatch())?;
    let work_key = work_key.as_slice().try_into().map_err(|_| mismatch())?;
    Ok(SealingKey::new(work_key)?)
}

/// Why key material could not be opened or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyMaterialError {
    /// A file could not be read or written.
    #[error("{}", path.display())]
    File {
        /// The file, or the folder it was to be in.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A file has the wrong length.
    #[error("{} holds {found} bytes instead of {expected}", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// The length it must have, in bytes.
        expected: usize,
        /// The length it has, in bytes.
        found: usize,
    },
    /// The operator's key component is too short.
    #[error("a key component has at least 256 bytes; this one has {0}")]
    Component(usize),
    /// A file is missing although a later one was made after it.
    #[error("{} is missing beside files that were made after it", path.display())]
    Gap {
        /// The file that is missing.
        path: PathBuf,
    },
    /// The files are complete but do not belong together, or to this key component.
    #[error("{} was not made with this key component and these files", path.display())]
    Mismatch {
        /// The wrapped work key.
        path: PathBuf,
    },
    /// The system's random source did not answer.
    #[error(transparent)]
    Random(#[from] RandomFailed),
    /// The library refused to encrypt.
    #[error(transparent)]
    Sealing(#[from] SealingFailed),
}

/// Where everything is, in the order in which it is made.
struct Files {
    component: PathBuf,
    random: PathBuf,
    salt: PathBuf,
    nonce: PathBuf,
    work_key: PathBuf,
}

impl Files {
    fn of(folder: &Path) -> Self {
        Self {
            component: folder.join("key_component"),
            random: folder.join("cprop/c_properties"),
            salt: folder.join("sprop/s_properties"),
            nonce: folder.join("wnprop/wn_properties"),
            work_key: folder.join("wprop/w_properties"),
        }
    }

    fn check_for_gaps(&self, own_component: bool) -> Result<(), KeyMaterialError> {
        let component = own_component.then_some(&self.component);
        let mut missing = None;
        for path in component.into_iter().chain([&self.random, &self.salt]) {
            match (path.exists(), missing) {
                (true, Some(earlier)) => return Err(gap(earlier)),
                (true, None) => {}
                (false, _) => missing = missing.or(Some(path)),
            }
        }
        if self.work_key.exists() {
            let missing = missing.or_else(|| (!self.nonce.exists()).then_some(&self.nonce));
            return missing.map_or(Ok(()), |path| Err(gap(path)));
        }
        Ok(())
    }

    fn root_key(&self, component: Option<&[u8]>) -> Result<SealingKey, KeyMaterialError> {
        let own: Part;
        let component = match component {
            Some(given) => given.first_chunk().ok_or(KeyMaterialError::Component(given.len()))?,
            None => {
                own = read_part(&self.component)?;
                &own
            }
        };
        let random = read_part(&self.random)?;
        let salt = read_part(&self.salt)?;
        let key = root_key(component, &random, &salt);
        Ok(SealingKey::new(&key)?)
    }
}

fn gap(path: &Path) -> KeyMaterialError {
    KeyMaterialError::Gap { path: path.to_owned() }
}

const PART_LENGTH: usize = 256;
type Part = Zeroizing<[u8; PART_LENGTH]>;

/// PBKDF2-HMAC-SHA256 over the three parts, combined byte by byte.
fn root_key(
    component: &[u8; PART_LENGTH],
    random: &[u8; PART_LENGTH],
    salt: &[u8; PART_LENGTH],
) -> Zeroizing<[u8; SealingKey::LENGTH]> {
    let mut password: Part = Zeroizing::new(*BUILT_IN_COMPONENT);
    for (at, byte) in password.iter_mut().enumerate() {
        *byte ^= component[at] ^ random[at];
    }
    let mut key = Zeroizing::new([0; SealingKey::LENGTH]);
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        ITERATIONS,
        salt,
        password.as_slice(),
        key.as_mut_slice(),
    );
    key
}

fn read_part(path: &Path) -> Result<Part, KeyMaterialError> {
    let bytes = read(path)?;
    let part = bytes.as_slice().try_into().map_err(|_| KeyMaterialError::Length {
        path: path.to_owned(),
        expected: PART_LENGTH,
        found: bytes.len(),
    })?;
    Ok(Zeroizing::new(part))
}

/// Reads a file; says so in the log when others than its owner may read it too.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyMaterialError> {
    let failed = |cause| KeyMaterialError::File { path: path.to_owned(), cause };
    let bytes = fs::read(path).map(Zeroizing::new).map_err(failed)?;
    let mode = fs::metadata(path).map_err(failed)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(
            path = %path.display(),
            "key material is readable by others: mode {mode:o} instead of 600"
        );
    }
    Ok(bytes)
}

/// Makes a file of 256 random bytes, unless it exists.
fn create_random(path: &Path) -> Result<(), KeyMaterialError> {
    if path.exists() {
        return Ok(());
    }
    write(path, random::<PART_LENGTH>()?.as_slice())
}

/// Writes a file so that it is either complete, on disk, or not there.
fn write(path: &Path, bytes: &[u8]) -> Result<(), KeyMaterialError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let attempt = || {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let new = path.with_extension("new");
        // What a start that was cut short left behind may have any mode.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(folder)?.sync_all()
    };
    attempt().map_err(|cause| KeyMaterialError::File { path: path.to_owned(), cause })
}

const ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).expect("not zero");

/// What the original's programs have built in. It is public, hence no secret: the strength is in the
/// other parts.
const BUILT_IN_COMPONENT: &[u8; PART_LENGTH] = b"\
    j7k0UwOJSsIfi3dzainoBdkcpJJJOJlzd2oBwMQxXdaZ3oCswITWUyLP4eldxdcK\
    GmDvG1qwUEfQjAg71ZeFYyHgXa5OpBlmug3z06bs7ssr2XYTuPydK6y4K34UfsgR\
    KEwMgGP1Ieo8x20lbjXcq0tJG4Q7xgakXs59NwnBeNg2N8R1FgfqD0z9weWgxd7D\
    dJZkDpbJgdANT31y4KDeDCpJXld6XQOxi99mO2xQdMcH6OUyIfgDP7dPaJU57D33";

#[cfg(test)]
mod tests;
