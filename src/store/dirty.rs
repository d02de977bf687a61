//! What waits to be recomputed: days, whole or of some services alone.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::db::{Guids, Insert, Spelled, Transaction};
use super::{Lease, LogCommit, Result, Store, StoreError, reach};
use crate::failpoint::Point;
use crate::model::Day;

/// A day that must be recomputed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirtyPartition {
    pub day: Day,
    /// How many rows it has in the log.
    pub rows: u64,
    /// The services that must be, sorted; all where none are named.
    pub services: Option<Vec<Uuid>>,
    /// For which services something has arrived; a backfill alone marked the others.
    pub arrived: Arrived,
}

impl DirtyPartition {
    /// The day, with the services that must be recomputed ([`Store::partition_tasks`]).
    #[must_use]
    pub fn to_recompute(&self) -> (Day, Option<Vec<Uuid>>) {
        (self.day, self.services.clone())
    }
}

/// Services for which something has arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Whether it may be for any.
    pub all: bool,
    /// Sorted.
    pub services: Vec<Uuid>,
}

impl Arrived {
    #[must_use]
    pub fn is_for(&self, service: Uuid) -> bool {
        self.all || self.services.binary_search(&service).is_ok()
    }
}

const LOGGED_DAYS: &str = "SELECT DISTINCT day FROM segment_partitions WHERE day BETWEEN $1 AND $2 ORDER BY day";

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
        let days = transaction.sql(LOGGED_DAYS).bind(first).bind(last).all().await?;
        let whole = services.is_empty().then_some(None);
        let mut marks = Vec::new();
        for day in &days {
            let day = day.get("day")?;
            marks.extend(services.iter().copied().map(Some).chain(whole).map(|service| (day, service)));
        }
        insert(&mut transaction, &marks, true).await?;
        let redraw = transaction.sql(&REDRAW).bind(from).bind(services.is_empty()).bind(Guids::from(services));
        redraw.execute().await?;
        transaction.commit_at(Point::BackfillReady).await?;
        reach(Point::BackfillMarked)
    }

    /// The UTC days from `first` through `last` of which the log holds anything, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn logged_days(&self, first: Day, last: Day) -> Result<Vec<Day>> {
        let days = self.db.writer.sql(LOGGED_DAYS).bind(first).bind(last).all().await?;
        days.iter().map(|day| day.get("day")).collect()
    }

    /// The days that must be recomputed, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dirty_partitions(&self) -> Result<Vec<DirtyPartition>> {
        let dirty = self.db.writer.sql(
            "SELECT day, service_guid, by_backfill, CAST(coalesce(
                 (SELECT sum(rows) FROM segment_partitions p WHERE p.day = d.day), 0) AS bigint) AS rows
             FROM dirty_partitions d ORDER BY day, service_guid",
        );
        let rows = dirty.all().await?;
        let mut dirty: Vec<DirtyPartition> = Vec::new();
        for row in &rows {
            let (of, service) = (row.get("day")?, row.get::<&[u8]>("service_guid")?);
            // The mark of a whole day is empty, and so comes before those of services.
            let service = if service.is_empty() { None } else { Some(Uuid::from_slice(service)) };
            let service = service.transpose().map_err(StoreError::inconsistent)?;
            if dirty.last().is_none_or(|last| last.day != of) {
                let services = service.map(|_| Vec::new());
                dirty.push(DirtyPartition {
                    day: of,
                    rows: row.unsigned("rows")?,
                    services,
                    arrived: Arrived::default(),
                });
            }
            let Some(DirtyPartition { services, arrived, .. }) = dirty.last_mut() else { continue };
            let has_arrived = !row.get::<bool>("by_backfill")?;
            match service {
                None => arrived.all = has_arrived,
                Some(service) => {
                    if let Some(services) = services {
                        services.push(service);
                    }
                    arrived.services.extend(has_arrived.then_some(service));
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
    insert(transaction, &marks, false).await
}

/// Marks days: of one service, or whole.
pub(super) async fn insert(
    transaction: &mut Transaction,
    marks: &[(Day, Option<Uuid>)],
    by_backfill: bool,
) -> Result<()> {
    static MARKS: Insert = Insert::new(
        "dirty_partitions AS stored",
        &["day", "service_guid", "by_backfill"],
        "ON CONFLICT (day, service_guid) DO UPDATE SET by_backfill = excluded.by_backfill
         WHERE stored.by_backfill AND NOT excluded.by_backfill",
    );
    MARKS
        .all(transaction, marks, |values, (day, service)| {
            values.push(*day).push(service.as_ref().map_or(&[][..], |service| service.as_bytes())).push(by_backfill);
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_is_for_the_services_that_are_named_or_for_all() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let some = Arrived { all: false, services: vec![one] };
        assert_eq!((some.is_for(one), some.is_for(other)), (true, false));
        let all = Arrived { all: true, ..some };
        assert!(all.is_for(one) && all.is_for(other));
    }
}
