//! The catalog of the event log, and the ledger of inputs: the one commit that makes an ingest batch part of the data.

use std::collections::HashSet;

use sqlx::Row as _;
use uuid::Uuid;

use super::batch::Insert;
use super::{DeadLetter, DirtyPartition, Lease, Result, Store, StoreError, count, dead_letters, dirty, guid, text_of};
use crate::event_log::{Segment, SegmentEnd, SegmentPartition};
use crate::model::{Day, Instant};
use crate::rollup::{PartitionTask, VoidMark};

/// Where an input's lines come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    File,
    Inbox,
    Stdin,
    /// `services import`
    Import,
}

impl InputKind {
    const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Inbox => "inbox",
            Self::Stdin => "stdin",
            Self::Import => "import",
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
        Ok(sqlx::query_scalar("SELECT coalesce(max(id), 0) + 1 FROM inputs").fetch_one(&self.writer).await?)
    }

    /// The latest reading of an input of this name and content.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_reading(&self, name: &str, kind: InputKind, signature: &str) -> Result<Option<Input>> {
        let row = sqlx::query(
            "SELECT * FROM inputs WHERE name = $1 AND kind = $2 AND signature = $3 ORDER BY id DESC LIMIT 1",
        )
        .bind(name)
        .bind(kind.name())
        .bind(signature)
        .fetch_optional(&self.writer)
        .await?;
        row.map(|row| input(&row, kind)).transpose()
    }

    /// The readings of an input of this name and content that belong to a run that was cut short, in order: those that it
    /// had not finished, and those that it had finished.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn readings_cut_short(&self, name: &str, kind: InputKind, signature: &str) -> Result<Vec<Input>> {
        let rows = sqlx::query(
            "SELECT * FROM inputs WHERE name = $1 AND kind = $2 AND signature = $3
                 AND run_ended = 0 AND state <> 'failed' ORDER BY id",
        )
        .bind(name)
        .bind(kind.name())
        .bind(signature)
        .fetch_all(&self.writer)
        .await?;
        rows.iter().map(|row| input(row, kind)).collect()
    }

    /// Notes that the run that read these inputs came to its end, so that the next one that names them reads them anew.
    ///
    /// # Errors
    /// When the lease is lost or the database fails.
    pub async fn end_run(&self, lease: &Lease, inputs: &[i64]) -> Result<()> {
        let mut transaction = self.begin_leased(lease).await?;
        sqlx::query("UPDATE inputs SET run_ended = 1 WHERE id IN (SELECT value FROM json_each($1))")
            .bind(serde_json::to_string(inputs).map_err(StoreError::inconsistent)?)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Makes segments live, moves the inputs' checkpoints, keeps the dead letters and marks what became dirty: all or none.
    ///
    /// # Errors
    /// When the lease is lost or the database fails; then nothing of it is stored.
    pub async fn commit_log(&self, lease: &Lease, commit: &LogCommit, now: Instant) -> Result<()> {
        let mut transaction = self.begin_leased(lease).await?;
        let connection = &mut *transaction;
        for input in &commit.inputs {
            upsert_input(connection, input, now).await?;
        }
        insert_segments(connection, &commit.segments, now).await?;
        dead_letters::insert(connection, &commit.dead_letters, now).await?;
        dead_letters::remove(connection, &commit.replayed).await?;
        insert_voids(connection, &commit.voids).await?;
        dirty::mark_dirty(connection, commit).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The relative paths of all live segments.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn live_paths(&self) -> Result<HashSet<String>> {
        let paths: Vec<String> = sqlx::query_scalar("SELECT path FROM segments").fetch_all(&self.writer).await?;
        Ok(paths.into_iter().collect())
    }

    /// What it takes to recompute a day.
    ///
    /// # Errors
    /// When the database fails, or the catalog is damaged.
    pub async fn partition_task(&self, dirty: &DirtyPartition) -> Result<PartitionTask> {
        let of = dirty.day;
        let slices = sqlx::query(
            "SELECT s.id, s.path, s.rows AS segment_rows, s.bytes, s.hash, s.end_at, s.end_hash, p.first_row, p.rows
             FROM segment_partitions p JOIN segments s ON s.id = p.segment_id WHERE p.day = $1 ORDER BY s.id",
        )
        .bind(of.0)
        .fetch_all(&self.writer)
        .await?;
        let voids = sqlx::query("SELECT service_guid, target_time, source, id FROM voids WHERE target_day = $1")
            .bind(of.0)
            .fetch_all(&self.writer)
            .await?;
        let slice = |row: &sqlx::sqlite::SqliteRow| {
            let unsigned = |column| row.try_get::<i64, _>(column).map(i64::cast_unsigned);
            let (first_row, rows) = (unsigned("first_row")?, unsigned("rows")?);
            let partition = SegmentPartition { day: of, first_row, rows, services: None };
            let hash = |column| {
                let bytes: &[u8] = row.try_get(column)?;
                bytes.try_into().map_err(StoreError::inconsistent)
            };
            let segment = Segment {
                id: guid(row, "id")?,
                path: row.try_get("path")?,
                rows: unsigned("segment_rows")?,
                bytes: unsigned("bytes")?,
                hash: hash("hash")?,
                end: SegmentEnd { at: unsigned("end_at")?, hash: hash("end_hash")? },
                partitions: Vec::new(),
            };
            Ok((segment, partition))
        };
        let void = |row: &sqlx::sqlite::SqliteRow| {
            Ok(VoidMark {
                service: guid(row, "service_guid")?,
                time: Instant::from_nanos(row.try_get("target_time")?),
                source: row.try_get("source")?,
                id: row.try_get("id")?,
            })
        };
        Ok(PartitionTask {
            day: of,
            slices: slices.iter().map(slice).collect::<Result<_>>()?,
            voids: voids.iter().map(void).collect::<Result<_>>()?,
            services: dirty.services.clone(),
        })
    }
}

fn input(row: &sqlx::sqlite::SqliteRow, kind: InputKind) -> Result<Input> {
    let unsigned = |column| row.try_get::<i64, _>(column).map(i64::cast_unsigned);
    let state: &str = row.try_get("state")?;
    Ok(Input {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        kind,
        state: InputState::from_name(state).ok_or_else(|| StoreError::inconsistent(format!("the state {state}")))?,
        signature: row.try_get("signature")?,
        next_offset: unsigned("next_offset")?,
        next_line: unsigned("next_line")?,
        lines: unsigned("lines")?,
        accepted: unsigned("accepted")?,
        rejected: unsigned("rejected")?,
    })
}

async fn upsert_input(connection: &mut sqlx::SqliteConnection, input: &Input, now: Instant) -> Result<()> {
    sqlx::query(
        "INSERT INTO inputs (id, name, kind, state, signature, next_offset, next_line, lines, accepted, rejected, changed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, next_offset = excluded.next_offset,
             next_line = excluded.next_line, lines = excluded.lines, accepted = excluded.accepted,
             rejected = excluded.rejected, changed_at = excluded.changed_at",
    )
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
    .bind(text_of(now))
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_segments(connection: &mut sqlx::SqliteConnection, segments: &[Segment], now: Instant) -> Result<()> {
    static PARTITIONS: Insert = Insert::new("INSERT INTO segment_partitions (day, segment_id, first_row, rows)", 4, "");
    for segment in segments {
        sqlx::query(
            "INSERT INTO segments (id, path, rows, bytes, hash, end_at, end_hash, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(segment.id.as_bytes().as_slice())
        .bind(&segment.path)
        .bind(count(segment.rows)?)
        .bind(count(segment.bytes)?)
        .bind(segment.hash.as_slice())
        .bind(count(segment.end.at)?)
        .bind(segment.end.hash.as_slice())
        .bind(text_of(now))
        .execute(&mut *connection)
        .await?;
    }
    let of_segment = |segment: &Segment| {
        let id: Uuid = segment.id;
        segment.partitions.clone().into_iter().map(move |partition| (id, partition))
    };
    let partitions: Vec<(Uuid, SegmentPartition)> = segments.iter().flat_map(of_segment).collect();
    PARTITIONS
        .all(connection, &partitions, |values, (id, partition)| {
            values
                .push(partition.day.0)
                .push(id.as_bytes().as_slice())
                .push(partition.first_row.cast_signed())
                .push(partition.rows.cast_signed());
        })
        .await
}

async fn insert_voids(connection: &mut sqlx::SqliteConnection, voids: &[VoidMark]) -> Result<()> {
    static VOIDS: Insert = Insert::new(
        "INSERT INTO voids (target_day, service_guid, target_time, source, id)",
        5,
        "ON CONFLICT DO NOTHING",
    );
    VOIDS
        .all(connection, voids, |values, mark| {
            values
                .push(Day::utc_of(mark.time).0)
                .push(mark.service.as_bytes().as_slice())
                .push(mark.time.nanos())
                .push(mark.source.as_str())
                .push(mark.id.as_str());
        })
        .await
}
