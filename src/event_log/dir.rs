//! Where segments lie on disk, and the steps that make a file durable.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::EventLogError;
use crate::durable;
use crate::model::Day;

/// So many bytes of a file are read and hashed at a time.
const HASHED_TOGETHER: usize = 1 << 20;

/// The directories of the event log under a data directory: `events/`, `tmp/` and `orphans/`.
#[derive(Clone, Debug)]
pub struct EventLogDir {
    segments: PathBuf,
    unfinished: PathBuf,
    orphans: PathBuf,
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
        let mut files = Vec::new();
        let mut folders = vec![self.segments.clone()];
        while let Some(folder) = folders.pop() {
            for path in entries(&folder)? {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path.strip_prefix(&self.segments).unwrap_or(&path).to_string_lossy().into_owned());
                }
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    /// How long the file of a segment is, and BLAKE3 of the whole of it.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn hash_of(&self, relative: &str) -> Result<(u64, [u8; 32]), EventLogError> {
        let path = self.path_of(relative);
        let mut file = File::open(&path).map_err(EventLogError::io("open", &path))?;
        let (mut hasher, mut buffer, mut bytes) = (blake3::Hasher::new(), vec![0; HASHED_TOGETHER], 0);
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok((bytes, hasher.finalize().into())),
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                    bytes += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(EventLogError::io("read", &path)(error)),
            }
        }
    }

    /// Makes a segment's file durable under its final name: write under a temporary name, fsync, rename, fsync the
    /// directory. The final name is new, for it holds a fresh UUID.
    ///
    /// # Errors
    /// When a step fails; what is left behind is an unfinished file or an orphan, never half a segment.
    pub fn write(&self, relative: &str, content: &[u8]) -> Result<(), EventLogError> {
        self.stage(relative, content)?;
        self.publish(relative)
    }

    /// Makes a segment's file durable under its temporary name.
    ///
    /// # Errors
    /// When a step fails; what is left behind is an unfinished file.
    pub fn stage(&self, relative: &str, content: &[u8]) -> Result<(), EventLogError> {
        let unfinished = self.unfinished_of(relative);
        durable::write(&unfinished, content).map_err(EventLogError::io("write", &unfinished))
    }

    /// Gives a file that is durable under its temporary name its final one.
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

    fn unfinished_of(&self, relative: &str) -> PathBuf {
        self.unfinished.join(Path::new(relative).file_name().unwrap_or_default())
    }

    /// Removes what an earlier run left unfinished, and moves aside segments that the catalog doesn't know: they are kept,
    /// because somebody may have restored an older database. Returns the orphans' new paths.
    ///
    /// # Errors
    /// When a directory can't be read, or a file not be moved.
    pub fn clean_up(&self, live: &HashSet<String>) -> Result<Vec<PathBuf>, EventLogError> {
        for path in entries(&self.unfinished)? {
            fs::remove_file(&path).map_err(EventLogError::io("remove", &path))?;
        }
        let mut orphans = Vec::new();
        for relative in self.files()?.into_iter().filter(|relative| !live.contains(relative)) {
            let (path, aside) = (self.segments.join(&relative), self.orphans.join(&relative));
            let aside_folder = aside.parent().unwrap_or(&self.orphans);
            durable::create_dir(aside_folder).map_err(EventLogError::io("create the directory", aside_folder))?;
            durable::rename(&path, &aside).map_err(EventLogError::io("move aside", &path))?;
            orphans.push(aside);
        }
        Ok(orphans)
    }
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, EventLogError> {
    fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(EventLogError::io("list", dir))
}

fn sync_dir(dir: &Path) -> Result<(), EventLogError> {
    durable::sync_dir(dir).map_err(EventLogError::io("fsync the directory", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_the_catalog_does_not_know_are_moved_aside_and_kept() {
        let data = tempfile::tempdir().unwrap();
        let log = EventLogDir::open(data.path()).unwrap();
        log.write("2026-03-04/live.parquet", b"live").unwrap();
        log.write("mixed/lost.parquet", b"lost").unwrap();
        fs::write(data.path().join("tmp/half.parquet"), b"ha").unwrap();

        let orphans = log.clean_up(&HashSet::from(["2026-03-04/live.parquet".to_owned()])).unwrap();

        assert_eq!(orphans, [data.path().join("orphans/mixed/lost.parquet")]);
        assert_eq!(fs::read(&orphans[0]).unwrap(), b"lost");
        assert_eq!(fs::read(log.path_of("2026-03-04/live.parquet")).unwrap(), b"live");
        assert!(!data.path().join("tmp/half.parquet").exists());
    }
}
