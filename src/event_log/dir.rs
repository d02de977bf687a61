//! Where segments lie on disk, and the steps that make a file durable.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::files::{FileHash, copy_file, entries, files_below, sync_dir};
use super::{EventLogError, Segment};
use crate::durable;
use crate::model::Day;

/// In `orphans/`: segments that a database does not know since an older copy took its place, and those that are adopted.
const LOST: &str = "lost";
const ADOPTED: &str = "adopted";

/// The directories of the event log under a data directory: `events/`, `tmp/` and `orphans/`.
#[derive(Clone, Debug)]
pub struct EventLogDir {
    segments: PathBuf,
    unfinished: PathBuf,
    orphans: PathBuf,
}

/// How a file came to be one that the catalog does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Orphan {
    /// Its batch was never committed: the same lines are read again.
    CutShort,
    /// It was part of the log, and the database is older.
    Lost,
}

/// The files that lay in the directories at one moment.
#[derive(Debug)]
pub struct FoundFiles {
    unfinished: Vec<PathBuf>,
    /// By their relative paths.
    segments: Vec<String>,
}

/// What became of a file that was to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copying {
    Copied,
    /// There is none.
    Missing,
    /// It is another than it must be, and was not copied.
    Differs(FileHash),
}

impl EventLogDir {
    /// Names the directories, and creates them where they are missing.
    ///
    /// # Errors
    /// When one can't be created.
    pub fn open(data_dir: &Path) -> Result<Self, EventLogError> {
        let dir = Self::at(data_dir);
        for path in [&dir.segments, &dir.unfinished] {
            durable::create_dir(path).map_err(EventLogError::io("create the directory", path))?;
        }
        Ok(dir)
    }

    /// Names the directories, for whoever only reads.
    #[must_use]
    pub fn at(data_dir: &Path) -> Self {
        Self { segments: data_dir.join("events"), unfinished: data_dir.join("tmp"), orphans: data_dir.join("orphans") }
    }

    /// Where a segment of this relative path lies.
    #[must_use]
    pub fn path_of(&self, relative: &str) -> PathBuf {
        self.segments.join(relative)
    }

    /// The relative path of a new segment: under its day, or under `mixed` where it holds several.
    #[must_use]
    pub fn relative_path(day: Option<Day>, id: Uuid) -> String {
        let folder = day.map_or_else(|| "mixed".to_owned(), |day| day.to_string());
        format!("{folder}/{}.parquet", id.simple())
    }

    /// Whether any segment lies here.
    ///
    /// # Errors
    /// When a directory can't be read.
    pub fn has_segments(&self) -> Result<bool, EventLogError> {
        for folder in entries(&self.segments)?.into_iter().filter(|path| path.is_dir()) {
            if !entries(&folder)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The relative paths of all files that lie where segments do, sorted.
    ///
    /// # Errors
    /// When a directory can't be read.
    pub fn files(&self) -> Result<Vec<String>, EventLogError> {
        let relative =
            |path: PathBuf| path.strip_prefix(&self.segments).unwrap_or(&path).to_string_lossy().into_owned();
        Ok(files_below(&self.segments)?.into_iter().map(relative).collect())
    }

    /// What the file of a segment is.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn hash_of(&self, relative: &str) -> Result<FileHash, EventLogError> {
        FileHash::of(&self.path_of(relative))
    }

    /// Copies a segment's file from another directory, durably, in the same steps.
    ///
    /// # Errors
    /// When a step fails.
    pub fn copy_from(&self, other: &Self, relative: &str, expected: FileHash) -> Result<Copying, EventLogError> {
        let path = other.path_of(relative);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Copying::Missing),
            Err(error) => return Err(EventLogError::io("open", &path)(error)),
        };
        let unfinished = self.unfinished_of(relative);
        let copied = copy_file(file, &path, &unfinished)?;
        if copied != expected {
            fs::remove_file(&unfinished).map_err(EventLogError::io("remove", &unfinished))?;
            return Ok(Copying::Differs(copied));
        }
        self.publish(relative)?;
        Ok(Copying::Copied)
    }

    /// Gives a file that is durable under its temporary name its final one, which is new, for it holds a fresh UUID: it is
    /// renamed, and the directory synced.
    ///
    /// # Errors
    /// When a step fails, or the next writer has removed the file.
    pub fn publish(&self, relative: &str) -> Result<(), EventLogError> {
        let path = self.path_of(relative);
        let folder = path.parent().unwrap_or(&self.segments);
        durable::create_dir(folder).map_err(EventLogError::io("create the directory", folder))?;
        durable::rename(&self.unfinished_of(relative), &path).map_err(EventLogError::io("rename into place", &path))
    }

    /// Removes the files of segments that the log does without, as far as they are there, for good: also under their temporary
    /// names, lest somebody publish them yet.
    ///
    /// # Errors
    /// When one can't be removed.
    pub fn remove(&self, paths: &[String]) -> Result<(), EventLogError> {
        let mut folders = BTreeSet::new();
        let places = |relative: &String| [self.unfinished_of(relative), self.path_of(relative)];
        for path in paths.iter().flat_map(places) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(EventLogError::io("remove", path)(error));
                }
                _ => folders.extend(path.parent().map(Path::to_owned)),
            }
        }
        folders.iter().filter(|folder| folder.exists()).try_for_each(|folder| sync_dir(folder))
    }

    /// Where a segment's file lies until it is published.
    pub(super) fn unfinished_of(&self, relative: &str) -> PathBuf {
        self.unfinished.join(Path::new(relative).file_name().unwrap_or_default())
    }

    /// What lies about. Where it is listed before the catalog is read, and by whoever holds the lease still when that is done,
    /// none of it is another writer's that goes on with it.
    ///
    /// # Errors
    /// When a directory can't be read.
    pub fn found(&self) -> Result<FoundFiles, EventLogError> {
        Ok(FoundFiles { unfinished: entries(&self.unfinished)?, segments: self.files()? })
    }

    /// Removes what an earlier run left unfinished, and moves aside segments that the catalog doesn't know: they are kept,
    /// and can be adopted. Returns the orphans' new paths.
    ///
    /// # Errors
    /// When a file can't be removed or moved.
    pub fn clean_up(
        &self,
        found: FoundFiles,
        live: &HashSet<String>,
        kind: Orphan,
    ) -> Result<Vec<PathBuf>, EventLogError> {
        for path in found.unfinished {
            fs::remove_file(&path).map_err(EventLogError::io("remove", &path))?;
        }
        let aside = match kind {
            Orphan::CutShort => self.orphans.clone(),
            Orphan::Lost => self.orphans.join(LOST),
        };
        let unknown = found.segments.into_iter().filter(|relative| !live.contains(relative));
        unknown.map(|relative| move_aside(&self.path_of(&relative), &aside.join(&relative))).collect()
    }

    /// The files that were moved aside and are not adopted, by path.
    ///
    /// # Errors
    /// When a directory can't be read.
    pub fn orphans(&self) -> Result<Vec<(PathBuf, Orphan)>, EventLogError> {
        let kind = |path: PathBuf| {
            let is_below = |folder| path.starts_with(self.orphans.join(folder));
            let kind = if is_below(LOST) { Orphan::Lost } else { Orphan::CutShort };
            (!is_below(ADOPTED)).then_some((path, kind))
        };
        Ok(files_below(&self.orphans)?.into_iter().filter_map(kind).collect())
    }

    /// All files that were moved aside, by path, and whether their rows are in the log again.
    ///
    /// # Errors
    /// When a directory can't be read.
    pub fn files_aside(&self) -> Result<Vec<(PathBuf, bool)>, EventLogError> {
        let adopted = self.orphans.join(ADOPTED);
        let is_adopted = |path: PathBuf| {
            let is_adopted = path.starts_with(&adopted);
            (path, is_adopted)
        };
        Ok(files_below(&self.orphans)?.into_iter().map(is_adopted).collect())
    }

    /// Puts staged segments in the place of a file that was moved aside.
    ///
    /// # Errors
    /// When a file can't be moved or removed.
    pub fn replace_aside(&self, path: &Path, staged: &[Segment]) -> Result<(), EventLogError> {
        for segment in staged {
            let unfinished = self.unfinished_of(&segment.path);
            move_aside(&unfinished, &path.with_file_name(unfinished.file_name().unwrap_or_default()))?;
        }
        fs::remove_file(path).map_err(EventLogError::io("remove", path))?;
        sync_dir(path.parent().unwrap_or(&self.orphans))
    }

    /// Puts an orphan whose rows are in the log now with those that are adopted. A file that lies elsewhere stays there.
    ///
    /// # Errors
    /// When it can't be moved.
    pub fn put_adopted(&self, path: &Path) -> Result<(), EventLogError> {
        let (Ok(path), Ok(orphans)) = (path.canonicalize(), self.orphans.canonicalize()) else { return Ok(()) };
        let Ok(relative) = path.strip_prefix(&orphans) else { return Ok(()) };
        if relative.starts_with(ADOPTED) {
            return Ok(());
        }
        let relative = relative.strip_prefix(LOST).unwrap_or(relative);
        move_aside(&path, &orphans.join(ADOPTED).join(relative)).map(drop)
    }
}

/// Moves a file, durably.
fn move_aside(path: &Path, to: &Path) -> Result<PathBuf, EventLogError> {
    let (folder, from) = (to.parent().unwrap_or(to), path.parent().unwrap_or(path));
    durable::create_dir(folder).map_err(EventLogError::io("create the directory", folder))?;
    durable::rename(path, to).map_err(EventLogError::io("move aside", path))?;
    sync_dir(from)?;
    Ok(to.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(log: &EventLogDir, relative: &str, content: &[u8]) {
        durable::write(&log.unfinished_of(relative), content).unwrap();
        log.publish(relative).unwrap();
    }

    #[test]
    fn files_that_the_catalog_does_not_know_are_moved_aside_and_kept() {
        let data = tempfile::tempdir().unwrap();
        let log = EventLogDir::open(data.path()).unwrap();
        write(&log, "2026-03-04/live.parquet", b"live");
        write(&log, "mixed/lost.parquet", b"lost");
        fs::write(data.path().join("tmp/half.parquet"), b"ha").unwrap();

        let live = HashSet::from(["2026-03-04/live.parquet".to_owned()]);
        let orphans = log.clean_up(log.found().unwrap(), &live, Orphan::CutShort).unwrap();

        assert_eq!(orphans, [data.path().join("orphans/mixed/lost.parquet")]);
        assert_eq!(fs::read(&orphans[0]).unwrap(), b"lost");
        assert_eq!(fs::read(log.path_of("2026-03-04/live.parquet")).unwrap(), b"live");
        assert!(!data.path().join("tmp/half.parquet").exists());

        write(&log, "mixed/older.parquet", b"older");
        let lost = data.path().join("orphans/lost/mixed/older.parquet");
        assert_eq!(log.clean_up(log.found().unwrap(), &live, Orphan::Lost).unwrap(), std::slice::from_ref(&lost));
        assert_eq!(log.orphans().unwrap(), [(lost.clone(), Orphan::Lost), (orphans[0].clone(), Orphan::CutShort)]);
        log.put_adopted(&lost).unwrap();
        log.put_adopted(&log.path_of("2026-03-04/live.parquet")).unwrap();
        assert_eq!(log.orphans().unwrap(), [(orphans[0].clone(), Orphan::CutShort)]);
        assert_eq!(fs::read(data.path().join("orphans/adopted/mixed/older.parquet")).unwrap(), b"older");
        assert_eq!(log.files().unwrap(), ["2026-03-04/live.parquet"]);
    }

    /// As where another writer took over in between.
    #[test]
    fn files_that_came_after_they_were_listed_are_left_alone() {
        let data = tempfile::tempdir().unwrap();
        let log = EventLogDir::open(data.path()).unwrap();
        let found = log.found().unwrap();
        write(&log, "mixed/later.parquet", b"later");
        fs::write(data.path().join("tmp/half.parquet"), b"ha").unwrap();
        assert!(log.clean_up(found, &HashSet::new(), Orphan::CutShort).unwrap().is_empty());
        assert!(log.path_of("mixed/later.parquet").exists() && data.path().join("tmp/half.parquet").exists());
    }

    #[test]
    fn a_file_is_copied_if_it_is_what_it_must_be() {
        let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (log, copy) = (EventLogDir::open(data.path()).unwrap(), EventLogDir::open(elsewhere.path()).unwrap());
        write(&log, "mixed/one.parquet", b"one");
        let one = log.hash_of("mixed/one.parquet").unwrap();
        let other = FileHash { bytes: 3, hash: [0; 32] };
        assert_eq!(copy.copy_from(&log, "mixed/none.parquet", one).unwrap(), Copying::Missing);
        assert_eq!(copy.copy_from(&log, "mixed/one.parquet", other).unwrap(), Copying::Differs(one));
        assert_eq!(copy.files().unwrap(), [""; 0]);
        assert_eq!(fs::read_dir(elsewhere.path().join("tmp")).unwrap().count(), 0);
        assert_eq!(copy.copy_from(&log, "mixed/one.parquet", one).unwrap(), Copying::Copied);
        assert_eq!(copy.hash_of("mixed/one.parquet").unwrap(), one);
    }
}
