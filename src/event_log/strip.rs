//! Rows made bare: of an event's content there stays what numbers rest on, and a fingerprint of what it was. So it counts as
//! before, can be taken back, and whatever is delivered again is known to be a copy, or to conflict.

use std::collections::{BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use super::rewrite::{NotTaken, Packs, RowsSum};
use super::{EventLogError, EventRows, LogLine, OpenSegment, PackedEvents, Segment, SegmentReader};
use crate::model::{Attachment, Day, Event, EventData, Masks};

/// Rows of segments, bare where they are of certain days, with what they add up to.
pub struct BareRows {
    masks: Masks,
    packs: Packs,
    sum: RowsSum,
}

impl BareRows {
    /// No rows yet; they may take so many bytes of memory, about. Fingerprints are of contents with these masks.
    #[must_use]
    pub fn within(max_bytes: usize, masks: Masks) -> Self {
        Self { masks, packs: Packs::within(max_bytes), sum: RowsSum::default() }
    }

    /// Takes all rows of a segment, or none, and tells which: none where they take too much memory together with the others. Bare
    /// are those of these days, but for some rows by their numbers. Segments come in the order of their ids.
    ///
    /// # Errors
    /// When the segment can't be read or is damaged.
    pub fn add(
        &mut self,
        segment: &OpenSegment,
        days: &BTreeSet<Day>,
        but_for: &HashSet<usize>,
    ) -> Result<bool, EventLogError> {
        let mut fingerprints = Vec::with_capacity(segment.rows());
        segment.fingerprints(&(0..segment.rows()).collect::<Vec<usize>>(), &self.masks, |of| fingerprints.push(of))?;
        let (mut sum, mut row, mut open) = (self.sum, 0, HashMap::new());
        self.packs.whole_or_none(|packs| {
            segment.read_all(|batch| {
                for line in EventRows::new(batch).lines() {
                    let is_due = days.contains(&Day::utc_of(line.event.time)) && !but_for.contains(&row);
                    let line = match line.fingerprint {
                        None if is_due => {
                            LogLine { event: bare(line.event), fingerprint: Some(fingerprints[row]), ..line }
                        }
                        _ => line,
                    };
                    sum.add(&line);
                    packs.push(&line, &mut open);
                    row += 1;
                }
                packs.must_fit()
            })?;
            self.sum = sum;
            Ok::<(), NotTaken>(())
        })
    }

    #[must_use]
    pub fn packs(&self) -> &[PackedEvents] {
        self.packs.all()
    }

    /// Reads these segments back, which were written of the rows: they must hold each of them once, in the log's order, with
    /// copies marked, and on the days that they say.
    ///
    /// # Errors
    /// When they do not, or can't be read.
    pub fn are_in(&self, segments: &[Segment], reader: &SegmentReader) -> Result<(), EventLogError> {
        self.sum.is_in(segments, reader)
    }
}

/// What stays of an event: what rollup looks at, what a void aims at, and the directory's documents.
fn bare(event: Event<'_>) -> Event<'_> {
    let EventData { user_guid, group_type, feature, quantity, size_bytes, attachments, voided, patch, .. } = event.data;
    let without_guid = |of: Attachment| Attachment { attachment_guid: Uuid::nil(), size_bytes: of.size_bytes };
    let data = EventData {
        user_guid: user_guid.filter(|_| event.event_type.changes_users()),
        group_type,
        feature,
        quantity,
        size_bytes,
        attachments: attachments.map(|all| all.into_iter().map(without_guid).collect()),
        voided,
        patch,
        ..EventData::default()
    };
    Event { data, ..event }
}
