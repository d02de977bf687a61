//! From packed events in order of arrival to durable segments.

use std::sync::atomic::{AtomicUsize, Ordering};

use parquet::file::writer::SerializedFileWriter;
use uuid::Uuid;

use super::columns::SegmentColumns;
use super::packed::Key;
use super::schema::{parquet_schema, properties};
use super::{EventLogDir, EventLogError, PackedEvents, Segment, SegmentPartition};

/// A day with at least so many rows in a batch gets a segment of its own; thinner ones share one, because each file costs
/// an fsync.
const ROWS_FOR_OWN_SEGMENT: usize = 8_192;

/// Rows of a page, which is the least that a reader must decode.
const ROWS_PER_PAGE: usize = 2_048;
const ROWS_PER_GROUP: usize = 64 * ROWS_PER_PAGE;

/// The rows of one segment to be, in order.
struct PreparedSegment {
    rows: Vec<Key>,
}

/// Writes batches of events as segments.
pub struct SegmentWriter {
    dir: EventLogDir,
    threads: usize,
}

impl SegmentWriter {
    /// It writes so many segments at once, each on a thread of its own: much of the time it waits for the disk.
    #[must_use]
    pub fn new(dir: EventLogDir, threads: usize) -> Self {
        Self { dir, threads: threads.max(1) }
    }

    /// Orders all events, makes segments of them, and makes those durable. Packs come in order of arrival.
    ///
    /// # Errors
    /// When rows can't be encoded or a file not be written.
    #[expect(clippy::needless_pass_by_value, reason = "what was written is done with")]
    pub fn write(&self, packs: Vec<PackedEvents>) -> Result<Vec<Segment>, EventLogError> {
        let prepared = prepare(&packs);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut written = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(segment) = prepared.get(index) else { return Ok::<_, EventLogError>(written) };
                written.push((index, write(&self.dir, &packs, segment)?));
            }
        };
        let helpers = self.threads.min(prepared.len()).saturating_sub(1);
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
fn prepare(packs: &[PackedEvents]) -> Vec<PreparedSegment> {
    let mut rows: Vec<Key> = packs.iter().zip(0..).flat_map(|(pack, index)| pack.keys(index)).collect();
    rows.sort_unstable();
    for tied in rows.chunk_by_mut(|a, b| (a.service, a.time) == (b.service, b.time)).filter(|tied| tied.len() > 1) {
        tied.sort_by(|a, b| {
            let (a, b) = (packs[a.pack as usize].get(a.start), packs[b.pack as usize].get(b.start));
            (a.source, a.id).cmp(&(b.source, b.id))
        });
    }
    divide(&rows)
}

fn divide(rows: &[Key]) -> Vec<PreparedSegment> {
    let days: Vec<&[Key]> = rows.chunk_by(|a, b| a.day == b.day).collect();
    let (own, shared): (Vec<&[Key]>, Vec<&[Key]>) = days.into_iter().partition(|day| day.len() >= ROWS_FOR_OWN_SEGMENT);
    let mut prepared: Vec<PreparedSegment> =
        own.into_iter().map(|day| PreparedSegment { rows: day.to_vec() }).collect();
    if !shared.is_empty() {
        prepared.push(PreparedSegment { rows: shared.concat() });
    }
    prepared
}

/// Encodes a segment, makes its file durable, and tells what the catalog must know of it.
fn write(dir: &EventLogDir, packs: &[PackedEvents], segment: &PreparedSegment) -> Result<Segment, EventLogError> {
    let content = encode(packs, &segment.rows)?;
    let partitions = partitions(&segment.rows);
    let only_day = (partitions.len() == 1).then(|| partitions[0].day);
    let id = Uuid::now_v7();
    let path = EventLogDir::relative_path(only_day, id);
    dir.write(&path, &content)?;
    Ok(Segment {
        id,
        path,
        rows: segment.rows.len() as u64,
        bytes: content.len() as u64,
        hash: *blake3::hash(&content).as_bytes(),
        partitions,
    })
}

/// The file of these rows.
fn encode(packs: &[PackedEvents], rows: &[Key]) -> Result<Vec<u8>, EventLogError> {
    let schema = parquet_schema();
    let mut file = SerializedFileWriter::new(Vec::new(), schema.root_schema_ptr(), properties())?;
    let mut columns = SegmentColumns::new(schema)?;
    let mut gathered = Gathered::default();
    let mut before: Option<&Key> = None;
    for of_group in rows.chunks(ROWS_PER_GROUP) {
        for of_page in of_group.chunks(ROWS_PER_PAGE) {
            gathered.gather(packs, of_page);
            for (row, bytes) in of_page.iter().zip(gathered.events()) {
                let event = packs[row.pack as usize].read(bytes);
                let is_copy = before.is_some_and(|before| {
                    (before.service, before.time) == (row.service, row.time)
                        && packs[before.pack as usize].get(before.start).body == event.body
                });
                before = Some(row);
                columns.push(row.service, row.time, event, is_copy);
            }
            columns.end_page()?;
        }
        let mut group = file.next_row_group()?;
        for (chunk, closed) in columns.finish()? {
            group.append_column(&chunk, closed)?;
        }
        group.close()?;
    }
    Ok(file.into_inner()?)
}

/// Events copied side by side. In the order of the log they lie anywhere in memory; copying is a loop so small that the
/// machine fetches several at once, while reading each where it lies would wait for one after the other.
#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Gathered {
    fn gather(&mut self, packs: &[PackedEvents], rows: &[Key]) {
        self.bytes.clear();
        self.ends.clear();
        for row in rows {
            self.bytes.extend_from_slice(packs[row.pack as usize].bytes_of(row.start));
            self.ends.push(self.bytes.len());
        }
    }

    fn events(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

fn partitions(rows: &[Key]) -> Vec<SegmentPartition> {
    let mut first_row = 0;
    rows.chunk_by(|a, b| a.day == b.day)
        .map(|day| {
            let partition = SegmentPartition { day: day[0].day, first_row, rows: day.len() as u64 };
            first_row += partition.rows;
            partition
        })
        .collect()
}
