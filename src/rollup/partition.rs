//! A partition's rows in memory, a run of services at a time.

use std::cmp::Ordering;
use std::hash::BuildHasher as _;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use foldhash::fast::FixedState;
use uuid::Uuid;

use super::across::DayIdentities;
use crate::event_log::{Block, BlockReader, EventLogError, Id, IdRead, OpenSegment};
use crate::model::{EventType, Feature, GroupType, IdentityHash, SourceHash};

/// A segment's rows of the day that is being folded.
#[derive(Clone)]
pub(super) struct Slice {
    pub segment: Arc<OpenSegment>,
    pub rows: Range<usize>,
}

/// Where a service's rows stand in one slice.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub service: u128,
    pub slice: u32,
    pub rows: Range<usize>,
}

/// One line of the log, as far as rollup looks at it.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub time: i64,
    pub identity: IdentityHash,
    id: Id,
    source: u32,
    pub event_type: EventType,
    pub feature: Option<Feature>,
    pub group_type: Option<GroupType>,
    /// Whether its content is that of the row before it in the segment.
    pub is_copy: bool,
    /// The user whose class the event may change.
    pub user: u128,
    /// Attachments of a message, or the quantity of a use.
    pub count: u64,
    /// Bytes that a message adds, or that a purge takes away.
    pub bytes: i128,
    pub input: i64,
    /// Where its whole content stands: which of the partition's slices, and which row of that segment.
    pub slice: u32,
    pub position: u32,
}

/// The parts of a partition by service: of the services within a range, or of those among them that are listed, sorted.
pub(super) fn parts_by_service(
    slices: &[Slice],
    within: &RangeInclusive<Uuid>,
    only: Option<&[Uuid]>,
) -> Result<Vec<Part>, EventLogError> {
    let is_wanted = |services: &RangeInclusive<u128>| {
        let from = Uuid::from_u128(*services.start()).max(*within.start());
        let through = Uuid::from_u128(*services.end()).min(*within.end());
        let next = |only: &[Uuid]| only.get(only.partition_point(|service| *service < from)).copied();
        from <= through && only.is_none_or(|only| next(only).is_some_and(|next| next <= through))
    };
    let mut parts = Vec::new();
    for (slice, number) in slices.iter().zip(0..) {
        let runs = slice.segment.service_runs(slice.rows.clone(), is_wanted)?;
        parts.extend(runs.into_iter().map(|run| Part { service: run.service, slice: number, rows: run.rows }));
    }
    parts.sort_by_key(|part| (part.service, part.slice));
    Ok(parts)
}

/// The identities of parts that are sorted by service, then slice.
pub(super) fn identities_of(slices: &[Slice], parts: &[Part]) -> Result<DayIdentities, EventLogError> {
    let (mut sources, mut source_hashes) = (Vec::new(), Vec::new());
    let mut identities = DayIdentities::default();
    identities.reserve(parts.iter().map(|part| part.rows.len()).sum());
    for (slice, number) in slices.iter().zip(0_u32..) {
        let of_slice: Vec<&Part> = parts.iter().filter(|part| part.slice == number).collect();
        for adjacent in of_slice.chunk_by(|a, b| a.rows.end == b.rows.start) {
            let rows = adjacent[0].rows.start..adjacent[adjacent.len() - 1].rows.end;
            slice.segment.identities(rows, &mut sources, |sources, source, id| {
                source_hashes.extend(sources[source_hashes.len()..].iter().map(|source| SourceHash::of(source)));
                identities.push(short_hash(source_hashes[source as usize], id));
            })?;
            for part in adjacent {
                identities.end(part.service, part.rows.len());
            }
        }
    }
    Ok(identities)
}

/// Enough of a hash to look more closely where it is the same; it is never kept, and costs a tenth of an [`IdentityHash`].
#[inline]
fn short_hash(source: SourceHash, id: IdRead) -> u64 {
    let state = FixedState::default();
    match id {
        IdRead::Guid(guid) => state.hash_one((source, u128::from_ne_bytes(*guid))),
        IdRead::Text(text) => state.hash_one((source, text)),
    }
}

fn spell<'a>(id: &'a Id, texts: &'a str, spelt: &'a mut [u8; 45]) -> &'a str {
    match id.read(texts) {
        IdRead::Guid(guid) => Uuid::from_bytes(*guid).hyphenated().encode_lower(spelt),
        IdRead::Text(text) => text,
    }
}

/// The rows of a run of services, or of that part of them whose identities fall to one pass.
#[derive(Default)]
pub(super) struct Rows {
    pub all: Vec<Row>,
    /// By service, the rows of each slice.
    pub services: Vec<(u128, Vec<Range<usize>>)>,
    texts: String,
    sources: Vec<String>,
    source_hashes: Vec<SourceHash>,
    block: Block,
    /// The `service.updated` documents, by row.
    patches: Vec<(usize, String)>,
}

impl Rows {
    /// Reads the rows of these parts whose identity falls to this pass, in place of what it held: buffers are used again,
    /// which spares the system a page at a time.
    pub fn load(&mut self, slices: &[Slice], parts: &[Part], pass: Pass) -> Result<(), EventLogError> {
        self.all.clear();
        self.texts.clear();
        self.sources.clear();
        self.source_hashes.clear();
        self.patches.clear();
        let mut of_services: Vec<(u128, Range<usize>)> = Vec::with_capacity(parts.len());
        for (slice, number) in slices.iter().zip(0_u32..) {
            let of_slice: Vec<&Part> = parts.iter().filter(|part| part.slice == number).collect();
            for adjacent in of_slice.chunk_by(|a, b| a.rows.end == b.rows.start) {
                self.load_adjacent(slice, number, adjacent, pass, &mut of_services)?;
            }
        }
        of_services.sort_by_key(|(service, _)| *service);
        let by_service = of_services.chunk_by(|a, b| a.0 == b.0);
        self.services = by_service.map(|of| (of[0].0, of.iter().map(|(_, range)| range.clone()).collect())).collect();
        Ok(())
    }

    /// Reads parts of a slice that follow each other without a gap.
    fn load_adjacent(
        &mut self,
        slice: &Slice,
        number: u32,
        parts: &[&Part],
        pass: Pass,
        of_services: &mut Vec<(u128, Range<usize>)>,
    ) -> Result<(), EventLogError> {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return Ok(()) };
        let mut reader = BlockReader::new(&slice.segment, first.rows.start..last.rows.end);
        let mut parts = parts.iter();
        let mut part = parts.next();
        let mut start = self.all.len();
        let mut block = std::mem::take(&mut self.block);
        while reader.next(&mut self.sources, &mut block)? {
            let new = &self.sources[self.source_hashes.len()..];
            self.source_hashes.extend(new.iter().map(|source| SourceHash::of(source)));
            let texts = self.texts.len();
            self.texts.push_str(&block.texts);
            let first_row = block.first_row;
            let mut patches = block.patches.iter();
            let mut row = block.wanted.start;
            while let Some(current) = part.filter(|_| row < block.wanted.end) {
                let end = block.wanted.end.min(current.rows.end - first_row);
                for row in row..end {
                    self.push(&block, row, texts, number, pass);
                    if block.types[row] == EventType::ServiceUpdated
                        && let Some((_, patch)) = patches.find(|(of_row, _)| *of_row == row)
                    {
                        self.patches.push((self.all.len() - 1, patch.clone()));
                    }
                }
                row = end;
                if first_row + end == current.rows.end {
                    of_services.push((current.service, start..self.all.len()));
                    start = self.all.len();
                    part = parts.next();
                }
            }
        }
        self.block = block;
        Ok(())
    }

    #[inline]
    fn push(&mut self, block: &Block, row: usize, texts: usize, slice: u32, pass: Pass) {
        let source = block.sources[row];
        let id = match block.ids[row] {
            Id::Text { start, length } => Id::Text { start: start + small(texts), length },
            guid @ Id::Guid(_) => guid,
        };
        let identity =
            IdentityHash::of(self.source_hashes[source as usize], self.spell(&id, &mut Uuid::encode_buffer()));
        if !pass.takes(identity) {
            return;
        }
        self.all.push(Row {
            time: block.times[row],
            identity,
            id,
            source,
            event_type: block.types[row],
            feature: block.features[row],
            group_type: block.groups[row],
            is_copy: block.is_copy[row],
            user: block.users[row],
            count: block.counts[row],
            bytes: block.bytes[row],
            input: block.inputs[row],
            slice,
            position: small(block.first_row + row),
        });
    }

    fn spell<'a>(&'a self, id: &'a Id, spelt: &'a mut [u8; 45]) -> &'a str {
        spell(id, &self.texts, spelt)
    }

    pub fn note_identities(&self, identities: &mut DayIdentities) {
        identities.reserve(self.all.len());
        for (service, parts) in &self.services {
            for part in parts {
                self.all[part.clone()].iter().for_each(|row| identities.push(self.short_hash(row)));
                identities.end(*service, part.len());
            }
        }
    }

    pub fn short_hash(&self, row: &Row) -> u64 {
        short_hash(self.source_hashes[row.source as usize], row.id.read(&self.texts))
    }

    pub fn source(&self, row: &Row) -> &str {
        &self.sources[row.source as usize]
    }

    pub fn id(&self, row: &Row) -> String {
        self.spell(&row.id, &mut Uuid::encode_buffer()).to_owned()
    }

    /// The document of a `service.updated`.
    pub fn patch(&self, row: usize) -> Option<&str> {
        let found = self.patches.binary_search_by_key(&row, |(row, _)| *row).ok()?;
        Some(&self.patches[found].1)
    }

    /// Event order, and order of arrival behind it.
    pub fn compare(&self, a: &Row, b: &Row) -> Ordering {
        let arrival = |row: &Row| (row.input, row.slice, row.position);
        a.time.cmp(&b.time).then_with(|| self.compare_identity(a, b)).then_with(|| arrival(a).cmp(&arrival(b)))
    }

    /// By source, then id, byte by byte.
    pub fn compare_identity(&self, a: &Row, b: &Row) -> Ordering {
        let by_source = if a.source == b.source { Ordering::Equal } else { self.source(a).cmp(self.source(b)) };
        by_source.then_with(|| match (&a.id, &b.id) {
            // GUIDs sort as their texts do.
            (Id::Guid(a), Id::Guid(b)) => a.cmp(b),
            (a, b) => {
                let (mut of_a, mut of_b) = (Uuid::encode_buffer(), Uuid::encode_buffer());
                self.spell(a, &mut of_a).cmp(self.spell(b, &mut of_b))
            }
        })
    }
}

/// One of the passes in which a large service is folded. Identities are divided among them by hash, so that copies and
/// conflicts meet in the same pass.
#[derive(Clone, Copy)]
pub(super) struct Pass {
    pub number: usize,
    pub of: usize,
}

impl Pass {
    pub const ONLY: Self = Self { number: 0, of: 1 };

    #[inline]
    fn takes(self, identity: IdentityHash) -> bool {
        self.of == 1 || identity.0 % self.of as u128 == self.number as u128
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("a segment has fewer than 2^32 rows and bytes")
}
