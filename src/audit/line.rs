//! A service's lines of one UTC day, and what became of each of them.
//!
//! This is no part of rollup, and decides anew from whole events what counts (`spec/events.md`, Identity, order, day): tests
//! hold both against each other.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use uuid::Uuid;

use crate::event_log::{
    EventLogError, EventRows, Fingerprint, LogLine, OpenSegment, Segment, SegmentPartition, SegmentReader,
};
use crate::model::{EventType, Feature, GroupType, Instant, Masks, content, content_key};
use crate::rollup::{ContentOrders, VoidMark};

/// A segment's rows of one UTC day. The segment is opened where it has to be read.
pub struct DaySlice<'a> {
    reader: &'a SegmentReader,
    segment: &'a Segment,
    /// As the catalog has it.
    pub path: Arc<str>,
    pub rows: Range<usize>,
}

impl<'a> DaySlice<'a> {
    #[must_use]
    pub fn new(reader: &'a SegmentReader, (segment, partition): &'a (Segment, SegmentPartition)) -> Self {
        let index = |row: u64| usize::try_from(row).unwrap_or(usize::MAX);
        let rows = index(partition.first_row)..index(partition.first_row.saturating_add(partition.rows));
        Self { reader, segment, path: segment.path.as_str().into(), rows }
    }

    /// Which segment it is of.
    #[must_use]
    pub fn segment(&self) -> Uuid {
        self.segment.id
    }

    /// # Errors
    /// When the file can't be read, or its end is not what the catalog says.
    pub fn open(&self) -> Result<Arc<OpenSegment>, EventLogError> {
        self.reader.open(self.segment)
    }
}

/// One line of the log.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub time: Instant,
    pub source: Arc<str>,
    pub id: Arc<str>,
    pub event_type: EventType,
    pub user: Option<Uuid>,
    pub group: Option<GroupType>,
    pub feature: Option<Feature>,
    pub quantity: u64,
    pub attachments: u64,
    pub bytes: i128,
    /// Which slice, and which row of its segment.
    pub slice: usize,
    pub row: usize,
    pub input: i64,
    /// Of its input.
    pub number: u64,
    /// What its content is told from others' by.
    content: Fingerprint,
    /// Whether no more is there of that content than what numbers rest on.
    pub is_bare: bool,
}

/// What became of a line; others are told by their places among the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Counts,
    CopyOf(usize),
    Voided,
    ConflictsWith(usize),
    /// With a line of a day before.
    ConflictsWithEarlier,
}

/// A service's lines of a UTC day in event order, each with its fate.
pub(super) struct Judged {
    pub lines: Vec<Line>,
    pub fates: Vec<Fate>,
    /// Of each identity the line that later ones may conflict with.
    live: Vec<usize>,
}

/// Reads a service's lines of a day, of whose segments no other page is read.
pub(super) fn read(service: Uuid, slices: &[DaySlice<'_>], masks: &Masks) -> Result<Vec<Line>, EventLogError> {
    let mut lines = Vec::new();
    for (slice, number) in slices.iter().zip(0..) {
        lines.extend(read_slice(service, (slice, number), masks, |_| {})?);
    }
    Ok(lines)
}

/// Reads a service's lines of a slice, which has this number among those of its day, by their rows. `take` gets each one whole.
pub(super) fn read_slice(
    service: Uuid,
    (slice, number): (&DaySlice<'_>, usize),
    masks: &Masks,
    mut take: impl FnMut(LogLine<'_>),
) -> Result<Vec<Line>, EventLogError> {
    let segment = slice.open()?;
    let positions = positions(service, &segment, slice)?;
    let mut lines = Vec::with_capacity(positions.len());
    let mut contents = Vec::with_capacity(positions.len());
    segment.fingerprints(&positions, masks, |content| contents.push(content))?;
    let mut rows = positions.iter().zip(contents);
    let mut sources: HashMap<String, Arc<str>> = HashMap::new();
    segment.read_rows::<EventLogError>(&positions, |batch| {
        for (line, (row, content)) in EventRows::new(batch).lines().zip(&mut rows) {
            let source = sources.entry(line.event.source.clone().into_owned());
            let source = source.or_insert_with(|| line.event.source.as_ref().into()).clone();
            lines.push(Line::of(&line, source, (number, *row), content));
            take(line);
        }
        Ok(())
    })?;
    Ok(lines)
}

/// The rows of a service.
pub(super) fn positions(
    service: Uuid,
    segment: &OpenSegment,
    slice: &DaySlice<'_>,
) -> Result<Vec<usize>, EventLogError> {
    let runs = segment.service_runs(slice.rows.clone(), |services| services.contains(&service.as_u128()))?;
    Ok(runs.into_iter().flat_map(|run| run.rows).collect())
}

impl Line {
    fn of(line: &LogLine<'_>, source: Arc<str>, (slice, row): (usize, usize), content: Fingerprint) -> Self {
        let LogLine { event, fingerprint, input, line: number } = line;
        let data = &event.data;
        let attachments = data.attachments.as_deref().unwrap_or_default();
        let of_message = attachments.iter().map(|attachment| i128::from(attachment.size_bytes)).sum::<i128>();
        Self {
            time: event.time,
            source,
            id: event.id.as_ref().into(),
            event_type: event.event_type,
            user: data.user_guid,
            group: data.group_type,
            feature: data.feature,
            quantity: data.quantity.unwrap_or(1),
            attachments: attachments.len() as u64,
            bytes: data.size_bytes.map_or(of_message, i128::from),
            slice,
            row,
            input: *input,
            number: *number,
            content,
            is_bare: fingerprint.is_some(),
        }
    }

    fn identity(&self) -> (Instant, &str, &str) {
        (self.time, &self.source, &self.id)
    }
}

/// The lines of earlier days that were live last, by source and id.
#[derive(Default)]
pub(super) struct Earlier(HashMap<(Arc<str>, Arc<str>), EarlierLine>);

pub(super) struct EarlierLine {
    pub line: Line,
    /// That of its segment.
    pub path: Arc<str>,
    pub is_pending: bool,
}

impl Earlier {
    pub fn find(&self, line: &Line) -> Option<&EarlierLine> {
        self.0.get(&(line.source.clone(), line.id.clone()))
    }

    /// Ends a day: what no later one can conflict with is forgotten.
    pub fn end_day(&mut self, judged: &Judged, slices: &[DaySlice<'_>], is_pending: bool, end: Instant, window: i64) {
        for line in judged.live.iter().map(|at| &judged.lines[*at]) {
            let path = slices[line.slice].path.clone();
            let earlier = EarlierLine { line: line.clone(), path, is_pending };
            self.0.insert((line.source.clone(), line.id.clone()), earlier);
        }
        self.0.retain(|_, earlier| end.nanos().saturating_sub(earlier.line.time.nanos()) <= window);
    }
}

/// Decides what became of each of a service's lines of a day, which lie in these slices. `window` is in nanoseconds.
///
/// # Errors
/// When a segment can't be read or is damaged in which contents lie that conflict.
pub(super) fn judge(
    service: Uuid,
    mut lines: Vec<Line>,
    slices: &[DaySlice<'_>],
    (voids, orders): (&[VoidMark], &ContentOrders),
    earlier: &Earlier,
    window: i64,
) -> Result<Judged, EventLogError> {
    lines.sort_by(|a, b| {
        // Whatever segments they lie in.
        let arrival = |line: &Line| (line.input, line.number);
        a.identity().cmp(&b.identity()).then_with(|| arrival(a).cmp(&arrival(b)))
    });
    let mut fates = vec![Fate::Counts; lines.len()];
    let mut stored: Vec<usize> = Vec::with_capacity(lines.len());
    let mut from = 0;
    for group in lines.chunk_by(|a, b| a.identity() == b.identity()) {
        let mut firsts: Vec<usize> = Vec::new();
        for at in from..from + group.len() {
            match firsts.iter().find(|first| lines[**first].content == lines[at].content) {
                Some(first) => fates[at] = Fate::CopyOf(*first),
                None => firsts.push(at),
            }
        }
        if firsts.len() > 1 {
            let mut texts = HashMap::new();
            for first in &firsts {
                texts.insert(*first, text(&lines[*first], slices)?);
            }
            // What was masked keeps its place.
            let rank = |at: usize| {
                let line = &lines[at];
                orders.get(&content_key(service, line.time, &line.source, &line.id, &texts[&at])).copied()
            };
            firsts.sort_by_cached_key(|at| (rank(*at).unwrap_or(u32::MAX), &texts[at]));
        }
        stored.extend(firsts);
        from += group.len();
    }
    let is_voided = |line: &Line| {
        let names = |mark: &VoidMark| (mark.time, mark.source.as_str(), mark.id.as_str()) == line.identity();
        line.event_type != EventType::EventVoided && voids.iter().any(names)
    };
    let mut last_live: HashMap<(&str, &str), usize> = HashMap::new();
    for at in stored {
        let line = &lines[at];
        let before = last_live.get(&(&*line.source, &*line.id)).copied();
        let near = |before: Instant| line.time.nanos().saturating_sub(before.nanos()) <= window;
        if is_voided(line) {
            fates[at] = Fate::Voided;
            continue;
        }
        match before {
            Some(before) if near(lines[before].time) => fates[at] = Fate::ConflictsWith(before),
            None if earlier.find(line).is_some_and(|earlier| near(earlier.line.time)) => {
                fates[at] = Fate::ConflictsWithEarlier;
            }
            _ => {}
        }
        if line.event_type != EventType::EventVoided {
            last_live.insert((&line.source, &line.id), at);
        }
    }
    let live = last_live.into_values().collect();
    Ok(Judged { lines, fates, live })
}

/// The content of a line, which orders those that share identity and time. One that is bare comes first.
fn text(line: &Line, slices: &[DaySlice<'_>]) -> Result<String, EventLogError> {
    let mut text = String::new();
    if line.is_bare {
        return Ok(text);
    }
    slices[line.slice].open()?.read_rows::<EventLogError>(&[line.row], |batch| {
        text.extend(EventRows::new(batch).iter().map(|event| content(event.event_type, &event.data)));
        Ok(())
    })?;
    Ok(text)
}
