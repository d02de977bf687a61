//! What waits to be recomputed: days, whole or of some services alone.

use std::collections::BTreeSet;

use sqlx::Row as _;
use uuid::Uuid;

use super::batch::Insert;
use super::{Lease, LogCommit, Result, Store, StoreError, day, guid};
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
        let mut transaction = self.begin_leased(lease).await?;
        // An empty GUID marks the whole day.
        let marks = if services.is_empty() { vec![""] } else { Vec::new() };
        let guids: Vec<String> = services.iter().map(|guid| guid.simple().to_string()).collect();
        let marks = marks.into_iter().chain(guids.iter().map(String::as_str)).collect::<Vec<_>>();
        let marks = serde_json::to_string(&marks).map_err(StoreError::inconsistent)?;
        sqlx::query(
            "INSERT INTO dirty_partitions (day, service_guid)
             SELECT DISTINCT day, unhex(value) FROM segment_partitions, json_each($3) WHERE day BETWEEN $1 AND $2
             ON CONFLICT DO NOTHING",
        )
        .bind(first.0)
        .bind(last.0)
        .bind(&marks)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "UPDATE service_progress SET dirty_from = max(first_day, min(coalesce(dirty_from, $1), $1))
             WHERE first_day IS NOT NULL AND ($2 = '[\"\"]' OR service_guid IN (SELECT unhex(value) FROM json_each($2)))",
        )
        .bind(from.0)
        .bind(&marks)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The days that must be recomputed, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dirty_partitions(&self) -> Result<Vec<DirtyPartition>> {
        let rows = sqlx::query(
            "SELECT day, service_guid, coalesce((SELECT sum(rows) FROM segment_partitions p WHERE p.day = d.day), 0) AS rows
             FROM dirty_partitions d ORDER BY day, service_guid",
        )
        .fetch_all(&self.writer)
        .await?;
        let mut dirty: Vec<DirtyPartition> = Vec::new();
        for row in &rows {
            let (of, service) = (day(row, "day")?, row.try_get::<&[u8], _>("service_guid")?);
            // The mark of a whole day is empty, and so comes before those of services.
            let service = if service.is_empty() { None } else { Some(guid(row, "service_guid")?) };
            match (dirty.last_mut(), service) {
                (Some(DirtyPartition { day, services, .. }), Some(service)) if *day == of => {
                    if let Some(services) = services {
                        services.push(service);
                    }
                }
                (_, service) => {
                    let rows = row.try_get::<i64, _>("rows")?.cast_unsigned();
                    dirty.push(DirtyPartition { day: of, rows, services: service.map(|service| vec![service]) });
                }
            }
        }
        Ok(dirty)
    }
}

/// Marks the days of new segments, whole or of thin ones their services, and of the days that voids aim at their services.
pub(super) async fn mark_dirty(connection: &mut sqlx::SqliteConnection, commit: &LogCommit) -> Result<()> {
    static DIRTY: Insert = Insert::new("INSERT INTO dirty_partitions (day, service_guid)", 2, "ON CONFLICT DO NOTHING");
    let of_segments = commit.segments.iter().flat_map(|segment| &segment.partitions);
    let of_segments = of_segments.flat_map(|partition| {
        let services = partition.services.iter().flatten().copied().map(Some);
        let whole = partition.services.is_none().then_some(None);
        services.chain(whole).map(|service| (partition.day, service))
    });
    let of_voids = commit.voids.iter().map(|mark| (Day::utc_of(mark.time), Some(mark.service)));
    let dirty: Vec<(Day, Option<Uuid>)> = of_segments.chain(of_voids).collect::<BTreeSet<_>>().into_iter().collect();
    DIRTY
        .all(connection, &dirty, |values, (day, service)| {
            values.push(day.0).push(service.as_ref().map_or(&[][..], |service| service.as_bytes()));
        })
        .await
}
