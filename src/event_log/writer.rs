//! From packed events in order of arrival to durable segments.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use foldhash::fast::FixedState;
use parquet::file::writer::SerializedFileWriter;
use uuid::Uuid;

use super::checked::PageHashes;
use super::columns::SegmentColumns;
use super::packed::Key;
use super::schema::Layout;
use super::sink::SegmentSink;
use super::{EventLogDir, EventLogError, PackedEvents, Segment, SegmentEnd, SegmentPartition};
use crate::model::{Day, Instant};

/// A day with at least so many rows in a batch gets a segment of its own; thinner ones share one, because each file costs
/// an fsync.
const ROWS_FOR_OWN_SEGMENT: usize = 8_192;

/// A day with rows of no more services in a batch is thin: late events, most likely. It is recomputed for them alone.
const FEW_SERVICES: usize = 256;

/// Rows of a page, which is the least that a reader must decode.
const ROWS_PER_PAGE: usize = 2_048;
const ROWS_PER_GROUP: usize = 64 * ROWS_PER_PAGE;

/// The rows of a batch, in order.
struct Prepared {
    rows: Vec<Row>,
    segments: Vec<PreparedSegment>,
}

/// The rows of one segment to be, in order.
struct PreparedSegment {
    groups: Vec<Group>,
}

/// The rows of a service's day: a range of the batch's.
#[derive(Clone)]
struct Group {
    day: Day,
    service: u128,
    rows: Range<usize>,
}

/// Where in which pack an event begins.
#[derive(Clone, Copy)]
struct Row {
    time: Instant,
    pack: u32,
    start: u32,
    length: u32,
}

/// Writes batches of events as segments.
pub struct SegmentWriter {
    dir: EventLogDir,
    threads: usize,
    /// Encoders that are not in use: their buffers serve the next segment.
    spare: Mutex<Vec<Encoder>>,
}

impl SegmentWriter {
    /// It writes so many segments at once, each on a thread of its own: much of the time it waits for the disk.
    #[must_use]
    pub fn new(dir: EventLogDir, threads: usize) -> Self {
        Self { dir, threads: threads.max(1), spare: Mutex::default() }
    }

    /// Orders all events, makes segments of them, and makes those durable. Packs come in order of arrival.
    ///
    /// # Errors
    /// When rows can't be encoded or a file not be written; what is left behind is an unfinished file or an orphan, never half
    /// a segment.
    pub fn write(&self, packs: &[PackedEvents]) -> Result<Vec<Segment>, EventLogError> {
        self.write_files(packs, |segment| self.dir.publish(&segment.path))
    }

    /// The same, but for that the files lie aside until they are published ([`EventLogDir::publish`]), and go with the next
    /// cleaning up if they never are.
    ///
    /// # Errors
    /// When rows can't be encoded or a file not be written.
    pub fn stage(&self, packs: &[PackedEvents]) -> Result<Vec<Segment>, EventLogError> {
        self.write_files(packs, |_| Ok(()))
    }

    /// Calls `done` with each segment whose file is durable under its temporary name.
    fn write_files(
        &self,
        packs: &[PackedEvents],
        done: impl Fn(&Segment) -> Result<(), EventLogError> + Sync,
    ) -> Result<Vec<Segment>, EventLogError> {
        let prepared = prepare(packs);
        let layout = if packs.iter().any(PackedEvents::is_bare) { Layout::Bare } else { Layout::Whole };
        let next = AtomicUsize::new(0);
        let work = || {
            let mut written = Vec::new();
            let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut encoder = match spare.filter(|spare| spare.layout == layout) {
                Some(encoder) => encoder,
                None => Encoder::new(layout)?,
            };
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(segment) = prepared.segments.get(index) else { break };
                let segment = encoder.segment(&self.dir, packs, &prepared.rows, &segment.groups)?;
                done(&segment)?;
                written.push((index, segment));
            }
            self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(encoder);
            Ok::<_, EventLogError>(written)
        };
        let helpers = self.threads.min(prepared.segments.len()).saturating_sub(1);
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(work)).collect();
            let mut written = work()?;
            for helper in helpers {
                written.extend(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            written.sort_unstable_by_key(|(index, _)| *index);
            Ok(written.into_iter().map(|(_, segment)| segment).collect())
        })
    }
}

/// Orders all events and divides them into segments. Packs come in order of arrival.
fn prepare(packs: &[PackedEvents]) -> Prepared {
    let (mut rows, groups) = group(packs);
    for group in &groups {
        let rows = &mut rows[group.rows.clone()];
        // Nearly in order, as most events arrive in the order of their times.
        rows.sort_by_key(|row| row.time);
        for tied in rows.chunk_by_mut(|a, b| a.time == b.time).filter(|tied| tied.len() > 1) {
            tied.sort_by_cached_key(|row| {
                let event = packs[row.pack as usize].get(row.start, row.length);
                // Of several copies that of the earliest input comes first, in whatever order a batch has its inputs.
                (event.source, event.id.text(), event.input)
            });
        }
    }
    Prepared { rows, segments: divide(&groups) }
}

/// Puts the rows of each service's day together, in order of arrival, and these groups in order: services are compared
/// with one another once, not once for each of their events.
fn group(packs: &[PackedEvents]) -> (Vec<Row>, Vec<Group>) {
    let mut numbers: HashMap<(Day, u128), u32, FixedState> = HashMap::default();
    let mut groups: Vec<Group> = Vec::new();
    let mut number_of_row = Vec::with_capacity(packs.iter().map(PackedEvents::len).sum());
    for key in packs.iter().flat_map(|pack| pack.keys(0)) {
        let day = Day::utc_of(key.time);
        let number = *numbers.entry((day, key.service)).or_insert_with(|| {
            groups.push(Group { day, service: key.service, rows: 0..0 });
            u32::try_from(groups.len() - 1).expect("a batch has fewer than 2^32 events")
        });
        groups[number as usize].rows.end += 1;
        number_of_row.push(number);
    }
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_unstable_by_key(|number| (groups[*number].day, groups[*number].service));
    let mut from = 0;
    for number in &order {
        let rows = &mut groups[*number].rows;
        let count = rows.end;
        *rows = from..from;
        from += count;
    }
    let nowhere = Row { time: Instant::from_nanos(0), pack: 0, start: 0, length: 0 };
    let mut rows = vec![nowhere; number_of_row.len()];
    let keys = packs.iter().zip(0..).flat_map(|(pack, index)| pack.keys(index));
    for (key, number) in keys.zip(&number_of_row) {
        let end = &mut groups[*number as usize].rows.end;
        rows[*end] = Row { time: key.time, pack: key.pack, start: key.start, length: key.length };
        *end += 1;
    }
    (rows, order.into_iter().map(|number| groups[number].clone()).collect())
}

fn divide(groups: &[Group]) -> Vec<PreparedSegment> {
    let days: Vec<&[Group]> = groups.chunk_by(|a, b| a.day == b.day).collect();
    let has_own = |day: &&[Group]| row_count(day) >= ROWS_FOR_OWN_SEGMENT;
    let (own, shared): (Vec<&[Group]>, Vec<&[Group]>) = days.into_iter().partition(has_own);
    let mut prepared: Vec<PreparedSegment> =
        own.into_iter().map(|day| PreparedSegment { groups: day.to_vec() }).collect();
    if !shared.is_empty() {
        prepared.push(PreparedSegment { groups: shared.concat() });
    }
    prepared
}

fn row_count(groups: &[Group]) -> usize {
    groups.iter().map(|group| group.rows.len()).sum()
}

/// What encodes one segment after the other.
struct Encoder {
    layout: Layout,
    columns: SegmentColumns,
    gathered: Gathered,
    /// The sink's.
    buffer: Vec<u8>,
}

impl Encoder {
    fn new(layout: Layout) -> Result<Self, EventLogError> {
        let columns = SegmentColumns::new(layout)?;
        Ok(Self { layout, columns, gathered: Gathered::default(), buffer: Vec::new() })
    }

    /// Makes a segment's file, durable under its temporary name, and tells what the catalog must know of it.
    fn segment(
        &mut self,
        dir: &EventLogDir,
        packs: &[PackedEvents],
        rows: &[Row],
        groups: &[Group],
    ) -> Result<Segment, EventLogError> {
        let partitions = partitions(groups);
        let only_day = (partitions.len() == 1).then(|| partitions[0].day);
        let id = Uuid::now_v7();
        let path = EventLogDir::relative_path(only_day, id);
        let mut sink = SegmentSink::create(dir.unfinished_of(&path), std::mem::take(&mut self.buffer))?;
        let end_at = self.encode(&mut sink, packs, rows, groups).map_err(|error| sink.explain(error))?;
        let (written, buffer) = sink.finish()?;
        self.buffer = buffer;
        Ok(Segment {
            id,
            path,
            rows: row_count(groups) as u64,
            bytes: written.bytes,
            hash: written.hash,
            end: SegmentEnd { at: end_at as u64, hash: written.end_hash },
            partitions,
        })
    }

    /// Writes the rows of these groups, and tells where the file's end begins, which tells of its pages.
    fn encode(
        &mut self,
        sink: &mut SegmentSink,
        packs: &[PackedEvents],
        rows: &[Row],
        groups: &[Group],
    ) -> parquet::errors::Result<usize> {
        let Self { layout, columns, gathered, .. } = self;
        let mut file = SerializedFileWriter::new(sink, layout.parquet().root_schema_ptr(), layout.properties())?;
        let mut hashes = PageHashes::default();
        let mut before: Option<Key> = None;
        let mut keys = groups.iter().flat_map(|group| group.keys(rows));
        let mut left = row_count(groups);
        while left > 0 {
            let mut of_group = left.min(ROWS_PER_GROUP);
            left -= of_group;
            while of_group > 0 {
                let of_page = of_group.min(ROWS_PER_PAGE);
                of_group -= of_page;
                gathered.gather(packs, keys.by_ref().take(of_page));
                for (row, bytes) in gathered.events() {
                    let event = packs[row.pack as usize].read(bytes);
                    let is_copy = before.is_some_and(|before| {
                        (before.service, before.time) == (row.service, row.time)
                            && packs[before.pack as usize].get(before.start, before.length).body == event.body
                    });
                    before = Some(*row);
                    columns.push(row.service, row.time, event, is_copy);
                }
                columns.end_page()?;
            }
            let mut group = file.next_row_group()?;
            columns.finish(|chunk, closed| {
                hashes.add(chunk, &closed);
                group.append_column(chunk, closed)
            })?;
            group.close()?;
        }
        let end = file.bytes_written();
        file.flush()?;
        file.inner_mut().begin_end()?;
        file.append_key_value_metadata(hashes.into_metadata());
        file.finish()?;
        Ok(end)
    }
}

impl Group {
    fn keys<'r>(&self, rows: &'r [Row]) -> impl Iterator<Item = Key> + use<'r> {
        let service = self.service;
        let key =
            move |row: &Row| Key { service, time: row.time, pack: row.pack, start: row.start, length: row.length };
        rows[self.rows.clone()].iter().map(key)
    }
}

/// Events copied side by side. In the order of the log they lie anywhere in memory; copying is a loop so small, and asks so
/// little of what it copies, that the machine fetches several at once, while reading each where it lies would wait for one
/// after the other.
#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    keys: Vec<Key>,
}

impl Gathered {
    fn gather(&mut self, packs: &[PackedEvents], rows: impl Iterator<Item = Key>) {
        self.bytes.clear();
        self.ends.clear();
        self.keys.clear();
        for row in rows {
            self.bytes.extend_from_slice(packs[row.pack as usize].bytes_of(row.start, row.length));
            self.ends.push(self.bytes.len());
            self.keys.push(row);
        }
    }

    fn events(&self) -> impl Iterator<Item = (&Key, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let events = starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end]);
        self.keys.iter().zip(events)
    }
}

fn partitions(groups: &[Group]) -> Vec<SegmentPartition> {
    let mut first_row = 0;
    groups
        .chunk_by(|a, b| a.day == b.day)
        .map(|day| {
            let services =
                (day.len() <= FEW_SERVICES).then(|| day.iter().map(|of| Uuid::from_u128(of.service)).collect());
            let partition =
                SegmentPartition { day: day[0].day, first_row, rows: row_count(day) as u64, services, is_bare: false };
            first_row += partition.rows;
            partition
        })
        .collect()
}
