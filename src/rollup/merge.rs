//! Putting recomputed partitions in the place of what they came to before, service by service: all data of one service is
//! independent of the others'. What is stored already is handed in by key, and what must be stored instead comes out: the
//! caller reads and writes.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::ops::Range;

use uuid::Uuid;

use super::facts::{PartitionFacts, PatchEvent, ServiceDay, Uncounted};
use super::spans::{SpanFacts, SpanStart};
use super::users::{UserDay, UserHistory, class_moves};
use crate::model::{Day, Gauges, Reason, USER_CLASSES};

/// A service and a user of it.
pub type UserKey = (Uuid, Uuid);

/// What is known of a service as a whole, kept by difference so that no history has to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceTotals {
    /// The first day with an event that counts towards rows.
    pub first_day: Option<Day>,
    /// What all spans together amount to. Less the spans from one on, it is what was held when that one began.
    pub held: Gauges,
    /// The newest span with days; none where it is not known.
    pub newest: Option<SpanStart>,
}

impl ServiceTotals {
    /// From which span on the facts must be at hand where something changes, or rows are drawn, from a day on. That is the
    /// first one of its month, or else the newest one, for which it is known what that month amounts to before.
    #[must_use]
    pub fn start(&self, day: Day) -> SpanStart {
        let month = day.month();
        let newest = self.newest.filter(|newest| (month..=day).contains(&newest.span));
        newest.unwrap_or_else(|| SpanStart::of_month(month))
    }
}

/// Recomputed partitions, cut by service.
pub struct Changes {
    partitions: Vec<(Day, PartitionFacts)>,
    /// The days of the reporting zone that each partition reaches into.
    local_days: Vec<Vec<Day>>,
    /// Sorted by service and partition.
    parts: Vec<Part>,
    /// The parts of each service.
    services: Vec<Range<usize>>,
}

/// One service's part of one partition.
struct Part {
    service: Uuid,
    partition: usize,
    days: Range<usize>,
    users: Range<usize>,
}

/// One service's part of all of them.
#[derive(Clone, Copy)]
pub struct ServiceChange<'a> {
    changes: &'a Changes,
    parts: &'a [Part],
}

/// The users' histories of one service that changed, sorted.
#[derive(Debug, Default)]
pub struct MergedUsers {
    pub histories: Vec<(Uuid, UserHistory)>,
    /// How many users enter each class less how many leave it, by day, sorted.
    moves: Vec<(Day, [i64; USER_CLASSES])>,
}

/// What must be stored of one service.
#[derive(Debug)]
pub struct MergedService {
    pub service: Uuid,
    /// The spans from the first one on that the partitions reach into, or an earlier one.
    pub spans: BTreeMap<Day, SpanFacts>,
    /// Those of them that changed, in order.
    pub changed: Vec<Day>,
    pub totals: ServiceTotals,
    /// The first and the last day whose rows may change.
    pub dirty: Option<(Day, Day)>,
    /// By input: how the numbers of lines that are not counted change: copies, voided and conflicting ones.
    pub uncounted: BTreeMap<i64, [i64; 3]>,
}

impl MergedService {
    /// Why its rows change, where anything has arrived for it or nothing has. What a void takes back, and what conflicts,
    /// is seen in the ledger.
    #[must_use]
    pub fn reason(&self, has_arrived: bool) -> Reason {
        let moved = |place: usize| self.uncounted.values().any(|lines| lines[place] != 0);
        match (has_arrived, moved(1), moved(2)) {
            (false, _, _) => Reason::Backfill,
            (true, true, _) => Reason::Void,
            (true, false, true) => Reason::Conflict,
            (true, false, false) => Reason::Late,
        }
    }
}

impl Changes {
    /// Cuts partitions, which come in order. `local_days` tells which days of the reporting zone a partition reaches into.
    #[must_use]
    pub fn of(partitions: Vec<(Day, PartitionFacts)>, local_days: impl Fn(Day) -> Vec<Day>) -> Self {
        let local_days = partitions.iter().map(|(partition, _)| local_days(*partition)).collect();
        let mut parts: Vec<Part> = Vec::new();
        for (partition, (_, facts)) in partitions.iter().enumerate() {
            let (mut day, mut user) = (0, 0);
            for days in facts.services.chunk_by(|a, b| a.0 == b.0) {
                let service = days[0].0;
                let users = facts.users[user..].iter().take_while(|((of, _), _)| *of == service).count();
                parts.push(Part { service, partition, days: day..day + days.len(), users: user..user + users });
                day += days.len();
                user += users;
            }
            debug_assert_eq!(user, facts.users.len(), "the services of all users are named");
        }
        parts.sort_by_key(|part| part.service);
        let mut start = 0;
        let of_service = parts.chunk_by(|a, b| a.service == b.service).map(|parts| {
            start += parts.len();
            start - parts.len()..start
        });
        let services = of_service.collect();
        Self { partitions, local_days, parts, services }
    }

    /// The services that changed, in order.
    #[must_use]
    pub fn services(&self) -> impl ExactSizeIterator<Item = ServiceChange<'_>> {
        self.services.iter().map(|parts| ServiceChange { changes: self, parts: &self.parts[parts.clone()] })
    }
}

impl ServiceChange<'_> {
    #[must_use]
    pub fn service(&self) -> Uuid {
        self.parts[0].service
    }

    /// The partitions that it has a part of, in order.
    pub fn partitions(&self) -> impl Iterator<Item = Day> {
        self.parts.iter().map(|part| self.changes.partitions[part.partition].0)
    }

    /// The users' days, sorted by user, then partition and day.
    fn user_days(&self) -> Vec<(Uuid, Day, Option<UserDay>)> {
        let of_part = |part: &Part| {
            let (partition, facts) = &self.changes.partitions[part.partition];
            facts.users[part.users.clone()].iter().map(move |((_, user), day)| (*user, *partition, *day))
        };
        let mut days: Vec<(Uuid, Day, Option<UserDay>)> = self.parts.iter().flat_map(of_part).collect();
        days.sort_by_key(|(user, _, _)| *user);
        days
    }

    /// The users whose histories must be at hand, sorted.
    #[must_use]
    pub fn users(&self) -> Vec<UserKey> {
        let service = self.service();
        let mut users: Vec<UserKey> = self.user_days().into_iter().map(|(user, _, _)| (service, user)).collect();
        users.dedup();
        users
    }

    /// Merges the users' days into their histories.
    #[must_use]
    pub fn merge_users(&self, stored: &HashMap<UserKey, UserHistory, impl BuildHasher>) -> MergedUsers {
        let service = self.service();
        let mut merged = MergedUsers::default();
        let mut moves: Vec<(Day, [i64; USER_CLASSES])> = Vec::new();
        let none = UserHistory::default();
        let mut recomputed: Vec<(Day, Option<UserDay>)> = Vec::new();
        for days in self.user_days().chunk_by(|a, b| a.0 == b.0) {
            recomputed.clear();
            recomputed.extend(days.iter().map(|(_, partition, day)| (*partition, *day)));
            let user = days[0].0;
            let before = stored.get(&(service, user)).unwrap_or(&none);
            let history = before.with(&recomputed);
            if history != *before {
                class_moves(before, &history, |day, delta| moves.push((day, delta)));
                merged.histories.push((user, history));
            }
        }
        moves.sort_unstable_by_key(|(day, _)| *day);
        for moves in moves.chunk_by(|a, b| a.0 == b.0) {
            let mut sum = [0; USER_CLASSES];
            for (_, delta) in moves {
                (0..USER_CLASSES).for_each(|class| sum[class] += delta[class]);
            }
            if sum != [0; USER_CLASSES] {
                merged.moves.push((moves[0].0, sum));
            }
        }
        merged
    }

    /// The first local day that the partitions reach into. Whatever changes lies there or later.
    #[must_use]
    pub fn first_day(&self) -> Day {
        self.local_days().min().expect("a change has parts, and each reaches into a day")
    }

    /// The `service.updated` events that count, by partition; none where the partition has none of this service.
    pub fn patches(&self) -> impl Iterator<Item = (Day, &Vec<PatchEvent>)> {
        let service = self.service();
        let partitions = self.parts.iter().map(|part| &self.changes.partitions[part.partition]);
        partitions.filter_map(move |(day, facts)| Some((*day, facts.patches.get(&service)?)))
    }

    /// The local days that the partitions reach into.
    fn local_days(&self) -> impl Iterator<Item = Day> {
        self.parts.iter().flat_map(|part| &self.changes.local_days[part.partition]).copied()
    }

    /// The spans that may change, in order: those that the partitions reach into, and those in which users change class.
    fn spans(&self, users: &MergedUsers) -> Vec<Day> {
        let days = self.local_days().chain(users.moves.iter().map(|(day, _)| *day));
        let mut spans: Vec<Day> = days.map(Day::span).collect();
        spans.sort_unstable();
        spans.dedup();
        spans
    }

    /// Merges day facts and class moves into the spans, of which `spans` has all that have facts, from `start` on: that is the
    /// start for [`Self::first_day`], or for an earlier day ([`ServiceTotals::start`]).
    #[must_use]
    pub fn merge_spans(
        &self,
        users: &MergedUsers,
        before: ServiceTotals,
        start: &SpanStart,
        spans: BTreeMap<Day, SpanFacts>,
    ) -> MergedService {
        let service = self.service();
        let recomputed: Vec<Day> = self.partitions().collect();
        let of_part = |part: &Part| &self.changes.partitions[part.partition].1.services[part.days.clone()];
        let mut days: Vec<&ServiceDay> = self.parts.iter().flat_map(of_part).map(|(_, day)| day).collect();
        days.sort_by_key(|day| (day.day, day.partition));
        let mut merged = MergedService {
            service,
            spans,
            changed: Vec::new(),
            totals: before,
            dirty: None,
            uncounted: BTreeMap::new(),
        };
        for span in self.spans(users) {
            let within = span..span.next_span();
            let facts = merged.spans.entry(span).or_default();
            let change_before = facts.change();
            let new = days.iter().filter(|day| within.contains(&day.day)).copied();
            let change = facts.replace(&recomputed, new, |sign, day| add_uncounted(&mut merged.uncounted, sign, day));
            let moves = users.moves.iter().filter(|(day, _)| within.contains(day));
            let days_of_moves =
                moves.clone().next().zip(moves.clone().next_back()).map(|(first, last)| (first.0, last.0));
            moves.for_each(|(day, delta)| facts.add_move(*day, *delta));
            merged.dirty = [merged.dirty, change.days, days_of_moves].into_iter().flatten().reduce(both);
            if change.changed || days_of_moves.is_some() {
                merged.totals.held = merged.totals.held.minus(&change_before).plus(&facts.change());
                merged.changed.push(span);
            }
        }
        let untouched = before.first_day.filter(|day| day.span() < self.first_day().span());
        merged.totals.first_day = untouched.or_else(|| merged.spans.values().find_map(SpanFacts::first_day));
        merged.totals.newest = start.newest(&merged.spans, before.newest);
        if merged.totals.held != before.held {
            // What is held is carried forward.
            merged.dirty = merged.dirty.map(|(first, _)| (first, Day(i32::MAX)));
        }
        merged.uncounted.retain(|_, lines| *lines != [0; 3]);
        merged
    }
}

/// The days from the first of two ranges' through the last.
fn both(a: (Day, Day), b: (Day, Day)) -> (Day, Day) {
    (a.0.min(b.0), a.1.max(b.1))
}

fn add_uncounted(sums: &mut BTreeMap<i64, [i64; 3]>, sign: i64, day: &ServiceDay) {
    for (input, Uncounted { duplicate, voided, conflicting }) in &day.uncounted {
        let sum = sums.entry(*input).or_default();
        for (sum, lines) in sum.iter_mut().zip([duplicate, voided, conflicting]) {
            *sum += sign * lines.cast_signed();
        }
    }
}
