//! From batches of events in order of arrival to durable segments.

use std::cmp::Ordering;

use arrow_array::cast::AsArray as _;
use arrow_array::types::TimestampNanosecondType;
use arrow_array::{FixedSizeBinaryArray, PrimitiveArray, RecordBatch, StringArray};
use arrow_select::interleave::interleave_record_batch;
use parquet::arrow::ArrowWriter;
use uuid::Uuid;

use super::schema::{properties, schema};
use super::{EventLogDir, EventLogError, Segment, SegmentPartition};
use crate::model::{Day, Instant};

/// A day with at least so many rows in a batch gets a segment of its own; thinner ones share one, because each file costs
/// an fsync.
const ROWS_FOR_OWN_SEGMENT: usize = 8_192;

/// Rows are put in order and encoded so many at a time, to bound what lies in memory twice.
const ROWS_AT_A_TIME: usize = 16_384;

/// A row of a batch, by what orders it.
#[derive(Clone, Copy)]
struct RowKey {
    day: Day,
    service: u128,
    time: i64,
    batch: usize,
    row: usize,
}

/// The rows of one segment to be, in order.
pub struct Prepared {
    rows: Vec<RowKey>,
}

/// Orders the rows of all batches and divides them into segments. Batches come in order of arrival.
#[must_use]
pub fn prepare(batches: &[RecordBatch]) -> Vec<Prepared> {
    let identities: Vec<Identities<'_>> = batches.iter().map(Identities::of).collect();
    let mut rows: Vec<RowKey> = batches.iter().enumerate().flat_map(|(index, batch)| keys(index, batch)).collect();
    rows.sort_unstable_by(|a, b| {
        let by_place = (a.day, a.service, a.time).cmp(&(b.day, b.service, b.time));
        by_place
            .then_with(|| identities[a.batch].compare(a.row, &identities[b.batch], b.row))
            .then_with(|| (a.batch, a.row).cmp(&(b.batch, b.row)))
    });
    divide(rows)
}

fn divide(rows: Vec<RowKey>) -> Vec<Prepared> {
    let days: Vec<&[RowKey]> = rows.chunk_by(|a, b| a.day == b.day).collect();
    let (own, shared): (Vec<&[RowKey]>, Vec<&[RowKey]>) =
        days.into_iter().partition(|day| day.len() >= ROWS_FOR_OWN_SEGMENT);
    let mut prepared: Vec<Prepared> = own.into_iter().map(|day| Prepared { rows: day.to_vec() }).collect();
    if !shared.is_empty() {
        prepared.push(Prepared { rows: shared.concat() });
    }
    prepared
}

/// Encodes a segment, makes its file durable, and tells what the catalog must know of it.
///
/// # Errors
/// When the rows can't be encoded or the file not be written.
pub fn write(dir: &EventLogDir, batches: &[RecordBatch], prepared: &Prepared) -> Result<Segment, EventLogError> {
    let batch_refs: Vec<&RecordBatch> = batches.iter().collect();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties()))?;
    for rows in prepared.rows.chunks(ROWS_AT_A_TIME) {
        let indices: Vec<(usize, usize)> = rows.iter().map(|row| (row.batch, row.row)).collect();
        writer.write(&interleave_record_batch(&batch_refs, &indices)?)?;
    }
    let content = writer.into_inner()?;
    let partitions = partitions(&prepared.rows);
    let only_day = (partitions.len() == 1).then(|| partitions[0].day);
    let id = Uuid::now_v7();
    let path = EventLogDir::relative_path(only_day, id);
    dir.write(&path, &content)?;
    Ok(Segment {
        id,
        path,
        rows: prepared.rows.len() as u64,
        bytes: content.len() as u64,
        hash: *blake3::hash(&content).as_bytes(),
        partitions,
    })
}

fn partitions(rows: &[RowKey]) -> Vec<SegmentPartition> {
    let mut first_row = 0;
    rows.chunk_by(|a, b| a.day == b.day)
        .map(|day| {
            let partition = SegmentPartition { day: day[0].day, first_row, rows: day.len() as u64 };
            first_row += partition.rows;
            partition
        })
        .collect()
}

fn keys(batch_index: usize, batch: &RecordBatch) -> impl Iterator<Item = RowKey> {
    let services: &FixedSizeBinaryArray = batch.column(0).as_fixed_size_binary();
    let times: &PrimitiveArray<TimestampNanosecondType> = batch.column(1).as_primitive();
    (0..batch.num_rows()).map(move |row| {
        let time = times.value(row);
        let service = services.value(row).try_into().expect("a GUID has 16 bytes");
        RowKey {
            day: Day::utc_of(Instant::from_nanos(time)),
            service: u128::from_be_bytes(service),
            time,
            batch: batch_index,
            row,
        }
    })
}

struct Identities<'a> {
    sources: &'a StringArray,
    ids: &'a StringArray,
}

impl<'a> Identities<'a> {
    fn of(batch: &'a RecordBatch) -> Self {
        Self { sources: batch.column(2).as_string(), ids: batch.column(3).as_string() }
    }

    fn compare(&self, row: usize, other: &Self, other_row: usize) -> Ordering {
        let key = (self.sources.value(row), self.ids.value(row));
        key.cmp(&(other.sources.value(other_row), other.ids.value(other_row)))
    }
}
