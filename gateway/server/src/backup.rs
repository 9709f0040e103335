//! `backup` and `restore`: state, keys and certificates of one node, copied together.
//!
//! The three belong together: secrets in the store are sealed with the keys, and apps know the
//! certificates. A store in PostgreSQL is saved with PostgreSQL's own tools; the rest is copied all
//! the same.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, lchown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use gateway_control::store::sqlite::Sqlite;

use crate::settings::Settings;
use crate::settings::store::Database;
use crate::{daemon, startup};

const DATABASE: &str = "gateway.db";
const KEYS: &str = "keys";
const CERTIFICATES: &str = "certs";
const NODE: &str = "node.id";

/// Copies state, keys and certificates to a folder that does not exist yet. The gateway may be
/// running: the copy of the database is the state of one moment.
///
/// # Errors
///
/// When something cannot be read or written. The folder is whole or not there.
pub(crate) fn backup(settings: &Settings, folder: &Path) -> Result<()> {
    ensure!(!folder.exists(), "{} is there already", folder.display());
    let part = folder.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).with_context(|| format!("removing {}", part.display()))?;
    }
    make(&part)?;
    let mut saved = String::from("keys and certificates");
    match settings.store.database {
        Database::Sqlite => {
            let file = startup::database_file(settings);
            ensure!(file.exists(), "{} is not there: nothing to save", file.display());
            let revision = block_on(Sqlite::copy(&file, &part.join(DATABASE)))?;
            saved = format!("revision {}, keys and certificates", revision.0);
        }
        Database::Postgres => eprintln!(
            "notice: the configuration is in PostgreSQL; save it there, with pg_dump for example"
        ),
        Database::Off => eprintln!("notice: the configuration is a file of yours; keep it too"),
    }
    for (from, name) in parts(settings) {
        copy(&from, &part.join(name)).with_context(|| format!("copying {}", from.display()))?;
    }
    fs::rename(&part, folder).with_context(|| format!("naming {}", folder.display()))?;
    println!("{saved} saved to {}", folder.display());
    Ok(())
}

/// Puts a backup in place of what the prefix holds; what was there is kept beside it.
///
/// # Errors
///
/// While a gateway runs with this prefix; for a folder that holds no backup; when a file cannot be
/// written.
pub(crate) fn restore(settings: &Settings, folder: &Path) -> Result<()> {
    let prefix = &settings.process.prefix;
    ensure!(folder.join(KEYS).is_dir(), "{} holds no backup", folder.display());
    startup::folders(settings)?;
    // Held until all is done: nobody starts on half of it.
    let _claim = daemon::claim(prefix).context("stop it first")?;
    let saved = folder.join(DATABASE);
    if settings.store.database == Database::Sqlite {
        let file = startup::database_file(settings);
        let part = file.with_extension("part");
        if part.exists() {
            fs::remove_file(&part).with_context(|| format!("removing {}", part.display()))?;
        }
        // Checked while it is copied: a damaged backup leaves everything as it is.
        block_on(Sqlite::copy(&saved, &part))?;
        set_aside(&file)?;
        for log in ["gateway.db-wal", "gateway.db-shm"] {
            set_aside(&prefix.join(log))?;
        }
        fs::rename(&part, &file).with_context(|| format!("naming {}", file.display()))?;
    }
    for (to, name) in parts(settings) {
        let from = folder.join(name);
        if from.exists() {
            set_aside(&to)?;
            copy(&from, &to).with_context(|| format!("writing {}", to.display()))?;
        }
    }
    hand_over(settings).context("giving the files to the owner of the prefix")?;
    println!("restored {} to {}", folder.display(), prefix.display());
    Ok(())
}

/// What root restored is given to whom the prefix belongs: the gateway's own user has to read it.
fn hand_over(settings: &Settings) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let prefix = &settings.process.prefix;
    let owner = fs::metadata(prefix)?;
    give(&startup::database_file(settings), &owner)?;
    for (path, _) in parts(settings) {
        give(&path, &owner)?;
        give(&aside(&path), &owner)?;
    }
    // The claim's file among them.
    give(&prefix.join("pids"), &owner)
}

/// Gives a file, or a folder and what is in it; what is not there is left out.
fn give(path: &Path, owner: &fs::Metadata) -> io::Result<()> {
    match lchown(path, Some(owner.uid()), Some(owner.gid())) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        given => given?,
    }
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), owner)?;
        }
    }
    Ok(())
}

/// What is copied besides the database: where it is, and its name in a backup.
fn parts(settings: &Settings) -> [(PathBuf, &'static str); 3] {
    [
        (settings.mep.key_dir.clone(), KEYS),
        (settings.mep.certs.clone(), CERTIFICATES),
        (settings.process.prefix.join(NODE), NODE),
    ]
}

/// Renames what is there, over what was set aside before.
fn set_aside(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let aside = aside(path);
    let gone = match aside.is_dir() {
        true => fs::remove_dir_all(&aside),
        false => fs::remove_file(&aside),
    };
    match gone {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", aside.display()));
        }
        _ => {}
    }
    fs::rename(path, &aside).with_context(|| format!("renaming {}", path.display()))
}

/// Where what was at a path is kept.
fn aside(path: &Path) -> PathBuf {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".before-restore");
    aside.into()
}

/// Copies a file, or a folder and what is in it, with their modes; what is not there is left out.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let facts = match fs::metadata(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        facts => facts?,
    };
    if !facts.is_dir() {
        // Keeps the mode.
        fs::copy(from, to)?;
        fs::File::open(to)?.sync_all()?;
        return Ok(());
    }
    make(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn make(folder: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("making {}", folder.display()))
}

fn block_on<T>(
    work: impl Future<Output = Result<T, gateway_control::store::StoreError>>,
) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(work)?)
}
