//! A segment's file while it is written: hashed, and handed to the system, while what is written still lies in the cache.

use std::io::{self, Write};
use std::path::PathBuf;

use parquet::errors::ParquetError;

use super::EventLogError;
use crate::durable::NewFile;

/// So many bytes are hashed and handed over together.
const STEP: usize = 256 << 10;

/// A segment's file under its temporary name.
pub(super) struct SegmentSink {
    file: NewFile,
    path: PathBuf,
    /// What is not handed over yet.
    buffer: Vec<u8>,
    bytes: u64,
    whole: blake3::Hasher,
    /// From the page indices on.
    end: Option<blake3::Hasher>,
}

/// What was written.
pub(super) struct Written {
    pub bytes: u64,
    pub hash: [u8; 32],
    /// Of what stands from where the end began; of nothing, where it did not.
    pub end_hash: [u8; 32],
}

impl SegmentSink {
    /// Creates the file. `buffer` is used, and given back when the file is finished.
    pub fn create(path: PathBuf, mut buffer: Vec<u8>) -> Result<Self, EventLogError> {
        buffer.clear();
        buffer.reserve(STEP);
        let file = NewFile::create(&path).map_err(EventLogError::io("write", &path))?;
        Ok(Self { file, path, buffer, bytes: 0, whole: blake3::Hasher::new(), end: None })
    }

    /// Tells that the file's end begins here.
    pub fn begin_end(&mut self) -> io::Result<()> {
        self.hand_over()?;
        self.end = Some(blake3::Hasher::new());
        Ok(())
    }

    /// Makes the file durable, but for its name.
    pub fn finish(mut self) -> Result<(Written, Vec<u8>), EventLogError> {
        let finished = self.hand_over().and_then(|()| self.file.finish());
        finished.map_err(EventLogError::io("write", self.path))?;
        let end_hash = *self.end.unwrap_or_default().finalize().as_bytes();
        let written = Written { bytes: self.bytes, hash: *self.whole.finalize().as_bytes(), end_hash };
        Ok((written, self.buffer))
    }

    /// What an error is that came of writing through the parquet crate: the system's own, where it is one.
    pub fn explain(&self, error: ParquetError) -> EventLogError {
        let ParquetError::External(source) = error else { return error.into() };
        match source.downcast() {
            Ok(source) => EventLogError::io("write", &self.path)(*source),
            Err(source) => ParquetError::External(source).into(),
        }
    }

    fn hand_over(&mut self) -> io::Result<()> {
        self.whole.update(&self.buffer);
        self.end.iter_mut().for_each(|end| _ = end.update(&self.buffer));
        self.file.write_all(&self.buffer)?;
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for SegmentSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= STEP {
            self.hand_over()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
