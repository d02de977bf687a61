//! Compaction: small segments of a day, and small ones that hold several days, are written anew as fewer. No line of the log is
//! lost, added or changed by it, so nothing has to be recomputed.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use uuid::Uuid;

use super::replace::{BYTES_TOGETHER, stay_bare};
use super::{Installation, Run};
use crate::config::EventLog;
use crate::event_log::{EventLogError, Segment, SegmentReader, SegmentWriter, WholeRows};
use crate::model::Day;
use crate::store::{Lease, SegmentSize};

/// What a compaction did.
#[derive(Debug, Default, Serialize)]
pub struct CompactReport {
    /// Segments that were merged, and those that took their place.
    pub merged: u64,
    pub into: u64,
    pub rows: u64,
    /// Of their files.
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// Segments that could not be read, and why. They are left as they are.
    pub unreadable: BTreeMap<String, String>,
}

/// Merges small segments, until there is nothing to merge or so many merges are done.
///
/// # Errors
/// When the lease can't be had, writing fails, or the run was interrupted; what was merged before stays so.
pub async fn compact(installation: &Installation, run: &Run, merges: usize) -> anyhow::Result<CompactReport> {
    let lease = installation.begin(run, "compact").await?;
    let done = Box::pin(compact_leased(installation, run, &lease, merges)).await;
    installation.end(&lease, done).await
}

/// Whether there is anything to merge.
///
/// # Errors
/// When the store fails.
pub async fn has_small_segments(installation: &Installation) -> anyhow::Result<bool> {
    let rules = &installation.config.event_log;
    Ok(!choose(&installation.store.small_segments(largest_small(rules)).await?, rules).is_empty())
}

async fn compact_leased(
    installation: &Installation,
    run: &Run,
    lease: &Lease,
    merges: usize,
) -> anyhow::Result<CompactReport> {
    let rules = &installation.config.event_log;
    let mut compacting = Compacting { installation, lease, left: HashSet::new(), report: CompactReport::default() };
    let mut done = 0;
    loop {
        let mut small = installation.store.small_segments(largest_small(rules)).await?;
        small.retain(|segment| !compacting.left.contains(&segment.id));
        let chosen = choose(&small, rules);
        if chosen.is_empty() {
            return Ok(compacting.report);
        }
        for ids in chosen {
            if done == merges {
                return Ok(compacting.report);
            }
            run.check()?;
            compacting.merge(&ids).await?;
            done += 1;
        }
    }
}

struct Compacting<'a> {
    installation: &'a Installation,
    lease: &'a Lease,
    /// Segments that can't be merged.
    left: HashSet<Uuid>,
    report: CompactReport,
}

/// What was read of segments that are to be merged.
struct Read {
    rows: WholeRows,
    segments: Vec<Segment>,
    /// Segments that can't be merged, and why where they can't be read.
    left: Vec<(Segment, Option<EventLogError>)>,
}

impl Compacting<'_> {
    /// Merges segments, as far as they can be read. Whatever step it is cut short at, either they or what takes their place is
    /// the log, and the files of the others are noted to be removed.
    async fn merge(&mut self, ids: &[Uuid]) -> anyhow::Result<()> {
        let Installation { store, log, .. } = self.installation;
        let segments = store.segments(ids).await?;
        let of = log.clone();
        let (read, mut staged) = self
            .installation
            .on_threads(move || {
                let read = read(segments, &SegmentReader::new(of.clone()));
                let staged = match read.segments.len() {
                    0 | 1 => Vec::new(),
                    _ => SegmentWriter::new(of, 1).stage(read.rows.packs())?,
                };
                Ok::<_, EventLogError>((read, staged))
            })
            .await??;
        let Read { rows, segments, left } = read;
        // One by itself is as good as it was. Those that were not read this time are chosen again.
        self.left.extend(segments.iter().filter(|_| staged.is_empty()).map(|segment| segment.id));
        for (segment, error) in left {
            self.left.insert(segment.id);
            self.report.unreadable.extend(error.map(|error| (segment.path, error.to_string())));
        }
        if staged.is_empty() {
            return Ok(());
        }
        stay_bare(&segments, &mut staged);
        let check = move |new: &[Segment], reader: &SegmentReader| Ok(rows.are_in(new, reader)?);
        self.installation.replace(self.lease, &segments, &staged, &[], check).await?;
        let bytes = |segments: &[Segment]| segments.iter().map(|segment| segment.bytes).sum::<u64>();
        self.report.merged += segments.len() as u64;
        self.report.into += staged.len() as u64;
        self.report.rows += staged.iter().map(|segment| segment.rows).sum::<u64>();
        self.report.bytes_before += bytes(&segments);
        self.report.bytes_after += bytes(&staged);
        Ok(())
    }
}

/// Reads segments, in order, until they take too much memory; at least one.
fn read(segments: Vec<Segment>, reader: &SegmentReader) -> Read {
    let mut read = Read { rows: WholeRows::within(BYTES_TOGETHER), segments: Vec::new(), left: Vec::new() };
    for segment in segments {
        match reader.open(&segment).and_then(|open| read.rows.add(&open)) {
            Ok(true) => read.segments.push(segment),
            // With fewer others it may do.
            Ok(false) if !read.segments.is_empty() => break,
            Ok(false) => read.left.push((segment, None)),
            Err(error) => read.left.push((segment, Some(error))),
        }
    }
    read
}

/// Merging two of these makes no more than a full one.
fn largest_small(rules: &EventLog) -> u64 {
    rules.compact_rows / 2
}

/// Which of these small segments are merged: each list becomes one segment, or where it is of several days, a few.
///
/// Of a day, or of those that hold several days, they are the smallest ones, as far as the largest of them has no more rows than
/// all others together, if these are enough. So a line is written anew only when its segment grows to twice as much, and the
/// segments that are left are each larger than all smaller ones, but for the few smallest. Segments with bare rows go by
/// themselves: they are not to be written anew for what is late.
fn choose(small: &[SegmentSize], rules: &EventLog) -> Vec<Vec<Uuid>> {
    let mut by_day: BTreeMap<(Option<Day>, bool), Vec<SegmentSize>> = BTreeMap::new();
    for segment in small {
        by_day.entry((segment.day, segment.is_bare)).or_default().push(*segment);
    }
    by_day.into_values().flat_map(|of_day| choose_of_day(of_day, rules)).collect()
}

fn choose_of_day(mut segments: Vec<SegmentSize>, rules: &EventLog) -> Vec<Vec<Uuid>> {
    segments.sort_by_key(|segment| (segment.rows, segment.id));
    let (mut smaller, mut count) = (0, 0);
    for (segment, number) in segments.iter().zip(1..) {
        if segment.rows <= smaller {
            count = number;
        }
        smaller += segment.rows;
    }
    if count < rules.compact_at {
        return Vec::new();
    }
    let mut chosen: Vec<Vec<Uuid>> = Vec::new();
    let mut rows = u64::MAX;
    for segment in &segments[..count] {
        rows = rows.saturating_add(segment.rows);
        if rows > rules.compact_rows {
            chosen.push(Vec::new());
            rows = segment.rows;
        }
        chosen.last_mut().into_iter().for_each(|list| list.push(segment.id));
    }
    // The last one may have been left alone.
    chosen.retain(|list| list.len() > 1);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: EventLog = EventLog { compact_at: 4, compact_rows: 1_000, retention: None };

    /// How many rows the segments have that are merged, of one day's segments with so many.
    fn chosen(rows: &[u64]) -> Vec<Vec<u64>> {
        let of = |(rows, id): (&u64, u128)| SegmentSize {
            id: Uuid::from_u128(id),
            rows: *rows,
            day: Some(Day(1)),
            is_bare: false,
        };
        let segments: Vec<SegmentSize> = rows.iter().zip(0..).map(of).collect();
        let rows_of = |id: &Uuid| segments.iter().find(|segment| segment.id == *id).unwrap().rows;
        choose(&segments, &RULES).iter().map(|list| list.iter().map(rows_of).collect()).collect()
    }

    #[test]
    fn the_smallest_are_merged_as_far_as_none_is_larger_than_all_others_together() {
        assert_eq!(chosen(&[]), [[0; 0]; 0]);
        assert_eq!(chosen(&[5, 5, 5]), [[0; 0]; 0]);
        assert_eq!(chosen(&[5, 5, 1, 5]), [[1, 5, 5, 5]]);
        assert_eq!(chosen(&[5, 5, 5, 100, 5]), [[5, 5, 5, 5]]);
        assert_eq!(chosen(&[5, 5, 5, 20, 5]), [[5, 5, 5, 5, 20]]);
        assert_eq!(chosen(&[1, 2, 4, 8, 16, 32, 64, 128, 256]), [[0; 0]; 0]);
    }

    #[test]
    fn no_more_rows_are_merged_into_one_than_a_full_one_has() {
        assert_eq!(chosen(&[400, 400, 400, 400, 400]), [[400, 400], [400, 400]]);
        assert_eq!(chosen(&[500; 4]), [[500, 500], [500, 500]]);
        assert_eq!(chosen(&[1, 1, 1, 1, 499, 500]), [[1, 1, 1, 1, 499]]);
        assert_eq!(chosen(&[100, 300, 300, 300, 500]), [[100, 300, 300, 300]]);
    }

    #[test]
    fn days_go_by_themselves_and_so_do_segments_of_several() {
        let of = |id: u128, day: Option<i32>| SegmentSize {
            id: Uuid::from_u128(id),
            rows: 5,
            day: day.map(Day),
            is_bare: false,
        };
        let segments: Vec<SegmentSize> =
            (0..16).map(|id| of(id, [None, Some(1), Some(2), None][id as usize % 4])).collect();
        let chosen = choose(&segments, &RULES);
        let of_each = chosen.iter().map(|list| list.iter().map(|id| id.as_u128() % 4).collect::<HashSet<u128>>());
        assert_eq!(of_each.collect::<Vec<_>>(), [HashSet::from([0, 3]), HashSet::from([1]), HashSet::from([2])]);
    }

    /// Whatever sizes arrive, merging comes to an end, few are left, and no row was merged more often than doubling allows.
    #[test]
    fn few_are_left_and_no_row_is_written_often() {
        let mut rows: Vec<(u64, u32)> = Vec::new();
        for number in 0..3_000_u64 {
            rows.push((1 + number * 7 % 13, 0));
            loop {
                let sizes: Vec<u64> = rows.iter().map(|(rows, _)| *rows).filter(|rows| *rows <= 500).collect();
                let Some(list) = chosen(&sizes).into_iter().next() else { break };
                let (mut sum, mut deepest) = (0, 0);
                for of in list {
                    let at = rows.iter().position(|(rows, _)| *rows == of).unwrap();
                    let (rows, depth) = rows.swap_remove(at);
                    (sum, deepest) = (sum + rows, deepest.max(depth));
                }
                rows.push((sum, deepest + 1));
            }
        }
        let total: u64 = rows.iter().map(|(rows, _)| rows).sum();
        assert_eq!(total, (0..3_000).map(|number| 1 + number * 7 % 13).sum::<u64>());
        let (small, full): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(rows, _)| *rows <= 500);
        assert!(small.len() <= 12 && full.len() as u64 <= total / 500, "{} small, {} full", small.len(), full.len());
        assert!(full.iter().all(|(_, depth)| *depth <= 10), "{full:?}");
    }
}
