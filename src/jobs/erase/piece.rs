//! One piece of an erasure: the segments that hold what is to be masked on some days, and what takes their place.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::event_log::{
    EventLogDir, EventLogError, LinesByInput, LogLine, RowsSum, Segment, SegmentReader, SegmentWriter,
};
use crate::model::{Day, Erased, Event, content, content_key};
use crate::rollup::ContentOrders;
use crate::store::ContentOrder;

type Ranks = BTreeMap<Day, ContentOrders>;
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
    pub written: RowsSum,
}

fn key_of(event: &Event<'_>, content: &str) -> [u8; 32] {
    content_key(event.service, event.time, &event.source, &event.id, content)
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
        let mut staged = Staged { old: self.segments, new: Vec::new(), orders, masked: 0, written: RowsSum::default() };
        for segment in &staged.old {
            let mut lines = LinesByInput::default();
            reader.open(segment)?.read_lines(|line| {
                let masked = erased.masked(&line.event);
                staged.masked += u64::from(masked.is_some());
                let line = LogLine { event: masked.unwrap_or(line.event), ..line };
                staged.written.add(&line);
                lines.push(&line);
                if lines.is_full() {
                    staged.new.extend(writer.stage(&lines.take())?);
                }
                Ok::<_, EventLogError>(())
            })?;
            staged.new.extend(writer.stage(&lines.take())?);
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
            reader.open(segment)?.read_lines(|LogLine { event, .. }| {
                if erased.masked(&event).is_some() {
                    identities.insert(key_of(&event, ""));
                }
                Ok::<_, EventLogError>(())
            })?;
        }
        let mut contents: HashMap<[u8; 32], (Day, InOrder)> = HashMap::new();
        for segment in near {
            let note = |LogLine { event, fingerprint, .. }: LogLine<'_>| {
                let identity = key_of(&event, "");
                if identities.contains(&identity) {
                    // As rollup orders them: a bare row has no content.
                    let text =
                        if fingerprint.is_some() { String::new() } else { content(event.event_type, &event.data) };
                    let day = Day::utc_of(event.time);
                    let rank = ranks.get(&day).and_then(|ranks| ranks.get(&key_of(&event, &text)).copied());
                    let masked = erased.masked(&event);
                    let masked = masked.as_ref().map_or_else(|| text.clone(), |of| content(of.event_type, &of.data));
                    let (_, of_identity) = contents.entry(identity).or_insert_with(|| (day, BTreeMap::new()));
                    of_identity.insert((rank.unwrap_or(u32::MAX), text), key_of(&event, &masked));
                }
                Ok(())
            };
            let noted: Result<(), EventLogError> = reader.open(segment).and_then(|open| open.read_lines(note));
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
