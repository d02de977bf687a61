//! From a partition's rows to its facts: copies are dropped, voided and conflicting events set aside, the rest counted
//! (`spec/events.md`, Identity, order, day).

use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use uuid::Uuid;

use super::facts::{PartitionFacts, PartitionTask, VoidMark};
use super::partition::{Part, Pass, Rows, Slice, parts_by_service};
use super::service::ServiceFold;
use super::stored::stored_rows;
use crate::event_log::{EventLogError, Segment, SegmentPartition, SegmentReader};
use crate::model::{Day, Instant, Zone};

/// Services by their GUIDs, from one through another.
pub type Services = RangeInclusive<Uuid>;

pub const ALL_SERVICES: Services = Uuid::nil()..=Uuid::max();

/// Rows that are folded together: few enough to stay near the processor, and enough that a page which two such runs share
/// does not matter.
const ROWS_TOGETHER: usize = 32_768;

/// What holds for every partition.
#[derive(Clone, Copy, Debug)]
pub struct FoldRules {
    pub zone: Zone,
    /// In nanoseconds, both ends included (`ingest.identity_window`).
    pub identity_window: i64,
    /// A service with more rows in a partition is folded in several passes, to bound memory.
    pub rows_per_pass: usize,
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

    /// Recomputes a partition, as far as it is of these services.
    ///
    /// # Errors
    /// When a segment can't be read or is damaged.
    pub fn fold(&self, task: &PartitionTask, within: &Services) -> Result<PartitionFacts, EventLogError> {
        let slices = self.open(task)?;
        let parts = parts_by_service(&slices, within, task.services.as_deref())?;
        let mut voids: Vec<&VoidMark> = task.voids.iter().collect();
        voids.sort_unstable();
        let days = self.rules.zone.days_within(task.day);
        let partition = Partition { day: task.day, days, voids, slices, rules: &self.rules };
        let fold = |parts| {
            let mut buffers = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            let facts = partition.fold(parts, &mut buffers);
            self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(buffers);
            facts
        };
        let folded: Vec<PartitionFacts> = together(&parts).into_par_iter().map(fold).collect::<Result<_, _>>()?;
        let mut all = PartitionFacts::default();
        for facts in folded {
            all.append(facts);
        }
        Ok(all)
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
    slices: Vec<Slice>,
    pub rules: &'a FoldRules,
}

impl Partition<'_> {
    /// Folds whole services.
    fn fold(&self, parts: &[Part], Buffers { rows, last_live }: &mut Buffers) -> Result<PartitionFacts, EventLogError> {
        let of_all: usize = parts.iter().map(|part| part.rows.len()).sum();
        let passes = of_all.div_ceil(self.rules.rows_per_pass).max(1);
        let mut facts = PartitionFacts::default();
        if passes == 1 {
            rows.load(&self.slices, parts, Pass::ONLY)?;
            for stored in stored_rows(rows, &self.slices)? {
                let mut service = ServiceFold::new(self, stored.service);
                service.take(rows, &stored, true, last_live);
                service.finish(&mut facts);
            }
            return Ok(facts);
        }
        for parts in parts.chunk_by(|a, b| a.service == b.service) {
            let mut service = ServiceFold::new(self, parts[0].service);
            for number in 0..passes {
                rows.load(&self.slices, parts, Pass { number, of: passes })?;
                stored_rows(rows, &self.slices)?.iter().for_each(|stored| service.take(rows, stored, false, last_live));
            }
            service.finish(&mut facts);
        }
        Ok(facts)
    }

    /// The voids that aim at this service.
    pub fn voids_of(&self, service: Uuid) -> &[&VoidMark] {
        let from = self.voids.partition_point(|mark| mark.service < service);
        let of_service = self.voids[from..].partition_point(|mark| mark.service == service);
        &self.voids[from..from + of_service]
    }
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
