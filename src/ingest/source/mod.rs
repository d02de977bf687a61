//! Where lines come from. A source is one file of this directory: named files, standard input, the inbox.

pub mod inbox;

mod compression;
mod file;

use std::io::{self, Read};
use std::path::PathBuf;

pub use compression::decompressed;
pub use file::FileSource;

use crate::store::InputKind;

/// Something whose lines are to be read once.
#[derive(Clone, Debug)]
pub enum Source {
    File(FileSource),
    Stdin,
}

impl Source {
    /// The name that the ledger and the dead letters call it by.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(file) => file.path.display().to_string(),
            Self::Stdin => "-".to_owned(),
        }
    }

    #[must_use]
    pub fn kind(&self) -> InputKind {
        match self {
            Self::File(file) => file.kind,
            Self::Stdin => InputKind::Stdin,
        }
    }

    /// Tells one content from another without reading it; `None` where that can't be told, and nothing can be resumed.
    #[must_use]
    pub fn signature(&self) -> Option<String> {
        match self {
            Self::File(file) => Some(file.signature.clone()),
            Self::Stdin => None,
        }
    }

    /// The path of a source that is a file.
    #[must_use]
    pub fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::File(file) => Some(&file.path),
            Self::Stdin => None,
        }
    }

    /// Opens it for reading its text, decompressed, from a byte offset of that text on.
    ///
    /// # Errors
    /// When it can't be opened, or is shorter than the offset.
    pub fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        match self {
            Self::File(file) => file.open(offset),
            Self::Stdin => decompressed(io::stdin()),
        }
    }
}
