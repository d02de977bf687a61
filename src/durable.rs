//! The steps that make files durable, for whoever relies on one after power was lost. A file is durable once its content and
//! the directory that names it are synced.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::failpoint::{Point, Step, reach, record};

/// Creates a directory and what is missing above it, each with its name. One that is there may be as new: another run may have
/// made it, and not come to the end of this.
///
/// # Errors
/// When one can't be created or synced.
pub fn create_dir(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|parent| !parent.exists()) {
        create_dir(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => record(Step::Created(path)),
    }
    sync_dir(parent.unwrap_or(Path::new(".")))
}

/// A file that is being written. Once it is finished it is durable, but for its name.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
}

impl NewFile {
    /// Creates it, empty.
    ///
    /// # Errors
    /// When it can't be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        record(Step::Created(path));
        reach(Point::FileCreated)?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Adds to its content.
    ///
    /// # Errors
    /// When it can't be written; a part may be there.
    pub fn write_all(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)
    }

    /// Makes its content durable.
    ///
    /// # Errors
    /// When it can't be synced.
    pub fn finish(self) -> io::Result<()> {
        reach(Point::FileWritten)?;
        self.file.sync_all()?;
        record(Step::Synced(&self.path));
        reach(Point::FileSynced)
    }
}

/// Creates a file with this content, which is durable then, but for its name.
///
/// # Errors
/// When it can't be created, written or synced; half of it may be there.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = NewFile::create(path)?;
    file.write_all(content)?;
    file.finish()
}

/// Gives a file whose content is durable its final name.
///
/// # Errors
/// When it can't be renamed, or the directory not be synced.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    record(Step::Renamed(from, to));
    reach(Point::FileRenamed)?;
    sync_dir(to.parent().unwrap_or(Path::new(".")))
}

/// Makes durable which names are in a directory.
///
/// # Errors
/// When it can't be opened or synced.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()?;
    record(Step::DirSynced(dir));
    reach(Point::DirSynced)
}
