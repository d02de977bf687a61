//! Retention: the contents of events that are old enough, and of months whose books are closed, are dropped from the event log.
//! What stays of each line is what numbers rest on, and what tells its copies (`docs/retention.md`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use uuid::Uuid;

use super::replace::{BYTES_TOGETHER, stay_bare};
use super::{Installation, Run, rollup};
use crate::event_log::{BareRows, EventLogError, Segment, SegmentReader, SegmentWriter};
use crate::model::{Day, Instant, Masks};
use crate::rollup::{ContentOrders, Folder, PartitionFacts, PartitionTask};
use crate::store::Lease;

/// What retention drops, or dropped.
#[derive(Debug, Default, Serialize)]
pub struct RetentionReport {
    /// UTC days, in order.
    pub days: Vec<String>,
    /// Lines of theirs whose contents are dropped.
    pub lines: u64,
    /// Segments that were written anew, and those that took their place.
    pub segments: u64,
    pub into: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// Segments, and days with any, that could not be read, and why. They are left as they are.
    pub unreadable: BTreeMap<String, String>,
}

/// The segments did not come to the numbers that those came to which they were made of.
#[derive(Debug, Error)]
#[error(
    "the events of {day} without their contents would not come to the same numbers; nothing was dropped of it. This is a mistake of the program: please report it"
)]
pub struct WouldChange {
    day: Day,
}

/// Tells what would be dropped, and drops nothing.
///
/// # Errors
/// When the store fails.
pub async fn plan_retention(installation: &Installation) -> anyhow::Result<RetentionReport> {
    let due = due(installation).await?;
    let segments: HashSet<Uuid> = due.iter().map(|(_, segment, _)| *segment).collect();
    Ok(RetentionReport {
        days: names(&due.iter().map(|(day, ..)| *day).collect()),
        lines: due.iter().map(|(.., rows)| rows).sum(),
        segments: segments.len() as u64,
        ..RetentionReport::default()
    })
}

/// Drops the contents of all events that are due.
///
/// # Errors
/// When the lease can't be had, writing fails, or the run was interrupted; what was dropped before stays so.
pub async fn retention(installation: &Installation, run: &Run) -> anyhow::Result<RetentionReport> {
    let lease = installation.begin(run, "retention").await?;
    let done = Box::pin(drop_leased(installation, run, &lease)).await;
    installation.end(&lease, done).await
}

/// The parts of segments that are due, by UTC day, with their rows: whole ones of days which ended longer ago than
/// `event_log.retention`, wait for nothing, and lie in locked months alone. None where there is no retention.
async fn due(installation: &Installation) -> anyhow::Result<Vec<(Day, Uuid, u64)>> {
    let Some(retention) = installation.config.event_log.retention else { return Ok(Vec::new()) };
    let zone = installation.config.reporting.timezone;
    let store = &installation.store;
    let locked: HashSet<Day> = store.locked_months().await?.into_iter().map(|locked| locked.month).collect();
    let waits: HashSet<Day> = store.dirty_partitions().await?.into_iter().map(|dirty| dirty.day).collect();
    let is_locked = |day: &Day| zone.days_within(*day).iter().all(|(_, local)| locked.contains(&local.month()));
    let last = last_day(installation.now(), retention);
    let mut whole = store.whole_partitions(last).await?;
    whole.retain(|(day, ..)| !waits.contains(day) && is_locked(day));
    Ok(whole)
}

/// The last UTC day that ended so long ago.
fn last_day(now: Instant, retention: Duration) -> Day {
    let nanos = i64::try_from(retention.as_nanos()).unwrap_or(i64::MAX);
    Day::utc_of(Instant::from_nanos(now.nanos().saturating_sub(nanos))).previous()
}

fn names(days: &BTreeSet<Day>) -> Vec<String> {
    days.iter().map(ToString::to_string).collect()
}

async fn drop_leased(installation: &Installation, run: &Run, lease: &Lease) -> anyhow::Result<RetentionReport> {
    let due = due(installation).await?;
    let days: BTreeSet<Day> = due.iter().map(|(day, ..)| *day).collect();
    let folder = Arc::new(rollup::folder(installation));
    let mut dropping = Dropping {
        installation,
        lease,
        folder,
        days,
        contested: HashMap::new(),
        dropped: BTreeSet::new(),
        report: RetentionReport::default(),
    };
    let mut known = HashSet::new();
    let ids = due.iter().map(|(_, segment, _)| *segment).filter(|segment| known.insert(*segment));
    let segments = installation.store.segments(&ids.collect::<Vec<Uuid>>()).await?;
    let mut rest = dropping.in_order(segments);
    while !rest.is_empty() {
        run.check()?;
        let rows = rest.iter().scan(0, |sum, segment| {
            *sum += segment.rows;
            Some(*sum)
        });
        let full = installation.config.event_log.compact_rows;
        let together = rows.take_while(|sum| *sum <= full).count().max(1);
        let done = dropping.drop_from(rest[..together].to_vec()).await?;
        rest.retain(|segment| !done.contains(&segment.id));
    }
    dropping.report.days = names(&dropping.dropped);
    Ok(dropping.report)
}

/// Rows by their segment, and their numbers there.
type Contested = HashMap<Uuid, HashSet<usize>>;

struct Dropping<'a> {
    installation: &'a Installation,
    lease: &'a Lease,
    folder: Arc<Folder>,
    /// Those that are due, and can be read.
    days: BTreeSet<Day>,
    /// The rows whose contents stay, of the days so far, by segment.
    contested: HashMap<Day, Arc<Contested>>,
    dropped: BTreeSet<Day>,
    report: RetentionReport,
}

/// What is written of some segments.
struct Written {
    rows: BareRows,
    /// Those whose rows are in it.
    gone: Vec<Segment>,
    new: Vec<Segment>,
    /// Those that need not be looked at again.
    done: HashSet<Uuid>,
    unreadable: Vec<(Segment, EventLogError)>,
}

impl Dropping<'_> {
    /// By day, so that what belongs to one day comes together.
    fn in_order(&self, mut segments: Vec<Segment>) -> Vec<Segment> {
        let first = |segment: &Segment| segment.partitions.iter().map(|of| of.day).find(|day| self.days.contains(day));
        segments.sort_by_key(|segment| (first(segment), segment.id));
        segments
    }

    /// Writes some segments anew, and tells with which of them it is done.
    async fn drop_from(&mut self, segments: Vec<Segment>) -> anyhow::Result<HashSet<Uuid>> {
        let of_segments: BTreeSet<Day> = segments.iter().flat_map(|of| &of.partitions).map(|of| of.day).collect();
        let mut but_for = Contested::new();
        for day in of_segments.intersection(&self.days.clone()) {
            match self.contested_of(*day).await? {
                Ok(contested) => {
                    for (segment, rows) in contested.iter() {
                        but_for.entry(*segment).or_default().extend(rows);
                    }
                }
                // Another segment of the day may hold what would have to stay.
                Err(error) => {
                    self.days.remove(day);
                    self.report.unreadable.insert(day.to_string(), error.to_string());
                }
            }
        }
        let is_due = |of: &Segment| of.partitions.iter().any(|of| !of.is_bare && self.days.contains(&of.day));
        let (segments, not_due): (Vec<Segment>, Vec<Segment>) = segments.into_iter().partition(is_due);
        let (days, log, masks) = (self.days.clone(), self.installation.log.clone(), self.installation.masks);
        let write = move || {
            let written = write(segments, &days, &but_for, (&SegmentReader::new(log.clone()), masks));
            let new = SegmentWriter::new(log, 1).stage(written.rows.packs())?;
            Ok::<_, EventLogError>(Written { new, ..written })
        };
        let Written { rows, gone, mut new, mut done, unreadable } = self.installation.on_threads(write).await??;
        done.extend(not_due.iter().map(|of| of.id));
        self.report.unreadable.extend(unreadable.into_iter().map(|(of, error)| (of.path, error.to_string())));
        if gone.is_empty() {
            return Ok(done);
        }
        stay_bare(&gone, &mut new);
        for partition in new.iter_mut().flat_map(|segment| &mut segment.partitions) {
            partition.is_bare |= self.days.contains(&partition.day);
        }
        let (folder, rows_each) = (self.folder.clone(), self.installation.config.rollup.rows_together);
        let before = gone.clone();
        let check = move |new: &[Segment], reader: &SegmentReader| {
            rows.are_in(new, reader)?;
            come_to_the_same(&folder, &before, new, rows_each)
        };
        self.installation.replace(self.lease, &gone, &new, &[], check).await?;
        self.note(&gone, &new);
        Ok(done)
    }

    fn note(&mut self, gone: &[Segment], new: &[Segment]) {
        for of in gone.iter().flat_map(|of| &of.partitions).filter(|of| !of.is_bare && self.days.contains(&of.day)) {
            self.dropped.insert(of.day);
            self.report.lines += of.rows;
        }
        let bytes = |segments: &[Segment]| segments.iter().map(|segment| segment.bytes).sum::<u64>();
        self.report.segments += gone.len() as u64;
        self.report.into += new.len() as u64;
        self.report.bytes_before += bytes(gone);
        self.report.bytes_after += bytes(new);
    }

    /// The rows of a day whose contents stay, for nothing else tells which of several comes first; or why that can't be told.
    async fn contested_of(&mut self, day: Day) -> anyhow::Result<Result<Arc<Contested>, EventLogError>> {
        if let Some(known) = self.contested.get(&day) {
            return Ok(Ok(known.clone()));
        }
        let tasks = self.installation.store.partition_tasks(vec![(day, None)]).await?;
        let folder = self.folder.clone();
        let find = move || {
            let mut contested = Contested::new();
            for task in tasks {
                for (slice, row) in folder.contested(&task)? {
                    contested.entry(task.slices[slice].0.id).or_default().insert(row);
                }
            }
            Ok::<_, EventLogError>(Arc::new(contested))
        };
        let found = self.installation.on_threads(find).await?;
        self.contested.extend(found.as_ref().ok().map(|found| (day, found.clone())));
        Ok(found)
    }
}

/// Makes the rows of segments bare, until they take too much memory; of at least one.
fn write(
    mut segments: Vec<Segment>,
    days: &BTreeSet<Day>,
    but_for: &Contested,
    (reader, masks): (&SegmentReader, Masks),
) -> Written {
    let rows = BareRows::within(BYTES_TOGETHER, masks);
    let mut written = Written { rows, gone: Vec::new(), new: Vec::new(), done: HashSet::new(), unreadable: Vec::new() };
    segments.sort_by_key(|segment| segment.id);
    let none = HashSet::new();
    for segment in segments {
        let but_for = but_for.get(&segment.id).unwrap_or(&none);
        let id = segment.id;
        match reader.open(&segment).and_then(|open| written.rows.add(&open, days, but_for)) {
            Ok(true) => written.gone.push(segment),
            Ok(false) if !written.gone.is_empty() => break,
            // One alone that takes more than that is left as it is.
            Ok(false) => {}
            Err(error) => written.unreadable.push((segment, error)),
        }
        written.done.insert(id);
    }
    written
}

/// Holds what the rows of segments come to, day by day, against what those come to that take their place.
fn come_to_the_same(folder: &Folder, before: &[Segment], after: &[Segment], rows_each: usize) -> anyhow::Result<()> {
    let (before, after) = (tasks(before), tasks(after));
    for services in folder.divide(&before, rows_each) {
        let [before, after] = [&before, &after].map(|tasks| folder.fold(tasks, &[], &services));
        if let Some(error) = before.unreadable.into_values().chain(after.unreadable.into_values()).next() {
            return Err(anyhow::Error::from(error));
        }
        let differs = |(day, facts): &(&Day, &PartitionFacts)| after.facts.get(day) != Some(facts);
        if let Some((day, _)) = before.facts.iter().find(differs) {
            return Err(WouldChange { day: *day }.into());
        }
    }
    Ok(())
}

fn tasks(segments: &[Segment]) -> Vec<PartitionTask> {
    let mut tasks: BTreeMap<Day, PartitionTask> = BTreeMap::new();
    for segment in segments {
        for partition in &segment.partitions {
            let new = || PartitionTask {
                day: partition.day,
                slices: Vec::new(),
                voids: Vec::new(),
                orders: ContentOrders::new(),
                services: None,
            };
            let task = tasks.entry(partition.day).or_insert_with(new);
            task.slices.push((segment.clone(), partition.clone()));
        }
    }
    tasks.into_values().collect()
}
