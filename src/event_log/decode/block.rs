//! A page of rows as rollup looks at them.

use std::ops::Range;

use super::page::{ColumnPages, DataPage, Dictionary};
use super::{Corrupt, GroupPages, PageError, leaf};
use crate::event_log::{EventLogError, OpenSegment};
use crate::model::{EventType, Feature, GroupType};

/// An event's `id`.
#[derive(Clone, Copy, Debug)]
pub enum Id {
    /// A GUID, which stands for its text in lower case with hyphens.
    Guid([u8; 16]),
    /// Where the text stands in [`Block::texts`].
    Text { start: u32, length: u32 },
}

/// An event's `id` itself.
#[derive(Clone, Copy)]
pub enum IdRead<'a> {
    Guid(&'a [u8; 16]),
    Text(&'a str),
}

impl Id {
    /// `texts` are those in which it stands.
    #[must_use]
    pub fn read<'a>(&'a self, texts: &'a str) -> IdRead<'a> {
        match self {
            Self::Guid(guid) => IdRead::Guid(guid),
            Self::Text { start, length } => IdRead::Text(&texts[*start as usize..][..*length as usize]),
        }
    }
}

/// Rows of one page, column by column. Rows that were not asked for may stand before and behind those that were.
#[derive(Default)]
pub struct Block {
    /// The number within the segment of the first row.
    pub first_row: usize,
    /// Which of the rows were asked for, counted from the first.
    pub wanted: Range<usize>,
    pub times: Vec<i64>,
    /// Places in the list of sources that was handed in.
    pub sources: Vec<u32>,
    pub ids: Vec<Id>,
    pub texts: String,
    pub types: Vec<EventType>,
    /// The users that events name which can change a user's class; 0 elsewhere.
    pub users: Vec<u128>,
    pub groups: Vec<Option<GroupType>>,
    pub features: Vec<Option<Feature>>,
    /// Attachments of a message, or the quantity of a use.
    pub counts: Vec<u64>,
    /// Bytes that a message adds, or that a purge takes away.
    pub bytes: Vec<i128>,
    pub inputs: Vec<i64>,
    pub is_copy: Vec<bool>,
    /// The rows that have a `service.updated` document, with it.
    pub patches: Vec<(usize, String)>,
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    rows: Vec<usize>,
    integers: Vec<i64>,
    levels: Vec<u8>,
}

/// Reads rows of a segment, a page at a time.
pub struct BlockReader<'s> {
    segment: &'s OpenSegment,
    rows: Range<usize>,
    groups: std::vec::IntoIter<GroupPages>,
    group: Option<Group<'s>>,
}

/// The columns of a row group that is being read.
struct Group<'s> {
    pages: std::vec::IntoIter<Range<usize>>,
    columns: [ColumnPages<'s>; COLUMNS],
    /// For each entry of the dictionary: its place among the sources.
    sources: Vec<u32>,
    types: Vec<EventType>,
    features: Vec<Feature>,
    user_groups: Vec<GroupType>,
    users: Option<Dictionary>,
}

const COLUMNS: usize = 14;

/// The columns that are read, in the order of [`Group::columns`].
const PATHS: [&str; COLUMNS] = [
    "time",
    "source",
    "id_guid",
    "id",
    "type",
    "user_guid",
    "group_type",
    "feature",
    "quantity",
    "size_bytes",
    "attachments.list.item.size_bytes",
    "input",
    "is_copy",
    "service_patch",
];

impl<'s> BlockReader<'s> {
    #[must_use]
    pub fn new(segment: &'s OpenSegment, rows: Range<usize>) -> Self {
        let groups = segment.pages_of(&rows).into_iter();
        Self { segment, rows, groups, group: None }
    }

    /// Reads the next page into `block`, in place of what it held; false where there is none. Sources that are not among
    /// `sources` yet are added.
    ///
    /// # Errors
    /// When the segment can't be decoded.
    pub fn next(&mut self, sources: &mut Vec<String>, block: &mut Block) -> Result<bool, EventLogError> {
        self.segment.checked(|| {
            loop {
                if let Some(group) = &mut self.group
                    && let Some(page) = group.pages.next()
                {
                    block.first_row = page.start;
                    let end = page.end.min(self.rows.end);
                    block.wanted = self.rows.start.max(page.start) - page.start..end - page.start;
                    block.read(group, page.len())?;
                    return Ok(true);
                }
                let Some(pages) = self.groups.next() else { return Ok(false) };
                self.group = Some(Group::open(self.segment, pages, sources)?);
            }
        })
    }
}

impl<'s> Group<'s> {
    fn open(segment: &'s OpenSegment, pages: GroupPages, sources: &mut Vec<String>) -> Result<Self, PageError> {
        let mut dictionaries: [Option<Dictionary>; COLUMNS] = Default::default();
        let mut columns = Vec::with_capacity(COLUMNS);
        for (path, dictionary) in PATHS.iter().zip(&mut dictionaries) {
            let (column, found) = ColumnPages::open(segment, &pages, leaf(path))?;
            *dictionary = found;
            columns.push(column);
        }
        let [_, source, _, _, event_type, users, group_type, feature, ..] = dictionaries;
        Ok(Self {
            pages: pages.pages.into_iter(),
            columns: columns.try_into().map_err(|_| Corrupt("a column is missing"))?,
            sources: named(source, places(sources))?,
            types: named(event_type, EventType::from_name)?,
            features: named(feature, Feature::from_name)?,
            user_groups: named(group_type, GroupType::from_name)?,
            users,
        })
    }
}

/// The places of names in a list, to which new ones are added.
pub(super) fn places(sources: &mut Vec<String>) -> impl FnMut(&str) -> Option<u32> {
    |source| {
        let known = sources.iter().position(|known| known == source).unwrap_or_else(|| {
            sources.push(source.to_owned());
            sources.len() - 1
        });
        Some(u32::try_from(known).expect("fewer sources than rows"))
    }
}

/// What the texts of a dictionary stand for.
pub(super) fn named<T>(
    dictionary: Option<Dictionary>,
    from_name: impl FnMut(&str) -> Option<T>,
) -> Result<Vec<T>, Corrupt> {
    let dictionary = dictionary.ok_or(Corrupt("a column of names has no dictionary"))?;
    let named: Option<Vec<T>> = dictionary.texts()?.into_iter().map(from_name).collect();
    named.ok_or(Corrupt("a name that is not of the specification"))
}

/// So many values that stand for absent ones.
fn fill<T: Clone>(values: &mut Vec<T>, rows: usize, absent: T) {
    values.clear();
    values.resize(rows, absent);
}

impl Block {
    fn read(&mut self, group: &mut Group, rows: usize) -> Result<(), PageError> {
        let [
            time,
            source,
            id_guid,
            id,
            event_type,
            user,
            group_type,
            feature,
            quantity,
            size,
            sizes,
            input,
            copy,
            patch,
        ] = &mut group.columns;
        time.next()?.required(rows)?.integers(&mut self.times)?;
        input.next()?.required(rows)?.integers(&mut self.inputs)?;
        self.types.clear();
        event_type.next()?.required(rows)?.indices(group.types.len(), |index, times| {
            self.types.resize(self.types.len() + times, group.types[index]);
        })?;
        self.is_copy.clear();
        copy.next()?.required(rows)?.flags(|is_copy| self.is_copy.push(is_copy))?;
        self.read_sources(source, &group.sources, rows)?;
        self.read_ids(id_guid, id, rows)?;
        self.read_users(user, group.users.as_ref(), rows)?;
        read_names(group_type, &group.user_groups, rows, &mut self.groups)?;
        read_names(feature, &group.features, rows, &mut self.features)?;
        self.read_amounts(quantity, size, sizes, rows)?;
        self.read_patches(patch, rows)
    }

    pub(super) fn read_sources(
        &mut self,
        sources: &mut ColumnPages,
        names: &[u32],
        rows: usize,
    ) -> Result<(), PageError> {
        self.sources.clear();
        sources.next()?.required(rows)?.indices(names.len(), |index, times| {
            self.sources.resize(self.sources.len() + times, names[index]);
        })?;
        Ok(())
    }

    /// Each row has an id in one of two columns, nearly all in that of GUIDs.
    fn read_ids(&mut self, guids: &mut ColumnPages, texts: &mut ColumnPages, rows: usize) -> Result<(), PageError> {
        let guids = guids.next()?;
        if let Some(guids) = guids.all_guids(rows)? {
            texts.skip();
            self.texts.clear();
            self.ids.clear();
            self.ids.extend(guids.iter().copied().map(Id::Guid));
            return Ok(());
        }
        self.read_mixed_ids(&guids, &texts.next()?, rows)
    }

    pub(super) fn read_mixed_ids(&mut self, guids: &DataPage, texts: &DataPage, rows: usize) -> Result<(), PageError> {
        fill(&mut self.ids, rows, Id::Text { start: 0, length: 0 });
        self.texts.clear();
        let scratch = &mut self.scratch.rows;
        let guids = present_rows(scratch, |present| guids.optional(rows, present))?.guids()?;
        for (row, guid) in scratch.iter().zip(guids) {
            self.ids[*row] = Id::Guid(*guid);
        }
        let texts = present_rows(scratch, |present| texts.optional(rows, present))?;
        let mut of_texts = scratch.iter();
        texts.texts(|text| {
            let (start, length) = (self.texts.len(), text.len());
            self.texts.push_str(text);
            if let (Some(row), Ok(start), Ok(length)) = (of_texts.next(), start.try_into(), length.try_into()) {
                self.ids[*row] = Id::Text { start, length };
            }
        })?;
        Ok(())
    }

    fn read_users(&mut self, users: &mut ColumnPages, of: Option<&Dictionary>, rows: usize) -> Result<(), PageError> {
        fill(&mut self.users, rows, 0);
        let scratch = &mut self.scratch.rows;
        let page = users.next()?;
        let values = present_rows(scratch, |present| page.optional(rows, present))?;
        let mut set = |row: usize, guid: &[u8; 16]| {
            if self.types[row].changes_users() {
                self.users[row] = u128::from_be_bytes(*guid);
            }
        };
        let Some(dictionary) = of else {
            scratch.iter().zip(values.guids()?).for_each(|(row, guid)| set(*row, guid));
            return Ok(());
        };
        let guids = dictionary.guids()?;
        let mut of_values = scratch.iter();
        values.indices(guids.len(), |index, times| {
            of_values.by_ref().take(times).for_each(|row| set(*row, &guids[index]));
        })?;
        Ok(())
    }

    fn read_amounts(
        &mut self,
        quantity: &mut ColumnPages,
        size: &mut ColumnPages,
        sizes: &mut ColumnPages,
        rows: usize,
    ) -> Result<(), PageError> {
        let Scratch { rows: scratch, integers, levels } = &mut self.scratch;
        self.counts.clear();
        self.counts.extend(self.types.iter().map(|event_type| u64::from(*event_type == EventType::FeatureUsed)));
        fill(&mut self.bytes, rows, 0);
        let page = quantity.next()?;
        present_rows(scratch, |present| page.optional(rows, present))?.integers(integers)?;
        for (row, quantity) in scratch.iter().zip(integers.iter()) {
            self.counts[*row] = quantity.cast_unsigned();
        }
        let page = size.next()?;
        present_rows(scratch, |present| page.optional(rows, present))?.integers(integers)?;
        for (row, size) in scratch.iter().zip(integers.iter()) {
            self.bytes[*row] = i128::from(*size);
        }
        let page = sizes.next()?;
        scratch.clear();
        page.lists(rows, levels, |row, is_item| scratch.extend(is_item.then_some(row)))?.integers(integers)?;
        for (row, size) in scratch.iter().zip(integers.iter()) {
            self.counts[*row] += 1;
            self.bytes[*row] += i128::from(*size);
        }
        Ok(())
    }

    fn read_patches(&mut self, patches: &mut ColumnPages, rows: usize) -> Result<(), PageError> {
        self.patches.clear();
        if !self.types.contains(&EventType::ServiceUpdated) {
            patches.skip();
            return Ok(());
        }
        let scratch = &mut self.scratch.rows;
        let page = patches.next()?;
        let texts = present_rows(scratch, |present| page.optional(rows, present))?;
        let mut of_texts = scratch.iter();
        texts.texts(|text| self.patches.extend(of_texts.next().map(|row| (*row, text.to_owned()))))?;
        Ok(())
    }
}

/// Reads names of a closed set, which a row may lack.
fn read_names<T: Copy>(
    column: &mut ColumnPages,
    names: &[T],
    rows: usize,
    values: &mut Vec<Option<T>>,
) -> Result<(), PageError> {
    fill(values, rows, None);
    let mut present = Vec::new();
    let page = column.next()?;
    let indices = page.optional(rows, |run| present.extend(run))?;
    let mut of_indices = present.into_iter();
    indices.indices(names.len(), |index, times| {
        of_indices.by_ref().take(times).for_each(|row| values[row] = Some(names[index]));
    })?;
    Ok(())
}

/// Runs of present rows as a list of rows.
fn present_rows<'a, V>(
    rows: &mut Vec<usize>,
    read: impl FnOnce(&mut dyn FnMut(Range<usize>)) -> Result<V, Corrupt> + 'a,
) -> Result<V, Corrupt> {
    rows.clear();
    read(&mut |run| rows.extend(run))
}
