//! The kinds of columns, by what they hold and how it is encoded.

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::FixedState;
use parquet::basic::Encoding;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;

use super::bits::{push_deltas, push_flags, push_indices, width_of};
use super::page::{Bounds, Levels, Packer, Pages};

/// A column that is being filled, page by page.
pub(in crate::event_log) trait Column {
    /// Ends the page after so many rows.
    fn end_page(&mut self, rows: usize, packer: &mut Packer) -> Result<()>;

    /// Gives the column chunk, and begins the next one.
    fn finish(&mut self, packer: &mut Packer) -> Result<(Bytes, ColumnCloseResult)>;
}

/// GUIDs and texts as they are.
pub(in crate::event_log) struct PlainColumn {
    pages: Pages,
    values: Vec<u8>,
}

impl PlainColumn {
    pub fn new(descriptor: ColumnDescPtr, is_compressed: bool) -> Self {
        Self { pages: Pages::new(descriptor, Encoding::PLAIN, is_compressed), values: Vec::new() }
    }

    pub fn levels(&mut self) -> &mut Levels {
        &mut self.pages.levels
    }

    #[inline]
    pub fn push_guid(&mut self, guid: &[u8; 16]) {
        self.values.extend_from_slice(guid);
    }

    pub fn push_guids(&mut self, bytes: &[u8]) {
        self.values.extend_from_slice(bytes);
    }

    pub fn push_text(&mut self, text: &[u8]) {
        push_text(&mut self.values, text);
    }
}

impl Column for PlainColumn {
    fn end_page(&mut self, rows: usize, packer: &mut Packer) -> Result<()> {
        self.pages.end(rows, packer, None, |content| content.append(&mut self.values))
    }

    fn finish(&mut self, packer: &mut Packer) -> Result<(Bytes, ColumnCloseResult)> {
        self.pages.finish(None, packer)
    }
}

/// Values that repeat: each is written once a row group, and rows name it by its number.
pub(in crate::event_log) struct DictionaryColumn {
    pages: Pages,
    indices: Vec<u32>,
    entries: Vec<u8>,
    known: HashMap<Box<[u8]>, u32, FixedState>,
    last: u32,
    last_value: Vec<u8>,
    /// The least and greatest GUID of the page.
    bounds: Option<Bounds>,
    kind: Entries,
}

/// What a dictionary's entries are.
#[derive(Clone, Copy)]
pub(in crate::event_log) enum Entries {
    Guids,
    Texts,
}

impl DictionaryColumn {
    pub fn new(descriptor: ColumnDescPtr, kind: Entries) -> Self {
        Self {
            pages: Pages::new(descriptor, Encoding::RLE_DICTIONARY, false),
            indices: Vec::new(),
            entries: Vec::new(),
            known: HashMap::default(),
            last: 0,
            last_value: Vec::new(),
            bounds: None,
            kind,
        }
    }

    pub fn levels(&mut self) -> &mut Levels {
        &mut self.pages.levels
    }

    pub fn push(&mut self, value: &[u8]) {
        // Neighbours are often alike.
        if self.known.is_empty() || value != self.last_value.as_slice() {
            self.last = match self.known.get(value) {
                Some(index) => *index,
                None => self.add(value),
            };
            self.last_value.clear();
            self.last_value.extend_from_slice(value);
        }
        self.indices.push(self.last);
    }

    /// Pushes the value that was pushed last.
    pub fn push_again(&mut self) {
        self.indices.push(self.last);
    }

    /// Lets the page's bounds hold this value.
    pub fn bound(&mut self, value: &[u8]) {
        let (least, greatest) = self.bounds.get_or_insert_with(|| (value.to_vec(), value.to_vec()));
        if value < least.as_slice() {
            value.clone_into(least);
        }
        if value > greatest.as_slice() {
            value.clone_into(greatest);
        }
    }

    fn add(&mut self, value: &[u8]) -> u32 {
        let index = u32::try_from(self.known.len()).expect("fewer values than rows");
        match self.kind {
            Entries::Guids => self.entries.extend_from_slice(value),
            Entries::Texts => push_text(&mut self.entries, value),
        }
        self.known.insert(value.into(), index);
        index
    }
}

impl Column for DictionaryColumn {
    fn end_page(&mut self, rows: usize, packer: &mut Packer) -> Result<()> {
        let width = width_of(self.known.len().saturating_sub(1) as u64).max(1);
        self.pages.end(rows, packer, self.bounds.take(), |content| push_indices(content, &self.indices, width))?;
        self.indices.clear();
        Ok(())
    }

    fn finish(&mut self, packer: &mut Packer) -> Result<(Bytes, ColumnCloseResult)> {
        let dictionary = (std::mem::take(&mut self.entries), self.known.len());
        self.known.clear();
        self.pages.finish(Some(dictionary), packer)
    }
}

/// A value of a closed set of names; all of them are in the dictionary.
pub(in crate::event_log) struct NameColumn {
    pages: Pages,
    indices: Vec<u32>,
    names: Vec<&'static str>,
}

impl NameColumn {
    pub fn new(descriptor: ColumnDescPtr, names: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            pages: Pages::new(descriptor, Encoding::RLE_DICTIONARY, false),
            indices: Vec::new(),
            names: names.into_iter().collect(),
        }
    }

    pub fn levels(&mut self) -> &mut Levels {
        &mut self.pages.levels
    }

    /// Pushes a name by its place in the set.
    pub fn push(&mut self, index: u8) {
        self.indices.push(index.into());
    }
}

impl Column for NameColumn {
    fn end_page(&mut self, rows: usize, packer: &mut Packer) -> Result<()> {
        let width = width_of(self.names.len() as u64 - 1).max(1);
        self.pages.end(rows, packer, None, |content| push_indices(content, &self.indices, width))?;
        self.indices.clear();
        Ok(())
    }

    fn finish(&mut self, packer: &mut Packer) -> Result<(Bytes, ColumnCloseResult)> {
        let mut entries = Vec::new();
        self.names.iter().for_each(|name| push_text(&mut entries, name.as_bytes()));
        self.pages.finish(Some((entries, self.names.len())), packer)
    }
}

/// Integers and instants, as differences.
pub(in crate::event_log) struct IntegerColumn {
    pages: Pages,
    values: Vec<i64>,
    has_bounds: bool,
}

impl IntegerColumn {
    /// With `has_bounds`, pages tell the least and greatest of their values.
    pub fn new(descriptor: ColumnDescPtr, has_bounds: bool) -> Self {
        let pages = Pages::new(descriptor, Encoding::DELTA_BINARY_PACKED, false);
        Self { pages, values: Vec::new(), has_bounds }
    }

    pub fn levels(&mut self) -> &mut Levels {
        &mut self.pages.levels
    }

    pub fn push(&mut self, value: i64) {
        self.values.push(value);
    }
}

impl Column for IntegerColumn {
    fn end_page(&mut self, rows: usize, packer: &mut Packer) -> Result<()> {
        let ends = self.values.iter().min().zip(self.values.iter().max()).filter(|_| self.has_bounds);
        let bounds = ends.map(|(least, greatest)| (least.to_le_bytes().to_vec(), greatest.to_le_bytes().to_vec()));
        self.pages.end(rows, packer, bounds, |content| push_deltas(content, &self.values))?;
        self.values.clear();
        Ok(())
    }

    fn finish(&mut self, packer: &mut Packer) -> Result<(Bytes, ColumnCloseResult)> {
        self.pages.finish(None, packer)
    }
}

/// True or false.
pub(in crate::event_log) struct FlagColumn {
    pages: Pages,
    values: Vec<u8>,
}

impl FlagColumn {
    pub fn new(descriptor: ColumnDescPtr) -> Self {
        Self { pages: Pages::new(descriptor, Encoding::PLAIN, false), values: Vec::new() }
    }

    pub fn levels(&mut self) -> &mut Levels {
        &mut self.pages.levels
    }

    pub fn push(&mut self, value: bool) {
        self.values.push(value.into());
    }
}

impl Column for FlagColumn {
    fn end_page(&mut self, rows: usize, packer: &mut Packer) -> Result<()> {
        self.pages.end(rows, packer, None, |content| push_flags(content, &self.values))?;
        self.values.clear();
        Ok(())
    }

    fn finish(&mut self, packer: &mut Packer) -> Result<(Bytes, ColumnCloseResult)> {
        self.pages.finish(None, packer)
    }
}

/// A length of four bytes, and the text.
fn push_text(bytes: &mut Vec<u8>, text: &[u8]) {
    let length = u32::try_from(text.len()).expect("a line has fewer than 2^32 bytes");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(text);
}
