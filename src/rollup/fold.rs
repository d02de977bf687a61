//! From a partition's rows to its facts: copies are dropped, voided and conflicting events set aside, the rest counted
//! (`spec/events.md`, Identity, order, day).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use uuid::Uuid;

use super::across::{Affected, ComparedDay, DayIdentities, Earlier, Live, Repeated, repeated};
use super::facts::{ContentOrders, PartitionFacts, PartitionTask, VoidMark};
use super::partition::{Part, Pass, Rows, Slice, identities_of, parts_by_service};
use super::service::ServiceFold;
use super::stored::{contested_rows, stored_rows};
use crate::event_log::{EventLogError, Segment, SegmentPartition, SegmentReader};
use crate::model::{Day, Instant, Masks, Zone};

/// Services by their GUIDs, from one through another.
pub type Services = RangeInclusive<Uuid>;

pub const ALL_SERVICES: Services = Uuid::nil()..=Uuid::max();

/// Rows that are folded together: few enough to stay near the processor, and enough that a page which two such runs share
/// does not matter.
const ROWS_TOGETHER: usize = 32_768;

const NANOS_PER_DAY: i64 = 86_400_000_000_000;

/// What holds for every partition.
#[derive(Clone, Copy, Debug)]
pub struct FoldRules {
    pub zone: Zone,
    /// In nanoseconds, both ends included (`ingest.identity_window`).
    pub identity_window: i64,
    /// A service with more rows in a partition is folded in several passes, to bound memory.
    pub rows_per_pass: usize,
    /// What contents are compared under: those of bare rows are known by no other form.
    pub masks: Masks,
}

/// What recomputing partitions came to, by day.
#[derive(Default)]
pub struct Folded {
    pub facts: BTreeMap<Day, PartitionFacts>,
    /// Days that are not among the facts, or may be wrong there.
    pub unreadable: BTreeMap<Day, Arc<EventLogError>>,
}

/// Recomputes partitions from the event log.
pub struct Folder {
    reader: SegmentReader,
    rules: FoldRules,
    /// Buffers that are not in use.
    spare: Mutex<Vec<Buffers>>,
}

#[derive(Default)]
struct Buffers {
    rows: Rows,
    last_live: Vec<u32>,
}

impl Folder {
    #[must_use]
    pub fn new(reader: SegmentReader, rules: FoldRules) -> Self {
        Self { reader, rules, spare: Mutex::default() }
    }

    /// How many days before and after its own the identity window of an event reaches.
    #[must_use]
    pub fn window_days(&self) -> i32 {
        let window = self.rules.identity_window.saturating_add(NANOS_PER_DAY - 1);
        i32::try_from(window / NANOS_PER_DAY).unwrap_or(i32::MAX)
    }

    /// Recomputes partitions, as far as they are of these services. `around` are the other days that the identity window
    /// reaches, with the services that have rows to recompute; what of them conflicts now, or no longer does, is recomputed, too.
    /// A day around that can't be read has no part in it.
    pub fn fold(&self, dirty: &[PartitionTask], around: &[PartitionTask], within: &Services) -> Folded {
        let whole: Vec<_> = dirty.par_iter().map(|task| self.fold_day(task, within)).collect();
        let identities: Vec<_> = around.par_iter().map(|task| self.identities(task, within)).collect();
        let (mut folded, mut compared) = (Folded::default(), Vec::new());
        for (task, whole) in dirty.iter().zip(whole) {
            match whole {
                Ok((facts, identities)) => {
                    folded.facts.insert(task.day, facts);
                    compared.push((task, ComparedDay { day: task.day, is_dirty: true, identities }));
                }
                Err(error) => _ = folded.unreadable.insert(task.day, Arc::new(error)),
            }
        }
        for (task, identities) in around.iter().zip(identities) {
            match identities {
                Ok(identities) => compared.push((task, ComparedDay { day: task.day, is_dirty: false, identities })),
                Err(error) => tracing::warn!(day = %task.day, %error, "conflicts with this day can't be told"),
            }
        }
        compared.sort_by_key(|(task, _)| task.day);
        let (tasks, compared): (Vec<&PartitionTask>, Vec<ComparedDay>) = compared.into_iter().unzip();
        let repeated = repeated(&compared, self.window_days());
        let again: Vec<_> = repeated.par_iter().map(|repeated| self.fold_again(repeated, &tasks)).collect();
        for (repeated, again) in repeated.iter().zip(again) {
            match again {
                Ok(again) => {
                    for (day, facts) in again {
                        folded.facts.entry(day).or_default().replace(repeated.service, facts);
                    }
                }
                // They were all read a moment ago. Now none of them can be told without the other.
                Err(error) => {
                    let error = Arc::new(error);
                    folded.unreadable.extend(repeated.days.keys().map(|day| (*day, error.clone())));
                }
            }
        }
        folded
    }

    /// Recomputes a partition by itself, and tells its identities.
    fn fold_day(
        &self,
        task: &PartitionTask,
        within: &Services,
    ) -> Result<(PartitionFacts, DayIdentities), EventLogError> {
        let slices = self.open(task)?;
        let parts = parts_by_service(&slices, within, task.services.as_deref())?;
        let partition = self.partition(task, slices);
        let fold = |parts| {
            self.with_buffers(|buffers| {
                let mut identities = DayIdentities::default();
                let facts = partition.fold(parts, buffers, &mut identities)?;
                Ok((facts, identities))
            })
        };
        let folded: Vec<_> = together(&parts).into_par_iter().map(fold).collect::<Result<_, EventLogError>>()?;
        let (mut all, mut all_identities) = (PartitionFacts::default(), DayIdentities::default());
        all_identities.reserve(parts.iter().map(|part| part.rows.len()).sum());
        for (facts, identities) in folded {
            all.append(facts);
            all_identities.append(identities);
        }
        Ok((all, all_identities))
    }

    fn partition<'a>(&'a self, task: &'a PartitionTask, slices: Vec<Slice>) -> Partition<'a> {
        let mut voids: Vec<&VoidMark> = task.voids.iter().collect();
        voids.sort_unstable();
        let days = self.rules.zone.days_within(task.day);
        Partition { day: task.day, days, voids, orders: &task.orders, slices, rules: &self.rules }
    }

    fn with_buffers<T>(&self, work: impl FnOnce(&mut Buffers) -> T) -> T {
        let mut buffers = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let done = work(&mut buffers);
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(buffers);
        done
    }

    /// The identities of a day, as far as they are of these services.
    fn identities(&self, task: &PartitionTask, within: &Services) -> Result<DayIdentities, EventLogError> {
        let slices = self.open(task)?;
        identities_of(&slices, &parts_by_service(&slices, within, task.services.as_deref())?)
    }

    /// Folds the days of a service on which identities come again, in order. `tasks` are those of the compared days.
    fn fold_again(
        &self,
        repeated: &Repeated,
        tasks: &[&PartitionTask],
    ) -> Result<Vec<(Day, PartitionFacts)>, EventLogError> {
        let mut earlier = Earlier::of(&repeated.hashes);
        let mut folded = Vec::new();
        for (day, Affected { compared, recomputed }) in &repeated.days {
            let slices = self.open(tasks[*compared])?;
            let parts = parts_by_service(&slices, &(repeated.service..=repeated.service), None)?;
            let partition = self.partition(tasks[*compared], slices);
            let fold = |buffers: &mut Buffers| partition.fold_service(&parts, buffers, repeated.service, &earlier);
            let (facts, live) = self.with_buffers(fold)?;
            folded.extend(recomputed.then_some((*day, facts)));
            earlier.note(live);
        }
        Ok(folded)
    }

    /// The rows of a partition that share identity and time with one of another content: by the place of their segment among its
    /// slices, their numbers there. Only what they hold tells which of them comes first.
    ///
    /// # Errors
    /// When a segment can't be read or is damaged.
    pub fn contested(&self, task: &PartitionTask) -> Result<Vec<(usize, usize)>, EventLogError> {
        let slices = self.open(task)?;
        let parts = parts_by_service(&slices, &ALL_SERVICES, None)?;
        let contested = |parts: &[Part]| {
            self.with_buffers(|Buffers { rows, .. }| {
                let passes = passes(parts, &self.rules);
                let mut places = Vec::new();
                for number in 0..passes {
                    rows.load(&slices, parts, Pass { number, of: passes })?;
                    let contested = contested_rows(rows, &slices, &self.rules.masks)?;
                    places.extend(contested.into_iter().map(|row| {
                        let row = &rows.all[row as usize];
                        (row.slice as usize, row.position as usize)
                    }));
                }
                Ok(places)
            })
        };
        let places: Vec<_> = together(&parts).into_par_iter().map(contested).collect::<Result<_, EventLogError>>()?;
        Ok(places.concat())
    }

    /// Divides the services among ranges that have about so many rows in these partitions, and at least one. What can't be
    /// read has no part in it.
    #[must_use]
    pub fn divide(&self, tasks: &[PartitionTask], rows_each: usize) -> Vec<Services> {
        let rows_of =
            |task: &PartitionTask| task.slices.iter().map(|(_, partition)| index(partition.rows)).sum::<usize>();
        if tasks.iter().map(rows_of).sum::<usize>() <= rows_each {
            return vec![ALL_SERVICES];
        }
        let of_task = |task: &PartitionTask| -> Vec<(u128, usize)> {
            let slices = self.open(task).unwrap_or_default();
            slices.iter().flat_map(|slice| slice.segment.services_by_page(&slice.rows).unwrap_or_default()).collect()
        };
        let mut pages: Vec<(u128, usize)> = tasks.par_iter().flat_map_iter(of_task).collect();
        pages.sort_unstable();
        ranges(&pages, rows_each)
    }

    fn open(&self, task: &PartitionTask) -> Result<Vec<Slice>, EventLogError> {
        let open = |(segment, partition): &(Segment, SegmentPartition)| {
            let first = index(partition.first_row);
            let segment = self.reader.open(segment)?;
            Ok(Slice { segment, rows: first..first + index(partition.rows) })
        };
        task.slices.iter().map(open).collect()
    }
}

/// Ranges that begin where so many rows have gone by; `pages` has the first service and the rows of each page, sorted.
fn ranges(pages: &[(u128, usize)], rows_each: usize) -> Vec<Services> {
    let mut ranges = Vec::new();
    let (mut from, mut rows) = (*ALL_SERVICES.start(), 0);
    for (service, of_page) in pages {
        let service = Uuid::from_u128(*service);
        if rows >= rows_each && service > from {
            ranges.push(from..=Uuid::from_u128(service.as_u128() - 1));
            (from, rows) = (service, 0);
        }
        rows += of_page;
    }
    ranges.push(from..=*ALL_SERVICES.end());
    ranges
}

/// A partition while it is folded.
pub(super) struct Partition<'a> {
    pub day: Day,
    /// The local days that it reaches into, with their first instants.
    pub days: Vec<(Instant, Day)>,
    /// Sorted by service.
    voids: Vec<&'a VoidMark>,
    orders: &'a ContentOrders,
    slices: Vec<Slice>,
    pub rules: &'a FoldRules,
}

impl Partition<'_> {
    /// Folds whole services, and notes their identities.
    fn fold(
        &self,
        parts: &[Part],
        Buffers { rows, last_live }: &mut Buffers,
        identities: &mut DayIdentities,
    ) -> Result<PartitionFacts, EventLogError> {
        let passes = passes(parts, self.rules);
        let mut facts = PartitionFacts::default();
        if passes == 1 {
            rows.load(&self.slices, parts, Pass::ONLY)?;
            rows.note_identities(identities);
            for stored in stored_rows(rows, &self.slices, (self.orders, &self.rules.masks))? {
                let mut service = ServiceFold::new(self, stored.service, None);
                service.take(rows, &stored, true, last_live);
                service.finish(&mut facts);
            }
            return Ok(facts);
        }
        for parts in parts.chunk_by(|a, b| a.service == b.service) {
            let mut service = ServiceFold::new(self, parts[0].service, None);
            for number in 0..passes {
                rows.load(&self.slices, parts, Pass { number, of: passes })?;
                rows.note_identities(identities);
                stored_rows(rows, &self.slices, (self.orders, &self.rules.masks))?
                    .iter()
                    .for_each(|stored| service.take(rows, stored, false, last_live));
            }
            service.finish(&mut facts);
        }
        Ok(facts)
    }

    /// Folds one service with what is known of earlier days, and tells what later days must know.
    fn fold_service(
        &self,
        parts: &[Part],
        Buffers { rows, last_live }: &mut Buffers,
        service: Uuid,
        earlier: &Earlier,
    ) -> Result<(PartitionFacts, Vec<Live>), EventLogError> {
        let passes = passes(parts, self.rules);
        let mut fold = ServiceFold::new(self, service.as_u128(), Some(earlier));
        let mut live = Vec::new();
        for number in 0..passes {
            rows.load(&self.slices, parts, Pass { number, of: passes })?;
            for stored in stored_rows(rows, &self.slices, (self.orders, &self.rules.masks))? {
                fold.take(rows, &stored, passes == 1, last_live);
            }
            live.extend(earlier.live_of(rows, |row| fold.is_live(rows, row)));
        }
        let mut facts = PartitionFacts::default();
        fold.finish(&mut facts);
        Ok((facts, live))
    }

    /// The voids that aim at this service.
    pub fn voids_of(&self, service: Uuid) -> &[&VoidMark] {
        let from = self.voids.partition_point(|mark| mark.service < service);
        let of_service = self.voids[from..].partition_point(|mark| mark.service == service);
        &self.voids[from..from + of_service]
    }
}

/// In how many passes these parts must be folded.
fn passes(parts: &[Part], rules: &FoldRules) -> usize {
    let of_all: usize = parts.iter().map(|part| part.rows.len()).sum();
    of_all.div_ceil(rules.rows_per_pass).max(1)
}

/// Divides parts, which are sorted by service, into runs of whole services.
fn together(parts: &[Part]) -> Vec<&[Part]> {
    let mut runs = Vec::new();
    let (mut from, mut at, mut rows) = (0, 0, 0);
    for service in parts.chunk_by(|a, b| a.service == b.service) {
        let of_service: usize = service.iter().map(|part| part.rows.len()).sum();
        if rows > 0 && rows + of_service > ROWS_TOGETHER {
            runs.push(&parts[from..at]);
            (from, rows) = (at, 0);
        }
        at += service.len();
        rows += of_service;
    }
    runs.push(&parts[from..]);
    runs
}

fn index(row: u64) -> usize {
    usize::try_from(row).expect("a segment's rows are counted in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_services_follow_each_other_and_a_service_is_never_divided() {
        let service = Uuid::from_u128;
        let first = *ALL_SERVICES.start();
        let last = *ALL_SERVICES.end();
        assert_eq!(ranges(&[], 2), [ALL_SERVICES]);
        assert_eq!(ranges(&[(0, 9), (0, 9)], 2), [ALL_SERVICES]);
        let pages = [(3, 1), (5, 1), (7, 1), (7, 9), (7, 9), (8, 1)];
        assert_eq!(ranges(&pages, 2), [first..=service(6), service(7)..=service(7), service(8)..=last]);
    }
}
