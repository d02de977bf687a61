//! Rollup: dirty partitions are recomputed into facts, and the rows that may have changed are drawn anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::draw::{DrawRules, draw};
use super::{Installation, Run};
use crate::event_log::{EventLogError, SegmentReader};
use crate::model::Day;
use crate::rollup::{
    Changes, FoldRules, Folder, MergedUsers, MonthKey, PartitionFacts, PartitionTask, ServiceChange, UserKey,
};
use crate::store::{DirtyPartition, FactsCommit, Lease, ServiceFacts, ServiceRows, ServiceToDraw, StoreError};

/// Partitions are folded together until they hold so many rows: the threads must all have something to do.
const ROWS_TOGETHER: u64 = 1_000_000;
/// And so many at the most, for a thin backlog has many days.
const PARTITIONS_TOGETHER: usize = 512;
/// Rows of a partition that lie in memory at once, over all threads.
const ROWS_IN_MEMORY: usize = 1 << 20;
/// Facts are merged and stored once they are so many, services' days and users' days together. Each commit writes every
/// month and user that it touches, so they should be few; a service's day takes 200 bytes in memory, a user's about 60.
const FACTS_TOGETHER: usize = 1_000_000;
/// Rows are drawn and written together for so many services that they are about so many, which bounds memory.
const DRAWN_TOGETHER: usize = 1 << 16;

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
    let mut report = RollupReport::default();
    let mut unreadable = roll_partitions(installation, run, lease, &mut report).await?;
    let mut due = installation.store.services_to_draw(today).await?;
    while !due.is_empty() {
        run.check()?;
        let rest = due.split_off(next_services(&due, today));
        let services = std::mem::replace(&mut due, rest);
        let months = installation.store.months_to_draw(&services).await?;
        let config = installation.config.clone();
        let drawn = installation
            .on_threads(move || {
                let first = services.iter().map(|service| service.from).min().unwrap_or(today);
                let rules = DrawRules::new(config.reporting.timezone, config.rollup.settle_after, first, today, now);
                let draw = |service: &ServiceToDraw| Ok(draw(service, &months.of(service.service)?, &rules));
                services.par_iter().map(draw).collect::<Result<Vec<ServiceRows>, StoreError>>()
            })
            .await??;
        report.rows_written += installation.store.commit_rows(lease, &drawn, today, now).await?;
    }
    let days = unreadable.len();
    match unreadable.pop_first() {
        None => Ok(report),
        Some((day, error)) => Err(anyhow::Error::from(error)
            .context(format!("{days} days can't be rolled up, the first of them {day}; all others are"))),
    }
}

/// Recomputes all dirty partitions. A day whose segments can't be read stays dirty, and costs the others nothing.
async fn roll_partitions(
    installation: &Installation,
    run: &Run,
    lease: &Lease,
    report: &mut RollupReport,
) -> anyhow::Result<BTreeMap<Day, EventLogError>> {
    let folder = Arc::new(folder(installation));
    let mut unreadable: BTreeMap<Day, EventLogError> = BTreeMap::new();
    let dirty = installation.store.dirty_partitions().await?;
    let mut rest = dirty.as_slice();
    let mut ready: Vec<(Day, PartitionFacts)> = Vec::new();
    while !rest.is_empty() {
        run.check()?;
        let (next, after) = rest.split_at(next_partitions(rest));
        rest = after;
        for (day, facts) in fold(installation, &folder, next).await? {
            match facts {
                Ok(facts) => ready.push((day, facts)),
                Err(error) => _ = unreadable.insert(day, error),
            }
        }
        let facts: usize = ready.iter().map(|(_, facts)| facts.services.len() + facts.users.len()).sum();
        if facts >= FACTS_TOGETHER || rest.is_empty() {
            report.partitions += ready.len();
            store_facts(installation, lease, std::mem::take(&mut ready)).await?;
        }
    }
    Ok(unreadable)
}

/// How many of these services are drawn together.
fn next_services(due: &[ServiceToDraw], today: Day) -> usize {
    let mut rows = 0;
    let fits = |service: &&ServiceToDraw| {
        // Its days, and a month or two.
        rows += service.from.through(today).count() + 2;
        rows <= DRAWN_TOGETHER
    };
    due.iter().take_while(fits).count().max(1)
}

/// How many of these partitions are folded together.
fn next_partitions(dirty: &[DirtyPartition]) -> usize {
    let mut rows = 0;
    let fits = |partition: &&DirtyPartition| {
        rows += partition.rows;
        rows == partition.rows || rows <= ROWS_TOGETHER
    };
    dirty.iter().take_while(fits).take(PARTITIONS_TOGETHER).count()
}

async fn fold(
    installation: &Installation,
    folder: &Arc<Folder>,
    partitions: &[DirtyPartition],
) -> anyhow::Result<Vec<(Day, Result<PartitionFacts, EventLogError>)>> {
    let mut tasks: Vec<PartitionTask> = Vec::with_capacity(partitions.len());
    for partition in partitions {
        tasks.push(installation.store.partition_task(partition).await?);
    }
    let folder = folder.clone();
    let fold = move || tasks.par_iter().map(|task| (task.day, folder.fold(task))).collect();
    installation.on_threads(fold).await
}

fn folder(installation: &Installation) -> Folder {
    let window = i64::try_from(installation.config.ingest.identity_window.as_nanos()).unwrap_or(i64::MAX);
    let rules = FoldRules {
        zone: installation.config.reporting.timezone,
        identity_window: window,
        rows_per_pass: ROWS_IN_MEMORY / installation.threads.current_num_threads(),
    };
    Folder::new(SegmentReader::new(installation.log.clone()), rules)
}

/// Merges partitions into what is stored, service by service, and commits that. Services that are new have nothing stored,
/// and nothing is looked up for them.
async fn store_facts(
    installation: &Installation,
    lease: &Lease,
    partitions: Vec<(Day, PartitionFacts)>,
) -> anyhow::Result<()> {
    let store = &installation.store;
    let zone = installation.config.reporting.timezone;
    let mut commit =
        FactsCommit { partitions: partitions.iter().map(|(day, _)| *day).collect(), ..FactsCommit::default() };
    for (day, facts) in &partitions {
        commit.patches.extend(facts.patches.iter().map(|(service, patches)| ((*day, *service), patches.clone())));
    }
    let local_days = move |partition| zone.days_within(partition).into_iter().map(|(_, day)| day).collect();
    let changes = Arc::new(installation.on_threads(move || Changes::of(partitions, local_days)).await?);
    let services: Vec<_> = changes.services().iter().map(ServiceChange::service).collect();
    let totals = Arc::new(store.service_totals(&services).await?);

    let (these, known) = (changes.clone(), totals.clone());
    let users = move || -> Vec<UserKey> {
        let of_known = these.services().into_par_iter().filter(|service| known.contains_key(&service.service()));
        of_known.flat_map_iter(|service| service.users()).collect()
    };
    let histories = store.user_histories(&installation.on_threads(users).await?).await?;

    let (these, known) = (changes.clone(), totals.clone());
    let merge_users = move || -> (Vec<MergedUsers>, Vec<MonthKey>) {
        let services = these.services();
        let users: Vec<MergedUsers> = services.par_iter().map(|service| service.merge_users(&histories)).collect();
        let of_known = services.iter().zip(&users).filter(|(service, _)| known.contains_key(&service.service()));
        let mut months: Vec<MonthKey> = of_known
            .flat_map(|(service, users)| service.months(users).into_iter().map(|month| (month, service.service())))
            .collect();
        months.sort_unstable();
        (users, months)
    };
    let (users, months) = installation.on_threads(merge_users).await?;
    let months = store.month_facts(&months).await?;

    let merge = move || {
        let all = changes.services().into_par_iter().zip(users);
        let merged = all.map(|(service, users)| {
            let before = totals.get(&service.service()).copied().unwrap_or_default();
            ServiceFacts::encode(&users, service.merge_months(&users, before, months.of(service.service())?))
        });
        merged.collect::<Result<Vec<ServiceFacts>, _>>()
    };
    commit.services = installation.on_threads(merge).await??;
    commit.services.retain(ServiceFacts::has_changed);
    Ok(store.commit_facts(lease, &mut commit).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_go_together_until_they_hold_enough_rows_and_a_huge_one_goes_alone() {
        let days = |dirty: &[u64]| {
            let dirty =
                (0..).map(Day).zip(dirty).map(|(day, rows)| DirtyPartition { day, rows: *rows, services: None });
            next_partitions(&dirty.collect::<Vec<DirtyPartition>>())
        };
        assert_eq!(days(&[]), 0);
        assert_eq!(days(&[0, 1, 2]), 3);
        assert_eq!(days(&[ROWS_TOGETHER * 3, 1]), 1);
        assert_eq!(days(&[1, ROWS_TOGETHER, 1]), 1);
        assert_eq!(days(&[1; 600]), PARTITIONS_TOGETHER);
    }
}
