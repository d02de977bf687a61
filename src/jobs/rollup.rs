//! Rollup: dirty partitions are recomputed into facts, and the rows that may have changed are drawn anew.
//!
//! All data of one service is independent of the others', so the work goes by ranges of services: while one range is
//! committed, the next one is merged, and the one behind it is folded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use uuid::Uuid;

use super::merge::{Arrivals, Merging};
use super::{Installation, Run};
use crate::event_log::{EventLogError, SegmentReader};
use crate::failpoint::{Point, reach};
use crate::model::Day;
use crate::rollup::{FoldRules, Folder, PartitionFacts, PartitionTask};
use crate::store::{DirtyPartition, Lease, RollupCommit, Store};

/// Partitions are recomputed together until they hold so many ranges of services, each of which has about
/// `rollup.rows_together` rows in them. It is done with those before it goes on to others: that bounds what a kill costs, and
/// how many pages are read twice because ranges meet in them.
const RANGES_TOGETHER: u64 = 8;
/// And so many partitions at the most, for a thin backlog has many days.
const PARTITIONS_TOGETHER: usize = 512;
/// Folding, merging and committing.
const STEPS: usize = 3;
/// Rows of a partition that lie in memory at once, over all threads.
const ROWS_IN_MEMORY: usize = 1 << 20;

/// What a rollup did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct RollupReport {
    pub partitions: usize,
    pub rows_written: u64,
}

/// Whether anything waits to be rolled up, drawn or moved on to its next state.
///
/// # Errors
/// When the store fails.
pub async fn is_rollup_due(installation: &Installation) -> anyhow::Result<bool> {
    Ok(installation.store.is_rollup_due(installation.today(), installation.now()).await?)
}

/// Rolls up everything that is dirty, and brings all rows up to today.
///
/// # Errors
/// When the lease can't be had, the store fails, or the run was interrupted; and, after all other days are rolled up, when
/// the segments of a day can't be read.
pub async fn rollup(installation: &Installation, run: &Run) -> anyhow::Result<RollupReport> {
    let lease = installation.begin(run, "rollup").await?;
    let done = Box::pin(rollup_leased(installation, run, &lease)).await;
    installation.end(&lease, done).await
}

pub(super) async fn rollup_leased(
    installation: &Installation,
    run: &Run,
    lease: &Lease,
) -> anyhow::Result<RollupReport> {
    let (now, today) = (installation.now(), installation.today());
    installation.store.advance_states(lease, today, now).await?;
    let merging = Merging { installation, today, now, redraw: None };
    let turns = Semaphore::new(if installation.threads() == 1 { 1 } else { STEPS });
    let rolling = Rolling { run, lease, merging, folder: Arc::new(folder(installation)), turns };
    let mut report = RollupReport::default();
    let mut unreadable: BTreeMap<Day, Arc<EventLogError>> = BTreeMap::new();
    let dirty = installation.store.dirty_partitions().await?;
    let mut rest = dirty.as_slice();
    while !rest.is_empty() {
        let rows_together = RANGES_TOGETHER * installation.config.rollup.rows_together as u64;
        let (next, after) = rest.split_at(next_partitions(rest, rows_together));
        rest = after;
        // Rows are drawn from the facts of all days.
        let rolled = Box::pin(rolling.roll(next, rest.is_empty())).await?;
        report.rows_written += rolled.rows_written;
        report.partitions += next.len() - rolled.unreadable.len();
        unreadable.extend(rolled.unreadable);
    }
    report.rows_written += rolling.draw_rest().await?;
    let days = unreadable.len();
    match unreadable.pop_first() {
        None => Ok(report),
        Some((day, error)) => Err(anyhow::Error::from(error)
            .context(format!("{days} days can't be rolled up, the first of them {day}; all others are"))),
    }
}

/// One rollup.
struct Rolling<'a> {
    run: &'a Run,
    lease: &'a Lease,
    merging: Merging<'a>,
    folder: Arc<Folder>,
    /// For each step that works; on one thread, one step works at a time.
    turns: Semaphore,
}

/// What recomputing some partitions came to.
struct Rolled {
    rows_written: u64,
    unreadable: BTreeMap<Day, Arc<EventLogError>>,
}

impl Rolling<'_> {
    /// Recomputes these partitions, and draws what changes with `draws`. A day whose segments can't be read stays dirty, and
    /// costs the others nothing.
    async fn roll(&self, partitions: &[DirtyPartition], draws: bool) -> anyhow::Result<Rolled> {
        let store = &self.installation().store;
        let tasks = store.partition_tasks(partitions.iter().map(DirtyPartition::to_recompute).collect()).await?;
        let arrivals = partitions.iter().map(|partition| (partition.day, partition.arrived.clone())).collect();
        let around = around(store, partitions, self.folder.window_days()).await?;
        // Each step waits until the next one takes what it has, so no more than one range is folded and one merged ahead.
        let (folded, to_merge) = channel(1);
        let (merged, to_commit) = channel(1);
        // None is cut off, for a statement must not be: where one fails, the others find nobody to take or give anything.
        let (unreadable, merged, rows_written) = tokio::join!(
            self.fold(Arc::new((tasks, around)), folded),
            self.merge(to_merge, Arc::new(arrivals), draws, merged),
            self.commit(to_commit),
        );
        let (rows_written, (), unreadable) = (rows_written?, merged?, unreadable?);
        let days = partitions.iter().map(|partition| partition.day);
        store.clear_dirty(self.lease, days.filter(|day| !unreadable.contains_key(day))).await?;
        Ok(Rolled { rows_written, unreadable })
    }

    /// Folds partitions, one range of services after the other, and tells which can't be read.
    async fn fold(
        &self,
        tasks: Arc<(Vec<PartitionTask>, Vec<PartitionTask>)>,
        folded: Sender<Vec<(Day, PartitionFacts)>>,
    ) -> anyhow::Result<BTreeMap<Day, Arc<EventLogError>>> {
        let mut unreadable = BTreeMap::new();
        let rows_each = self.installation().config.rollup.rows_together;
        let (whole, these) = (self.folder.clone(), tasks.clone());
        for range in self.installation().on_threads(move || whole.divide(&these.0, rows_each)).await? {
            let Ok(place) = folded.reserve().await else { break };
            let _turn = self.turns.acquire().await?;
            self.run.check()?;
            let (of_range, these) = (self.folder.clone(), tasks.clone());
            let fold = move || of_range.fold(&these.0, &these.1, &range);
            let of_range = self.installation().on_threads(fold).await?;
            unreadable.extend(of_range.unreadable);
            reach(Point::RangeFolded)?;
            let readable = of_range.facts.into_iter().filter(|(day, _)| !unreadable.contains_key(day)).collect();
            place.send(readable);
        }
        Ok(unreadable)
    }

    /// Merges what was folded into what is stored.
    async fn merge(
        &self,
        mut folded: Receiver<Vec<(Day, PartitionFacts)>>,
        arrivals: Arc<Arrivals>,
        draws: bool,
        merged: Sender<RollupCommit>,
    ) -> anyhow::Result<()> {
        while let Some(partitions) = folded.recv().await {
            let mut changes = self.merging.changes(partitions, &arrivals).await?;
            loop {
                let Ok(place) = merged.reserve().await else { return Ok(()) };
                let _turn = self.turns.acquire().await?;
                let Some(commit) = self.merging.merge_next(&mut changes, draws).await? else { break };
                reach(Point::RangeMerged)?;
                place.send(commit);
            }
        }
        Ok(())
    }

    /// Commits what was merged, and tells how many rows were written.
    async fn commit(&self, mut merged: Receiver<RollupCommit>) -> anyhow::Result<u64> {
        let mut written = 0;
        while let Some(commit) = merged.recv().await {
            let _turn = self.turns.acquire().await?;
            self.run.check()?;
            written += self.write(&commit).await?;
        }
        Ok(written)
    }

    /// Draws the rows of all services that have none yet for today, or must be drawn anew though no facts changed.
    async fn draw_rest(&self) -> anyhow::Result<u64> {
        let due = self.installation().store.services_to_draw(self.merging.today).await?;
        let mut written = 0;
        let mut rest = due.as_slice();
        while !rest.is_empty() {
            self.run.check()?;
            let (services, after) = rest.split_at(self.merging.count_to_draw(rest.iter().map(|service| service.from)));
            rest = after;
            written += self.write(&self.merging.draw(services.to_vec()).await?).await?;
        }
        Ok(written)
    }

    async fn write(&self, commit: &RollupCommit) -> anyhow::Result<u64> {
        let Merging { installation, today, .. } = self.merging;
        Ok(installation.store.commit_rollup(self.lease, commit, today, installation.clock).await?)
    }

    fn installation(&self) -> &Installation {
        self.merging.installation
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

/// The days that the identity window reaches from these partitions, with the services that are recomputed there.
pub(super) async fn around(
    store: &Store,
    partitions: &[DirtyPartition],
    window: i32,
) -> anyhow::Result<Vec<PartitionTask>> {
    let wanted = services_around(partitions, window);
    let (Some((first, _)), Some((last, _))) = (wanted.first_key_value(), wanted.last_key_value()) else {
        return Ok(Vec::new());
    };
    let wanted = |day| {
        let services = wanted.get(&day)?;
        Some((day, services.as_ref().map(|services| services.iter().copied().collect())))
    };
    let days = store.logged_days(*first, *last).await?;
    Ok(store.partition_tasks(days.into_iter().filter_map(wanted).collect()).await?)
}

/// The days that lie no more than `window` days from these partitions, and which services they have rows of to recompute: all
/// where none are named. Partitions that are recomputed whole are not among them.
fn services_around(partitions: &[DirtyPartition], window: i32) -> BTreeMap<Day, Option<BTreeSet<Uuid>>> {
    let mut around: BTreeMap<Day, Option<BTreeSet<Uuid>>> = BTreeMap::new();
    for DirtyPartition { day, services, .. } in partitions {
        let near = day.0.saturating_sub(window)..=day.0.saturating_add(window);
        for near in near.map(Day).filter(|near| near != day) {
            let wanted = around.entry(near).or_insert_with(|| Some(BTreeSet::new()));
            match (services, wanted) {
                (None, wanted) => *wanted = None,
                (Some(services), Some(wanted)) => wanted.extend(services),
                (Some(_), None) => {}
            }
        }
    }
    let whole = partitions.iter().filter(|partition| partition.services.is_none());
    whole.for_each(|partition| _ = around.remove(&partition.day));
    around
}

pub(super) fn folder(installation: &Installation) -> Folder {
    let rules = FoldRules {
        zone: installation.config.reporting.timezone,
        identity_window: installation.config.ingest.identity_window_nanos(),
        rows_per_pass: ROWS_IN_MEMORY / installation.threads(),
        masks: installation.masks,
    };
    Folder::new(SegmentReader::new(installation.log.clone()), rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Arrived;

    #[test]
    fn partitions_go_together_until_they_hold_enough_rows_and_a_huge_one_goes_alone() {
        let days = |dirty: &[u64]| {
            let dirty = (0..).map(Day).zip(dirty).map(|(day, rows)| DirtyPartition {
                day,
                rows: *rows,
                services: None,
                arrived: Arrived::default(),
            });
            next_partitions(&dirty.collect::<Vec<DirtyPartition>>(), 1_000)
        };
        assert_eq!(days(&[]), 0);
        assert_eq!(days(&[0, 1, 2]), 3);
        assert_eq!(days(&[3_000, 1]), 1);
        assert_eq!(days(&[1, 1_000, 1]), 1);
        assert_eq!(days(&[1; 600]), PARTITIONS_TOGETHER);
    }
}
