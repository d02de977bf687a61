//! Restore: a backup becomes an installation of its own, in an empty data directory and an empty store, which may be in the other
//! database than the one it came from.
//!
//! What it was made from lives on, perhaps. So the restored installation gets a name of its own: neither directory goes with the
//! other's store, and both can be written to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use rayon::prelude::*;
use serde::Serialize;
use thiserror::Error;

use super::backup::{BackupDir, Manifest, ManifestFile, damaged_files};
use super::{Run, belonging, off_runtime};
use crate::clock::Clock;
use crate::config::Config;
use crate::durable;
use crate::event_log::{Copying, EventLogDir, EventLogError, copy_file};
use crate::ingest::Progress;
use crate::store::{Store, StoreUrl};

/// Segments are copied so many at a time, to be interrupted between.
const SEGMENTS_TOGETHER: usize = 64;
/// So many damaged files are named.
const NAMED: usize = 20;

#[derive(Debug, Error)]
pub enum RestoreError {
    #[error("there is no finished backup in {}", from.display())]
    NoBackup { from: PathBuf },
    #[error("the backup in {} is damaged, and nothing was restored: {}", from.display(), what.join("; "))]
    Damaged { from: PathBuf, what: Vec<String> },
    #[error("the data directory {} is not empty, it holds {name}; a backup is restored into an empty one", dir.display())]
    NotEmpty { dir: PathBuf, name: String },
    #[error("in {} the restore of another backup was cut short; empty it, and the store, to restore this one", dir.display())]
    OtherBackup { dir: PathBuf },
    #[error("another process restores into {}", dir.display())]
    InUse { dir: PathBuf },
}

/// What was restored.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// When the backup's state was taken.
    pub taken_at: String,
    /// What the installation is called now.
    pub installation: String,
    pub segments: usize,
    pub segment_bytes: u64,
}

/// Restores the backup in a directory. All of it is checked first. A restore that was cut short goes on.
///
/// # Errors
/// When there is no whole backup, data directory or store are not empty, or one can't be written.
pub async fn restore(
    data_dir: &Path,
    config: &Config,
    clock: Clock,
    run: &Run,
    from: &Path,
) -> anyhow::Result<Restored> {
    let dir = Arc::new(BackupDir::open_to_read(from)?);
    let manifest = dir.manifest()?.ok_or_else(|| RestoreError::NoBackup { from: from.to_owned() })?;
    let mut what = damaged_files(&dir, run, &manifest).await?;
    if !what.is_empty() {
        let more = what.len().saturating_sub(NAMED);
        what.truncate(NAMED);
        what.extend((more > 0).then(|| format!("and {more} more files")));
        return Err(RestoreError::Damaged { from: from.to_owned(), what }.into());
    }
    must_be_empty(data_dir, &config.store.url).await?;
    let begun = Begun::in_dir(data_dir, &manifest)?;
    let target = Store::open(&config.store.url).await?;
    let is_there = target.installation().await?.as_deref() == Some(begun.name.as_str());
    if !is_there {
        target.must_be_empty().await?;
        copy_segments(&dir, &EventLogDir::open(data_dir)?, run, &manifest).await?;
        copy_database(&dir, data_dir, &manifest, &target, &begun.name, clock).await?;
    }
    target.close().await;
    belonging::name(data_dir, &begun.name)?;
    let installation = begun.end(data_dir)?;
    Ok(Restored {
        taken_at: manifest.taken_at,
        installation,
        segments: manifest.segments.len(),
        segment_bytes: manifest.segments.iter().map(|segment| segment.bytes).sum(),
    })
}

/// Looks before anything is begun that would have to be undone. A restore that was cut short is gone on with.
async fn must_be_empty(data_dir: &Path, url: &StoreUrl) -> anyhow::Result<()> {
    if data_dir.join(belonging::RESTORING).exists() {
        return Ok(());
    }
    if data_dir.exists() {
        let mut entries =
            fs::read_dir(data_dir).with_context(|| format!("cannot list the data directory {}", data_dir.display()))?;
        if let Some(entry) = entries.next() {
            let name = entry?.file_name().to_string_lossy().into_owned();
            return Err(RestoreError::NotEmpty { dir: data_dir.to_owned(), name }.into());
        }
    }
    if url.must_exist().is_ok() {
        let store = Store::open(url).await?;
        store.must_be_empty().await?;
        store.close().await;
    }
    Ok(())
}

async fn copy_segments(dir: &Arc<BackupDir>, log: &EventLogDir, run: &Run, manifest: &Manifest) -> anyhow::Result<()> {
    let mut bytes = 0;
    for together in manifest.segments.chunks(SEGMENTS_TOGETHER) {
        run.check()?;
        let (dir, log, segments) = (dir.clone(), log.clone(), together.to_vec());
        let copy = move || segments.par_iter().try_for_each(|segment| copy_segment(&dir, &log, segment));
        off_runtime(copy).await??;
        bytes += together.iter().map(|segment| segment.bytes).sum::<u64>();
        (run.progress)(Progress { lines: 0, bytes });
    }
    Ok(())
}

fn copy_segment(dir: &BackupDir, log: &EventLogDir, segment: &ManifestFile) -> anyhow::Result<()> {
    let expected = segment.file().context("the manifest was checked")?;
    // From a restore that was cut short.
    if log.path_of(&segment.path).exists() && log.hash_of(&segment.path)? == expected {
        return Ok(());
    }
    match log.copy_from(&dir.log, &segment.path, expected)? {
        Copying::Copied => Ok(()),
        Copying::Missing | Copying::Differs(_) => {
            anyhow::bail!("{} has changed since it was checked", dir.log.path_of(&segment.path).display())
        }
    }
}

/// Copies the database's file first, for an older version's must be brought up to date, and the backup stays as it is.
async fn copy_database(
    dir: &BackupDir,
    data_dir: &Path,
    manifest: &Manifest,
    target: &Store,
    name: &str,
    clock: Clock,
) -> anyhow::Result<()> {
    let (path, copy) = (dir.path_of(&manifest.database.path), data_dir.join("tmp/restored.db"));
    let file = File::open(&path).map_err(|source| EventLogError::Io { action: "open", path: path.clone(), source })?;
    let to = copy.clone();
    let copied = off_runtime(move || copy_file(file, &path, &to)).await??;
    if Some(copied) != manifest.database.file() {
        anyhow::bail!("{} has changed since it was checked", dir.path_of(&manifest.database.path).display());
    }
    let version = &manifest.version;
    let backup = Store::open(&StoreUrl::Sqlite(copy.clone())).await;
    let backup =
        backup.with_context(|| format!("cannot open the backup's database, made by usage-rollup {version}"))?;
    let restored = async {
        let named: Vec<ManifestFile> = backup.catalog().await?.iter().map(ManifestFile::of).collect();
        if named != manifest.segments {
            let what = vec!["its database names other segments than backup.json".to_owned()];
            return Err(RestoreError::Damaged { from: dir.path().to_owned(), what }.into());
        }
        Ok(backup.copy_state_to(target, Some(name), "restore", clock.now()).await?)
    };
    let restored: anyhow::Result<_> = restored.await;
    backup.close().await;
    restored?;
    fs::remove_file(&copy).with_context(|| format!("cannot remove {}", copy.display()))
}

/// A restore that has begun: a file in the data directory says so until it has ended, and nothing else is done there meanwhile.
struct Begun {
    /// What the installation is to be called.
    name: String,
    _lock: File,
}

impl Begun {
    /// Begins one in an empty directory, which is made where it is missing, or goes on with one of the same backup.
    fn in_dir(data_dir: &Path, manifest: &Manifest) -> anyhow::Result<Self> {
        let cannot = || format!("cannot write to the data directory {}", data_dir.display());
        durable::create_dir(data_dir).with_context(cannot)?;
        let path = data_dir.join(belonging::RESTORING);
        let lock = OpenOptions::new().create(true).read(true).append(true).open(&path).with_context(cannot)?;
        lock.try_lock().map_err(|_| RestoreError::InUse { dir: data_dir.to_owned() })?;
        let text = fs::read_to_string(&path).with_context(cannot)?;
        // A line that was cut off is as good as none.
        let mut words = text.split_once('\n').unwrap_or_default().0.split_whitespace();
        let name = match (words.next(), words.next()) {
            (Some(name), Some(backup)) if backup == manifest.database.hash => name.to_owned(),
            (Some(_), _) => return Err(RestoreError::OtherBackup { dir: data_dir.to_owned() }.into()),
            (None, _) => {
                let name = belonging::new_name();
                let note = format!("{name} {}\n", manifest.database.hash);
                let write = || -> io::Result<()> {
                    lock.set_len(0)?;
                    (&lock).write_all(note.as_bytes())?;
                    lock.sync_all()?;
                    durable::sync_dir(data_dir)
                };
                write().with_context(cannot)?;
                name
            }
        };
        Ok(Self { name, _lock: lock })
    }

    fn end(self, data_dir: &Path) -> anyhow::Result<String> {
        let path = data_dir.join(belonging::RESTORING);
        let remove = || fs::remove_file(&path).and_then(|()| durable::sync_dir(data_dir));
        remove().with_context(|| format!("cannot remove {}", path.display()))?;
        Ok(self.name)
    }
}
