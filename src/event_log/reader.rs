//! Opening segments, after checking that they are what was written, and reading single rows whole.

use std::collections::VecDeque;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy};
use parquet::file::serialized_reader::SerializedPageReader;
use uuid::Uuid;

use super::decode::{Corrupt, GroupPages, PageError, PageRows, leaf};
use super::schema::schema;
use super::{EventLogDir, EventLogError, Segment};

const ROWS_PER_BATCH: usize = 4_096;

/// Segments stay in memory for later readers, but so many bytes at the most: a backlog of many thin days shares one.
const BYTES_OPEN: usize = 48 << 20;

/// Opens segments, and checks each against its hash once for as long as it stays open.
pub struct SegmentReader {
    dir: EventLogDir,
    /// In order of opening.
    open: Mutex<VecDeque<(Uuid, Arc<OpenSegment>)>>,
}

/// A segment whose content was found to be what the catalog says.
pub struct OpenSegment {
    path: PathBuf,
    content: Arc<Bytes>,
    metadata: ArrowReaderMetadata,
}

impl SegmentReader {
    #[must_use]
    pub fn new(dir: EventLogDir) -> Self {
        Self { dir, open: Mutex::default() }
    }

    /// Opens a segment. One that holds several days stays open for later readers.
    ///
    /// # Errors
    /// When the file can't be read, or its hash is not the catalog's.
    pub fn open(&self, segment: &Segment, has_other_days: bool) -> Result<Arc<OpenSegment>, EventLogError> {
        let of_id = |(id, open): &(Uuid, Arc<OpenSegment>)| (*id == segment.id).then(|| open.clone());
        if let Some(open) = self.open.lock().unwrap_or_else(PoisonError::into_inner).iter().find_map(of_id) {
            return Ok(open);
        }
        let open = Arc::new(OpenSegment::open(self.dir.path_of(&segment.path), &segment.hash)?);
        if has_other_days {
            let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            all.push_back((segment.id, open.clone()));
            while all.len() > 1 && all.iter().map(|(_, open)| open.content.len()).sum::<usize>() > BYTES_OPEN {
                all.pop_front();
            }
        }
        Ok(open)
    }
}

impl OpenSegment {
    fn open(path: PathBuf, hash: &[u8; 32]) -> Result<Self, EventLogError> {
        let content = fs::read(&path).map_err(EventLogError::io("read", &path))?;
        if blake3::hash(&content).as_bytes() != hash {
            return Err(EventLogError::Damaged { path, detail: "its hash is not the one in the catalog".to_owned() });
        }
        let content = Bytes::from(content);
        let options = ArrowReaderOptions::new()
            .with_schema(schema())
            .with_column_index_policy(PageIndexPolicy::Skip)
            .with_offset_index_policy(PageIndexPolicy::Required);
        let metadata = ArrowReaderMetadata::load(&content, options)
            .map_err(|error| EventLogError::Damaged { path: path.clone(), detail: error.to_string() })?;
        Ok(Self { path, content: Arc::new(content), metadata })
    }

    /// Calls `take` with single rows of all columns, by their numbers within the segment, which must rise.
    ///
    /// # Errors
    /// When the segment can't be decoded, or what `take` returns.
    pub fn read_rows<E: From<EventLogError>>(
        &self,
        rows: &[u64],
        mut take: impl FnMut(&RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut next = 0;
        let mut selectors = Vec::with_capacity(rows.len() * 2);
        for row in rows {
            selectors.push(RowSelector::skip(index(row - next)));
            selectors.push(RowSelector::select(1));
            next = row + 1;
        }
        let damaged = |detail: String| EventLogError::Damaged { path: self.path.clone(), detail };
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata((*self.content).clone(), self.metadata.clone());
        let reader = builder
            .with_projection(ProjectionMask::all())
            .with_batch_size(ROWS_PER_BATCH)
            .with_row_selection(RowSelection::from(selectors))
            .build()
            .map_err(|error| damaged(error.to_string()))?;
        for batch in reader {
            take(&batch.map_err(|error| damaged(error.to_string()))?)?;
        }
        Ok(())
    }

    /// The pages that hold any of these rows, by row group. All columns are cut into pages at the same rows.
    pub(super) fn pages_of(&self, rows: &Range<usize>) -> Vec<GroupPages> {
        let metadata = self.metadata.metadata();
        let mut of_rows = Vec::new();
        let mut end = 0;
        for (group, of_group) in metadata.row_groups().iter().enumerate() {
            let start = end;
            end += count(of_group.num_rows());
            let offsets = metadata.page_index_for_row_group(group);
            let locations = offsets.offset_index(leaf("time")).map_or(&[][..], |index| index.page_locations());
            let starts = locations.iter().map(|page| start + count(page.first_row_index));
            let ends = starts.clone().skip(1).chain([end]);
            let mut pages = starts.zip(ends).enumerate().filter(|(_, (from, to))| *from < rows.end && *to > rows.start);
            let Some((first, page)) = pages.next() else { continue };
            let pages = std::iter::once(page).chain(pages.map(|(_, page)| page));
            let pages = pages.map(|(from, to)| PageRows { rows: from..to }).collect();
            of_rows.push(GroupPages { group, first, pages });
        }
        of_rows
    }

    /// The pages of one column of a row group.
    pub(super) fn column_pages(
        &self,
        group: usize,
        column: usize,
    ) -> Result<(SerializedPageReader<Bytes>, &ColumnChunkMetaData), PageError> {
        let metadata = self.metadata.metadata();
        let of_group = metadata.row_group(group);
        let chunk = of_group.column(column);
        let offsets = metadata.page_index_for_row_group(group);
        let locations = offsets.offset_index(column).ok_or(Corrupt("a column has no page index"))?;
        let locations = Some(locations.page_locations().clone());
        let reader = SerializedPageReader::new(self.content.clone(), chunk, count(of_group.num_rows()), locations)?;
        Ok((reader, chunk))
    }

    /// Names the file in an error.
    pub(super) fn checked<T>(&self, read: impl FnOnce() -> Result<T, PageError>) -> Result<T, EventLogError> {
        read().map_err(|error| EventLogError::Damaged { path: self.path.clone(), detail: error.to_string() })
    }
}

/// What the footer says of rows; the file's hash was checked.
fn count(rows: i64) -> usize {
    usize::try_from(rows).unwrap_or(0)
}

fn index(row: u64) -> usize {
    usize::try_from(row).expect("a segment's rows are counted in memory")
}
