//! The catalog of the event log, and the ledger of inputs: the one commit that makes an ingest batch part of the data.

use std::collections::HashSet;

use uuid::Uuid;

use super::db::{AnyText, Insert, Integers, Row, Spelled, Transaction};
use super::{DeadLetter, Lease, Result, Store, StoreError, count, dead_letters, dirty, erasure, gauges, reach};
use crate::event_log::{Segment, SegmentEnd, SegmentPartition};
use crate::failpoint::{Point, Step, record};
use crate::model::{Day, Instant};
use crate::rollup::{PartitionTask, VoidMark};

/// Days of segments, with what [`slice`] reads of them.
macro_rules! slices {
    ($wanted:literal) => {
        concat!(
            "SELECT s.id, s.path, s.rows AS segment_rows, s.bytes, s.hash, s.end_at, s.end_hash,
                 p.day, p.first_row, p.rows, p.bare
             FROM segment_partitions p JOIN segments s ON s.id = p.segment_id ",
            $wanted
        )
    };
}
pub(super) use slices;

/// Where an input's lines come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    File,
    Inbox,
    Stdin,
    /// `services import`
    Import,
    /// `orphans adopt`: lines that an input of another number had brought in
    Adopted,
}

impl InputKind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Inbox => "inbox",
            Self::Stdin => "stdin",
            Self::Import => "import",
            Self::Adopted => "adopted",
        }
    }
}

/// How far one reading of an input has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputState {
    Reading,
    Done,
    /// It could not be read to its end; what was read is stored.
    Failed,
}

impl InputState {
    const fn name(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Reading, Self::Done, Self::Failed].into_iter().find(|state| state.name() == name)
    }
}

/// One reading of an input: its checkpoint and its part of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub id: i64,
    pub name: String,
    pub kind: InputKind,
    pub state: InputState,
    /// Tells one content of a file from another without reading it: size and time of change.
    pub signature: String,
    /// Where the first line lies that is not committed yet, in bytes of decompressed text.
    pub next_offset: u64,
    /// The number of that line, counting from 1 and counting blank lines.
    pub next_line: u64,
    /// Lines read, blank ones left out.
    pub lines: u64,
    pub accepted: u64,
    pub rejected: u64,
}

/// What one commit of ingest adds.
#[derive(Debug, Default)]
pub struct LogCommit {
    pub inputs: Vec<Input>,
    pub segments: Vec<Segment>,
    pub dead_letters: Vec<DeadLetter>,
    pub voids: Vec<VoidMark>,
    /// Dead letters whose lines are in the segments now.
    pub replayed: Vec<i64>,
}

impl Store {
    /// The number for the next input. Whoever holds the lease may count on from there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_input_id(&self) -> Result<i64> {
        self.db.writer.sql("SELECT coalesce(max(id), 0) + 1 FROM inputs").value().await
    }

    /// The latest reading of an input of this name and content.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_reading(&self, name: &str, kind: InputKind, signature: &str) -> Result<Option<Input>> {
        let last = self
            .db
            .writer
            .sql("SELECT * FROM inputs WHERE name = $1 AND kind = $2 AND signature = $3 ORDER BY id DESC LIMIT 1");
        let row = last.bind(name).bind(kind.name()).bind(signature).optional().await?;
        row.map(|row| input(&row, kind)).transpose()
    }

    /// The readings of an input of this name and content that belong to a run that was cut short, in order: those that it
    /// had not finished, and those that it had finished.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn readings_cut_short(&self, name: &str, kind: InputKind, signature: &str) -> Result<Vec<Input>> {
        let cut_short = self.db.writer.sql(
            "SELECT * FROM inputs WHERE name = $1 AND kind = $2 AND signature = $3
                 AND NOT run_ended AND state <> 'failed' ORDER BY id",
        );
        let rows = cut_short.bind(name).bind(kind.name()).bind(signature).all().await?;
        rows.iter().map(|row| input(row, kind)).collect()
    }

    /// Notes that the run that read these inputs came to its end, so that the next one that names them reads them anew.
    ///
    /// # Errors
    /// When the lease is lost or the database fails.
    pub async fn end_run(&self, lease: &Lease, inputs: &[i64]) -> Result<()> {
        static END: Spelled = Spelled::new("UPDATE inputs SET run_ended = TRUE WHERE id {in integers $1}");
        let mut transaction = self.begin_leased(lease).await?;
        transaction.sql(&END).bind(Integers(inputs)).execute().await?;
        transaction.commit_at(Point::RunReady).await
    }

    /// Makes segments live, moves the inputs' checkpoints, keeps the dead letters and marks what became dirty: all or none.
    ///
    /// # Errors
    /// When the lease is lost or the database fails; then nothing of it is stored.
    pub async fn commit_log(&self, lease: &Lease, commit: &LogCommit, now: Instant) -> Result<()> {
        reach(Point::BatchBegun)?;
        let mut transaction = self.begin_leased(lease).await?;
        for input in &commit.inputs {
            upsert_input(&mut transaction, input, now).await?;
        }
        gauges::note_newest_day(&mut transaction, commit.inputs.iter().map(|of| of.kind), &commit.segments).await?;
        reach(Point::BatchInputs)?;
        insert_segments(&mut transaction, &commit.segments, now).await?;
        reach(Point::BatchSegments)?;
        dead_letters::insert(&mut transaction, &commit.dead_letters, now).await?;
        dead_letters::remove(&mut transaction, &commit.replayed).await?;
        insert_voids(&mut transaction, &commit.voids).await?;
        dirty::mark_dirty(&mut transaction, commit).await?;
        transaction.commit_at(Point::BatchReady).await?;
        reach(Point::BatchCommitted)
    }

    /// Whether there is an input of this kind and signature.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_input(&self, kind: InputKind, signature: &str) -> Result<bool> {
        let any = self.db.writer.sql("SELECT 1 FROM inputs WHERE kind = $1 AND signature = $2 LIMIT 1");
        Ok(any.bind(kind.name()).bind(signature).optional().await?.is_some())
    }

    /// The relative path of the live segment whose file this is; none where it is none's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn live_segment(&self, hash: &[u8; 32]) -> Result<Option<String>> {
        let found = self.db.writer.sql("SELECT path FROM segments WHERE hash = $1").bind(hash.as_slice());
        found.optional().await?.map(|row| row.get("path")).transpose()
    }

    /// The relative paths of all live segments.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn live_paths(&self) -> Result<HashSet<String>> {
        let rows = self.db.writer.sql("SELECT path FROM segments").all().await?;
        rows.iter().map(|row| row.get("path")).collect()
    }

    /// What it takes to recompute each of these days, of these services or of all where none are named.
    ///
    /// # Errors
    /// When the database fails, or the catalog is damaged.
    pub async fn partition_tasks(&self, of: Vec<(Day, Option<Vec<Uuid>>)>) -> Result<Vec<PartitionTask>> {
        let mut reading = self.db.writer.begin_to_read().await?;
        let mut tasks = Vec::with_capacity(of.len());
        for (day, services) in of {
            let slices = reading.sql(slices!("WHERE p.day = $1 ORDER BY s.id")).bind(day).all().await?;
            let voids = "SELECT service_guid, target_time, source, id FROM voids WHERE target_day = $1";
            let voids = reading.sql(voids).bind(day).all().await?;
            tasks.push(PartitionTask {
                day,
                slices: slices.iter().map(slice).collect::<Result<_>>()?,
                voids: voids.iter().map(void).collect::<Result<_>>()?,
                orders: erasure::orders_of(&mut reading, day).await?,
                services,
            });
        }
        reading.commit().await?;
        Ok(tasks)
    }
}

pub(super) fn slice(row: &Row) -> Result<(Segment, SegmentPartition)> {
    Ok((segment(row)?, partition(row)?))
}

pub(super) fn partition(row: &Row) -> Result<SegmentPartition> {
    Ok(SegmentPartition {
        day: row.get("day")?,
        first_row: row.unsigned("first_row")?,
        rows: row.unsigned("rows")?,
        services: None,
        is_bare: row.get("bare")?,
    })
}

/// A segment without its partitions.
pub(super) fn segment(row: &Row) -> Result<Segment> {
    let hash = |column| row.get::<&[u8]>(column)?.try_into().map_err(StoreError::inconsistent);
    Ok(Segment {
        id: row.get("id")?,
        path: row.get("path")?,
        rows: row.unsigned("segment_rows")?,
        bytes: row.unsigned("bytes")?,
        hash: hash("hash")?,
        end: SegmentEnd { at: row.unsigned("end_at")?, hash: hash("end_hash")? },
        partitions: Vec::new(),
    })
}

pub(super) fn void(row: &Row) -> Result<VoidMark> {
    Ok(VoidMark {
        service: row.get("service_guid")?,
        time: Instant::from_nanos(row.get("target_time")?),
        source: row.any_text("source")?,
        id: row.any_text("id")?,
    })
}

fn input(row: &Row, kind: InputKind) -> Result<Input> {
    let state: &str = row.get("state")?;
    Ok(Input {
        id: row.get("id")?,
        name: row.get("name")?,
        kind,
        state: InputState::from_name(state).ok_or_else(|| StoreError::inconsistent(format!("the state {state}")))?,
        signature: row.get("signature")?,
        next_offset: row.unsigned("next_offset")?,
        next_line: row.unsigned("next_line")?,
        lines: row.unsigned("lines")?,
        accepted: row.unsigned("accepted")?,
        rejected: row.unsigned("rejected")?,
    })
}

async fn upsert_input(transaction: &mut Transaction, input: &Input, now: Instant) -> Result<()> {
    let upsert = transaction.sql(
        "INSERT INTO inputs (id, name, kind, state, signature, next_offset, next_line, lines, accepted, rejected, changed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, next_offset = excluded.next_offset,
             next_line = excluded.next_line, lines = excluded.lines, accepted = excluded.accepted,
             rejected = excluded.rejected, changed_at = excluded.changed_at",
    );
    upsert
        .bind(input.id)
        .bind(&input.name)
        .bind(input.kind.name())
        .bind(input.state.name())
        .bind(&input.signature)
        .bind(count(input.next_offset)?)
        .bind(count(input.next_line)?)
        .bind(count(input.lines)?)
        .bind(count(input.accepted)?)
        .bind(count(input.rejected)?)
        .bind(now)
        .execute()
        .await?;
    Ok(())
}

pub(super) async fn insert_segments(transaction: &mut Transaction, segments: &[Segment], now: Instant) -> Result<()> {
    static PARTITIONS: Insert =
        Insert::new("segment_partitions", &["day", "segment_id", "first_row", "rows", "bare"], "");
    for segment in segments {
        record(Step::ReliedOn(&segment.path));
        let insert = transaction.sql(
            "INSERT INTO segments (id, path, rows, bytes, hash, end_at, end_hash, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        );
        insert
            .bind(segment.id)
            .bind(&segment.path)
            .bind(count(segment.rows)?)
            .bind(count(segment.bytes)?)
            .bind(segment.hash.as_slice())
            .bind(count(segment.end.at)?)
            .bind(segment.end.hash.as_slice())
            .bind(now)
            .execute()
            .await?;
    }
    let of_segment = |segment: &Segment| {
        let id: Uuid = segment.id;
        segment.partitions.clone().into_iter().map(move |partition| (id, partition))
    };
    let partitions: Vec<(Uuid, SegmentPartition)> = segments.iter().flat_map(of_segment).collect();
    PARTITIONS
        .all(transaction, &partitions, |values, (id, partition)| {
            values
                .push(partition.day)
                .push(*id)
                .push(partition.first_row.cast_signed())
                .push(partition.rows.cast_signed())
                .push(partition.is_bare);
        })
        .await
}

pub(super) async fn insert_voids(transaction: &mut Transaction, voids: &[VoidMark]) -> Result<()> {
    static VOIDS: Insert =
        Insert::new("voids", &["target_day", "service_guid", "target_time", "source", "id"], "ON CONFLICT DO NOTHING");
    VOIDS
        .all(transaction, voids, |values, mark| {
            values
                .push(Day::utc_of(mark.time))
                .push(mark.service)
                .push(mark.time.nanos())
                .push(AnyText(&mark.source))
                .push(AnyText(&mark.id));
        })
        .await
}
