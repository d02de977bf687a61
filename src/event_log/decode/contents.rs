//! The contents of single rows, to tell copies from conflicts: as bytes, for nothing has to be made of them.

use std::ops::Range;
use std::sync::LazyLock;

use parquet::basic::Type;
use parquet::schema::types::ColumnDescriptor;
use uuid::Uuid;

use super::cells::Cells;
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
    /// The cell of the next row that has one.
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
    /// For each row: the columns that it has a value in, a bit for each.
    present: Vec<u32>,
    integers: Vec<i64>,
    levels: Vec<u8>,
    /// The rows that have a list, and how many items that has.
    lists: Vec<(usize, usize)>,
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

    /// Reads the next page, of as many rows as `present` has: it is where those that have a value are marked with `bit`.
    fn read(
        &mut self,
        bit: u32,
        Buffers { present, integers, levels, lists, .. }: &mut Buffers,
    ) -> Result<(), PageError> {
        self.next = 0;
        self.cells.clear();
        self.page += 1;
        let page = self.pages.next()?;
        let rows = present.len();
        if self.descriptor.max_rep_level() > 0 {
            lists.clear();
            let items = page.lists(rows, levels, |row, is_item| match lists.last_mut() {
                Some((last, items)) if *last == row => *items += usize::from(is_item),
                _ => lists.push((row, usize::from(is_item))),
            })?;
            self.push(items, integers)?;
            self.cells.join(lists.iter().map(|(_, items)| *items));
            for (row, _) in lists {
                present[*row] |= bit;
            }
        } else if self.descriptor.max_def_level() > 0 {
            let mark = |run: Range<usize>| present[run].iter_mut().for_each(|of_row| *of_row |= bit);
            self.push(page.optional(rows, mark)?, integers)?;
        } else {
            for of_row in present {
                *of_row |= bit;
            }
            self.push(page.required(rows)?, integers)?;
        }
        Ok(())
    }

    /// Makes cells of values.
    fn push(&mut self, values: Values<'_>, integers: &mut Vec<i64>) -> Result<(), Corrupt> {
        let cells = &mut self.cells;
        match (self.descriptor.physical_type(), &self.entries) {
            (Type::BYTE_ARRAY, Some(entries)) => values.indices(entries.len(), |index, times| {
                (0..times).for_each(|_| cells.push(entries.get(index)));
            }),
            (Type::BYTE_ARRAY, None) => values.texts(|text| cells.push(text.as_bytes())),
            (Type::FIXED_LEN_BYTE_ARRAY, None) => {
                cells.extend(values.guids()?.iter().copied());
                Ok(())
            }
            (Type::INT64, None) => {
                values.integers(integers)?;
                cells.extend(integers.iter().map(|integer| integer.to_le_bytes()));
                Ok(())
            }
            (Type::BOOLEAN, None) => values.flags(|flag| cells.push(&[flag.into()])),
            _ => Err(Corrupt("a column that content can't lie in")),
        }
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
        self.present.clear();
        self.present.resize(page.len(), 0);
        let types = columns.at(TYPE, number)?;
        types.read(1 << TYPE, self)?;
        let mut to_read = wanted.iter().try_fold(0, |to_read, row| {
            // Every row has a type, so that its cell is the row's number.
            let event_type = row.checked_sub(page.start).and_then(|row| types.cells.event_type(row));
            event_type.map(|event_type| to_read | columns_of(event_type)).ok_or(Corrupt("a row without a type"))
        })?;
        while to_read != 0 {
            let column = to_read.trailing_zeros() as usize;
            to_read &= to_read - 1;
            columns.at(column, number)?.read(1 << column, self)?;
        }
        let mut wanted = wanted.iter().peekable();
        for (row, present) in page.zip(&self.present) {
            let is_wanted = wanted.next_if_eq(&&row).is_some();
            self.content.clear();
            self.content.extend_from_slice(&present.to_le_bytes());
            let mut user = None;
            let mut left = *present;
            while left != 0 {
                let column = columns.open[left.trailing_zeros() as usize].as_mut();
                let column = column.ok_or(Corrupt("a value in a column that was not read"))?;
                left &= left - 1;
                if is_wanted {
                    let cell = column.cells.get(column.next);
                    let masked = column.member.masked(cell, &mut user, masks);
                    let cell = masked.as_deref().map_or(cell, str::as_bytes);
                    push_length(&mut self.content, cell.len());
                    self.content.extend_from_slice(cell);
                }
                column.next += 1;
            }
            if is_wanted {
                take(&self.content);
            }
        }
        if wanted.peek().is_none() { Ok(()) } else { Err(Corrupt("rows were asked for out of order").into()) }
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
