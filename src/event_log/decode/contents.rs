//! The contents of single rows, to tell copies from conflicts: as bytes, for nothing has to be made of them.

use std::sync::LazyLock;

use parquet::basic::Type;
use parquet::schema::types::ColumnDescriptor;
use uuid::Uuid;

use super::cells::{Cells, Picked};
use super::page::{ColumnPages, Values};
use super::{Corrupt, GroupPages, PageError};
use crate::event_log::schema::{column_of, parquet_schema};
use crate::event_log::{EventLogError, Fingerprint, OpenSegment};
use crate::model::{EventType, Masks};

/// The place of the type among the columns of content.
const TYPE: usize = 0;

/// The columns that are no part of an event's content: its identity and time, where its line stood, and what a copy is told
/// by. All others are its type and the members of its `data`.
const NO_CONTENT: [&str; 8] = ["service_guid", "time", "source", "id_guid", "id", "is_copy", "input", "line"];

impl OpenSegment {
    /// Calls `take` with the fingerprint of the content of each of these rows, by their numbers within the segment, which must
    /// rise: that which a bare row has kept, or else that of what is there. Bare rows must have been made with the same masks.
    ///
    /// # Errors
    /// When the segment can't be decoded.
    pub fn fingerprints(
        &self,
        rows: &[usize],
        masks: &Masks,
        mut take: impl FnMut(Fingerprint),
    ) -> Result<(), EventLogError> {
        let Some(column) = self.fingerprints_at() else {
            return self.contents(rows, masks, |content| take(Fingerprint::of(content)));
        };
        let kept = self.checked(|| self.kept_fingerprints(column, rows))?;
        let is_whole = kept.iter().map(Option::is_none);
        let whole: Vec<usize> = rows.iter().zip(is_whole).filter_map(|(row, is)| is.then_some(*row)).collect();
        let mut of_whole = Vec::with_capacity(whole.len());
        self.contents(&whole, masks, |content| of_whole.push(Fingerprint::of(content)))?;
        let mut of_whole = of_whole.into_iter();
        for kept in kept {
            kept.or_else(|| of_whole.next()).into_iter().for_each(&mut take);
        }
        Ok(())
    }

    fn kept_fingerprints(&self, column: usize, rows: &[usize]) -> Result<Vec<Option<Fingerprint>>, PageError> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(Vec::new()) };
        let mut wanted = rows.iter().peekable();
        let mut kept = Vec::with_capacity(rows.len());
        for group in self.pages_of(&(*first..*last + 1)) {
            let (mut pages, _) = ColumnPages::open(self, &group, column)?;
            for page in group.pages {
                let mut of_page = vec![None; page.len()];
                let mut present = Vec::new();
                let data = pages.next()?;
                let values = data.optional(page.len(), |run| present.extend(run))?.guids()?;
                for (row, bytes) in present.into_iter().zip(values) {
                    of_page[row] = Some(Fingerprint(*bytes));
                }
                while let Some(row) = wanted.next_if(|row| **row < page.end) {
                    kept.push(of_page[row - page.start]);
                }
            }
        }
        if kept.len() == rows.len() { Ok(kept) } else { Err(Corrupt("rows beyond the end were asked for").into()) }
    }

    /// Calls `take` with the content of each of these rows, by their numbers within the segment, which must rise. It is told
    /// as bytes that two rows, of whatever segments, share exactly if their contents are the same ([`crate::model::content`]):
    /// the log has one form for each type and member, and a column for each. Of what is personal it tells the mask, so that a row
    /// has the same content before a user is erased, and after.
    ///
    /// # Errors
    /// When the segment can't be decoded.
    pub fn contents(&self, rows: &[usize], masks: &Masks, mut take: impl FnMut(&[u8])) -> Result<(), EventLogError> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
        if !rows.is_sorted_by(|a, b| a < b) {
            return Err(self.damaged("rows were asked for out of order"));
        }
        let mut wanted = rows;
        let mut buffers = Buffers::default();
        self.checked(|| {
            for group in self.pages_of(&(*first..*last + 1)) {
                let mut of_group = rows_before(&mut wanted, group.pages.last().map_or(0, |page| page.end));
                let mut columns = Columns::of(self, group);
                for page in 0..columns.group.pages.len() {
                    let of_page = rows_before(&mut of_group, columns.group.pages[page].end);
                    if !of_page.is_empty() {
                        buffers.read(&mut columns, page, of_page, masks, &mut take)?;
                    }
                }
            }
            // A row that was passed over would be taken for a copy.
            if wanted.is_empty() { Ok(()) } else { Err(Corrupt("rows beyond the end were asked for").into()) }
        })
    }
}

/// The columns that content lies in, in the order of the schema: their numbers in the file, and what they are. The first of
/// them has the type.
static CONTENT: LazyLock<Vec<(usize, &'static ColumnDescriptor)>> = LazyLock::new(|| {
    let columns = parquet_schema().columns().iter().map(AsRef::as_ref).enumerate();
    columns.filter(|(_, column)| !NO_CONTENT.contains(&name(column))).collect()
});

/// Which of [`CONTENT`] an event of a type may have a value in, a bit for each.
fn columns_of(event_type: EventType) -> u32 {
    static OF_TYPES: LazyLock<[u32; EventType::ALL.len()]> = LazyLock::new(|| {
        std::array::from_fn(|index| {
            let is_of_type =
                |name: &str| EventType::ALL[index].members().iter().any(|rule| column_of(rule.member) == name);
            let of_type = CONTENT.iter().zip(0..).filter(|((_, column), _)| is_of_type(name(column)));
            of_type.map(|(_, number)| 1 << number).sum()
        })
    });
    OF_TYPES[event_type as usize]
}

fn name(column: &ColumnDescriptor) -> &str {
    &column.path().parts()[0]
}

impl Member {
    fn of_column(name: &str) -> Self {
        match name {
            "user_guid" => Self::User,
            "email_address" | "invited_by_email_address" => Self::Email,
            "first_name" => Self::Name("firstName"),
            "last_name" => Self::Name("lastName"),
            _ => Self::Other,
        }
    }

    /// The mask in the cell's place, where it is a text that has one. The user's column stands before all names.
    fn masked(self, cell: &[u8], user: &mut Option<Uuid>, masks: &Masks) -> Option<String> {
        let text = || std::str::from_utf8(cell).ok();
        match self {
            Self::User => {
                *user = Uuid::from_slice(cell).ok();
                None
            }
            Self::Email => masks.email(text()?),
            Self::Name(member) => masks.name(member, (*user)?, text()?),
            Self::Other => None,
        }
    }
}

/// Takes those of the rows off that stand before `end`.
fn rows_before<'r>(rows: &mut &'r [usize], end: usize) -> &'r [usize] {
    let (before, rest) = rows.split_at(rows.partition_point(|row| *row < end));
    *rows = rest;
    before
}

/// The columns of one row group that content lies in. A page is read of those alone that the wanted rows may have a value in,
/// and a column is opened when a page of it is.
struct Columns<'s> {
    segment: &'s OpenSegment,
    group: GroupPages,
    /// As [`CONTENT`].
    open: Vec<Option<Column<'s>>>,
}

impl<'s> Columns<'s> {
    fn of(segment: &'s OpenSegment, group: GroupPages) -> Self {
        Self { segment, group, open: CONTENT.iter().map(|_| None).collect() }
    }

    /// A column that stands at one of the pages.
    fn at(&mut self, number: usize, page: usize) -> Result<&mut Column<'s>, PageError> {
        let column = match self.open[number].take() {
            Some(column) => column,
            None => Column::open(self.segment, &self.group, CONTENT[number])?,
        };
        let column = self.open[number].insert(column);
        while column.page < page {
            column.pages.skip();
            column.page += 1;
        }
        Ok(column)
    }
}

/// A column of one row group, at one of its pages.
struct Column<'s> {
    descriptor: &'static ColumnDescriptor,
    member: Member,
    pages: ColumnPages<'s>,
    /// Which page comes next.
    page: usize,
    /// What the dictionary holds, of a column that has one.
    entries: Option<Cells>,
    cells: Cells,
    /// The cell of the next wanted row that has one.
    next: usize,
}

/// What a column has of a user.
#[derive(Clone, Copy)]
enum Member {
    User,
    Email,
    /// By what the event's member is called.
    Name(&'static str),
    Other,
}

/// What serves one page after the other.
#[derive(Default)]
struct Buffers {
    /// The page's rows that are wanted, counted from its first one.
    wanted: Vec<usize>,
    /// For each of these: the columns that it has a value in, a bit for each.
    present: Vec<u32>,
    picked: Picked,
    integers: Vec<i64>,
    levels: Vec<u8>,
    content: Vec<u8>,
}

impl<'s> Column<'s> {
    fn open(
        segment: &'s OpenSegment,
        group: &GroupPages,
        (number, descriptor): (usize, &'static ColumnDescriptor),
    ) -> Result<Self, PageError> {
        let (pages, dictionary) = ColumnPages::open(segment, group, number)?;
        let entries = dictionary.as_ref().map(Cells::of_dictionary).transpose()?;
        let member = Member::of_column(name(descriptor));
        Ok(Self { descriptor, member, pages, page: 0, entries, cells: Cells::default(), next: 0 })
    }

    /// Reads what the wanted rows have in the next page, of so many rows, and marks those that have a value with `bit`.
    fn read(
        &mut self,
        rows: usize,
        bit: u32,
        Buffers { wanted, present, picked, integers, levels, .. }: &mut Buffers,
    ) -> Result<(), PageError> {
        self.next = 0;
        self.page += 1;
        let page = self.pages.next()?;
        let mut pick = picked.begin(wanted, |place| present[place] |= bit);
        let values = if self.descriptor.max_rep_level() > 0 {
            page.lists(rows, levels, |row, is_item| pick.item(row, is_item))?
        } else if self.descriptor.max_def_level() > 0 {
            page.optional(rows, |run| pick.run(run))?
        } else {
            pick.run(0..rows);
            page.required(rows)?
        };
        Ok(self.push(values, picked, integers)?)
    }

    /// Makes cells of the picked values.
    fn push(&mut self, values: Values<'_>, picked: &Picked, integers: &mut Vec<i64>) -> Result<(), Corrupt> {
        let Self { cells, entries, .. } = self;
        cells.clear();
        match (self.descriptor.physical_type(), entries) {
            (Type::BYTE_ARRAY, Some(entries)) => {
                let mut of_values = Vec::new();
                values.indices(entries.len(), |index, times| of_values.resize(of_values.len() + times, index))?;
                cells.extend(picked, |value, bytes| bytes.extend_from_slice(entries.get(of_values[value])));
            }
            (Type::BYTE_ARRAY, None) => {
                let mut of_values = Vec::new();
                values.texts(|text| of_values.push(text.as_bytes()))?;
                cells.extend(picked, |value, bytes| bytes.extend_from_slice(of_values[value]));
            }
            (Type::FIXED_LEN_BYTE_ARRAY, None) => {
                let guids = values.guids()?;
                cells.extend(picked, |value, bytes| bytes.extend_from_slice(&guids[value]));
            }
            (Type::INT64, None) => {
                values.integers(integers)?;
                cells.extend(picked, |value, bytes| bytes.extend_from_slice(&integers[value].to_le_bytes()));
            }
            (Type::BOOLEAN, None) => {
                let mut of_values = Vec::new();
                values.flags(|flag| of_values.push(flag))?;
                cells.extend(picked, |value, bytes| bytes.push(of_values[value].into()));
            }
            _ => return Err(Corrupt("a column that content can't lie in")),
        }
        Ok(())
    }
}

impl Buffers {
    /// Reads a page, and gives the contents of these rows of it.
    fn read(
        &mut self,
        columns: &mut Columns<'_>,
        number: usize,
        wanted: &[usize],
        masks: &Masks,
        take: &mut impl FnMut(&[u8]),
    ) -> Result<(), PageError> {
        let page = columns.group.pages[number].clone();
        self.wanted.clear();
        self.wanted.extend(wanted.iter().map(|row| row - page.start));
        self.present.clear();
        self.present.resize(wanted.len(), 0);
        let types = columns.at(TYPE, number)?;
        types.read(page.len(), 1 << TYPE, self)?;
        let mut to_read = (0..wanted.len()).try_fold(0, |to_read, place| {
            let event_type = types.cells.event_type(place);
            event_type.map(|event_type| to_read | columns_of(event_type)).ok_or(Corrupt("a row without a type"))
        })?;
        while to_read != 0 {
            let column = to_read.trailing_zeros() as usize;
            to_read &= to_read - 1;
            columns.at(column, number)?.read(page.len(), 1 << column, self)?;
        }
        for present in &self.present {
            self.content.clear();
            self.content.extend_from_slice(&present.to_le_bytes());
            let mut user = None;
            let mut left = *present;
            while left != 0 {
                let column = columns.open[left.trailing_zeros() as usize].as_mut();
                let column = column.ok_or(Corrupt("a value in a column that was not read"))?;
                left &= left - 1;
                let cell = column.cells.get(column.next);
                column.next += 1;
                let masked = column.member.masked(cell, &mut user, masks);
                let cell = masked.as_deref().map_or(cell, str::as_bytes);
                push_length(&mut self.content, cell.len());
                self.content.extend_from_slice(cell);
            }
            take(&self.content);
        }
        Ok(())
    }
}

/// A length in a form that no other length's begins with: nearly always one byte.
#[inline]
fn push_length(bytes: &mut Vec<u8>, length: usize) {
    if let Some(length) = u8::try_from(length).ok().filter(|length| *length < u8::MAX) {
        bytes.push(length);
    } else {
        bytes.push(u8::MAX);
        bytes.extend_from_slice(&length.to_le_bytes());
    }
}
