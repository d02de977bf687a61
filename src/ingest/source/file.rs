//! A file, named to `ingest` or found in the inbox.

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::compression::{decompressed, is_compressed};
use crate::store::InputKind;

/// A file as it was found; if it is changed later, its signature tells.
#[derive(Clone, Debug)]
pub struct FileSource {
    pub path: PathBuf,
    pub kind: InputKind,
    /// Device, inode, size and time of change.
    pub signature: String,
    pub size: u64,
}

impl FileSource {
    /// # Errors
    /// When there is no such file, or it is not one.
    pub fn find(path: &Path, kind: InputKind) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        let metadata = fs::metadata(&path)?;
        if metadata.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory; name the files in it"));
        }
        let changed = (metadata.mtime(), metadata.mtime_nsec());
        let signature =
            format!("{}:{}:{}:{}.{:09}", metadata.dev(), metadata.ino(), metadata.size(), changed.0, changed.1);
        Ok(Self { path, kind, signature, size: metadata.size() })
    }

    pub(super) fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(&self.path)?;
        if offset == 0 {
            return decompressed(file);
        }
        let mut head = Vec::new();
        file.by_ref().take(4).read_to_end(&mut head)?;
        file.rewind()?;
        if !is_compressed(&head) {
            file.seek(SeekFrom::Start(offset))?;
            return Ok(Box::new(file));
        }
        let mut text = decompressed(file)?;
        let skipped = io::copy(&mut text.by_ref().take(offset), &mut io::sink())?;
        if skipped == offset { Ok(text) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}
