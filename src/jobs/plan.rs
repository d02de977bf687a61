//! What a backfill would change: it goes the way of a rollup, but holds the rows that come out against the stored ones, and
//! writes nothing. What waits to be rolled up has a part in it, for a backfill would roll it up, too.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::backfill::utc_days;
use super::merge::{Arrivals, Merging};
use super::rollup::{around, folder};
use super::{Installation, Run};
use crate::model::{Day, PeriodType, UsageRow};
use crate::rollup::{DraftRow, Folded};
use crate::store::{DirtyPartition, Redraw, RowFilter, ServiceRows, ServiceToDraw};

/// The rows that a backfill would change, by service, period type and period.
#[derive(Clone, Debug, Default)]
pub struct BackfillPlan {
    /// How many UTC days would be recomputed.
    pub partitions: usize,
    pub rows: Vec<PlannedRow>,
    /// How many rows more would be otherwise, if their months were not locked.
    pub held_back: usize,
}

/// A row as it is, and as it would be; none where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedRow {
    pub service: Uuid,
    pub period_type: PeriodType,
    pub period: Day,
    pub before: Option<DraftRow>,
    pub after: Option<DraftRow>,
}

impl BackfillPlan {
    /// Tells one plan from another: a hash of all that it says of rows.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for row in &self.rows {
            hasher.update(row.service.as_bytes()).update(row.period_type.name().as_bytes());
            hasher.update(&row.period.0.to_le_bytes());
            for side in [&row.before, &row.after] {
                hasher.update(&[u8::from(side.is_some())]);
                if let Some(DraftRow { numbers, event_count, input_digest, clamped, .. }) = side {
                    for number in numbers.0 {
                        hasher.update(&number.to_le_bytes());
                    }
                    hasher.update(&event_count.to_le_bytes()).update(&input_digest.0.to_le_bytes());
                    hasher.update(&[u8::from(*clamped)]);
                }
            }
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }
}

/// The caller holds the lease.
pub(super) async fn plan(
    installation: &Installation,
    run: &Run,
    from: Day,
    to: Day,
    services: &[Uuid],
) -> anyhow::Result<BackfillPlan> {
    let redraw = Redraw { from, services: services.to_vec() };
    let (now, today) = (installation.now(), installation.today());
    let merging = Merging { installation, today, now, redraw: Some(&redraw) };
    let locked = installation.store.locked_months().await?.into_iter().map(|locked| locked.month).collect();
    let mut planning = Planning { run, merging, locked, done: HashSet::new(), plan: BackfillPlan::default() };
    let partitions = partitions(installation, from, to, services).await?;
    planning.plan.partitions = partitions.len();
    planning.recompute(&partitions).await?;
    planning.draw_rest(&redraw).await?;
    let mut plan = planning.plan;
    plan.rows.sort_unstable_by_key(|row| (row.service, row.period_type, row.period));
    Ok(plan)
}

/// What is marked, and what a backfill would mark.
async fn partitions(
    installation: &Installation,
    from: Day,
    to: Day,
    services: &[Uuid],
) -> anyhow::Result<Vec<DirtyPartition>> {
    let (first, last) = utc_days(installation.config.reporting.timezone, from, to);
    let dirty = installation.store.dirty_partitions().await?;
    let mut partitions: BTreeMap<Day, DirtyPartition> =
        dirty.into_iter().map(|partition| (partition.day, partition)).collect();
    for day in installation.store.logged_days(first, last).await? {
        let nothing =
            || DirtyPartition { day, rows: 0, services: Some(Vec::new()), arrived: crate::store::Arrived::default() };
        let partition = partitions.entry(day).or_insert_with(nothing);
        match &mut partition.services {
            _ if services.is_empty() => partition.services = None,
            None => {}
            Some(of_day) => {
                of_day.extend_from_slice(services);
                of_day.sort_unstable();
                of_day.dedup();
            }
        }
    }
    Ok(partitions.into_values().collect())
}

struct Planning<'a> {
    run: &'a Run,
    merging: Merging<'a>,
    locked: BTreeSet<Day>,
    /// The services whose rows were drawn.
    done: HashSet<Uuid>,
    plan: BackfillPlan,
}

impl Planning<'_> {
    /// All partitions together, one range of services after the other, for nothing is stored in between.
    async fn recompute(&mut self, partitions: &[DirtyPartition]) -> anyhow::Result<()> {
        let installation = self.merging.installation;
        let to_recompute = partitions.iter().map(DirtyPartition::to_recompute).collect();
        let tasks = installation.store.partition_tasks(to_recompute).await?;
        let folder = Arc::new(folder(installation));
        let around = around(&installation.store, partitions, folder.window_days()).await?;
        let tasks = Arc::new((tasks, around));
        let rows_each = installation.config.rollup.rows_together;
        let (whole, these) = (folder.clone(), tasks.clone());
        for range in installation.on_threads(move || whole.divide(&these.0, rows_each)).await? {
            self.run.check()?;
            let (of_range, these) = (folder.clone(), tasks.clone());
            let fold = move || of_range.fold(&these.0, &these.1, &range);
            let Folded { facts, mut unreadable } = installation.on_threads(fold).await?;
            if let Some((_, error)) = unreadable.pop_first() {
                return Err(error.into());
            }
            let recomputed = facts.into_iter().collect();
            let mut changes = self.merging.changes(recomputed, &Arc::new(Arrivals::new())).await?;
            while let Some(commit) = self.merging.merge_next(&mut changes, true).await? {
                self.run.check()?;
                self.compare(&commit.rows).await?;
            }
        }
        Ok(())
    }

    /// The services whose facts stay as they are.
    async fn draw_rest(&mut self, redraw: &Redraw) -> anyhow::Result<()> {
        let (store, today) = (&self.merging.installation.store, self.merging.today);
        let mut due: BTreeMap<Uuid, ServiceToDraw> = BTreeMap::new();
        for service in store.services_to_draw(today).await? {
            due.insert(service.service, service);
        }
        let meant = match redraw.services.as_slice() {
            [] => store.known_services().await?,
            services => store.stored_services(services).await?.into_iter().collect(),
        };
        for (service, mut stored) in meant {
            redraw.apply(service, &mut stored);
            due.extend(ServiceToDraw::of(service, &stored, today).map(|drawn| (service, drawn)));
        }
        let is_left = |service: &ServiceToDraw| !self.done.contains(&service.service);
        let due: Vec<ServiceToDraw> = due.into_values().filter(is_left).collect();
        let mut rest = due.as_slice();
        while !rest.is_empty() {
            self.run.check()?;
            let (services, after) = rest.split_at(self.merging.count_to_draw(rest.iter().map(|service| service.from)));
            rest = after;
            self.compare(&self.merging.draw(services.to_vec()).await?.rows).await?;
        }
        Ok(())
    }

    /// Holds drawn rows against the stored ones.
    async fn compare(&mut self, drawn: &[ServiceRows]) -> anyhow::Result<()> {
        let periods = drawn.iter().flat_map(|of| {
            of.rows.iter().map(|(draft, _)| draft.period).chain(of.gone.iter().map(|(_, period)| *period))
        });
        let Some(from) = periods.min() else { return Ok(()) };
        let services: Vec<Uuid> = drawn.iter().map(|of| of.service).collect();
        self.done.extend(&services);
        let mut stored: HashMap<(Uuid, PeriodType, Day), DraftRow> = HashMap::new();
        for period_type in [PeriodType::Daily, PeriodType::Monthly] {
            let to = self.merging.today;
            let filter = RowFilter { period_type, from: Some(from), to, services: services.clone() };
            let rows = self.merging.installation.store.usage_rows(&filter, None);
            let mut rows = std::pin::pin!(rows);
            while let Some(row) = rows.try_next().await? {
                stored.insert((row.service, row.period_type, row.period), draft(&row));
            }
        }
        for of in drawn {
            let gone = of.gone.iter().map(|(period_type, period)| (*period_type, *period, None));
            let rows = of.rows.iter().map(|(draft, _)| (draft.period_type, draft.period, Some(*draft)));
            for (period_type, period, after) in gone.chain(rows) {
                let before = stored.get(&(of.service, period_type, period)).copied();
                // Rows that time alone adds are no change.
                let is_ahead = of.stored.is_some_and(|(_, through)| period > through);
                if before == after || is_ahead && before.is_none() {
                    continue;
                }
                if self.locked.contains(&period.month()) {
                    self.plan.held_back += 1;
                } else {
                    self.plan.rows.push(PlannedRow { service: of.service, period_type, period, before, after });
                }
            }
        }
        Ok(())
    }
}

fn draft(row: &UsageRow) -> DraftRow {
    DraftRow {
        period_type: row.period_type,
        period: row.period,
        numbers: row.numbers,
        event_count: row.event_count,
        input_digest: row.input_digest,
        clamped: row.clamped,
    }
}
