//! Segments that are written anew: their rows are read whole, put in the log's order, and held against what they were made
//! of before anybody relies on them.

use std::collections::{BTreeMap, HashMap};

use arrow_array::RecordBatch;
use uuid::Uuid;

use super::digest::{RowsDigest, Sum};
use super::{EventLogError, EventRows, Fingerprint, LogLine, OpenSegment, PackedEvents, Segment, SegmentReader};
use crate::model::{Day, Instant, content};

/// A pack is closed when it has so many bytes: one can't hold 2^32.
const BYTES_OF_PACK: usize = 64 << 20;

/// Events of several inputs, packed in order of arrival.
pub(super) struct Packs {
    max_bytes: usize,
    packs: Vec<PackedEvents>,
}

/// Why a segment's rows are not taken.
pub(super) enum NotTaken {
    TooMany,
    Failed(EventLogError),
}

impl From<EventLogError> for NotTaken {
    fn from(error: EventLogError) -> Self {
        Self::Failed(error)
    }
}

impl Packs {
    pub fn within(max_bytes: usize) -> Self {
        Self { max_bytes, packs: Vec::new() }
    }

    pub fn all(&self) -> &[PackedEvents] {
        &self.packs
    }

    /// Keeps what `take` packs, if it takes all; tells whether it did.
    pub fn whole_or_none(
        &mut self,
        take: impl FnOnce(&mut Self) -> Result<(), NotTaken>,
    ) -> Result<bool, EventLogError> {
        let before = self.packs.len();
        let Err(not_taken) = take(self) else { return Ok(true) };
        self.packs.truncate(before);
        match not_taken {
            NotTaken::TooMany => Ok(false),
            NotTaken::Failed(error) => Err(error),
        }
    }

    /// Packs a line; `open` has the packs, by input, that are not full.
    pub fn push(&mut self, line: &LogLine<'_>, open: &mut HashMap<i64, usize>) {
        let input = line.input;
        let at = open.get(&input).copied().filter(|at| self.packs[*at].bytes() < BYTES_OF_PACK);
        let at = at.unwrap_or_else(|| {
            self.packs.push(PackedEvents::of_input(input, 0));
            open.insert(input, self.packs.len() - 1);
            self.packs.len() - 1
        });
        self.packs[at].push_line(line);
    }

    pub fn must_fit(&self) -> Result<(), NotTaken> {
        let bytes: usize = self.packs.iter().map(PackedEvents::bytes).sum();
        if bytes > self.max_bytes { Err(NotTaken::TooMany) } else { Ok(()) }
    }
}

/// Whole rows of segments, with what they add up to.
pub struct WholeRows {
    packs: Packs,
    digest: RowsDigest,
}

impl WholeRows {
    /// No rows yet; they may take so many bytes of memory, about.
    #[must_use]
    pub fn within(max_bytes: usize) -> Self {
        Self { packs: Packs::within(max_bytes), digest: RowsDigest::default() }
    }

    /// Takes all rows of a segment, or none, and tells which: none where they take too much memory together with the others.
    /// Segments come in the order of their ids, so that rows stay in order of arrival.
    ///
    /// # Errors
    /// When the segment can't be read or is damaged.
    pub fn add(&mut self, segment: &OpenSegment) -> Result<bool, EventLogError> {
        let (mut digest, mut open) = (self.digest, HashMap::new());
        self.packs.whole_or_none(|packs| {
            segment.read_all(|batch| {
                digest.add(batch);
                for line in EventRows::new(batch).lines() {
                    packs.push(&line, &mut open);
                }
                packs.must_fit()
            })?;
            self.digest = digest;
            Ok(())
        })
    }

    #[must_use]
    pub fn packs(&self) -> &[PackedEvents] {
        self.packs.all()
    }

    /// Reads these segments back, which were written of the rows: they must hold each of them once, as it was, in the log's
    /// order, with copies marked, and on the days that they say.
    ///
    /// # Errors
    /// When they do not, or can't be read.
    pub fn are_in(&self, segments: &[Segment], reader: &SegmentReader) -> Result<(), EventLogError> {
        let digest = read_back(segments, reader, |_| ())?;
        if digest == self.digest { Ok(()) } else { Err(other_rows(segments)) }
    }
}

/// What lines add up to, whatever their order, that are not the same as those of the segments which they are read of.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowsSum(Sum);

impl RowsSum {
    /// Adds a line with everything that it has.
    pub fn add(&mut self, line: &LogLine<'_>) {
        let LogLine { event, fingerprint, input, line } = line;
        let mut hasher = blake3::Hasher::new();
        let mut text = |text: &str| {
            hasher.update(&text.len().to_le_bytes());
            hasher.update(text.as_bytes());
        };
        text(&event.source);
        text(&event.id);
        text(&content(event.event_type, &event.data));
        hasher.update(event.service.as_bytes());
        hasher.update(&event.time.nanos().to_le_bytes());
        hasher.update(&input.to_le_bytes());
        hasher.update(&line.to_le_bytes());
        if let Some(Fingerprint(bytes)) = fingerprint {
            hasher.update(bytes);
        }
        self.0.add(hasher.finalize());
    }

    /// Reads these segments back, which were written of the lines: they must hold each of them once, in the log's order, with
    /// copies marked, and on the days that they say.
    ///
    /// # Errors
    /// When they do not, or can't be read.
    pub fn is_in(self, segments: &[Segment], reader: &SegmentReader) -> Result<(), EventLogError> {
        let mut found = Self::default();
        read_back(segments, reader, |batch| EventRows::new(batch).lines().for_each(|line| found.add(&line)))?;
        if found.0 == self.0 { Ok(()) } else { Err(other_rows(segments)) }
    }
}

/// Lines on their way into new segments, some at a time, packed by the input that they came in with.
#[derive(Debug, Default)]
pub struct LinesByInput {
    packs: BTreeMap<i64, PackedEvents>,
    lines: usize,
}

impl LinesByInput {
    /// So many lie in memory at once.
    const TOGETHER: usize = 262_144;

    pub fn push(&mut self, line: &LogLine<'_>) {
        let pack = self.packs.entry(line.input).or_insert_with(|| PackedEvents::of_input(line.input, 0));
        pack.push_line(line);
        self.lines += 1;
    }

    /// Whether they are to be written before others come.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.lines >= Self::TOGETHER
    }

    /// All lines, in order of arrival; none are left.
    pub fn take(&mut self) -> Vec<PackedEvents> {
        std::mem::take(self).packs.into_values().collect()
    }
}

/// Reads segments that were just written, and holds that rows are in the log's order, copies marked, and days as they say. Gives
/// what the rows add up to.
fn read_back(
    segments: &[Segment],
    reader: &SegmentReader,
    mut see: impl FnMut(&RecordBatch),
) -> Result<RowsDigest, EventLogError> {
    let mut digest = RowsDigest::default();
    for segment in segments {
        let open = reader.open(segment)?;
        let mut reading = ReadBack { digest, segment, row: 0, before: None };
        open.read_all(|batch| {
            see(batch);
            reading.check(batch).map_err(|detail| open.damaged(detail))
        })?;
        if reading.row != segment.rows {
            return Err(open.damaged("it has not the rows that were written"));
        }
        digest = reading.digest;
    }
    Ok(digest)
}

fn other_rows(segments: &[Segment]) -> EventLogError {
    let path = segments.first().map_or_else(String::new, |segment| segment.path.clone());
    EventLogError::Damaged { path: path.into(), detail: "it does not hold the rows that it was made of".to_owned() }
}

/// What orders rows, and the hash that copies share.
struct Before {
    place: (Day, Uuid, Instant, String, String, i64),
    event: blake3::Hash,
}

/// A segment that is read back.
struct ReadBack<'s> {
    digest: RowsDigest,
    segment: &'s Segment,
    /// The number of the next row.
    row: u64,
    before: Option<Before>,
}

impl ReadBack<'_> {
    fn check(&mut self, batch: &RecordBatch) -> Result<(), &'static str> {
        let hashes = self.digest.add(batch);
        let rows = EventRows::new(batch);
        for (((event, (input, _)), is_copy), hash) in rows.iter().zip(rows.places()).zip(rows.marks()).zip(hashes) {
            let day = Day::utc_of(event.time);
            let place =
                (day, event.service, event.time, event.source.clone().into_owned(), event.id.into_owned(), input);
            let of_days = &self.segment.partitions;
            let partition = of_days.partition_point(|partition| partition.first_row + partition.rows <= self.row);
            if of_days.get(partition).is_none_or(|partition| partition.day != day) {
                return Err("a row is not on the day that it was written for");
            }
            if self.before.as_ref().is_some_and(|before| before.place > place) {
                return Err("its rows are not in order");
            }
            if is_copy != self.before.as_ref().is_some_and(|before| before.event == hash) {
                return Err("a copy is not marked, or a row is that is none");
            }
            self.before = Some(Before { place, event: hash });
            self.row += 1;
        }
        Ok(())
    }
}
