//! The event log: every accepted line, once for each time it arrived, in immutable Parquet segments (`docs/event-log.md`).
//!
//! A segment is one day's, or a thin backlog of several days'. Within it, rows are sorted by UTC day, service, time, source,
//! id, input and arrival. Which segments are live, and which rows of them hold which day, the store's catalog tells: a file that
//! the catalog doesn't know is not part of the log.

mod checked;
mod columns;
mod decode;
mod digest;
mod dir;
mod encode;
mod files;
mod packed;
mod reader;
mod rewrite;
mod rows;
mod schema;
mod sink;
mod strip;
#[cfg(test)]
mod tests;
mod unknown;
mod writer;

use std::path::PathBuf;

use thiserror::Error;
use uuid::Uuid;

pub use decode::{Block, BlockReader, Id, IdRead, ServiceRun};
pub use dir::{Copying, EventLogDir, FoundFiles, Orphan};
pub use files::{FileHash, copy_file};
pub use packed::PackedEvents;
pub use reader::{OpenSegment, SegmentReader};
pub use rewrite::{LinesByInput, RowsSum, WholeRows};
pub use rows::{EventRows, LogLine};
pub use schema::schema;
pub use strip::BareRows;
pub use unknown::UnknownSegment;
pub use writer::SegmentWriter;

use crate::model::Day;

/// What the catalog knows of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub id: Uuid,
    /// Relative to the event log's directory, with `/`.
    pub path: String,
    pub rows: u64,
    pub bytes: u64,
    /// BLAKE3 of the whole file.
    pub hash: [u8; 32],
    pub end: SegmentEnd,
    /// The days in it, in order, without a gap between their rows.
    pub partitions: Vec<SegmentPartition>,
}

impl Segment {
    /// What its file must be.
    #[must_use]
    pub fn file(&self) -> FileHash {
        FileHash { bytes: self.bytes, hash: self.hash }
    }
}

/// The end of a segment's file, from its page indices on: it tells where pages are and what they must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEnd {
    /// Where it begins.
    pub at: u64,
    /// BLAKE3 of it.
    pub hash: [u8; 32],
}

/// The rows of a segment that belong to one UTC day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentPartition {
    pub day: Day,
    pub first_row: u64,
    pub rows: u64,
    /// As it is written, and where they are few: the services that have rows, in order.
    pub services: Option<Vec<Uuid>>,
    /// Whether its rows are bare: no more is there of their contents than what numbers rest on, but where that would not tell
    /// which of several contents comes first.
    pub is_bare: bool,
}

/// What stands for a row's content: BLAKE3 of what [`OpenSegment::contents`] tells, cut to 128 bits. Bare rows keep it, so it never
/// changes. Nobody can guess at what is personal by it without the masks' key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        let hash = blake3::hash(content);
        Self(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }
}

#[derive(Debug, Error)]
pub enum EventLogError {
    #[error("cannot {action} {path}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("segment {path} is damaged: {detail}; restore the file from a backup")]
    Damaged { path: PathBuf, detail: String },
    #[error("{path} is no segment of an event log: {detail}")]
    Foreign { path: PathBuf, detail: String },
    #[error("cannot encode a segment")]
    Encode(#[from] parquet::errors::ParquetError),
}

impl EventLogError {
    fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
