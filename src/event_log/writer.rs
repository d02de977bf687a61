//! From packed events in order of arrival to durable segments.

use parquet::file::writer::SerializedFileWriter;
use uuid::Uuid;

use super::checked::PageHashes;
use super::columns::SegmentColumns;
use super::packed::Key;
use super::schema::{parquet_schema, properties};
use super::{EventLogDir, EventLogError, PackedEvents, Segment, SegmentEnd, SegmentPartition};

/// A day with at least so many rows in a batch gets a segment of its own; thinner ones share one, because each file costs
/// an fsync.
const ROWS_FOR_OWN_SEGMENT: usize = 8_192;

/// Rows of a page, which is the least that a reader must decode.
const ROWS_PER_PAGE: usize = 2_048;
const ROWS_PER_GROUP: usize = 64 * ROWS_PER_PAGE;

/// The rows of one segment to be, in order.
pub struct PreparedSegment {
    rows: Vec<Key>,
}

/// Orders all events and divides them into segments. Packs come in order of arrival.
#[must_use]
pub fn prepare(packs: &[PackedEvents]) -> Vec<PreparedSegment> {
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
///
/// # Errors
/// When the rows can't be encoded or the file not be written.
pub fn write(dir: &EventLogDir, packs: &[PackedEvents], segment: &PreparedSegment) -> Result<Segment, EventLogError> {
    let (content, end_at) = encode(packs, &segment.rows)?;
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
        end: SegmentEnd { at: end_at as u64, hash: *blake3::hash(&content[end_at..]).as_bytes() },
        partitions,
    })
}

/// The file of these rows, and where its end begins, which tells of its pages.
fn encode(packs: &[PackedEvents], rows: &[Key]) -> Result<(Vec<u8>, usize), EventLogError> {
    let schema = parquet_schema();
    let mut file = SerializedFileWriter::new(Vec::new(), schema.root_schema_ptr(), properties())?;
    let mut columns = SegmentColumns::new(schema)?;
    let mut gathered = Gathered::default();
    let mut hashes = PageHashes::default();
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
            hashes.add(&chunk, &closed);
            group.append_column(&chunk, closed)?;
        }
        group.close()?;
    }
    let end = file.bytes_written();
    file.append_key_value_metadata(hashes.into_metadata());
    Ok((file.into_inner()?, end))
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
