//! What a backup's directory says of itself. It is written last, so that what has one is whole.

use serde::{Deserialize, Serialize};

use crate::event_log::{FileHash, Segment};

/// The form of this file. A later form gets another number.
pub(super) const FORMAT: u32 = 1;

/// The text of `backup.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    /// Of the program that made it.
    pub version: String,
    /// What the installation is called.
    pub installation: String,
    /// When the state was taken that it holds.
    pub taken_at: String,
    pub database: ManifestFile,
    /// Those that the database names, by path.
    pub segments: Vec<ManifestFile>,
}

/// A file of a backup, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestFile {
    /// The database's in the backup's directory, a segment's in `events/` there.
    pub path: String,
    pub bytes: u64,
    /// BLAKE3, in hex digits.
    pub hash: String,
}

impl ManifestFile {
    pub fn new(path: String, file: FileHash) -> Self {
        Self { path, bytes: file.bytes, hash: blake3::Hash::from(file.hash).to_hex().to_string() }
    }

    pub fn of(segment: &Segment) -> Self {
        Self::new(segment.path.clone(), segment.file())
    }

    /// What the file must be; none where that is misspelt, which no file is.
    pub fn file(&self) -> Option<FileHash> {
        let hash = blake3::Hash::from_hex(&self.hash).ok()?;
        Some(FileHash { bytes: self.bytes, hash: hash.into() })
    }
}
