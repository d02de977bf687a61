//! Reading, hashing and copying whole files.

use std::fs::{self, DirEntry, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::EventLogError;
use crate::durable;

/// So many bytes of a file are read and hashed at a time.
const HASHED_TOGETHER: usize = 1 << 20;

/// What a file must be: so long, with this BLAKE3 hash of the whole of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHash {
    pub bytes: u64,
    pub hash: [u8; 32],
}

impl FileHash {
    /// What a file is.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn of(path: &Path) -> Result<Self, EventLogError> {
        let mut file = File::open(path).map_err(EventLogError::io("open", path))?;
        each_piece(&mut file, path, |_| Ok(()))
    }
}

/// Copies an open file to a new one, which is on disk when this ends. Gives what was copied.
///
/// # Errors
/// When one can't be read, or the other not be written.
pub fn copy_file(mut from: File, from_path: &Path, to: &Path) -> Result<FileHash, EventLogError> {
    let mut copy = File::create(to).map_err(EventLogError::io("create", to))?;
    let copied =
        each_piece(&mut from, from_path, |piece| copy.write_all(piece).map_err(EventLogError::io("write", to)))?;
    copy.sync_all().map_err(EventLogError::io("fsync", to))?;
    Ok(copied)
}

fn each_piece(
    file: &mut File,
    path: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), EventLogError>,
) -> Result<FileHash, EventLogError> {
    let (mut hasher, mut buffer, mut bytes) = (blake3::Hasher::new(), vec![0; HASHED_TOGETHER], 0);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(FileHash { bytes, hash: hasher.finalize().into() }),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                take(&buffer[..read])?;
                bytes += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(EventLogError::io("read", path)(error)),
        }
    }
}

/// Makes what a directory holds durable: names, not contents.
pub(super) fn sync_dir(dir: &Path) -> Result<(), EventLogError> {
    durable::sync_dir(dir).map_err(EventLogError::io("fsync the directory", dir))
}

/// What a directory holds.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, EventLogError> {
    fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(EventLogError::io("list", dir))
}

/// All files below a directory, sorted; none where it is not there.
pub(super) fn files_below(dir: &Path) -> Result<Vec<PathBuf>, EventLogError> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    folders.extend(dir.exists().then(|| dir.to_owned()));
    while let Some(folder) = folders.pop() {
        let list = EventLogError::io("list", &folder);
        let mut add = |entry: DirEntry| {
            let (path, kind) = (entry.path(), entry.file_type()?);
            // A log of years has thousands of them: the file system is asked about links alone.
            let is_folder = kind.is_dir() || kind.is_symlink() && path.is_dir();
            if is_folder { &mut folders } else { &mut files }.push(path);
            Ok(())
        };
        fs::read_dir(&folder).and_then(|mut entries| entries.try_for_each(|entry| add(entry?))).map_err(list)?;
    }
    files.sort_unstable_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    Ok(files)
}
