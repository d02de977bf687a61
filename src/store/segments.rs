//! Segments that take the place of others, and the files that the log does without.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::db::{Guids, Insert, Spelled, Transaction};
use super::erasure::{self, ContentOrder};
use super::log::slices;
use super::{Lease, Result, Store, StoreError, log, reach};
use crate::event_log::Segment;
use crate::failpoint::Point;
use crate::model::{Day, Instant};

/// A segment, as far as it matters for merging it with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSize {
    pub id: Uuid,
    pub rows: u64,
    /// The UTC day of its rows; none where they are of several.
    pub day: Option<Day>,
    /// Whether all of them are bare.
    pub is_bare: bool,
}

/// The file of a segment that is not part of the log, and goes: it was replaced, or was to replace others and did not come
/// to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscardedFile {
    pub segment: Uuid,
    pub path: String,
}

impl Store {
    /// The live segments with at most so many rows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn small_segments(&self, rows: u64) -> Result<Vec<SegmentSize>> {
        let small = self.db.writer.sql(
            "SELECT s.id, s.rows, min(p.day) AS first_day, max(p.day) AS last_day,
                 CAST(sum(CASE WHEN p.bare THEN 0 ELSE 1 END) AS bigint) AS whole
             FROM segments s JOIN segment_partitions p ON p.segment_id = s.id
             WHERE s.rows <= $1 GROUP BY s.id, s.rows ORDER BY s.id",
        );
        let rows = small.bind(rows.cast_signed()).all().await?;
        let size = |row: &super::db::Row| {
            let (first, last): (Day, Day) = (row.get("first_day")?, row.get("last_day")?);
            Ok(SegmentSize {
                id: row.get("id")?,
                rows: row.unsigned("rows")?,
                day: (first == last).then_some(first),
                is_bare: row.get::<i64>("whole")? == 0,
            })
        };
        rows.iter().map(size).collect()
    }

    /// These live segments with their days, in the order of their ids.
    ///
    /// # Errors
    /// When the database fails, or one of them is not live.
    pub async fn segments(&self, ids: &[Uuid]) -> Result<Vec<Segment>> {
        static SEGMENTS: Spelled = Spelled::new(slices!("WHERE s.id {in guids $1} ORDER BY s.id, p.first_row"));
        let rows = self.db.writer.sql(&SEGMENTS).bind(Guids::from(ids)).all().await?;
        let mut segments: Vec<Segment> = Vec::with_capacity(ids.len());
        for row in &rows {
            let partition = log::partition(row)?;
            let id: Uuid = row.get("id")?;
            if segments.last().is_none_or(|last| last.id != id) {
                segments.push(log::segment(row)?);
            }
            segments.last_mut().into_iter().for_each(|last| last.partitions.push(partition.clone()));
        }
        if segments.len() == ids.len() { Ok(segments) } else { Err(not_live()) }
    }

    /// The parts of live segments that are not bare, of UTC days up to this one: their days, in order, their segments, and how
    /// many rows they have.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn whole_partitions(&self, last: Day) -> Result<Vec<(Day, Uuid, u64)>> {
        let whole = "SELECT day, segment_id, rows FROM segment_partitions WHERE day <= $1 AND NOT bare ORDER BY day, segment_id";
        let rows = self.db.writer.sql(whole).bind(last).all().await?;
        rows.iter().map(|row| Ok((row.get("day")?, row.get("segment_id")?, row.unsigned("rows")?))).collect()
    }

    /// Notes that the files of these segments, which are to replace others, are not part of the log: whoever finds them
    /// removes them, unless [`Self::replace_segments`] makes them live. To be called before they lie where segments do.
    ///
    /// # Errors
    /// When the lease is lost or the database fails; then nothing of it is stored.
    pub async fn announce_segments(&self, lease: &Lease, segments: &[Segment]) -> Result<()> {
        let mut transaction = self.begin_leased(lease).await?;
        discard(&mut transaction, segments).await?;
        transaction.commit().await?;
        reach(Point::SegmentsAnnounced)
    }

    /// Takes segments out of the catalog and puts others, which were announced, in their place: all or none. Both hold the
    /// same lines of the same days, so no day has to be recomputed; contents that are masked in the new ones keep their order
    /// by these notes of it. What was replaced is noted to be removed.
    ///
    /// # Errors
    /// When one of them is not live, or the days have other numbers of rows then; when the lease is lost or the database
    /// fails. Then nothing of it is stored.
    pub async fn replace_segments(
        &self,
        lease: &Lease,
        gone: &[Segment],
        new: &[Segment],
        orders: &[ContentOrder],
        now: Instant,
    ) -> Result<()> {
        static PARTITIONS: Spelled = Spelled::new("DELETE FROM segment_partitions WHERE segment_id {in guids $1}");
        static SEGMENTS: Spelled = Spelled::new("DELETE FROM segments WHERE id {in guids $1}");
        if rows_by_day(gone) != rows_by_day(new) {
            return Err(StoreError::inconsistent(
                "segments do not hold as many rows of each day as those they replace",
            ));
        }
        let mut transaction = self.begin_leased(lease).await?;
        let ids: Vec<Uuid> = gone.iter().map(|segment| segment.id).collect();
        transaction.sql(&PARTITIONS).bind(Guids::from(&ids[..])).execute().await?;
        let removed = transaction.sql(&SEGMENTS).bind(Guids::from(&ids[..])).execute().await?;
        if removed != ids.len() as u64 {
            return Err(not_live());
        }
        keep(&mut transaction, new.iter().map(|segment| segment.id).collect()).await?;
        log::insert_segments(&mut transaction, new, now).await?;
        erasure::insert_orders(&mut transaction, orders).await?;
        discard(&mut transaction, gone).await?;
        transaction.commit_at(Point::ReplaceReady).await?;
        reach(Point::Replaced)
    }

    /// The files that are to be removed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn discarded_files(&self) -> Result<Vec<DiscardedFile>> {
        let files = self.db.writer.sql("SELECT segment_id, path FROM discarded_segments ORDER BY path").all().await?;
        files.iter().map(|row| Ok(DiscardedFile { segment: row.get("segment_id")?, path: row.get("path")? })).collect()
    }

    /// Notes that these files are removed.
    ///
    /// # Errors
    /// When the lease is lost or the database fails.
    pub async fn forget_discarded(&self, lease: &Lease, files: &[DiscardedFile]) -> Result<()> {
        let mut transaction = self.begin_leased(lease).await?;
        keep(&mut transaction, files.iter().map(|file| file.segment).collect()).await?;
        transaction.commit().await
    }
}

fn not_live() -> StoreError {
    StoreError::inconsistent("a segment that was to be replaced is not live any more")
}

fn rows_by_day(segments: &[Segment]) -> BTreeMap<Day, u64> {
    let mut rows = BTreeMap::new();
    for partition in segments.iter().flat_map(|segment| &segment.partitions) {
        *rows.entry(partition.day).or_default() += partition.rows;
    }
    rows
}

async fn discard(transaction: &mut Transaction, segments: &[Segment]) -> Result<()> {
    static DISCARDED: Insert = Insert::new("discarded_segments", &["segment_id", "path"], "");
    DISCARDED.all(transaction, segments, |values, of| _ = values.push(of.id).push(of.path.as_str())).await
}

/// Notes that the files of these segments are not to be removed any more.
async fn keep(transaction: &mut Transaction, ids: Vec<Uuid>) -> Result<()> {
    static KEPT: Spelled = Spelled::new("DELETE FROM discarded_segments WHERE segment_id {in guids $1}");
    transaction.sql(&KEPT).bind(Guids::from(ids)).execute().await?;
    Ok(())
}
