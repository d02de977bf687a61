//! Verify: everything is recomputed from the event log, and held against what is stored.
//!
//! It holds the lease, so that nothing changes meanwhile: a daemon beside it goes on to serve, and ingests when it is done.
//! It goes by ranges of services, as rollup does, and makes all facts of a service anew, from nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;
use uuid::Uuid;

use super::{Installation, Run, rollup};
use crate::audit::{
    CheckedSegment, Compared, Difference, Differences, HeldBack, Ledger, Recomputed, Subject, Within, by_service,
    check_segment, compare, compare_ledger, compare_voids,
};
use crate::event_log::{EventLogError, Segment, SegmentReader};
use crate::model::{Day, Instant, PeriodType};
use crate::rollup::{Folded, Folder, PartitionTask, Services, VoidMark};
use crate::store::{DirtyPartition, Finding, Lease, LedgerFix, ServiceFix, StoredState};

/// Segments are checked so many at a time, to be interrupted between.
const SEGMENTS_TOGETHER: usize = 64;
/// As for drawing: services are held against what is stored until they have one row for so many of the log.
const ROWS_FOR_A_STORED_ONE: usize = 32;

/// What is to be verified. The history of a service is always recomputed whole, for its gauges rest on it.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    pub from: Option<Day>,
    pub to: Option<Day>,
    /// All where none are named.
    pub services: Vec<Uuid>,
}

/// What verifying found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    pub differences: Differences,
    pub pending: Pending,
    /// UTC days that could not be recomputed, with the reason.
    pub unreadable: BTreeMap<String, String>,
    pub checked: Checked,
    #[serde(skip)]
    pub fixes: Fixes,
}

/// What waits to be rolled up: it was taken as it was rolled up last, and is no difference.
#[derive(Debug, Default, Serialize)]
pub struct Pending {
    pub days: usize,
    /// Services whose rows wait to be drawn, or do not reach today.
    pub services: u64,
}

/// How much was held against what is stored.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    pub segments: u64,
    pub lines: u64,
    /// Of these, those whose contents were dropped: what is left of them was recomputed.
    pub bare_lines: u64,
    pub services: u64,
    pub rows: u64,
    pub inputs: u64,
}

/// What repairing can do about it.
#[derive(Debug, Default)]
pub struct Fixes {
    /// Services whose facts must be made anew, and those whose rows must be drawn anew.
    pub facts: Vec<ServiceFix>,
    pub rows: Vec<ServiceFix>,
    pub gone: Vec<(Uuid, Vec<(PeriodType, Day)>)>,
    pub ledger: Vec<LedgerFix>,
    /// Voids that the store lost, and those that the log does not hold.
    pub voids: (Vec<VoidMark>, Vec<VoidMark>),
    pub has_orphans: bool,
}

impl Verified {
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty()
    }
}

impl Scope {
    pub(super) fn is_whole(&self) -> bool {
        self.from.is_none() && self.to.is_none() && self.services.is_empty()
    }
}

/// Recomputes what the scope holds, and compares it with what is stored. Nothing of that is changed; what was found is noted.
///
/// # Errors
/// When the lease can't be had, the store fails, or the run was interrupted. Damage is no error: it is what is looked for.
pub async fn verify(installation: &Installation, run: &Run, scope: &Scope) -> anyhow::Result<Verified> {
    let lease = installation.lease_as_it_is(run).await?;
    let verified = Box::pin(verify_leased(installation, run, &lease, scope)).await?;
    note(installation, scope, &verified).await;
    Ok(verified)
}

/// Notes what was found, for `status` and metrics. That this fails takes nothing from what was found.
pub(super) async fn note(installation: &Installation, scope: &Scope, verified: &Verified) {
    let found = Finding {
        from: scope.from,
        to: scope.to,
        services: scope.services.clone(),
        differences: verified.differences.count(),
        unreadable_days: verified.unreadable.len() as u64,
    };
    if let Err(error) = installation.store.note_verification(found, installation.now()).await {
        tracing::warn!(%error, "cannot note what verifying found");
    }
}

pub(super) async fn verify_leased(
    installation: &Installation,
    run: &Run,
    lease: &Lease,
    scope: &Scope,
) -> anyhow::Result<Verified> {
    let store = &installation.store;
    let catalog = store.catalog().await?;
    let dirty: BTreeMap<Day, DirtyPartition> =
        store.dirty_partitions().await?.into_iter().map(|dirty| (dirty.day, dirty)).collect();
    let spans = store.spans_with_facts().await?;
    let mut held_back = Vec::new();
    for locked in store.locked_months().await? {
        held_back.extend(store.pending_rows(locked.month).await?);
    }
    let mut verifying = Verifying {
        held_back: Arc::new(held_back.into_iter().collect()),
        installation,
        run,
        scope,
        catalog,
        dirty,
        spans,
        folder: Arc::new(rollup::folder(installation)),
        voids: None,
        ledger: Ledger::default(),
        verified: Verified::default(),
    };
    verifying.verified.pending.days = verifying.dirty.len();
    if scope.services.is_empty() {
        verifying.segments().await?;
    }
    verifying.services().await?;
    if scope.is_whole() {
        let inputs = store.audited_inputs().await?;
        let (found, fixes) = compare_ledger(&inputs, &verifying.ledger);
        verifying.verified.checked.inputs = inputs.len() as u64;
        verifying.verified.differences.extend(found);
        verifying.verified.fixes.ledger = fixes;
    }
    store.still_leased(lease).await?;
    Ok(verifying.verified)
}

struct Verifying<'a> {
    installation: &'a Installation,
    run: &'a Run,
    scope: &'a Scope,
    catalog: Vec<Segment>,
    dirty: BTreeMap<Day, DirtyPartition>,
    spans: Vec<Day>,
    held_back: Arc<HeldBack>,
    folder: Arc<Folder>,
    /// The voids of the log by the UTC day that they aim at, where the log was read whole.
    voids: Option<BTreeMap<Day, Vec<VoidMark>>>,
    ledger: Ledger,
    verified: Verified,
}

/// The days whose stored facts are taken as they are.
struct Skipped<'a> {
    dirty: &'a BTreeMap<Day, DirtyPartition>,
    /// Of one range of services.
    unreadable: &'a BTreeSet<Day>,
    /// So many days behind those that are not told may conflict with them.
    window: i32,
}

impl Skipped<'_> {
    fn holds(&self, partition: Day, service: Uuid) -> bool {
        let waits = |(_, dirty): (&Day, &DirtyPartition)| {
            dirty.services.as_ref().is_none_or(|services| services.binary_search(&service).is_ok())
        };
        let near = Day(partition.0.saturating_sub(self.window))..=partition;
        self.unreadable.range(near.clone()).next().is_some() || self.dirty.range(near).any(waits)
    }
}

impl Verifying<'_> {
    /// Holds the files against the catalog, and what lies beside them; and the voids against the store's.
    async fn segments(&mut self) -> anyhow::Result<()> {
        let zone = self.installation.config.reporting.timezone;
        let first = self.scope.from.map(|from| Day::utc_of(zone.start_of(from)));
        let last = self.scope.to.map(|to| Day::utc_of(Instant::from_nanos(zone.start_of(to.next()).nanos() - 1)));
        let is_asked_for = |segment: &&Segment| {
            let holds = |day: Day| first.is_none_or(|first| first <= day) && last.is_none_or(|last| day <= last);
            segment.partitions.is_empty() || segment.partitions.iter().any(|partition| holds(partition.day))
        };
        let segments: Vec<Segment> = self.catalog.iter().filter(is_asked_for).cloned().collect();
        let of_days = segments.iter().flat_map(|segment| &segment.partitions);
        self.verified.checked.bare_lines = of_days.filter(|of| of.is_bare).map(|of| of.rows).sum();
        let mut voids = HashSet::new();
        let mut lines = Some(BTreeMap::new());
        for together in segments.chunks(SEGMENTS_TOGETHER) {
            self.run.check()?;
            let (together, log) = (together.to_vec(), self.installation.log.clone());
            let check = move || -> Vec<CheckedSegment> {
                let reader = SegmentReader::new(log.clone());
                together.par_iter().map(|segment| check_segment(&log, &reader, segment)).collect()
            };
            for checked in self.installation.on_threads(check).await? {
                self.verified.checked.segments += 1;
                self.verified.differences.extend(checked.differences);
                voids.extend(checked.voids);
                match checked.lines {
                    None => lines = None,
                    Some(of_segment) => {
                        self.verified.checked.lines += of_segment.values().sum::<u64>();
                        for (input, count) in of_segment {
                            if let Some(lines) = &mut lines {
                                *lines.entry(input).or_default() += count;
                            }
                        }
                    }
                }
            }
        }
        if !self.scope.is_whole() {
            return Ok(());
        }
        if lines.is_some() {
            let stored: HashSet<VoidMark> = self.installation.store.all_voids().await?.into_iter().collect();
            let only = |of: &HashSet<VoidMark>, not: &HashSet<VoidMark>| -> Vec<VoidMark> {
                of.difference(not).cloned().collect::<BTreeSet<_>>().into_iter().collect()
            };
            let (missing, unknown) = (only(&voids, &stored), only(&stored, &voids));
            self.verified.differences.extend(compare_voids(&missing, &unknown));
            self.verified.fixes.voids = (missing, unknown);
            let mut by_day: BTreeMap<Day, Vec<VoidMark>> = BTreeMap::new();
            for mark in voids {
                by_day.entry(Day::utc_of(mark.time)).or_default().push(mark);
            }
            self.voids = Some(by_day);
        }
        self.ledger.accepted = lines;
        let discarded = self.installation.store.discarded_files().await?;
        let known = self.catalog.iter().map(|segment| &segment.path).chain(discarded.iter().map(|file| &file.path));
        let known: BTreeSet<&str> = known.map(String::as_str).collect();
        for path in self.installation.log.files()?.into_iter().filter(|path| !known.contains(path.as_str())) {
            let subject = Subject::Orphan { path };
            let found = Difference::new(&subject, "file", &"none that the catalog does not know", &"a file");
            self.verified.differences.extend([found]);
            self.verified.fixes.has_orphans = true;
        }
        Ok(())
    }

    /// Recomputes all services that are asked for, one range after the other.
    async fn services(&mut self) -> anyhow::Result<()> {
        let mut services = self.scope.services.clone();
        services.sort_unstable();
        services.dedup();
        let days = self.catalog.iter().flat_map(|segment| &segment.partitions).map(|partition| partition.day);
        // A day that waits whole is not read at all.
        let waits = |day: &Day| self.dirty.get(day).is_some_and(|dirty| dirty.services.is_none());
        let days = days.collect::<BTreeSet<Day>>().into_iter().filter(|day| !waits(day));
        let of_day = |day| (day, (!services.is_empty()).then(|| services.clone()));
        let mut tasks = self.installation.store.partition_tasks(days.map(of_day).collect()).await?;
        if let Some(voids) = &mut self.voids {
            for task in &mut tasks {
                task.voids = voids.remove(&task.day).unwrap_or_default();
            }
        }
        let tasks = Arc::new(tasks);
        let ranges: Vec<Services> = if services.is_empty() {
            let (whole, these) = (self.folder.clone(), tasks.clone());
            let rows_each = self.installation.config.rollup.rows_together;
            self.installation.on_threads(move || whole.divide(&these, rows_each)).await?
        } else {
            services.iter().map(|service| *service..=*service).collect()
        };
        for range in ranges {
            self.range(&tasks, range).await?;
        }
        Ok(())
    }

    async fn range(&mut self, tasks: &Arc<Vec<PartitionTask>>, range: Services) -> anyhow::Result<()> {
        self.run.check()?;
        let (folder, these, within) = (self.folder.clone(), tasks.clone(), range.clone());
        let Folded { facts, unreadable } =
            self.installation.on_threads(move || folder.fold(&these, &[], &within)).await?;
        for (day, error) in &unreadable {
            self.verified.unreadable.entry(day.to_string()).or_insert_with(|| without_paths(error));
        }
        let partitions = facts.into_iter().filter(|(day, _)| !unreadable.contains_key(day)).map(|(_, facts)| facts);
        let (partitions, unreadable) = (partitions.collect(), unreadable.into_keys().collect());
        let mut recomputed = by_service(partitions);
        let mut from = *range.start();
        loop {
            self.run.check()?;
            let next = self.next_services(&recomputed);
            let rest = next.map_or_else(BTreeMap::new, |next| recomputed.split_off(&next));
            let through = next.map_or(*range.end(), |next| Uuid::from_u128(next.as_u128() - 1));
            self.compare(from..=through, recomputed, &unreadable).await?;
            let Some(next) = next else { return Ok(()) };
            (recomputed, from) = (rest, next);
        }
    }

    /// The first service that is not held against the store together with those before it; none where all are.
    fn next_services(&self, services: &BTreeMap<Uuid, Recomputed>) -> Option<Uuid> {
        let (today, mut rows) = (self.installation.today(), 0);
        let together = self.installation.config.rollup.rows_together / ROWS_FOR_A_STORED_ONE;
        let mut is_full = services.iter().map(|(service, recomputed)| {
            rows += recomputed.first_day().map_or(0, |first| first.through(today).count()) + 2;
            (service, rows > together)
        });
        // At least one.
        is_full.next();
        is_full.find(|(_, is_full)| *is_full).map(|(service, _)| *service)
    }

    /// Holds services against what is stored of them, and of services in between that the log does not know.
    async fn compare(
        &mut self,
        services: Services,
        mut recomputed: BTreeMap<Uuid, Recomputed>,
        unreadable: &BTreeSet<Day>,
    ) -> anyhow::Result<()> {
        let mut stored = self.installation.store.stored_states(&services, &self.spans).await?;
        let all: BTreeSet<Uuid> = recomputed.keys().chain(stored.keys()).copied().collect();
        let mut work: Vec<(Uuid, Recomputed, StoredState)> = Vec::with_capacity(all.len());
        let skipped = Skipped { dirty: &self.dirty, unreadable, window: self.folder.window_days() };
        for service in all {
            let mut of_log = recomputed.remove(&service).unwrap_or_default();
            let of_store = stored.remove(&service).unwrap_or_default();
            of_log.take_stored(&of_store, |partition| skipped.holds(partition, service));
            work.push((service, of_log, of_store));
        }
        let Scope { from, to, .. } = *self.scope;
        let within = Within { from, to, today: self.installation.today(), held_back: self.held_back.clone() };
        let compare = move || -> Vec<(Compared, BTreeMap<i64, [i64; 3]>)> {
            let one = |(service, of_log, of_store): (Uuid, Recomputed, StoredState)| {
                let facts = of_log.into_facts();
                (compare(service, &facts, &of_store, &within), facts.uncounted)
            };
            work.into_par_iter().map(one).collect()
        };
        for (compared, uncounted) in self.installation.on_threads(compare).await? {
            self.take(compared);
            for (input, lines) in uncounted {
                let sum = self.ledger.uncounted.entry(input).or_default();
                sum.iter_mut().zip(lines).for_each(|(sum, lines)| *sum = sum.wrapping_add(lines));
            }
        }
        Ok(())
    }

    fn take(&mut self, compared: Compared) {
        let Compared { differences, facts_differ, fix, gone, is_pending, rows } = compared;
        let Verified { checked, pending, fixes, .. } = &mut self.verified;
        checked.services += 1;
        checked.rows += rows;
        pending.services += u64::from(is_pending);
        if facts_differ {
            fixes.facts.push(fix);
        } else if !differences.is_empty() {
            fixes.rows.push(fix);
        }
        if !gone.is_empty() {
            fixes.gone.push((fix.service, gone));
        }
        self.verified.differences.extend(differences);
    }
}

fn without_paths(error: &EventLogError) -> String {
    match error {
        EventLogError::Damaged { detail, .. } | EventLogError::Foreign { detail, .. } => detail.clone(),
        EventLogError::Io { action, source, .. } => format!("cannot {action} a segment: {source}"),
        EventLogError::Encode(error) => error.to_string(),
    }
}
