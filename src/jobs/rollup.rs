//! Rollup: dirty partitions are recomputed into facts, and the rows that may have changed are drawn anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::draw::{DrawRules, draw};
use super::{Installation, Run};
use crate::event_log::{EventLogError, SegmentReader};
use crate::model::Day;
use crate::rollup::{
    FoldRules, Folder, PartitionFacts, PartitionTask, merge_months, merge_users, months_of, users_of,
};
use crate::store::{FactsCommit, Lease, ServiceRows};

/// Partitions are recomputed together until they hold so many rows, to bound what their facts take in memory.
const ROWS_TOGETHER: u64 = 1_000_000;
/// And so many at the most, for a thin backlog has many days.
const PARTITIONS_TOGETHER: usize = 512;
/// Rows of a partition that lie in memory at once, over all threads.
const ROWS_IN_MEMORY: usize = 1 << 20;
/// Services whose rows are written in one commit.
const SERVICES_TOGETHER: i64 = 512;

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
    let window = i64::try_from(installation.config.ingest.identity_window.as_nanos()).unwrap_or(i64::MAX);
    let rules = FoldRules {
        zone: installation.config.reporting.timezone,
        identity_window: window,
        rows_per_pass: ROWS_IN_MEMORY / installation.threads.current_num_threads(),
    };
    let folder = Arc::new(Folder::new(SegmentReader::new(installation.log.clone()), rules));
    let mut report = RollupReport::default();
    // A day whose segments can't be read stays dirty, and costs the others nothing.
    let mut unreadable: BTreeMap<Day, EventLogError> = BTreeMap::new();
    loop {
        run.check()?;
        let mut dirty = installation.store.dirty_partitions().await?;
        dirty.retain(|(day, _)| !unreadable.contains_key(day));
        let days = next_partitions(&dirty);
        if days.is_empty() {
            break;
        }
        let mut partitions = Vec::with_capacity(days.len());
        for (day, folded) in fold(installation, &folder, days).await? {
            match folded {
                Ok(facts) => partitions.push((day, crate::rollup::OldFacts::of(facts))),
                Err(error) => _ = unreadable.insert(day, error),
            }
        }
        report.partitions += partitions.len();
        store_facts(installation, lease, &partitions).await?;
    }
    loop {
        run.check()?;
        let services = installation.store.services_to_draw(today, SERVICES_TOGETHER).await?;
        if services.is_empty() {
            break;
        }
        let config = installation.config.clone();
        let drawn = installation
            .on_threads(move || {
                let first = services.iter().map(|service| service.from).min().unwrap_or(today);
                let rules = DrawRules::new(config.reporting.timezone, config.rollup.settle_after, first, today, now);
                services.par_iter().map(|service| draw(service, &rules)).collect::<Vec<ServiceRows>>()
            })
            .await?;
        report.rows_written += installation.store.commit_rows(lease, &drawn, now).await?;
    }
    let days = unreadable.len();
    match unreadable.pop_first() {
        None => Ok(report),
        Some((day, error)) => Err(anyhow::Error::from(error)
            .context(format!("{days} days can't be rolled up, the first of them {day}; all others are"))),
    }
}

fn next_partitions(dirty: &[(Day, u64)]) -> Vec<Day> {
    let mut rows = 0;
    let fits = |(_, of_day): &&(Day, u64)| {
        rows += of_day;
        rows == *of_day || rows <= ROWS_TOGETHER
    };
    dirty.iter().take_while(fits).take(PARTITIONS_TOGETHER).map(|(day, _)| *day).collect()
}

async fn fold(
    installation: &Installation,
    folder: &Arc<Folder>,
    days: Vec<Day>,
) -> anyhow::Result<Vec<(Day, Result<PartitionFacts, EventLogError>)>> {
    let mut tasks: Vec<PartitionTask> = Vec::with_capacity(days.len());
    for day in days {
        tasks.push(installation.store.partition_task(day).await?);
    }
    let folder = folder.clone();
    let fold = move || tasks.par_iter().map(|task| (task.day, folder.fold(task))).collect();
    installation.on_threads(fold).await
}

async fn store_facts(
    installation: &Installation,
    lease: &Lease,
    partitions: &[(Day, crate::rollup::OldFacts)],
) -> anyhow::Result<()> {
    let store = &installation.store;
    let zone = installation.config.reporting.timezone;
    let histories = store.user_histories(&users_of(partitions)).await?;
    let (users, moves) = merge_users(partitions, histories);
    let local_days = |partition| zone.days_within(partition).into_iter().map(|(_, day)| day).collect();
    let keys = months_of(partitions, &moves, local_days);
    let months = merge_months(partitions, &moves, &keys, store.month_facts(&keys).await?);
    let mut commit = FactsCommit {
        partitions: partitions.iter().map(|(day, _)| *day).collect(),
        users,
        months,
        patches: BTreeMap::new(),
        inputs: BTreeMap::new(),
    };
    for (day, facts) in partitions {
        commit.patches.extend(facts.patches.iter().map(|(service, patches)| ((*day, *service), patches.clone())));
        commit.inputs.extend(facts.inputs.iter().map(|(input, counts)| ((*day, *input), *counts)));
    }
    Ok(store.commit_facts(lease, &commit).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_go_together_until_they_hold_enough_rows_and_a_huge_one_goes_alone() {
        let days = |dirty: &[u64]| {
            let dirty: Vec<(Day, u64)> = (0..).map(Day).zip(dirty.iter().copied()).collect();
            next_partitions(&dirty).len()
        };
        assert_eq!(days(&[]), 0);
        assert_eq!(days(&[0, 1, 2]), 3);
        assert_eq!(days(&[ROWS_TOGETHER * 3, 1]), 1);
        assert_eq!(days(&[1, ROWS_TOGETHER, 1]), 1);
        assert_eq!(days(&[1; 600]), PARTITIONS_TOGETHER);
    }
}
