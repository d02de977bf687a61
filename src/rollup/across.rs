//! Conflicts across days: identities that come again on a later day within the window (`spec/events.md`, Conflict).
//!
//! Days are folded each by itself, and tell the hashes of their identities. Those are compared service by service. Where one
//! comes on several days, which is rare, those days of that service are folded again in order, each knowing what was live
//! before it. Hashes that happen to be equal cost that, and change nothing: what decides are the identities themselves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use foldhash::fast::FixedState;
use rayon::prelude::*;
use uuid::Uuid;

use super::partition::{Row, Rows};
use crate::model::Day;

/// Short hashes of the identities of a day's rows, copies included, by service.
#[derive(Default)]
pub(super) struct DayIdentities {
    /// A service has several, where its rows lie in several places.
    services: Vec<(u128, Range<usize>)>,
    hashes: Vec<u64>,
}

impl DayIdentities {
    /// Makes room for so many rows.
    pub fn reserve(&mut self, rows: usize) {
        self.hashes.reserve_exact(rows);
    }

    /// Adds the hash of the next row.
    #[inline]
    pub fn push(&mut self, hash: u64) {
        self.hashes.push(hash);
    }

    /// Tells whose the next rows are, after they were pushed.
    pub fn end(&mut self, service: u128, rows: usize) {
        let from = self.services.last().map_or(0, |(_, before)| before.end);
        self.services.push((service, from..from + rows));
    }

    pub fn append(&mut self, mut behind: Self) {
        let by = self.hashes.len();
        self.services.extend(behind.services.into_iter().map(|(of, at)| (of, at.start + by..at.end + by)));
        self.hashes.append(&mut behind.hashes);
    }
}

/// A day whose identities are compared.
pub(super) struct ComparedDay {
    pub day: Day,
    /// Whether it is recomputed whatever comes of it.
    pub is_dirty: bool,
    pub identities: DayIdentities,
}

/// A service that has identities on several days, one of which is dirty.
pub(super) struct Repeated {
    pub service: Uuid,
    pub hashes: BTreeSet<u64>,
    /// Which of the compared days have any of them, in order, and whether they must be recomputed.
    pub days: BTreeMap<Day, Affected>,
}

#[derive(Clone, Copy)]
pub(super) struct Affected {
    /// The day's place among those that were compared.
    pub compared: usize,
    pub recomputed: bool,
}

/// Finds the services with identities that come on two days which lie no more than `window` days apart. The days are in order;
/// one may be there twice, dirty for some services and then as one around others.
///
/// # Panics
/// When more than 65,534 days are compared: partitions go together by hundreds.
pub(super) fn repeated(days: &[ComparedDay], window: i32) -> Vec<Repeated> {
    assert!((days.len() as u64) < DAY_MASK, "so many days can't be compared");
    let of_day = |(number, day): (usize, &'_ ComparedDay)| -> Vec<(u128, usize, Range<usize>)> {
        day.identities.services.iter().map(|(service, at)| (*service, number, at.clone())).collect()
    };
    let mut parts: Vec<(u128, usize, Range<usize>)> = days.iter().enumerate().flat_map(of_day).collect();
    parts.par_sort_unstable_by_key(|(service, day, at)| (*service, *day, at.start));
    let services: Vec<&[(u128, usize, Range<usize>)]> = parts.chunk_by(|a, b| a.0 == b.0).collect();
    let compare = |seen: &mut Seen, parts: &&[(u128, usize, Range<usize>)]| repeated_of(days, parts, window, seen);
    services.par_iter().map_init(Seen::default, compare).flatten_iter().collect()
}

/// An open hash table: the last day that has a hash, as its place and one more, in the low bits; above them stand the upper
/// bits of the hash. So the slots of most services fit into the cache nearest to the processor.
#[derive(Default)]
struct Seen(Vec<u64>);

const DAY_BITS: u32 = 16;
const DAY_MASK: u64 = (1 << DAY_BITS) - 1;

impl Seen {
    fn clear(&mut self, entries: usize) {
        self.0.clear();
        self.0.resize((entries * 2).next_power_of_two(), 0);
    }

    /// Notes that a day has this hash, and tells the last one before that has it.
    #[inline]
    fn last(&mut self, hash: u64, day: usize) -> Option<usize> {
        let slot = self.slot(hash);
        let before = self.0[slot] & DAY_MASK;
        self.0[slot] = hash & !DAY_MASK | (day as u64 + 1);
        before.checked_sub(1).and_then(|before| usize::try_from(before).ok())
    }

    /// Whether any day has this hash.
    #[inline]
    fn has(&self, hash: u64) -> bool {
        self.0[self.slot(hash)] != 0
    }

    /// Where a hash stands, or would.
    #[inline]
    fn slot(&self, hash: u64) -> usize {
        let slots = self.0.len();
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits count")]
        let mut slot = hash as usize & (slots - 1);
        while self.0[slot] != 0 && (self.0[slot] ^ hash) > DAY_MASK {
            slot = (slot + 1) & (slots - 1);
        }
        slot
    }
}

/// The hashes of a service, by the place of their day: those of a day that is dirty once only.
fn hashes_of<'d>(
    days: &'d [ComparedDay],
    parts: &'d [(u128, usize, Range<usize>)],
) -> impl Iterator<Item = (usize, &'d [u64])> {
    let mut dirty = None;
    parts.iter().filter_map(move |(_, place, at)| {
        // What is recomputed anyway stands before the same day as one around others.
        let ComparedDay { day, is_dirty, identities } = &days[*place];
        if *is_dirty {
            dirty = Some(*day);
        } else if dirty == Some(*day) {
            return None;
        }
        Some((*place, &identities.hashes[at.clone()]))
    })
}

/// Whether any hash of a dirty day comes on another day, too, which hardly any service has: clean days are only held against the
/// dirty ones, so that these alone need to be kept.
fn may_be_repeated(days: &[ComparedDay], parts: &[(u128, usize, Range<usize>)], seen: &mut Seen) -> bool {
    let of = |is_dirty: bool| hashes_of(days, parts).filter(move |(day, _)| days[*day].is_dirty == is_dirty);
    seen.clear(of(true).map(|(_, hashes)| hashes.len()).sum());
    let mut is_repeated = |(day, hashes): (usize, &[u64])| {
        hashes.iter().filter_map(|hash| seen.last(*hash, day)).any(|before| days[before].day != days[day].day)
    };
    of(true).any(&mut is_repeated) || of(false).any(|(_, hashes)| hashes.iter().any(|hash| seen.has(*hash)))
}

fn repeated_of(
    days: &[ComparedDay],
    parts: &[(u128, usize, Range<usize>)],
    window: i32,
    seen: &mut Seen,
) -> Option<Repeated> {
    if parts.first()?.1 == parts.last()?.1 || !may_be_repeated(days, parts, seen) {
        return None;
    }
    seen.clear(parts.iter().map(|(_, _, at)| at.len()).sum());
    let mut by_hash: BTreeMap<u64, BTreeSet<usize>> = BTreeMap::new();
    for (day, hashes) in hashes_of(days, parts) {
        for hash in hashes {
            if let Some(before) = seen.last(*hash, day)
                && days[before].day != days[day].day
                && days[day].day.0 - days[before].day.0 <= window
            {
                by_hash.entry(*hash).or_default().extend([before, day]);
            }
        }
    }
    let recomputed = recomputed(days, by_hash.values(), window);
    // A day that is recomputed for one identity must know of all others, too.
    by_hash.retain(|_, of_hash| of_hash.iter().any(|compared| recomputed.contains(&days[*compared].day)));
    let affected = |compared: &usize| {
        let day = days[*compared].day;
        (day, Affected { compared: *compared, recomputed: recomputed.contains(&day) })
    };
    let affected: BTreeMap<Day, Affected> = by_hash.values().flatten().map(affected).collect();
    let service = Uuid::from_u128(parts.first()?.0);
    (!by_hash.is_empty()).then(|| Repeated { service, hashes: by_hash.into_keys().collect(), days: affected })
}

/// The days to recompute: those that are dirty, and those behind them that share an identity with them.
fn recomputed<'h>(
    days: &[ComparedDay],
    hashes: impl Iterator<Item = &'h BTreeSet<usize>>,
    window: i32,
) -> BTreeSet<Day> {
    let mut recomputed = BTreeSet::new();
    for of_hash in hashes {
        let mut dirty = None;
        for ComparedDay { day, is_dirty, .. } in of_hash.iter().map(|compared| &days[*compared]) {
            if *is_dirty {
                dirty = Some(*day);
            }
            if dirty.is_some_and(|dirty: Day| day.0 - dirty.0 <= window) {
                recomputed.insert(*day);
            }
        }
    }
    recomputed
}

/// A row that is live: its source and id, and when.
pub(super) type Live = ((String, String), i64);

/// Of identities that come on several days: when each was live last, on the days so far.
pub(super) struct Earlier<'a> {
    hashes: &'a BTreeSet<u64>,
    last_live: HashMap<(String, String), i64, FixedState>,
}

impl<'a> Earlier<'a> {
    pub fn of(hashes: &'a BTreeSet<u64>) -> Self {
        Self { hashes, last_live: HashMap::default() }
    }

    pub fn last_live(&self, rows: &Rows, row: &Row) -> Option<i64> {
        if !self.hashes.contains(&rows.short_hash(row)) {
            return None;
        }
        self.last_live.get(&(rows.source(row).to_owned(), rows.id(row))).copied()
    }

    /// The live rows of these that a later day must know.
    pub fn live_of(&self, rows: &Rows, is_live: impl Fn(&Row) -> bool) -> Vec<Live> {
        let repeated = rows.all.iter().filter(|row| self.hashes.contains(&rows.short_hash(row)) && is_live(row));
        repeated.map(|row| ((rows.source(row).to_owned(), rows.id(row)), row.time)).collect()
    }

    /// Ends a day.
    pub fn note(&mut self, live: Vec<Live>) {
        for (identity, time) in live {
            let last = self.last_live.entry(identity).or_insert(time);
            *last = time.max(*last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(number: i32, is_dirty: bool, services: &[(u128, &[u64])]) -> ComparedDay {
        let mut identities = DayIdentities::default();
        for (service, hashes) in services {
            hashes.iter().for_each(|hash| identities.push(*hash));
            identities.end(*service, hashes.len());
        }
        ComparedDay { day: Day(number), is_dirty, identities }
    }

    /// A service, the hashes that come again, and the days, with whether each is recomputed.
    type Found = (u128, Vec<u64>, Vec<(i32, bool)>);

    fn found(days: &[ComparedDay]) -> Vec<Found> {
        let of = |repeated: Repeated| {
            let days = repeated.days.into_iter().map(|(day, affected)| (day.0, affected.recomputed)).collect();
            (repeated.service.as_u128(), repeated.hashes.into_iter().collect(), days)
        };
        repeated(days, 7).into_iter().map(of).collect()
    }

    #[test]
    fn an_identity_that_comes_again_within_the_window_is_found() {
        let days = [
            day(1, true, &[(1, &[1, 2, 3]), (2, &[7])]),
            day(2, true, &[(1, &[4, 4, 4]), (2, &[7])]),
            day(8, true, &[(1, &[3])]),
            day(9, true, &[(1, &[1, 4])]),
        ];
        assert_eq!(
            found(&days),
            [
                (1, vec![3, 4], vec![(1, true), (2, true), (8, true), (9, true)]),
                (2, vec![7], vec![(1, true), (2, true)])
            ]
        );
    }

    #[test]
    fn days_after_a_dirty_one_are_recomputed_and_days_before_it_are_not() {
        let days = [day(1, false, &[(1, &[5])]), day(2, true, &[(1, &[5])]), day(3, false, &[(1, &[5])])];
        assert_eq!(found(&days), [(1, vec![5], vec![(1, false), (2, true), (3, true)])]);
        let twice = [day(1, true, &[(1, &[5])]), day(1, false, &[(1, &[5]), (2, &[5])]), day(3, false, &[(1, &[5])])];
        assert_eq!(found(&twice), [(1, vec![5], vec![(1, true), (3, true)])]);
        let another = [day(1, false, &[(1, &[7])]), day(2, true, &[(1, &[5])]), day(3, false, &[(1, &[5, 7])])];
        assert_eq!(found(&another), [(1, vec![5, 7], vec![(1, false), (2, true), (3, true)])]);
        let clean = [day(1, false, &[(1, &[5])]), day(2, false, &[(1, &[5])]), day(2, true, &[(1, &[6])])];
        assert_eq!(found(&clean), []);
    }
}
