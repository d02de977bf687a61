//! Files of which each page is checked as it is read, so that reading a little of a file costs a little.
//!
//! The catalog holds a hash of a file's end, from the page indices on; the end holds a hash of each page. So a flipped byte
//! is found before anything is made of it, and nothing has to be read that is not asked for. The hash of the whole file, which
//! the catalog holds too, is for whoever verifies the log.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length};
use twox_hash::XxHash3_64;

use super::decode::Corrupt;

/// Under this name the hashes of all pages stand in the footer.
const PAGE_HASHES: &str = "usage-rollup.page_hashes";
/// What a Parquet file begins with, and pages stand behind.
const MAGIC_BYTES: usize = 4;

/// The hashes of a file's pages, as they are written: by row group and column, dictionaries before the pages of their column.
#[derive(Default)]
pub(super) struct PageHashes(Vec<u8>);

impl PageHashes {
    /// Adds the pages of a column chunk.
    pub fn add(&mut self, chunk: &[u8], closed: &ColumnCloseResult) {
        let pages = closed.offset_index.as_ref().map_or(&[][..], |index| index.page_locations());
        let ends = pages.iter().map(|page| place(page.offset) + size(page.compressed_page_size));
        let mut from = 0;
        // Whatever stands before the first page is the dictionary.
        for end in pages.first().map(|page| place(page.offset)).filter(|first| *first > 0).into_iter().chain(ends) {
            self.0.extend_from_slice(&XxHash3_64::oneshot(&chunk[from..end]).to_le_bytes());
            from = end;
        }
    }

    pub fn into_metadata(self) -> KeyValue {
        KeyValue::new(PAGE_HASHES.to_owned(), STANDARD_NO_PAD.encode(self.0))
    }
}

/// A page's place in its file, and the hash that it must have.
#[derive(Clone, Copy)]
struct CheckedPage {
    offset: usize,
    length: usize,
    hash: u64,
}

/// A file whose end was checked. It gives out whole pages, and those alone.
#[derive(Clone)]
pub(super) struct CheckedFile {
    file: Arc<File>,
    length: u64,
    /// In order.
    pages: Arc<[CheckedPage]>,
}

impl CheckedFile {
    pub fn new(file: File, length: u64, metadata: &ParquetMetaData) -> Result<Self, Corrupt> {
        let pairs = metadata.file_metadata().key_value_metadata();
        let hashes = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == PAGE_HASHES)?.value.as_ref());
        let hashes = hashes.and_then(|text| STANDARD_NO_PAD.decode(text).ok()).ok_or(Corrupt("no hashes of pages"))?;
        let (hashes, _) = hashes.as_chunks();
        let mut hashes = hashes.iter().map(|hash| u64::from_le_bytes(*hash));
        let mut pages = Vec::with_capacity(hashes.len());
        for (number, group) in metadata.row_groups().iter().enumerate() {
            let index = metadata.page_index_for_row_group(number);
            for (column, chunk) in group.columns().iter().enumerate() {
                let locations = index.offset_index(column).ok_or(Corrupt("a column has no page index"))?;
                let locations = locations.page_locations();
                let start = usize::try_from(chunk.byte_range().0).map_err(|_| Corrupt("a place beyond memory"))?;
                let first = locations.first().map_or(start, |page| place(page.offset));
                let dictionary = (first > start).then(|| (start, first - start));
                let of_column = locations.iter().map(|page| (place(page.offset), size(page.compressed_page_size)));
                for (offset, length) in dictionary.into_iter().chain(of_column) {
                    let hash = hashes.next().ok_or(Corrupt("too few hashes of pages"))?;
                    pages.push(CheckedPage { offset, length, hash });
                }
            }
        }
        if hashes.next().is_some() {
            return Err(Corrupt("too many hashes of pages"));
        }
        pages.sort_unstable_by_key(|page| page.offset);
        Ok(Self { file: Arc::new(file), length, pages: pages.into() })
    }
}

impl CheckedFile {
    /// Whether pages lie side by side from the file's first bytes on, as they are written.
    pub fn is_filled_by_pages(&self) -> bool {
        let mut next = MAGIC_BYTES;
        self.pages.iter().all(|page| {
            let fits = page.offset == next;
            next = page.offset.saturating_add(page.length);
            fits
        }) && next as u64 <= self.length
    }
}

/// Whether a footer has hashes of pages: no other program writes them.
pub(super) fn has_page_hashes(metadata: &ParquetMetaData) -> bool {
    let pairs = metadata.file_metadata().key_value_metadata();
    pairs.is_some_and(|pairs| pairs.iter().any(|pair| pair.key == PAGE_HASHES))
}

impl Length for CheckedFile {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for CheckedFile {
    type T = io::Empty;

    fn get_read(&self, _start: u64) -> Result<Self::T> {
        Err(ParquetError::General("a segment is read by pages".to_owned()))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let found = self.pages.binary_search_by(|page| (page.offset as u64).cmp(&start));
        let page = found.map(|at| self.pages[at]).ok().filter(|page| page.length == length);
        let page = page.ok_or_else(|| ParquetError::General("something else than a page was asked for".to_owned()))?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        if XxHash3_64::oneshot(&bytes) == page.hash {
            Ok(bytes.into())
        } else {
            Err(ParquetError::General(format!("the page at byte {start} is not what was written")))
        }
    }
}

/// The end of a file, from `at` on.
pub(super) fn read_end(file: &File, at: u64) -> io::Result<Vec<u8>> {
    let mut end = Vec::new();
    FileFrom { file, position: at }.read_to_end(&mut end)?;
    Ok(end)
}

struct FileFrom<'a> {
    file: &'a File,
    position: u64,
}

impl Read for FileFrom<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

/// The end of a file, to read its footer from.
pub(super) struct FileEnd {
    pub at: u64,
    pub bytes: Bytes,
}

impl Length for FileEnd {
    fn len(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }
}

impl ChunkReader for FileEnd {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        use bytes::Buf as _;
        let length = usize::try_from(self.len().saturating_sub(start))?;
        Ok(self.get_bytes(start, length)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let from = start.checked_sub(self.at).and_then(|from| usize::try_from(from).ok());
        let range =
            from.and_then(|from| Some(from..from.checked_add(length)?)).filter(|range| range.end <= self.bytes.len());
        let range = range.ok_or_else(|| ParquetError::EOF("the footer reaches beyond the file's end".to_owned()))?;
        Ok(self.bytes.slice(range))
    }
}

/// A place that the footer tells.
fn place(offset: i64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}
