//! Backup: the state of one moment, copied beside whoever writes. Nothing waits for it, and it waits for nobody: the database is
//! read in one transaction, and the segments that it names there never change.
//!
//! Compaction may remove a segment between that transaction and its copying. Holding the lease would prevent that, and would make
//! a daemon wait for as long as the disk takes, or the backup for as long as a backfill does. So the database is copied again
//! instead: what it names then is there, and the other segments are copied already.

mod directory;
mod manifest;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use rayon::prelude::*;
use serde::Serialize;
use thiserror::Error;

pub(super) use directory::BackupDir;
pub use manifest::{Manifest, ManifestFile};

use super::{Reading, Run, off_runtime};
use crate::event_log::{Copying, EventLogDir, EventLogError, FileHash, Segment};
use crate::ingest::Progress;
use crate::model::Instant;
use crate::store::{Store, StoreUrl};

/// How often the database is copied at the most. Each time but the last a segment had gone that was named.
const ATTEMPTS: usize = 8;
/// Files are copied so many at a time, to be interrupted between.
const FILES_TOGETHER: usize = 64;

#[derive(Debug, Error)]
pub enum BackupError {
    #[error("{dir} holds something that is no part of a backup, {name}; name a directory that is empty, or a backup's", dir = dir.display())]
    NotEmpty { dir: PathBuf, name: String },
    #[error("another process makes or restores a backup in {}; try again when it is done", dir.display())]
    InUse { dir: PathBuf },
    #[error("{} can't be understood; it was not written by this program, or is damaged", path.display())]
    Unreadable { path: PathBuf, source: serde_json::Error },
    #[error("{} was written by usage-rollup {by}, which is newer; restore it with that version", path.display())]
    Newer { path: PathBuf, by: String },
    #[error("{dir} holds the backup of another installation ({there}, and this one is {here}); name another directory", dir = dir.display())]
    OtherInstallation { dir: PathBuf, there: String, here: String },
    #[error("nothing is stored yet; run `usage-rollup ingest` first")]
    NothingStored,
    #[error(
        "the segment {path} is not there, though the database names it: `usage-rollup verify` tells what else is wrong; no backup was made, and an earlier one is as it was"
    )]
    Missing { path: String },
    #[error(
        "the segment {path} is damaged, it has not the hash that the database has: restore that file from an earlier backup; no backup was made, and an earlier one is as it was"
    )]
    Damaged { path: String },
    #[error("segments went away while they were copied, again and again, the last of them {path}; try again later")]
    Moving { path: String },
}

/// What a backup came to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackedUp {
    pub taken_at: String,
    pub segments: usize,
    pub segment_bytes: u64,
    /// Of these, what was not there from an earlier backup.
    pub copied_segments: usize,
    pub copied_bytes: u64,
    pub database_bytes: u64,
}

/// Makes a backup in a directory that is empty, or replaces the one that is there.
///
/// # Errors
/// When the directory holds something else, the store fails, a segment is missing or damaged, or a file can't be written. Then
/// the backup that was there is as it was.
pub async fn back_up(reading: &Reading, run: &Run, to: &Path) -> anyhow::Result<BackedUp> {
    let name = reading.store.installation().await?.ok_or(BackupError::NothingStored)?;
    let dir = Arc::new(BackupDir::open_to_write(to)?);
    let before = dir.manifest()?;
    if let Some(before) = before.as_ref().filter(|before| before.installation != name) {
        let there = before.installation.clone();
        return Err(BackupError::OtherInstallation { dir: to.to_owned(), there, here: name }.into());
    }
    dir.remove_databases(before.as_ref().map(|before| before.database.path.as_str()))?;
    let mut files = Files::new(dir.clone(), reading.log.clone(), before.as_ref());
    let mut missing = HashSet::new();
    for _ in 0..ATTEMPTS {
        let taken_at = reading.now();
        let (database, catalog) = snapshot(reading, &dir, taken_at).await?;
        let gone = files.copy(run, &catalog).await?;
        let Some(path) = gone.first() else {
            return finish(&dir, name, taken_at, database, &catalog, &files);
        };
        // What is named twice and was never there is missing for good.
        if let Some(path) = gone.iter().find(|path| missing.contains(*path)) {
            return Err(BackupError::Missing { path: path.clone() }.into());
        }
        tracing::info!(segment = path, "a segment went away before it was copied; the database is copied again");
        dir.remove_databases(before.as_ref().map(|before| before.database.path.as_str()))?;
        missing.extend(gone);
    }
    let path = missing.into_iter().next().unwrap_or_default();
    Err(BackupError::Moving { path }.into())
}

/// Copies the database into the backup's directory, and tells which segments the copy names.
async fn snapshot(reading: &Reading, dir: &BackupDir, now: Instant) -> anyhow::Result<(ManifestFile, Vec<Segment>)> {
    let name = BackupDir::new_database();
    let path = dir.unfinished(&name);
    let copy = Store::open(&StoreUrl::Sqlite(path)).await?;
    let copied = reading.store.copy_state_to(&copy, None, "backup", now).await;
    let catalog = copy.catalog().await;
    // It is one file then: SQLite puts what is in its log there.
    copy.close().await;
    for other in copied?.others {
        tracing::warn!(table = other, "this table is none of the store's, and is not in the backup");
    }
    dir.put_in_place(&name)?;
    let path = dir.path_of(&name);
    let file = off_runtime(move || FileHash::of(&path)).await??;
    Ok((ManifestFile::new(name, file), catalog?))
}

fn finish(
    dir: &BackupDir,
    installation: String,
    taken_at: Instant,
    database: ManifestFile,
    catalog: &[Segment],
    files: &Files,
) -> anyhow::Result<BackedUp> {
    let manifest = Manifest {
        format: manifest::FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        installation,
        taken_at: taken_at.to_rfc3339_seconds(),
        database,
        segments: catalog.iter().map(ManifestFile::of).collect(),
    };
    dir.finish(&manifest)?;
    let copied = || catalog.iter().filter(|segment| files.copied.contains(&segment.path));
    Ok(BackedUp {
        taken_at: manifest.taken_at,
        segments: catalog.len(),
        segment_bytes: catalog.iter().map(|segment| segment.bytes).sum(),
        copied_segments: copied().count(),
        copied_bytes: copied().map(|segment| segment.bytes).sum(),
        database_bytes: manifest.database.bytes,
    })
}

/// The segments of a backup while they are copied.
struct Files {
    dir: Arc<BackupDir>,
    from: EventLogDir,
    /// What is there from the backup before, by path.
    there: Arc<BTreeMap<String, FileHash>>,
    copied: HashSet<String>,
    bytes: u64,
}

impl Files {
    fn new(dir: Arc<BackupDir>, from: EventLogDir, before: Option<&Manifest>) -> Self {
        let there = before.into_iter().flat_map(|before| &before.segments);
        let there = there.filter_map(|segment| Some((segment.path.clone(), segment.file()?))).collect();
        Self { dir, from, there: Arc::new(there), copied: HashSet::new(), bytes: 0 }
    }

    /// Copies those segments that are not there yet, and tells which of them are gone.
    async fn copy(&mut self, run: &Run, catalog: &[Segment]) -> anyhow::Result<Vec<String>> {
        let mut gone = Vec::new();
        let wanted: Vec<&Segment> = catalog.iter().filter(|segment| !self.copied.contains(&segment.path)).collect();
        for together in wanted.chunks(FILES_TOGETHER) {
            run.check()?;
            let segments: Vec<Segment> = together.iter().map(|segment| (*segment).clone()).collect();
            let (dir, from, there) = (self.dir.clone(), self.from.clone(), self.there.clone());
            let copy = move || -> Result<Vec<(Segment, Option<Copying>)>, EventLogError> {
                let copy = |segment: Segment| {
                    let copied = copy_unless_there(&dir, &from, &there, &segment)?;
                    Ok((segment, copied))
                };
                segments.into_par_iter().map(copy).collect()
            };
            for (segment, copied) in off_runtime(copy).await?? {
                match copied {
                    None => {}
                    Some(Copying::Copied) => {
                        self.bytes += segment.bytes;
                        self.copied.insert(segment.path);
                    }
                    Some(Copying::Missing) => gone.push(segment.path),
                    Some(Copying::Differs(_)) => return Err(BackupError::Damaged { path: segment.path }.into()),
                }
            }
            (run.progress)(Progress { lines: 0, bytes: self.bytes });
        }
        Ok(gone)
    }
}

/// None where the backup before has the file. One that a backup left which was cut short is as good if it is what it must be.
fn copy_unless_there(
    dir: &BackupDir,
    from: &EventLogDir,
    there: &BTreeMap<String, FileHash>,
    segment: &Segment,
) -> Result<Option<Copying>, EventLogError> {
    let (path, expected) = (dir.log.path_of(&segment.path), segment.file());
    if let Ok(metadata) = path.metadata() {
        let is_known = there.get(&segment.path) == Some(&expected) && metadata.len() == expected.bytes;
        if is_known || FileHash::of(&path)? == expected {
            return Ok(None);
        }
    }
    dir.log.copy_from(from, &segment.path, expected).map(Some)
}

/// What is wrong with those files of a backup that are not what they must be.
pub(super) async fn damaged_files(dir: &Arc<BackupDir>, run: &Run, manifest: &Manifest) -> anyhow::Result<Vec<String>> {
    let database = std::iter::once((dir.path_of(&manifest.database.path), manifest.database.clone()));
    let segments = manifest.segments.iter().map(|segment| (dir.log.path_of(&segment.path), segment.clone()));
    let files: Vec<(PathBuf, ManifestFile)> = database.chain(segments).collect();
    let mut damaged = Vec::new();
    for together in files.chunks(FILES_TOGETHER) {
        run.check()?;
        let together = together.to_vec();
        let check =
            move || -> Vec<Option<String>> { together.par_iter().map(|(path, file)| damage(path, file)).collect() };
        damaged.extend(off_runtime(check).await.context("cannot check the backup")?.into_iter().flatten());
    }
    Ok(damaged)
}

fn damage(path: &Path, file: &ManifestFile) -> Option<String> {
    match FileHash::of(path) {
        Err(EventLogError::Io { action, source, .. }) => Some(format!("cannot {action} {}: {source}", path.display())),
        Err(error) => Some(error.to_string()),
        Ok(found) if Some(found) == file.file() => None,
        Ok(found) if found.bytes != file.bytes => {
            Some(format!("{} has {} bytes instead of {}", path.display(), found.bytes, file.bytes))
        }
        Ok(_) => Some(format!("{} has not the hash that backup.json says", path.display())),
    }
}
