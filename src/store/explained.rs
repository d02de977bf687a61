//! What explaining a number reads, as one state of the store.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::audit::{StoredProgress, progress_of};
use super::db::{Integers, Shown, Spelled};
use super::log::slices;
use super::{Result, Store, erasure, log, usage};
use crate::event_log::{Segment, SegmentPartition};
use crate::model::{Day, PeriodType, UsageRow};
use crate::rollup::{ContentOrders, VoidMark};

/// What is stored that concerns a number.
#[derive(Debug)]
pub struct Explained {
    /// The segments that hold rows of each UTC day, with the rows that do, in order of the segments' ids.
    pub days: BTreeMap<Day, Vec<(Segment, SegmentPartition)>>,
    /// By the UTC day that they aim at.
    pub voids: BTreeMap<Day, Vec<VoidMark>>,
    pub orders: ContentOrders,
    /// The UTC days that wait to be rolled up for the service.
    pub dirty: BTreeSet<Day>,
    pub progress: Option<StoredProgress>,
    pub row: Option<UsageRow>,
}

impl Store {
    /// What it takes to explain a service's row for a period from the events of these UTC days.
    ///
    /// # Errors
    /// When the database fails, or holds something that it should not.
    pub async fn explained(
        &self,
        service: Uuid,
        (first, last): (Day, Day),
        (period_type, period): (PeriodType, Day),
    ) -> Result<Explained> {
        let mut at_once = self.db.exports.begin_to_read().await?;
        let slices = at_once.sql(slices!("WHERE p.day BETWEEN $1 AND $2 ORDER BY p.day, s.id"));
        let mut days: BTreeMap<Day, Vec<(Segment, SegmentPartition)>> = BTreeMap::new();
        for row in slices.bind(first).bind(last).all().await? {
            let day = row.get("day")?;
            days.entry(day).or_default().push(log::slice(&row)?);
        }
        let marks = "SELECT target_day, service_guid, target_time, source, id FROM voids
             WHERE target_day BETWEEN $1 AND $2 AND service_guid = $3";
        let mut voids: BTreeMap<Day, Vec<VoidMark>> = BTreeMap::new();
        for row in at_once.sql(marks).bind(first).bind(last).bind(service).all().await? {
            voids.entry(row.get("target_day")?).or_default().push(log::void(&row)?);
        }
        let orders = "SELECT key, rank FROM content_orders WHERE day BETWEEN $1 AND $2";
        let orders = at_once.sql(orders).bind(first).bind(last).all().await?;
        let orders = orders.iter().map(erasure::order).collect::<Result<_>>()?;
        // The mark of a whole day has no GUID.
        let dirty = "SELECT DISTINCT day FROM dirty_partitions
             WHERE day BETWEEN $1 AND $2 AND (service_guid = $3 OR length(service_guid) = 0)";
        let dirty = at_once.sql(dirty).bind(first).bind(last).bind(service.as_bytes().as_slice()).all().await?;
        let dirty = dirty.iter().map(|row| row.get("day")).collect::<Result<_>>()?;
        let progress = "SELECT service_guid, first_day, rows_from, rows_through, dirty_from, held, newest_span
             FROM service_progress WHERE service_guid = $1";
        let progress = at_once.sql(progress).bind(service).optional().await?;
        let progress = progress.as_ref().map(progress_of).transpose()?;
        let row =
            at_once.sql("SELECT * FROM service_usage WHERE service_guid = $1 AND period_type = $2 AND period = $3");
        let row = row.bind(Shown::from(service)).bind(period_type.name()).bind(period.to_string()).optional().await?;
        let row = row.as_ref().map(usage::usage_row).transpose()?;
        at_once.commit().await?;
        Ok(Explained { days, voids, orders, dirty, progress, row })
    }

    /// What these inputs are called.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn input_names(&self, inputs: &[i64]) -> Result<BTreeMap<i64, String>> {
        static NAMES: Spelled = Spelled::new("SELECT id, name FROM inputs WHERE id {in integers $1}");
        let names = self.db.readers.sql(&NAMES).bind(Integers(inputs)).all().await?;
        names.iter().map(|row| Ok((row.get("id")?, row.get("name")?))).collect()
    }
}
