//! What waits to be recomputed: days, whole or of some services alone.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::db::{Guids, Insert, Spelled, Transaction};
use super::{Lease, LogCommit, Result, Store, StoreError};
use crate::model::Day;

/// A day that must be recomputed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirtyPartition {
    pub day: Day,
    /// How many rows it has in the log.
    pub rows: u64,
    /// The services that must be, sorted; all where none are named.
    pub services: Option<Vec<Uuid>>,
}

impl Store {
    /// Marks the UTC days from `first` through `last` to be recomputed, and rows from `from` on to be drawn anew: of these
    /// services, or of all where none are named.
    ///
    /// # Errors
    /// When the lease is lost or the database fails; then nothing of it is stored.
    pub async fn mark_for_backfill(
        &self,
        lease: &Lease,
        first: Day,
        last: Day,
        from: Day,
        services: &[Uuid],
    ) -> Result<()> {
        static REDRAW: Spelled = Spelled::new(
            "UPDATE service_progress SET dirty_from = CASE
                 WHEN first_day > $1 THEN first_day
                 WHEN dirty_from < $1 AND dirty_from >= first_day THEN dirty_from
                 WHEN dirty_from < $1 THEN first_day
                 ELSE $1 END
             WHERE first_day IS NOT NULL AND ($2 OR service_guid {in guids $3})",
        );
        let mut transaction = self.begin_leased(lease).await?;
        let days = "SELECT DISTINCT day FROM segment_partitions WHERE day BETWEEN $1 AND $2";
        let days = transaction.sql(days).bind(first).bind(last).all().await?;
        let whole = services.is_empty().then_some(None);
        let mut marks = Vec::new();
        for day in &days {
            let day = day.get("day")?;
            marks.extend(services.iter().copied().map(Some).chain(whole).map(|service| (day, service)));
        }
        insert(&mut transaction, &marks).await?;
        let redraw = transaction.sql(&REDRAW).bind(from).bind(services.is_empty()).bind(Guids::from(services));
        redraw.execute().await?;
        transaction.commit().await
    }

    /// The days that must be recomputed, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dirty_partitions(&self) -> Result<Vec<DirtyPartition>> {
        let dirty = self.db.writer.sql(
            "SELECT day, service_guid, CAST(coalesce(
                 (SELECT sum(rows) FROM segment_partitions p WHERE p.day = d.day), 0) AS bigint) AS rows
             FROM dirty_partitions d ORDER BY day, service_guid",
        );
        let rows = dirty.all().await?;
        let mut dirty: Vec<DirtyPartition> = Vec::new();
        for row in &rows {
            let (of, service) = (row.get("day")?, row.get::<&[u8]>("service_guid")?);
            // The mark of a whole day is empty, and so comes before those of services.
            let service = if service.is_empty() { None } else { Some(Uuid::from_slice(service)) };
            match (dirty.last_mut(), service.transpose().map_err(StoreError::inconsistent)?) {
                (Some(DirtyPartition { day, services, .. }), Some(service)) if *day == of => {
                    if let Some(services) = services {
                        services.push(service);
                    }
                }
                (_, service) => {
                    let services = service.map(|service| vec![service]);
                    dirty.push(DirtyPartition { day: of, rows: row.unsigned("rows")?, services });
                }
            }
        }
        Ok(dirty)
    }
}

/// Marks the days of new segments, whole or of thin ones their services, and of the days that voids aim at their services.
pub(super) async fn mark_dirty(transaction: &mut Transaction, commit: &LogCommit) -> Result<()> {
    let of_segments = commit.segments.iter().flat_map(|segment| &segment.partitions);
    let of_segments = of_segments.flat_map(|partition| {
        let services = partition.services.iter().flatten().copied().map(Some);
        let whole = partition.services.is_none().then_some(None);
        services.chain(whole).map(|service| (partition.day, service))
    });
    let of_voids = commit.voids.iter().map(|mark| (Day::utc_of(mark.time), Some(mark.service)));
    let marks: Vec<(Day, Option<Uuid>)> = of_segments.chain(of_voids).collect::<BTreeSet<_>>().into_iter().collect();
    insert(transaction, &marks).await
}

/// Marks days: of one service, or whole.
pub(super) async fn insert(transaction: &mut Transaction, marks: &[(Day, Option<Uuid>)]) -> Result<()> {
    static MARKS: Insert = Insert::new("dirty_partitions", &["day", "service_guid"], "ON CONFLICT DO NOTHING");
    MARKS
        .all(transaction, marks, |values, (day, service)| {
            values.push(*day).push(service.as_ref().map_or(&[][..], |service| service.as_bytes()));
        })
        .await
}
