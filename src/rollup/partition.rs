//! A partition's rows in memory, in event order.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, RecordBatch};

use uuid::Uuid;

use crate::event_log::{Column, Columns, EventLogError, OpenSegment, SegmentPartition};
use crate::model::{EventType, Feature, GroupType, IdentityHash};

/// One line of the log, as far as rollup looks at it.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub service: u128,
    pub time: i64,
    pub identity: IdentityHash,
    source: u32,
    id_start: u32,
    id_length: u16,
    pub event_type: EventType,
    pub feature: Option<Feature>,
    pub group_type: Option<GroupType>,
    /// Nothing where the event names no user.
    pub user: u128,
    /// Attachments of a message, or the quantity of a use.
    pub count: u64,
    /// Bytes that a message adds, or that a purge takes away.
    pub bytes: i128,
    pub input: i64,
    pub line: i64,
    /// Whether its content is that of the row before it in the segment.
    pub is_copy: bool,
    /// Where its whole content stands: which of the partition's slices, and which row of that segment.
    pub slice: u32,
    pub position: u64,
}

/// A segment's rows of the day that is being folded.
#[derive(Clone)]
pub(super) struct Slice {
    pub segment: Arc<OpenSegment>,
    pub partition: SegmentPartition,
}

/// The rows of a partition, or of that part of it whose identities fall to one pass.
pub(super) struct Rows {
    pub all: Vec<Row>,
    ids: String,
    sources: Vec<String>,
    /// The `service.updated` documents, by row.
    patches: Vec<(u32, String)>,
}

impl Rows {
    /// Reads the rows of all slices whose identity falls to this pass, and puts them in order: service, time, source, id,
    /// then arrival. Slices are sorted as they are stored, so the sort merges runs.
    pub fn load(slices: &[Slice], pass: Pass) -> Result<Self, EventLogError> {
        const LIKELY_ID: usize = 36;
        let expected: u64 = slices.iter().map(|slice| slice.partition.rows).sum::<u64>() / pass.of;
        let expected = usize::try_from(expected).unwrap_or(0);
        let mut rows = Self {
            all: Vec::with_capacity(expected),
            ids: String::with_capacity(expected * LIKELY_ID),
            sources: Vec::new(),
            patches: Vec::new(),
        };
        for (index, slice) in slices.iter().enumerate() {
            let mut next_row = slice.partition.first_row;
            slice.segment.read::<EventLogError>(slice.partition, Columns::Rollup, |batch| {
                rows.push_batch(batch, u32::try_from(index).expect("few slices"), next_row, pass);
                next_row += batch.num_rows() as u64;
                Ok(())
            })?;
        }
        let mut all = std::mem::take(&mut rows.all);
        let order = |a: &Row, b: &Row| {
            (a.service, a.time)
                .cmp(&(b.service, b.time))
                .then_with(|| rows.compare_identity(a, b))
                .then_with(|| (a.input, a.line).cmp(&(b.input, b.line)))
        };
        if !all.is_sorted_by(|a, b| order(a, b).is_le()) {
            all.sort_by(order);
        }
        rows.all = all;
        Ok(rows)
    }

    pub fn source(&self, row: &Row) -> &str {
        &self.sources[row.source as usize]
    }

    pub fn id(&self, row: &Row) -> &str {
        let start = row.id_start as usize;
        &self.ids[start..start + usize::from(row.id_length)]
    }

    /// The document of a `service.updated`.
    pub fn patch(&self, row: &Row) -> Option<&str> {
        let found = self.patches.binary_search_by_key(&row.id_start, |(id_start, _)| *id_start).ok()?;
        Some(&self.patches[found].1)
    }

    /// By source, then id, byte by byte.
    pub fn compare_identity(&self, a: &Row, b: &Row) -> Ordering {
        if a.source == b.source { self.id(a).cmp(self.id(b)) } else { self.source(a).cmp(self.source(b)) }
    }

    /// The ranges of rows that share a service.
    pub fn services(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut start = 0;
        self.all.chunk_by(|a, b| a.service == b.service).map(move |rows| {
            let range = start..start + rows.len();
            start = range.end;
            range
        })
    }

    fn push_batch(&mut self, batch: &RecordBatch, slice: u32, first_row: u64, pass: Pass) {
        let services = Column::guids(batch, "service_guid");
        let times = Column::times(batch, "time");
        let (sources, ids) = (Column::texts(batch, "source"), Column::texts(batch, "id"));
        let id_guids = Column::guids(batch, "id_guid");
        let mut spelt = Uuid::encode_buffer();
        let types = Column::texts(batch, "type");
        let users = Column::guids(batch, "user_guid");
        let (inputs, lines) = (Column::integers(batch, "input"), Column::integers(batch, "line"));
        let (quantities, sizes) = (Column::integers(batch, "quantity"), Column::integers(batch, "size_bytes"));
        let (features, groups) = (Column::texts(batch, "feature"), Column::texts(batch, "group_type"));
        let patches = Column::texts(batch, "service_patch");
        let attachments = Attachments::of(batch);
        let copies = Column::flags(batch, "is_copy");
        for row in 0..batch.num_rows() {
            let source = sources.value(row);
            let id = if id_guids.is_valid(row) {
                Uuid::from_u128(guid(id_guids.value(row))).hyphenated().encode_lower(&mut spelt)
            } else {
                ids.value(row)
            };
            let identity = IdentityHash::of(source, id);
            if !pass.takes(identity) {
                continue;
            }
            let event_type = EventType::from_name(types.value(row)).expect("the log holds only types of the model");
            let id_start = u32::try_from(self.ids.len()).expect("a pass holds fewer than 2^32 bytes of ids");
            self.ids.push_str(id);
            if patches.is_valid(row) {
                self.patches.push((id_start, patches.value(row).to_owned()));
            }
            let (count, bytes) = match event_type {
                EventType::MessageSent => attachments.count_and_bytes(row),
                EventType::FeatureUsed if quantities.is_null(row) => (1, 0),
                EventType::FeatureUsed => (quantities.value(row).cast_unsigned(), 0),
                EventType::AttachmentPurged => (0, i128::from(sizes.value(row))),
                _ => (0, 0),
            };
            let source = self.intern(source);
            self.all.push(Row {
                service: guid(services.value(row)),
                time: times.value(row),
                identity,
                source,
                id_start,
                id_length: u16::try_from(id.len()).expect("an id has at most 256 bytes"),
                event_type,
                feature: features.is_valid(row).then(|| Feature::from_name(features.value(row))).flatten(),
                group_type: groups.is_valid(row).then(|| GroupType::from_name(groups.value(row))).flatten(),
                user: if users.is_valid(row) { guid(users.value(row)) } else { 0 },
                count,
                bytes,
                input: inputs.value(row),
                line: lines.value(row),
                is_copy: copies.value(row),
                slice,
                position: first_row + row as u64,
            });
        }
    }

    /// Sources are few; the last used is the likeliest.
    fn intern(&mut self, source: &str) -> u32 {
        let last = self.all.last().map_or(0, |row| row.source as usize);
        let known = if self.sources.get(last).is_some_and(|known| known == source) {
            Some(last)
        } else {
            self.sources.iter().position(|known| known == source)
        };
        let index = known.unwrap_or_else(|| {
            self.sources.push(source.to_owned());
            self.sources.len() - 1
        });
        u32::try_from(index).expect("fewer sources than rows")
    }
}

/// One of the passes in which a large partition is folded. Identities are divided among them by hash, so that copies and
/// conflicts meet in the same pass.
#[derive(Clone, Copy)]
pub(super) struct Pass {
    pub number: u64,
    pub of: u64,
}

impl Pass {
    fn takes(self, identity: IdentityHash) -> bool {
        self.of == 1 || u64::try_from(identity.0 % u128::from(self.of)).is_ok_and(|number| number == self.number)
    }
}

struct Attachments<'a> {
    offsets: &'a [i32],
    sizes: &'a [i64],
}

impl<'a> Attachments<'a> {
    fn of(batch: &'a RecordBatch) -> Self {
        let list = Column::lists(batch, "attachments");
        let items = list.values().as_struct();
        Self { offsets: list.value_offsets(), sizes: items.column(0).as_primitive::<Int64Type>().values() }
    }

    fn count_and_bytes(&self, row: usize) -> (u64, i128) {
        let index = |offset: i32| usize::try_from(offset).expect("offsets are not negative");
        let sizes = &self.sizes[index(self.offsets[row])..index(self.offsets[row + 1])];
        (sizes.len() as u64, sizes.iter().map(|size| i128::from(*size)).sum())
    }
}

fn guid(bytes: &[u8]) -> u128 {
    u128::from_be_bytes(bytes.try_into().expect("a GUID has 16 bytes"))
}
