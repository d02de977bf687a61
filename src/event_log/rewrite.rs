//! Segments that are written anew: their rows are read whole, put in the log's order, and held against what they were made
//! of before anybody relies on them.

use std::collections::HashMap;

use arrow_array::RecordBatch;
use uuid::Uuid;

use super::digest::RowsDigest;
use super::{EventLogError, EventRows, OpenSegment, PackedEvents, Segment, SegmentReader};
use crate::model::{Day, Instant};

/// A pack is closed when it has so many bytes: one can't hold 2^32.
const BYTES_OF_PACK: usize = 64 << 20;

/// Whole rows of segments, with what they add up to.
pub struct WholeRows {
    max_bytes: usize,
    packs: Vec<PackedEvents>,
    digest: RowsDigest,
}

/// Why a segment's rows are not taken.
enum NotTaken {
    TooMany,
    Failed(EventLogError),
}

impl From<EventLogError> for NotTaken {
    fn from(error: EventLogError) -> Self {
        Self::Failed(error)
    }
}

impl WholeRows {
    /// No rows yet; they may take so many bytes of memory, about.
    #[must_use]
    pub fn within(max_bytes: usize) -> Self {
        Self { max_bytes, packs: Vec::new(), digest: RowsDigest::default() }
    }

    /// Takes all rows of a segment, or none, and tells which: none where they take too much memory together with the others.
    /// Segments come in the order of their ids, so that rows stay in order of arrival.
    ///
    /// # Errors
    /// When the segment can't be read or is damaged.
    pub fn add(&mut self, segment: &OpenSegment) -> Result<bool, EventLogError> {
        let (packs, mut digest) = (self.packs.len(), self.digest);
        let mut open: HashMap<i64, usize> = HashMap::new();
        let read = segment.read_all(|batch| {
            digest.add(batch);
            self.take(batch, &mut open)
        });
        match read {
            Ok(()) => {
                self.digest = digest;
                Ok(true)
            }
            Err(not_taken) => {
                self.packs.truncate(packs);
                match not_taken {
                    NotTaken::TooMany => Ok(false),
                    NotTaken::Failed(error) => Err(error),
                }
            }
        }
    }

    /// Packs rows by their inputs; `open` has the packs of this segment that are not full.
    fn take(&mut self, batch: &RecordBatch, open: &mut HashMap<i64, usize>) -> Result<(), NotTaken> {
        let rows = EventRows::new(batch);
        for (event, (input, line)) in rows.iter().zip(rows.places()) {
            let at = open.get(&input).copied().filter(|at| self.packs[*at].bytes() < BYTES_OF_PACK);
            let at = at.unwrap_or_else(|| {
                self.packs.push(PackedEvents::of_input(input, 0));
                open.insert(input, self.packs.len() - 1);
                self.packs.len() - 1
            });
            self.packs[at].push(&event, line);
        }
        let bytes: usize = self.packs.iter().map(PackedEvents::bytes).sum();
        if bytes > self.max_bytes { Err(NotTaken::TooMany) } else { Ok(()) }
    }

    #[must_use]
    pub fn packs(&self) -> &[PackedEvents] {
        &self.packs
    }

    /// Reads these segments back, which were written of the rows: they must hold each of them once, as it was, in the log's
    /// order, with copies marked, and on the days that they say.
    ///
    /// # Errors
    /// When they do not, or can't be read.
    pub fn are_in(&self, segments: &[Segment], reader: &SegmentReader) -> Result<(), EventLogError> {
        let mut digest = RowsDigest::default();
        for segment in segments {
            let open = reader.open(segment)?;
            let mut reading = ReadBack { digest, segment, row: 0, before: None };
            open.read_all(|batch| reading.check(batch).map_err(|detail| open.damaged(detail)))?;
            if reading.row != segment.rows {
                return Err(open.damaged("it has not the rows that were written"));
            }
            digest = reading.digest;
        }
        let of_first = || segments.first().map_or_else(String::new, |segment| segment.path.clone());
        if digest == self.digest {
            Ok(())
        } else {
            let detail = "it does not hold the rows that it was made of".to_owned();
            Err(EventLogError::Damaged { path: of_first().into(), detail })
        }
    }
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
