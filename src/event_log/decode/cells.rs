//! Values of a column as bytes.

use super::Corrupt;
use super::page::Dictionary;
use crate::model::EventType;

/// Values one behind the other. A list is one value.
#[derive(Default)]
pub(super) struct Cells {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Cells {
    pub fn of_dictionary(dictionary: &Dictionary) -> Result<Self, Corrupt> {
        let mut entries = Self::default();
        dictionary.texts()?.iter().for_each(|text| entries.push(text.as_bytes()));
        Ok(entries)
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    #[inline]
    pub fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len());
    }

    /// Pushes values of one width.
    pub fn extend<const WIDTH: usize>(&mut self, values: impl ExactSizeIterator<Item = [u8; WIDTH]>) {
        let start = self.bytes.len();
        self.ends.extend((1..=values.len()).map(|count| start + count * WIDTH));
        values.for_each(|value| self.bytes.extend_from_slice(&value));
    }

    #[inline]
    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// The type that a cell names.
    pub fn event_type(&self, index: usize) -> Option<EventType> {
        let cell = (index < self.len()).then(|| self.get(index))?;
        EventType::from_name(std::str::from_utf8(cell).ok()?)
    }

    /// Makes one cell of each so many.
    pub fn join(&mut self, counts: impl Iterator<Item = usize>) {
        let items = std::mem::take(&mut self.ends);
        let mut joined = 0;
        self.ends.extend(counts.map(|count| {
            joined += count;
            if joined == 0 { 0 } else { items[joined - 1] }
        }));
    }
}
