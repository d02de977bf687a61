//! Rollup: dirty partitions are recomputed into facts, and the rows that may have changed are drawn anew.
//!
//! All data of one service is independent of the others', so the work goes by ranges of services: while one range is merged
//! and stored, the next one is folded.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::merge::Merging;
use super::{Installation, Run};
use crate::event_log::{EventLogError, SegmentReader};
use crate::model::Day;
use crate::rollup::{FoldRules, Folder, PartitionFacts, PartitionTask, Services};
use crate::store::{DirtyPartition, Lease};

/// Partitions are recomputed together until they hold so many ranges of services, each of which has about
/// `rollup.rows_together` rows in them. It is done with those before it goes on to others: that bounds what a kill costs, and
/// how many pages are read twice because ranges meet in them.
const RANGES_TOGETHER: u64 = 8;
/// And so many partitions at the most, for a thin backlog has many days.
const PARTITIONS_TOGETHER: usize = 512;
/// Rows of a partition that lie in memory at once, over all threads.
const ROWS_IN_MEMORY: usize = 1 << 20;

/// What a rollup did.
#[derive(Clone, Copy, Debug, Default)]
pub struct RollupReport {
    pub partitions: usize,
    pub rows_written: u64,
}

/// Rolls up everything that is dirty, and brings all rows up to today.
///
/// # Errors
/// When the lease can't be had, the store fails, or the run was interrupted; and, after all other days are rolled up, when
/// the segments of a day can't be read.
pub async fn rollup(installation: &Installation, run: &Run) -> anyhow::Result<RollupReport> {
    let lease = installation.lease(run).await?;
    rollup_leased(installation, run, &lease).await
}

pub(super) async fn rollup_leased(
    installation: &Installation,
    run: &Run,
    lease: &Lease,
) -> anyhow::Result<RollupReport> {
    let (now, today) = (installation.now(), installation.today());
    installation.store.advance_states(lease, today, now).await?;
    let rolling = Rolling { installation, run, lease, merging: Merging { installation, lease, today, now } };
    let folder = Arc::new(folder(installation));
    let mut report = RollupReport::default();
    let mut unreadable: BTreeMap<Day, EventLogError> = BTreeMap::new();
    let dirty = installation.store.dirty_partitions().await?;
    let mut rest = dirty.as_slice();
    while !rest.is_empty() {
        let rows_together = RANGES_TOGETHER * installation.config.rollup.rows_together as u64;
        let (next, after) = rest.split_at(next_partitions(rest, rows_together));
        rest = after;
        // Rows are drawn from the facts of all days.
        let is_last = rest.is_empty();
        rolling.roll(&folder, next, is_last, &mut report, &mut unreadable).await?;
    }
    report.rows_written += rolling.draw_rest().await?;
    let days = unreadable.len();
    match unreadable.pop_first() {
        None => Ok(report),
        Some((day, error)) => Err(anyhow::Error::from(error)
            .context(format!("{days} days can't be rolled up, the first of them {day}; all others are"))),
    }
}

/// The facts of partitions, or why one can't be read.
type Folded = Vec<(Day, Result<PartitionFacts, EventLogError>)>;

struct Rolling<'a> {
    installation: &'a Installation,
    run: &'a Run,
    lease: &'a Lease,
    merging: Merging<'a>,
}

impl Rolling<'_> {
    /// Recomputes these partitions. A day whose segments can't be read stays dirty, and costs the others nothing.
    async fn roll(
        &self,
        folder: &Arc<Folder>,
        partitions: &[DirtyPartition],
        draws: bool,
        report: &mut RollupReport,
        unreadable: &mut BTreeMap<Day, EventLogError>,
    ) -> anyhow::Result<()> {
        let store = &self.installation.store;
        let mut tasks: Vec<PartitionTask> = Vec::with_capacity(partitions.len());
        for partition in partitions {
            tasks.push(store.partition_task(partition).await?);
        }
        let tasks = Arc::new(tasks);
        let (dividing, these) = (folder.clone(), tasks.clone());
        let rows_each = self.installation.config.rollup.rows_together;
        let ranges = self.installation.on_threads(move || dividing.divide(&these, rows_each)).await?;
        let mut ranges = ranges.into_iter();
        let mut folded = self.fold(folder, &tasks, ranges.next()).await?;
        while let Some(these) = folded.take() {
            self.run.check()?;
            let mut readable = Vec::with_capacity(these.len());
            for (day, facts) in these {
                match facts {
                    Ok(facts) => readable.push((day, facts)),
                    Err(error) => _ = unreadable.insert(day, error),
                }
            }
            let (merge, fold) = (self.merging.merge(readable, draws), self.fold(folder, &tasks, ranges.next()));
            let written;
            (written, folded) = if self.installation.threads() == 1 {
                (merge.await?, fold.await?)
            } else {
                futures_util::try_join!(merge, fold)?
            };
            report.rows_written += written;
        }
        let done = partitions.iter().map(|partition| partition.day).filter(|day| !unreadable.contains_key(day));
        let done: Vec<Day> = done.collect();
        report.partitions += done.len();
        Ok(store.clear_dirty(self.lease, done).await?)
    }

    /// Folds what these partitions have of a range of services, if there is one more.
    async fn fold(
        &self,
        folder: &Arc<Folder>,
        tasks: &Arc<Vec<PartitionTask>>,
        range: Option<Services>,
    ) -> anyhow::Result<Option<Folded>> {
        let Some(range) = range else { return Ok(None) };
        let (folder, tasks) = (folder.clone(), tasks.clone());
        let fold = move || tasks.par_iter().map(|task| (task.day, folder.fold(task, &range))).collect();
        self.installation.on_threads(fold).await.map(Some)
    }

    /// Draws the rows of all services that have none yet for today, or must be drawn anew though no facts changed.
    async fn draw_rest(&self) -> anyhow::Result<u64> {
        let due = self.installation.store.services_to_draw(self.merging.today).await?;
        let mut written = 0;
        let mut rest = due.as_slice();
        while !rest.is_empty() {
            self.run.check()?;
            let (services, after) = rest.split_at(self.merging.count_to_draw(rest.iter().map(|service| service.from)));
            rest = after;
            written += self.merging.draw(services.to_vec()).await?;
        }
        Ok(written)
    }
}

/// How many of these partitions are recomputed together.
fn next_partitions(dirty: &[DirtyPartition], rows_together: u64) -> usize {
    let mut rows = 0;
    let fits = |partition: &&DirtyPartition| {
        rows += partition.rows;
        rows == partition.rows || rows <= rows_together
    };
    dirty.iter().take_while(fits).take(PARTITIONS_TOGETHER).count()
}

fn folder(installation: &Installation) -> Folder {
    let window = i64::try_from(installation.config.ingest.identity_window.as_nanos()).unwrap_or(i64::MAX);
    let rules = FoldRules {
        zone: installation.config.reporting.timezone,
        identity_window: window,
        rows_per_pass: ROWS_IN_MEMORY / installation.threads(),
    };
    Folder::new(SegmentReader::new(installation.log.clone()), rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_go_together_until_they_hold_enough_rows_and_a_huge_one_goes_alone() {
        let days = |dirty: &[u64]| {
            let dirty =
                (0..).map(Day).zip(dirty).map(|(day, rows)| DirtyPartition { day, rows: *rows, services: None });
            next_partitions(&dirty.collect::<Vec<DirtyPartition>>(), 1_000)
        };
        assert_eq!(days(&[]), 0);
        assert_eq!(days(&[0, 1, 2]), 3);
        assert_eq!(days(&[3_000, 1]), 1);
        assert_eq!(days(&[1, 1_000, 1]), 1);
        assert_eq!(days(&[1; 600]), PARTITIONS_TOGETHER);
    }
}
