//! Opening segments, and reading single rows whole.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaDataReader};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use uuid::Uuid;

use super::checked::{CheckedFile, FileEnd, read_end};
use super::decode::{Corrupt, GroupPages, PageError, leaf};
use super::schema::Layout;
use super::{EventLogDir, EventLogError, EventRows, LogLine, Segment};

const ROWS_PER_BATCH: usize = 4_096;

/// So many segments stay open, to bound file handles and what is held of their footers.
const MAX_OPEN: usize = 64;

/// Opens segments, and keeps some of them open for later readers: a backlog of many thin days shares one.
pub struct SegmentReader {
    dir: EventLogDir,
    /// In order of opening.
    open: Mutex<VecDeque<(Uuid, Arc<OpenSegment>)>>,
}

/// A segment whose end was found to be what the catalog says; pages are checked as they are read.
pub struct OpenSegment {
    path: PathBuf,
    file: Arc<CheckedFile>,
    metadata: ArrowReaderMetadata,
    layout: Layout,
}

impl SegmentReader {
    #[must_use]
    pub fn new(dir: EventLogDir) -> Self {
        Self { dir, open: Mutex::default() }
    }

    /// Opens a segment.
    ///
    /// # Errors
    /// When the file can't be read, or its end is not what the catalog says.
    pub fn open(&self, segment: &Segment) -> Result<Arc<OpenSegment>, EventLogError> {
        let of_id = |(id, open): &(Uuid, Arc<OpenSegment>)| (*id == segment.id).then(|| open.clone());
        if let Some(open) = self.open.lock().unwrap_or_else(PoisonError::into_inner).iter().find_map(of_id) {
            return Ok(open);
        }
        let open = Arc::new(OpenSegment::open(self.dir.path_of(&segment.path), segment)?);
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_back((segment.id, open.clone()));
        if all.len() > MAX_OPEN {
            all.pop_front();
        }
        Ok(open)
    }
}

impl OpenSegment {
    fn open(path: PathBuf, segment: &Segment) -> Result<Self, EventLogError> {
        let file = File::open(&path).map_err(EventLogError::io("open", &path))?;
        let bytes = read_end(&file, segment.end.at).map_err(EventLogError::io("read", &path))?;
        let damaged = |detail: String| EventLogError::Damaged { path: path.clone(), detail };
        if segment.end.at + bytes.len() as u64 != segment.bytes {
            return Err(damaged(format!("it has not the {} bytes that the catalog says", segment.bytes)));
        }
        if *blake3::hash(&bytes).as_bytes() != segment.end.hash {
            return Err(damaged("the hash of its end is not the one in the catalog".to_owned()));
        }
        let end = FileEnd { at: segment.end.at, bytes: bytes.into() };
        let metadata = ParquetMetaDataReader::new()
            .with_column_index_policy(PageIndexPolicy::Optional)
            .with_offset_index_policy(PageIndexPolicy::Required)
            .parse_and_finish(&end)
            .map_err(|error| damaged(error.to_string()))?;
        let layout = Layout::of_columns(metadata.file_metadata().schema_descr().num_columns());
        let layout = layout.ok_or_else(|| damaged("it has not a segment's columns".to_owned()))?;
        let metadata =
            ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new().with_schema(layout.arrow()))
                .map_err(|error| damaged(error.to_string()))?;
        let file = CheckedFile::new(file, segment.bytes, metadata.metadata())
            .map_err(|Corrupt(detail)| damaged(detail.to_owned()))?;
        Ok(Self::of(path, Arc::new(file), metadata, layout))
    }

    pub(super) fn of(path: PathBuf, file: Arc<CheckedFile>, metadata: ArrowReaderMetadata, layout: Layout) -> Self {
        Self { path, file, metadata, layout }
    }

    /// Which of its columns has the fingerprints of bare rows; none where all rows are whole.
    pub(super) fn fingerprints_at(&self) -> Option<usize> {
        (self.layout == Layout::Bare).then(|| self.layout.parquet().num_columns() - 1)
    }

    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.metadata.metadata().row_groups().iter().map(|group| count(group.num_rows())).sum()
    }

    /// Calls `take` with single rows of all columns, by their numbers within the segment, which must rise.
    ///
    /// # Errors
    /// When the segment can't be decoded, or what `take` returns.
    pub fn read_rows<E: From<EventLogError>>(
        &self,
        rows: &[usize],
        take: impl FnMut(&RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut next = 0;
        let mut selectors = Vec::with_capacity(rows.len() * 2);
        for row in rows {
            selectors.push(RowSelector::skip(row - next));
            selectors.push(RowSelector::select(1));
            next = row + 1;
        }
        self.read_selected(RowSelection::from(selectors), take)
    }

    /// Calls `take` with all rows, of all columns, in order.
    ///
    /// # Errors
    /// When the segment can't be decoded, or what `take` returns.
    pub fn read_all<E: From<EventLogError>>(&self, take: impl FnMut(&RecordBatch) -> Result<(), E>) -> Result<(), E> {
        self.read_selected(RowSelection::from(vec![RowSelector::select(self.rows())]), take)
    }

    /// Calls `take` with all lines, in order.
    ///
    /// # Errors
    /// When the segment can't be decoded, or what `take` returns.
    pub fn read_lines<E: From<EventLogError>>(
        &self,
        mut take: impl FnMut(LogLine<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.read_all(|batch| EventRows::new(batch).lines().try_for_each(&mut take))
    }

    fn read_selected<E: From<EventLogError>>(
        &self,
        rows: RowSelection,
        mut take: impl FnMut(&RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata((*self.file).clone(), self.metadata.clone());
        let reader = builder
            .with_projection(ProjectionMask::all())
            .with_batch_size(ROWS_PER_BATCH)
            .with_row_selection(rows)
            .build()
            .map_err(|error| self.damaged(error.to_string()))?;
        for batch in reader {
            take(&batch.map_err(|error| self.damaged(error.to_string()))?)?;
        }
        Ok(())
    }

    /// That its file is not what it should be.
    pub(super) fn damaged(&self, detail: impl Into<String>) -> EventLogError {
        EventLogError::Damaged { path: self.path.clone(), detail: detail.into() }
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
            let pages = pages.map(|(from, to)| from..to).collect();
            of_rows.push(GroupPages { group, first, pages });
        }
        of_rows
    }

    /// The first and last service of each of these pages.
    pub(super) fn services_of(&self, pages: &GroupPages) -> Result<Vec<RangeInclusive<u128>>, Corrupt> {
        let missing = || Corrupt("the services of pages are not told");
        let of_group = self.metadata.metadata().page_index_for_row_group(pages.group);
        let Some(ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(index)) = of_group.column_index(leaf("service_guid")) else {
            return Err(missing());
        };
        let guid = |bytes: Option<&[u8]>| Some(u128::from_be_bytes(bytes?.try_into().ok()?));
        let bounds = |page| Some(guid(index.min_value(page)?.into())?..=guid(index.max_value(page)?.into())?);
        let pages = pages.first..pages.first + pages.pages.len();
        pages.map(|page| bounds(page).ok_or_else(missing)).collect()
    }

    /// One column of a row group.
    pub(super) fn column_chunk(&self, group: usize, column: usize) -> &ColumnChunkMetaData {
        self.metadata.metadata().row_group(group).column(column)
    }

    /// The pages of one column of a row group.
    pub(super) fn column_pages(
        &self,
        group: usize,
        column: usize,
    ) -> Result<SerializedPageReader<CheckedFile>, PageError> {
        let metadata = self.metadata.metadata();
        let rows = count(metadata.row_group(group).num_rows());
        let offsets = metadata.page_index_for_row_group(group);
        let locations = offsets.offset_index(column).ok_or(Corrupt("a column has no page index"))?;
        let locations = Some(locations.page_locations().clone());
        Ok(SerializedPageReader::new(self.file.clone(), self.column_chunk(group, column), rows, locations)?)
    }

    /// Names the file in an error.
    pub(super) fn checked<T>(&self, read: impl FnOnce() -> Result<T, PageError>) -> Result<T, EventLogError> {
        read().map_err(|error| self.damaged(error.to_string()))
    }
}

/// What the footer says of rows; the file's hash was checked.
fn count(rows: i64) -> usize {
    usize::try_from(rows).unwrap_or(0)
}
