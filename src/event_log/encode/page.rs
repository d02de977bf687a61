//! One column of a row group: its pages as they fill, and the column chunk that they come to.

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, Type, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter as _};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::FixedLenByteArray;
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use zstd::bulk::Compressor;

use super::bits::{push_bits, push_hybrid, width_of};

/// Which rows of the page that is being filled have a value, a bit each; and where they are lists, definition and repetition
/// levels. Rows without a list are made up for when one with a list comes, and at the page's end.
#[derive(Default)]
pub(in crate::event_log) struct Levels {
    present: Vec<u8>,
    definition: Vec<u8>,
    repetition: Vec<u8>,
    /// Rows of the page whose lists are told of.
    rows: usize,
}

impl Levels {
    fn skip_to(&mut self, row: usize) {
        let nulls = row - self.rows;
        self.definition.resize(self.definition.len() + nulls, 0);
        self.rows = row;
    }

    /// Row `row` has a value.
    #[inline]
    pub fn value(&mut self, row: usize) {
        if self.present.len() <= row / 8 {
            self.present.resize(row / 8 + 1, 0);
        }
        self.present[row / 8] |= 1 << (row % 8);
    }

    /// Row `row` has a list of so many items.
    pub fn list(&mut self, row: usize, items: usize) {
        self.skip_to(row);
        self.repetition.resize(self.definition.len() + 1, 0);
        self.definition.push(if items == 0 { 1 } else { 2 });
        self.definition.resize(self.definition.len() + items.saturating_sub(1), 2);
        self.repetition.resize(self.definition.len(), 1);
        self.rows += 1;
    }
}

/// Makes pages of their content as they lie in the file, with buffers that serve one page after the other.
pub(in crate::event_log) struct Packer {
    compressor: Compressor<'static>,
    /// The page that is being made.
    content: Vec<u8>,
    compressed: Vec<u8>,
    /// Pages without values, before and after compression: there are few different ones, and many of each.
    empty: Vec<(Vec<u8>, Bytes)>,
}

/// A page of no more bytes says little more than that no row has a value.
const EMPTY_BYTES: usize = 24;
/// So many of them are remembered.
const EMPTY_PAGES: usize = 8;

impl Packer {
    pub fn new() -> Result<Self> {
        let compressor = Compressor::new(super::ZSTD_LEVEL)?;
        Ok(Self { compressor, content: Vec::new(), compressed: Vec::new(), empty: Vec::new() })
    }

    fn pack(&mut self, is_compressed: bool) -> Result<Bytes> {
        if !is_compressed {
            let next = Vec::with_capacity(self.content.len());
            return Ok(std::mem::replace(&mut self.content, next).into());
        }
        if let Some((_, packed)) = self.empty.iter().find(|(content, _)| *content == self.content) {
            return Ok(packed.clone());
        }
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(self.content.len()));
        self.compressor.compress_to_buffer(&self.content, &mut self.compressed)?;
        let packed = Bytes::copy_from_slice(&self.compressed);
        if self.content.len() <= EMPTY_BYTES && self.empty.len() < EMPTY_PAGES {
            self.empty.push((self.content.clone(), packed.clone()));
        }
        Ok(packed)
    }
}

/// What a page's header takes, about.
const LIKELY_HEADER_BYTES: usize = 32;

/// The first and last of a page's values, in the order of their bytes as Parquet compares them.
pub(super) type Bounds = (Vec<u8>, Vec<u8>);

struct DataPage {
    page: CompressedPage,
    rows: usize,
    bounds: Option<Bounds>,
}

/// What all kinds of columns have in common.
pub(super) struct Pages {
    descriptor: ColumnDescPtr,
    encoding: Encoding,
    is_compressed: bool,
    pub levels: Levels,
    done: Vec<DataPage>,
}

impl Pages {
    pub fn new(descriptor: ColumnDescPtr, encoding: Encoding, is_compressed: bool) -> Self {
        Self { descriptor, encoding, is_compressed, levels: Levels::default(), done: Vec::new() }
    }

    /// Ends the page after so many rows. `push_values` writes the values that the levels tell of, which are none where no
    /// row has one.
    pub fn end(
        &mut self,
        rows: usize,
        packer: &mut Packer,
        bounds: Option<Bounds>,
        push_values: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        let values = self.fill(rows, &mut packer.content, push_values);
        let uncompressed = packer.content.len();
        let page = Page::DataPage {
            buf: packer.pack(self.is_compressed)?,
            num_values: count(values),
            encoding: self.encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        self.done.push(DataPage { page: CompressedPage::new(page, uncompressed), rows, bounds });
        Ok(())
    }

    /// Makes the page as it is before compression, and tells how many values it holds, nulls included.
    fn fill(&mut self, rows: usize, content: &mut Vec<u8>, push_values: impl FnOnce(&mut Vec<u8>)) -> usize {
        content.clear();
        let levels = &mut self.levels;
        let greatest = self.descriptor.max_def_level().cast_unsigned().into();
        if greatest == 0 {
            push_values(content);
            return rows;
        }
        if self.descriptor.max_rep_level() == 0 {
            levels.present.resize(rows.div_ceil(8), 0);
            push_sized(content, |content| push_bits(content, &levels.present, rows));
            levels.present.clear();
            push_values(content);
            return rows;
        }
        levels.skip_to(rows);
        let values = levels.definition.len();
        levels.repetition.resize(values, 0);
        push_sized(content, |content| push_hybrid(content, &levels.repetition, 1));
        push_sized(content, |content| push_hybrid(content, &levels.definition, width_of(greatest)));
        levels.definition.clear();
        levels.repetition.clear();
        levels.rows = 0;
        push_values(content);
        values
    }

    /// The column chunk of all pages, as it lies in the file, and what the footer says of it.
    pub fn finish(
        &mut self,
        dictionary: Option<(Vec<u8>, usize)>,
        packer: &mut Packer,
    ) -> Result<(Bytes, ColumnCloseResult)> {
        let likely = self.done.iter().map(|done| done.page.data().len() + LIKELY_HEADER_BYTES).sum::<usize>()
            + dictionary.as_ref().map_or(0, |(entries, _)| entries.len());
        let mut sink = TrackedWrite::new(Vec::with_capacity(likely));
        let mut uncompressed = 0;
        let mut writer = SerializedPageWriter::new(&mut sink);
        let mut encoding_stats = Vec::new();
        let dictionary_at = dictionary.as_ref().map(|_| 0);
        if let Some((entries_bytes, entries)) = dictionary {
            let plain = entries_bytes.len();
            packer.content = entries_bytes;
            let page = Page::DictionaryPage {
                buf: packer.pack(self.is_compressed)?,
                num_values: count(entries),
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            uncompressed += writer.write_page(CompressedPage::new(page, plain))?.uncompressed_size;
            encoding_stats.push(stats(PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1));
        }
        encoding_stats.push(stats(PageType::DATA_PAGE, self.encoding, self.done.len()));
        let mut offsets = OffsetIndexBuilder::new();
        let (mut rows, mut values, mut data_at) = (0, 0, None);
        let mut bounds: Vec<Bounds> = Vec::new();
        for DataPage { page, rows: of_page, bounds: of_values } in std::mem::take(&mut self.done) {
            let written = writer.write_page(page)?;
            uncompressed += written.uncompressed_size;
            values += u64::from(written.num_values);
            data_at.get_or_insert(written.offset);
            offsets.append_row_count(signed(of_page));
            offsets.append_offset_and_size(written.offset.cast_signed(), i32::try_from(written.bytes_written)?);
            rows += of_page;
            bounds.extend(of_values);
        }
        let chunk = sink.into_inner()?;
        let mut encodings = vec![self.encoding, Encoding::RLE];
        encodings.extend(dictionary_at.map(|_| Encoding::PLAIN));
        let mut metadata = ColumnChunkMetaData::builder(self.descriptor.clone())
            .set_compression(if self.is_compressed { zstd() } else { Compression::UNCOMPRESSED })
            .set_encodings(encodings)
            .set_page_encoding_stats(encoding_stats)
            .set_total_compressed_size(signed(chunk.len()))
            .set_total_uncompressed_size(signed(uncompressed))
            .set_num_values(values.cast_signed())
            .set_data_page_offset(data_at.unwrap_or(0).cast_signed())
            .set_dictionary_page_offset(dictionary_at);
        if let Some(statistics) = statistics(self.descriptor.physical_type(), &bounds) {
            metadata = metadata.set_statistics(statistics);
        }
        let closed = ColumnCloseResult {
            bytes_written: chunk.len() as u64,
            rows_written: rows as u64,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: column_index(self.descriptor.physical_type(), bounds)?,
            offset_index: Some(offsets.build()),
        };
        Ok((chunk.into(), closed))
    }
}

/// Bounds of each page, so that a reader passes by pages without what it looks for.
fn column_index(
    physical: Type,
    bounds: Vec<Bounds>,
) -> Result<Option<parquet::file::page_index::column_index::ColumnIndexMetaData>> {
    if bounds.is_empty() {
        return Ok(None);
    }
    let mut index = ColumnIndexBuilder::new(physical);
    for (least, greatest) in bounds {
        index.append(false, least, greatest, 0, None);
    }
    index.build().map(Some)
}

fn statistics(physical: Type, bounds: &[Bounds]) -> Option<Statistics> {
    let of_time = |bytes: &Vec<u8>| bytes.as_slice().try_into().map_or(0, i64::from_le_bytes);
    if physical == Type::INT64 {
        let least = bounds.iter().map(|(least, _)| of_time(least)).min()?;
        let greatest = bounds.iter().map(|(_, greatest)| of_time(greatest)).max()?;
        return Some(ValueStatistics::<i64>::new(Some(least), Some(greatest), None, Some(0), false).into());
    }
    let guid = |bytes: Option<&Vec<u8>>| bytes.map(|bytes| FixedLenByteArray::from(bytes.clone()));
    let least = guid(bounds.iter().map(|(least, _)| least).min())?;
    let greatest = guid(bounds.iter().map(|(_, greatest)| greatest).max())?;
    Some(ValueStatistics::new(Some(least), Some(greatest), None, Some(0), false).into())
}

fn stats(page_type: PageType, encoding: Encoding, pages: usize) -> PageEncodingStats {
    PageEncodingStats { page_type, encoding, count: i32::try_from(pages).unwrap_or(i32::MAX) }
}

/// Levels are preceded by how many bytes they take.
fn push_sized(content: &mut Vec<u8>, push: impl FnOnce(&mut Vec<u8>)) {
    let at = content.len();
    content.extend_from_slice(&[0; 4]);
    push(content);
    let length = count(content.len() - at - 4);
    content[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

fn zstd() -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(super::ZSTD_LEVEL).expect("1 is a level of zstd"))
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("a page holds less than a batch, which is far from 2^32")
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).expect("a length in memory")
}
