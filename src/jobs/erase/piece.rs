//! One piece of an erasure: the segments that hold what is to be masked on some days, and what takes their place.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use arrow_array::RecordBatch;

use crate::event_log::{
    EventLogDir, EventLogError, EventRows, Fingerprint, PackedEvents, Segment, SegmentReader, SegmentWriter,
};
use crate::model::{Day, Erased, Event, content, content_key};
use crate::store::ContentOrder;

/// So many rows lie in memory at once.
const ROWS_TOGETHER: usize = 262_144;

type Ranks = BTreeMap<Day, HashMap<[u8; 32], u32>>;
/// Contents as they come now, with what they are known by once they are masked.
type InOrder = BTreeMap<(u32, String), [u8; 32]>;

/// Segments that share days with each other.
pub(super) struct Piece {
    pub days: BTreeSet<Day>,
    pub segments: Vec<Segment>,
}

/// Masked segments, which lie aside until they are published.
pub(super) struct Staged {
    pub old: Vec<Segment>,
    pub new: Vec<Segment>,
    pub orders: Vec<ContentOrder>,
    pub masked: u64,
    pub written: Sum,
}

/// What rows add up to, whatever their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    rows: u64,
    hashes: u128,
}

impl Sum {
    fn add(&mut self, event: &Event<'_>, kept: Option<Fingerprint>, input: i64, line: u64) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&key_of(event, &content(event.event_type, &event.data)));
        hasher.update(&input.to_le_bytes()).update(&line.to_le_bytes());
        hasher.update(&kept.map_or([0; 16], |Fingerprint(bytes)| bytes));
        let mut half = [0; 16];
        hasher.finalize_xof().fill(&mut half);
        self.rows += 1;
        self.hashes = self.hashes.wrapping_add(u128::from_le_bytes(half));
    }

    /// Reads segments back, and holds what they hold against it.
    pub fn is_in(self, segments: &[Segment], reader: &SegmentReader) -> Result<(), EventLogError> {
        let mut found = Self::default();
        for segment in segments {
            read(reader, segment, |event, kept, input, line| {
                found.add(event, kept, input, line);
                Ok(())
            })?;
        }
        if found == self {
            return Ok(());
        }
        let path = segments.first().map_or_else(String::new, |segment| segment.path.clone()).into();
        Err(EventLogError::Damaged { path, detail: "it does not hold the rows that it was made of".to_owned() })
    }
}

fn key_of(event: &Event<'_>, content: &str) -> [u8; 32] {
    content_key(event.service, event.time, &event.source, &event.id, content)
}

fn read(
    reader: &SegmentReader,
    segment: &Segment,
    mut take: impl FnMut(&Event<'_>, Option<Fingerprint>, i64, u64) -> Result<(), EventLogError>,
) -> Result<(), EventLogError> {
    reader.open(segment)?.read_all(|batch: &RecordBatch| {
        let rows = EventRows::new(batch);
        let places = rows.fingerprints().into_iter().zip(rows.places());
        rows.iter().zip(places).try_for_each(|(event, (kept, (input, line)))| take(&event, kept, input, line))
    })
}

impl Piece {
    /// Writes the segments masked. `near` are all that hold rows of the days, for contents that conflict with masked ones may
    /// name nobody.
    pub fn stage(
        self,
        near: &[Segment],
        ranks: &Ranks,
        reader: &SegmentReader,
        erased: &Erased,
        log: &EventLogDir,
    ) -> Result<Staged, EventLogError> {
        let orders = self.orders(near, ranks, reader, erased)?;
        let writer = SegmentWriter::new(log.clone(), 1);
        let mut staged = Staged { old: self.segments, new: Vec::new(), orders, masked: 0, written: Sum::default() };
        for segment in &staged.old {
            let (mut packs, mut waiting) = (BTreeMap::new(), 0);
            read(reader, segment, |event, kept, input, line| {
                let masked = erased.masked(event);
                staged.masked += u64::from(masked.is_some());
                let event = masked.as_ref().unwrap_or(event);
                staged.written.add(event, kept, input, line);
                packs.entry(input).or_insert_with(|| PackedEvents::of_input(input, 0)).push_as(event, line, kept);
                waiting += 1;
                if waiting >= ROWS_TOGETHER {
                    waiting = 0;
                    staged.new.extend(writer.stage(&flushed(&mut packs))?);
                }
                Ok(())
            })?;
            staged.new.extend(writer.stage(&flushed(&mut packs))?);
        }
        Ok(staged)
    }

    /// In which order masked contents come among others of their identity and time: as they came before. A segment that can't
    /// be read has no part in it, as its day can't be rolled up.
    fn orders(
        &self,
        near: &[Segment],
        ranks: &Ranks,
        reader: &SegmentReader,
        erased: &Erased,
    ) -> Result<Vec<ContentOrder>, EventLogError> {
        let mut identities: HashSet<[u8; 32]> = HashSet::new();
        for segment in &self.segments {
            read(reader, segment, |event, _, _, _| {
                if erased.masked(event).is_some() {
                    identities.insert(key_of(event, ""));
                }
                Ok(())
            })?;
        }
        let mut contents: HashMap<[u8; 32], (Day, InOrder)> = HashMap::new();
        for segment in near {
            let noted = read(reader, segment, |event, kept, _, _| {
                let identity = key_of(event, "");
                if identities.contains(&identity) {
                    // As rollup orders them: a bare row has no content.
                    let text = if kept.is_some() { String::new() } else { content(event.event_type, &event.data) };
                    let day = Day::utc_of(event.time);
                    let rank = ranks.get(&day).and_then(|ranks| ranks.get(&key_of(event, &text)).copied());
                    let masked = erased.masked(event);
                    let masked = masked.as_ref().map_or_else(|| text.clone(), |of| content(of.event_type, &of.data));
                    let (_, of_identity) = contents.entry(identity).or_insert_with(|| (day, BTreeMap::new()));
                    of_identity.insert((rank.unwrap_or(u32::MAX), text), key_of(event, &masked));
                }
                Ok(())
            });
            if let Err(error) = noted {
                tracing::warn!(segment = segment.path, %error, "what conflicts with masked events there can't be told");
            }
        }
        let several = contents.into_values().filter(|(_, contents)| contents.len() > 1);
        let ranked = several.flat_map(|(day, contents)| {
            (0..).zip(contents.into_values()).map(move |(rank, key)| ContentOrder { day, key, rank })
        });
        Ok(ranked.collect())
    }
}

fn flushed(packs: &mut BTreeMap<i64, PackedEvents>) -> Vec<PackedEvents> {
    std::mem::take(packs).into_values().collect()
}
