//! The directory of a backup:
//!
//! ```text
//! backup.json       what the backup is; names the files below
//! backup.lock       held while a backup is made or restored
//! store-ID.db       the database, a new one each time
//! events/           the event log, as in a data directory
//! tmp/              what is not whole yet
//! ```
//!
//! `backup.json` is what makes a backup one: it is replaced in one step, and what it no longer names is removed behind that.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use uuid::Uuid;

use super::BackupError;
use super::manifest::{FORMAT, Manifest};
use crate::durable;
use crate::event_log::EventLogDir;

const MANIFEST: &str = "backup.json";
const LOCK: &str = "backup.lock";
const UNFINISHED: &str = "tmp";
const EVENTS: &str = "events";
const DATABASE: (&str, &str) = ("store-", ".db");

/// The directory of a backup, and the right to change or to read it.
pub struct BackupDir {
    path: PathBuf,
    pub log: EventLogDir,
    _lock: Option<File>,
}

impl BackupDir {
    /// Opens a directory to make a backup in it: an empty one, which is made where it is missing, or one that holds a backup,
    /// or the beginning of one.
    pub fn open_to_write(path: &Path) -> anyhow::Result<Self> {
        durable::create_dir(path).with_context(|| format!("cannot create the directory {}", path.display()))?;
        let names = names_in(path)?;
        let is_backup = names.iter().any(|name| [LOCK, MANIFEST].contains(&name.as_str()));
        let foreign = names.iter().find(|name| !(is_backup && is_ours(name)));
        if let Some(name) = foreign {
            return Err(BackupError::NotEmpty { dir: path.to_owned(), name: name.clone() }.into());
        }
        let lock = OpenOptions::new().create(true).append(true).open(path.join(LOCK));
        let lock = lock.with_context(|| format!("cannot write to {}", path.display()))?;
        locked(lock.try_lock(), path)?;
        Ok(Self { path: path.to_owned(), log: EventLogDir::open(path)?, _lock: Some(lock) })
    }

    /// Opens a directory to restore what is in it. Nothing is written there.
    pub fn open_to_read(path: &Path) -> anyhow::Result<Self> {
        let lock = match File::open(path.join(LOCK)) {
            Ok(lock) => {
                locked(lock.try_lock_shared(), path)?;
                Some(lock)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { path: path.to_owned(), log: EventLogDir::at(path), _lock: lock })
    }

    /// The backup that is there; none where none is finished.
    pub fn manifest(&self) -> anyhow::Result<Option<Manifest>> {
        let path = self.path.join(MANIFEST);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let unreadable = |source| BackupError::Unreadable { path: path.clone(), source };
        let form: serde_json::Value = serde_json::from_str(&text).map_err(unreadable)?;
        if form["format"].as_u64().is_some_and(|format| format > FORMAT.into()) {
            let by = form["version"].as_str().unwrap_or("another version").to_owned();
            return Err(BackupError::Newer { path, by }.into());
        }
        Ok(Some(serde_json::from_value(form).map_err(unreadable)?))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new name for a database.
    pub fn new_database() -> String {
        [DATABASE.0, &Uuid::now_v7().simple().to_string(), DATABASE.1].concat()
    }

    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where a database lies until it is whole.
    pub fn unfinished(&self, name: &str) -> PathBuf {
        self.path.join(UNFINISHED).join(name)
    }

    /// Puts a whole database in its place, durably.
    pub fn put_in_place(&self, name: &str) -> anyhow::Result<()> {
        let (unfinished, path) = (self.unfinished(name), self.path.join(name));
        let put = || {
            File::open(&unfinished)?.sync_all()?;
            durable::rename(&unfinished, &path)
        };
        put().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Makes this the backup, in one step; all files that it names are there and durable. Then others are removed.
    pub fn finish(&self, manifest: &Manifest) -> anyhow::Result<()> {
        let (unfinished, path) = (self.unfinished(MANIFEST), self.path.join(MANIFEST));
        let write = || {
            durable::write(&unfinished, &serde_json::to_vec_pretty(manifest)?)?;
            durable::rename(&unfinished, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
        self.tidy(manifest)
    }

    /// Removes what this backup does not name.
    fn tidy(&self, manifest: &Manifest) -> anyhow::Result<()> {
        let named: HashSet<&str> = manifest.segments.iter().map(|segment| segment.path.as_str()).collect();
        for relative in self.log.files()?.into_iter().filter(|path| !named.contains(path.as_str())) {
            let path = self.log.path_of(&relative);
            remove(&path)?;
            // A folder that holds others stays.
            path.parent().map(fs::remove_dir);
        }
        self.remove_databases(Some(&manifest.database.path))
    }

    /// Removes what backups that were cut short left unfinished, and all databases but one.
    pub fn remove_databases(&self, but: Option<&str>) -> anyhow::Result<()> {
        let is_database = |name: &String| name.starts_with(DATABASE.0) && Some(name.as_str()) != but;
        let unfinished = names_in(&self.path.join(UNFINISHED))?.into_iter().map(|name| self.unfinished(&name));
        let others = names_in(&self.path)?.into_iter().filter(is_database).map(|name| self.path.join(name));
        unfinished.chain(others).try_for_each(|path| remove(&path))
    }
}

fn locked(tried: Result<(), TryLockError>, path: &Path) -> anyhow::Result<()> {
    match tried {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(BackupError::InUse { dir: path.to_owned() }.into()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

fn is_ours(name: &str) -> bool {
    let is_database = name.starts_with(DATABASE.0) && name.ends_with(DATABASE.1);
    is_database || [MANIFEST, LOCK, UNFINISHED, EVENTS].contains(&name)
}

fn names_in(dir: &Path) -> anyhow::Result<Vec<String>> {
    let list = || -> io::Result<Vec<String>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    list().with_context(|| format!("cannot list {}", dir.display()))
}

fn remove(path: &Path) -> anyhow::Result<()> {
    fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}
