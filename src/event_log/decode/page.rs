//! One column's pages over a run of rows.

use std::ops::Range;

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader as _};
use parquet::file::serialized_reader::SerializedPageReader;

use super::bits::{Input, hybrid};
use super::{Corrupt, GroupPages, PageError};
use crate::event_log::OpenSegment;
use crate::event_log::checked::CheckedFile;

/// A page that was decompressed, but not decoded.
pub(super) struct DataPage {
    bytes: Bytes,
    encoding: Encoding,
    /// Entries of the levels: rows, or items and rows without any.
    entries: usize,
    greatest_definition: u32,
    has_lists: bool,
}

/// Values that repeat, of which pages name the numbers.
pub(super) struct Dictionary {
    bytes: Bytes,
    entries: usize,
}

/// A column of one row group, at one of its pages. One without a dictionary is opened when a page of it is read: of some columns
/// hardly any is, and what it takes to decompress them costs more than a page.
pub(super) struct ColumnPages<'s> {
    segment: &'s OpenSegment,
    group: usize,
    column: usize,
    reader: Option<SerializedPageReader<CheckedFile>>,
    /// Pages before the next one to be read.
    skipped: usize,
    greatest_definition: u32,
    has_lists: bool,
}

impl<'s> ColumnPages<'s> {
    /// The column at the first of these pages, and its dictionary if it has one.
    pub fn open(
        segment: &'s OpenSegment,
        pages: &GroupPages,
        column: usize,
    ) -> Result<(Self, Option<Dictionary>), PageError> {
        let chunk = segment.column_chunk(pages.group, column);
        let descriptor = chunk.column_descr();
        let mut of_column = Self {
            segment,
            group: pages.group,
            column,
            reader: None,
            skipped: pages.first,
            greatest_definition: descriptor.max_def_level().cast_unsigned().into(),
            has_lists: descriptor.max_rep_level() > 0,
        };
        let mut dictionary = None;
        if chunk.dictionary_page_offset().is_some() {
            let mut reader = segment.column_pages(pages.group, column)?;
            let Some(Page::DictionaryPage { buf, num_values, .. }) = reader.get_next_page()? else {
                return Err(Corrupt("a column lacks its dictionary").into());
            };
            dictionary = Some(Dictionary { bytes: buf, entries: num_values as usize });
            of_column.reader = Some(reader);
        }
        Ok((of_column, dictionary))
    }

    pub fn next(&mut self) -> Result<DataPage, PageError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(self.segment.column_pages(self.group, self.column)?),
        };
        for _ in 0..std::mem::take(&mut self.skipped) {
            reader.skip_next_page()?;
        }
        match reader.get_next_page()? {
            Some(Page::DataPage { buf, num_values, encoding, .. }) => Ok(DataPage {
                bytes: buf,
                encoding,
                entries: num_values as usize,
                greatest_definition: self.greatest_definition,
                has_lists: self.has_lists,
            }),
            _ => Err(Corrupt("a column has too few data pages").into()),
        }
    }

    /// Leaves a page out, without reading it.
    pub fn skip(&mut self) {
        self.skipped += 1;
    }
}

impl DataPage {
    /// The values of a column that every row has one of.
    pub fn required(&self, rows: usize) -> Result<Values<'_>, Corrupt> {
        if self.greatest_definition != 0 || self.entries != rows {
            return Err(Corrupt("a page's rows are not those of the other columns"));
        }
        Ok(Values { input: Input(&self.bytes), encoding: self.encoding, count: rows })
    }

    /// The values of a column that a row may lack. `present` is called with runs of rows that have one.
    pub fn optional(&self, rows: usize, mut present: impl FnMut(Range<usize>)) -> Result<Values<'_>, Corrupt> {
        if self.greatest_definition != 1 || self.has_lists || self.entries != rows {
            return Err(Corrupt("a page's rows are not those of the other columns"));
        }
        let mut input = Input(&self.bytes);
        let (mut row, mut values) = (0, 0);
        hybrid(input.sized()?, 1, rows, |level, times| {
            if level == 1 {
                present(row..row + times);
                values += times;
            }
            row += times;
        })?;
        Ok(Values { input, encoding: self.encoding, count: values })
    }

    /// The GUIDs of a column that a row may lack; none where any row lacks one.
    pub fn all_guids(&self, rows: usize) -> Result<Option<&[[u8; 16]]>, Corrupt> {
        let values = self.optional(rows, |_| ())?;
        if values.count == rows { values.guids().map(Some) } else { Ok(None) }
    }

    /// The items of a column of lists. `entry` is called with the row of each item, and with that of each list which has none:
    /// the flag tells whether it is an item.
    pub fn lists(
        &self,
        rows: usize,
        scratch: &mut Vec<u8>,
        mut entry: impl FnMut(usize, bool),
    ) -> Result<Values<'_>, Corrupt> {
        if self.greatest_definition != 2 || !self.has_lists {
            return Err(Corrupt("a column of lists is none"));
        }
        let mut input = Input(&self.bytes);
        scratch.clear();
        hybrid(input.sized()?, 1, self.entries, |level, times| {
            scratch.resize(scratch.len() + times, u8::from(level == 0));
        })?;
        let (mut at, mut begun, mut items) = (0, 0, 0);
        hybrid(input.sized()?, 2, self.entries, |level, times| {
            for begins in &scratch[at..at + times] {
                begun += usize::from(*begins);
                if level > 0 && (1..=rows).contains(&begun) {
                    entry(begun - 1, level == 2);
                    items += usize::from(level == 2);
                }
            }
            at += times;
        })?;
        if begun != rows {
            return Err(Corrupt("a page's lists are not as many as its rows"));
        }
        Ok(Values { input, encoding: self.encoding, count: items })
    }
}

/// The values of a page, without those that are null.
pub(super) struct Values<'a> {
    input: Input<'a>,
    encoding: Encoding,
    count: usize,
}

impl<'a> Values<'a> {
    /// GUIDs as they are, 16 bytes each.
    pub fn guids(self) -> Result<&'a [[u8; 16]], Corrupt> {
        let (guids, rest) = self.input.0.as_chunks();
        if self.encoding == Encoding::PLAIN && guids.len() == self.count && rest.is_empty() {
            Ok(guids)
        } else {
            Err(Corrupt("a page's GUIDs are out of shape"))
        }
    }

    /// Integers as differences.
    pub fn integers(self, values: &mut Vec<i64>) -> Result<(), Corrupt> {
        if self.encoding != Encoding::DELTA_BINARY_PACKED {
            return Err(Corrupt("a page's integers are out of shape"));
        }
        // Where no row has a value, there is nothing, not even a header.
        if self.count == 0 && self.input.0.is_empty() {
            values.clear();
            return Ok(());
        }
        super::bits::deltas(self.input.0, self.count, values)
    }

    /// The numbers of dictionary entries, and how often each comes.
    #[inline]
    pub fn indices(mut self, entries: usize, mut run: impl FnMut(usize, usize)) -> Result<(), Corrupt> {
        if self.encoding != Encoding::RLE_DICTIONARY {
            return Err(Corrupt("a page's values are not those of a dictionary"));
        }
        if self.count == 0 {
            return Ok(());
        }
        let width = self.input.split(1)?[0];
        let mut beyond = false;
        hybrid(self.input.0, width.into(), self.count, |index, times| {
            let index = index as usize;
            beyond |= index >= entries;
            if !beyond {
                run(index, times);
            }
        })?;
        if beyond { Err(Corrupt("an index beyond its dictionary")) } else { Ok(()) }
    }

    /// Texts as they are, each behind its length.
    pub fn texts(mut self, mut take: impl FnMut(&'a str)) -> Result<(), Corrupt> {
        if self.encoding != Encoding::PLAIN {
            return Err(Corrupt("a page's texts are out of shape"));
        }
        for _ in 0..self.count {
            take(text(self.input.sized()?)?);
        }
        Ok(())
    }

    /// Flags, eight to the byte.
    pub fn flags(self, take: impl FnMut(bool)) -> Result<(), Corrupt> {
        if self.encoding != Encoding::PLAIN || self.input.0.len() < self.count.div_ceil(8) {
            return Err(Corrupt("a page's flags are out of shape"));
        }
        (0..self.count).map(|at| self.input.0[at / 8] >> (at % 8) & 1 == 1).for_each(take);
        Ok(())
    }
}

impl Dictionary {
    pub fn texts(&self) -> Result<Vec<&str>, Corrupt> {
        let mut input = Input(&self.bytes);
        (0..self.entries).map(|_| text(input.sized()?)).collect()
    }

    pub fn guids(&self) -> Result<&[[u8; 16]], Corrupt> {
        let (guids, _) = self.bytes.as_chunks();
        if guids.len() == self.entries { Ok(guids) } else { Err(Corrupt("a dictionary's GUIDs are out of shape")) }
    }
}

fn text(bytes: &[u8]) -> Result<&str, Corrupt> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| Corrupt("a text is not UTF-8"))
}
