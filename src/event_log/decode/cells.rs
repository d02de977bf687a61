//! Values of a column as bytes: those of wanted rows alone.

use std::ops::Range;

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

    /// Pushes a cell for each place that is picked: `push` adds the bytes of a value, by its number within the page.
    pub fn extend(&mut self, picked: &Picked, mut push: impl FnMut(usize, &mut Vec<u8>)) {
        for values in &picked.0 {
            values.clone().for_each(|value| push(value, &mut self.bytes));
            self.ends.push(self.bytes.len());
        }
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
}

/// Which of a page's values are those of wanted rows: for each row that has any, which ones, for a list is one cell.
#[derive(Default)]
pub(super) struct Picked(Vec<Range<usize>>);

/// Picks values while the levels of a page are read.
pub(super) struct Pick<'a, M> {
    picked: &'a mut Vec<Range<usize>>,
    wanted: &'a [usize],
    /// How many of the wanted rows are passed.
    passed: usize,
    /// How many values stand before.
    values: usize,
    /// The wanted row whose list was begun last.
    list: Option<usize>,
    mark: M,
}

impl Picked {
    /// Begins with a page. `wanted` are the numbers of rows within it, rising; `mark` is called with the place among these of each
    /// one that has a value.
    pub fn begin<'a, M: FnMut(usize)>(&'a mut self, wanted: &'a [usize], mark: M) -> Pick<'a, M> {
        self.0.clear();
        Pick { picked: &mut self.0, wanted, passed: 0, values: 0, list: None, mark }
    }
}

impl<M: FnMut(usize)> Pick<'_, M> {
    /// Takes the next rows that have a value.
    #[inline]
    pub fn run(&mut self, rows: Range<usize>) {
        while let Some(row) = self.wanted.get(self.passed).filter(|row| **row < rows.end) {
            if let Some(within) = row.checked_sub(rows.start) {
                (self.mark)(self.passed);
                self.picked.push(self.values + within..self.values + within + 1);
            }
            self.passed += 1;
        }
        self.values += rows.len();
    }

    /// Takes the next item of a row's list, or that it has a list without any.
    #[inline]
    pub fn item(&mut self, row: usize, is_item: bool) {
        while self.wanted.get(self.passed).is_some_and(|wanted| *wanted < row) {
            self.passed += 1;
        }
        if self.wanted.get(self.passed) == Some(&row) {
            if self.list.replace(row) != Some(row) {
                (self.mark)(self.passed);
                self.picked.push(self.values..self.values);
            }
            self.picked.iter_mut().last().into_iter().for_each(|items| items.end += usize::from(is_item));
        }
        self.values += usize::from(is_item);
    }
}
