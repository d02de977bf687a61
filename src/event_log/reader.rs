//! Reading segments back, after checking that they are what was written.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::errors::Result as ParquetResult;
use parquet::file::reader::{ChunkReader, Length};
use uuid::Uuid;

use super::schema::{Columns, schema};
use super::{EventLogDir, EventLogError, Segment, SegmentPartition};

const ROWS_PER_BATCH: usize = 16_384;

/// So many segments stay open; past that all are closed, to bound file handles and what is held of their footers.
const MAX_OPEN: usize = 64;

/// Opens segments, and checks each against its hash once for as long as it stays open.
pub struct SegmentReader {
    dir: EventLogDir,
    open: Mutex<HashMap<Uuid, Arc<OpenSegment>>>,
}

/// A segment whose content was found to be what the catalog says.
pub struct OpenSegment {
    path: PathBuf,
    file: PositionedFile,
    metadata: ArrowReaderMetadata,
}

impl SegmentReader {
    #[must_use]
    pub fn new(dir: EventLogDir) -> Self {
        Self { dir, open: Mutex::default() }
    }

    /// Opens a segment, which stays open for later readers.
    ///
    /// # Errors
    /// When the file can't be read, or its hash is not the catalog's.
    pub fn open(&self, segment: &Segment) -> Result<Arc<OpenSegment>, EventLogError> {
        if let Some(open) = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&segment.id) {
            return Ok(open.clone());
        }
        let open = Arc::new(OpenSegment::open(self.dir.path_of(&segment.path), &segment.hash)?);
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_OPEN {
            all.clear();
        }
        all.insert(segment.id, open.clone());
        Ok(open)
    }
}

impl OpenSegment {
    fn open(path: PathBuf, hash: &[u8; 32]) -> Result<Self, EventLogError> {
        let file = File::open(&path).map_err(EventLogError::io("open", &path))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&file).map_err(EventLogError::io("read", &path))?;
        if hasher.finalize().as_bytes() != hash {
            return Err(EventLogError::Damaged { path, detail: "its hash is not the one in the catalog".to_owned() });
        }
        let file = PositionedFile {
            length: file.metadata().map_err(EventLogError::io("read", &path))?.len(),
            file: Arc::new(file),
        };
        let options = ArrowReaderOptions::new().with_schema(schema());
        let metadata = ArrowReaderMetadata::load(&file, options)
            .map_err(|error| EventLogError::Damaged { path: path.clone(), detail: error.to_string() })?;
        Ok(Self { path, file, metadata })
    }

    /// Calls `take` with the rows of one day, in order, some thousands at a time.
    ///
    /// # Errors
    /// When the segment can't be decoded, or what `take` returns.
    pub fn read<E: From<EventLogError>>(
        &self,
        partition: SegmentPartition,
        columns: Columns,
        mut take: impl FnMut(&RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let selection = RowSelection::from(vec![
            RowSelector::skip(index(partition.first_row)),
            RowSelector::select(index(partition.rows)),
        ]);
        self.read_selection(selection, columns, &mut take)
    }

    /// Calls `take` with single rows, by their numbers within the segment, which must rise.
    ///
    /// # Errors
    /// When the segment can't be decoded, or what `take` returns.
    pub fn read_rows<E: From<EventLogError>>(
        &self,
        rows: &[u64],
        columns: Columns,
        mut take: impl FnMut(&RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut next = 0;
        let mut selectors = Vec::with_capacity(rows.len() * 2);
        for row in rows {
            selectors.push(RowSelector::skip(index(row - next)));
            selectors.push(RowSelector::select(1));
            next = row + 1;
        }
        self.read_selection(RowSelection::from(selectors), columns, &mut take)
    }

    fn read_selection<E: From<EventLogError>>(
        &self,
        selection: RowSelection,
        columns: Columns,
        take: &mut impl FnMut(&RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let damaged = |detail: String| EventLogError::Damaged { path: self.path.clone(), detail };
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), self.metadata.clone());
        let mask = columns.mask(builder.parquet_schema());
        let reader = builder
            .with_projection(mask)
            .with_batch_size(ROWS_PER_BATCH)
            .with_row_selection(selection)
            .build()
            .map_err(|error| damaged(error.to_string()))?;
        for batch in reader {
            take(&batch.map_err(|error| damaged(error.to_string()))?)?;
        }
        Ok(())
    }
}

/// A file that several threads read at once: each read names its position, for the position of a file is shared by its
/// copies.
#[derive(Clone)]
struct PositionedFile {
    file: Arc<File>,
    length: u64,
}

impl Length for PositionedFile {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for PositionedFile {
    type T = io::BufReader<FileFrom>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(io::BufReader::new(FileFrom { file: self.file.clone(), position: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// The content of a file from a position on.
struct FileFrom {
    file: Arc<File>,
    position: u64,
}

impl Read for FileFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

fn index(row: u64) -> usize {
    usize::try_from(row).expect("a segment's rows are counted in memory")
}
