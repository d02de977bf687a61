//! The steps that make files durable, for whoever relies on one after power was lost. A file is durable once its content and
//! the directory that names it are synced.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

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

/// Creates a file with this content, which is durable then, but for its name.
///
/// # Errors
/// When it can't be created, written or synced; half of it may be there.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    record(Step::Created(path));
    reach(Point::FileCreated)?;
    file.write_all(content)?;
    reach(Point::FileWritten)?;
    file.sync_all()?;
    record(Step::Synced(path));
    reach(Point::FileSynced)
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
