//! A service's facts of some days: the unit in which facts are kept, so that a change reads and writes little.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::facts::{DayFacts, ServiceDay};
use crate::model::{Day, Gauges, USER_CLASSES};

/// The facts of a service whose days fall into one span of the reporting zone's calendar ([`Day::span`]). Sparse: days
/// without activity are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanFacts {
    /// Sorted by day and partition.
    days: Vec<ServiceDay>,
    /// How many users entered each class less how many left it, by day, sorted.
    moves: Vec<(Day, [i64; USER_CLASSES])>,
}

/// What replacing days has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SpanChange {
    /// Whether the span must be stored anew.
    pub changed: bool,
    /// The first and the last day whose facts changed.
    pub days: Option<(Day, Day)>,
}

impl SpanFacts {
    /// Facts that nothing was merged into.
    #[must_use]
    pub fn of(mut days: Vec<ServiceDay>, moves: Vec<(Day, [i64; USER_CLASSES])>) -> Self {
        days.sort_unstable_by_key(|day| (day.day, day.partition));
        Self { days, moves }
    }

    /// Puts `new`, sorted by day and partition, in the place of all days that came from these partitions (sorted) before.
    /// Hands the days that are gone, and those that have come, to `ledger`.
    pub fn replace<'a>(
        &mut self,
        recomputed: &[Day],
        new: impl Iterator<Item = &'a ServiceDay>,
        mut ledger: impl FnMut(i64, &ServiceDay),
    ) -> SpanChange {
        let is_old = |day: &ServiceDay| recomputed.binary_search(&day.partition).is_ok();
        let old: Vec<ServiceDay> = self.days.extract_if(.., |day| is_old(day)).collect();
        let new: Vec<ServiceDay> = new.filter(|day| !day.is_empty()).cloned().collect();
        let change = SpanChange { changed: old != new, days: differing_days(&old, &new) };
        for (sign, days) in [(-1, &old), (1, &new)] {
            for day in days {
                ledger(sign, day);
            }
        }
        self.days.extend(new);
        // They are in order but for the new ones, and a stable sort would ask for memory.
        self.days.sort_unstable_by_key(|day| (day.day, day.partition));
        change
    }

    /// Adds to the numbers of users that enter and leave classes on a day.
    pub fn add_move(&mut self, day: Day, delta: [i64; USER_CLASSES]) {
        match self.moves.binary_search_by_key(&day, |(day, _)| *day) {
            Err(at) => self.moves.insert(at, (day, delta)),
            Ok(at) => {
                let sum = &mut self.moves[at].1;
                (0..USER_CLASSES).for_each(|class| sum[class] += delta[class]);
                if *sum == [0; USER_CLASSES] {
                    self.moves.remove(at);
                }
            }
        }
    }

    /// Whether all its days are days that events may be of.
    #[must_use]
    pub fn is_of_events(&self) -> bool {
        let mut days = self.days.iter().map(|day| day.day).chain(self.moves.iter().map(|(day, _)| *day));
        days.all(|day| Day::OF_EVENTS.contains(&day))
    }

    /// These facts by span, also where they are of several.
    #[must_use]
    pub fn by_span(self) -> BTreeMap<Day, Self> {
        let mut spans: BTreeMap<Day, Self> = BTreeMap::new();
        for day in self.days {
            spans.entry(day.day.span()).or_default().days.push(day);
        }
        for (day, moves) in self.moves {
            spans.entry(day.span()).or_default().moves.push((day, moves));
        }
        spans
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.days.is_empty() && self.moves.is_empty()
    }

    /// The first day with an event that counts towards rows.
    #[must_use]
    pub fn first_day(&self) -> Option<Day> {
        self.days.iter().find(|day| day.facts.events > 0).map(|day| day.day)
    }

    /// What the days' events add up to, sorted by day and partition.
    #[must_use]
    pub fn days(&self) -> &[ServiceDay] {
        &self.days
    }

    /// How many users entered each class less how many left it, by day, sorted.
    #[must_use]
    pub fn moves(&self) -> &[(Day, [i64; USER_CLASSES])] {
        &self.moves
    }

    /// How the whole span changes the gauges.
    #[must_use]
    pub fn change(&self) -> Gauges {
        let storage = self.days.iter().map(|day| day.facts.storage).sum();
        let users = self.moves.iter().map(|(_, users)| Gauges { users: *users, storage: 0 });
        users.fold(Gauges { users: [0; USER_CLASSES], storage }, |sum, more| sum.plus(&more))
    }
}

/// A span, and what the days of its month that lie before it add up to: so a month's row can be drawn without reading all of
/// the month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanStart {
    pub span: Day,
    pub month: DayFacts,
}

impl SpanStart {
    /// A month's first span.
    #[must_use]
    pub fn of_month(month: Day) -> Self {
        Self { span: month, month: DayFacts::default() }
    }

    /// The newest span that has days, where `spans` holds all from this one on. Where none of these has any, it is the one that
    /// was known before, unless that was one of these.
    #[must_use]
    pub fn newest(&self, spans: &BTreeMap<Day, SpanFacts>, before: Option<Self>) -> Option<Self> {
        let Some((&newest, _)) = spans.iter().rev().find(|(_, facts)| !facts.days().is_empty()) else {
            return before.filter(|before| before.span < self.span);
        };
        let first = newest.month().max(self.span);
        let mut month = if first == self.span { self.month } else { DayFacts::default() };
        for day in spans.range(first..newest).flat_map(|(_, facts)| facts.days()) {
            month += &day.facts;
        }
        Some(Self { span: newest, month })
    }
}

/// The first and the last day on which the facts differ; both are sorted by day and partition.
fn differing_days(old: &[ServiceDay], new: &[ServiceDay]) -> Option<(Day, Day)> {
    let counts = |day: &&ServiceDay| day.facts != DayFacts::default();
    let (mut old, mut new) = (old.iter().filter(counts).peekable(), new.iter().filter(counts).peekable());
    let mut days: Option<(Day, Day)> = None;
    loop {
        let key = |day: &ServiceDay| (day.day, day.partition);
        let next = match (old.peek(), new.peek()) {
            (Some(a), Some(b)) => key(a).min(key(b)),
            (a, b) => match a.or(b) {
                Some(day) => key(day),
                None => return days,
            },
        };
        let of_old = old.next_if(|day| key(day) == next).map(|day| &day.facts);
        let of_new = new.next_if(|day| key(day) == next).map(|day| &day.facts);
        if of_old != of_new {
            days = Some((days.map_or(next.0, |(first, _)| first), next.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    /// Spans with a day each, on which so many events count.
    fn spans(days: &[(&str, u64)]) -> BTreeMap<Day, SpanFacts> {
        let service_day = |(text, events): &(&str, u64)| {
            let facts = DayFacts { events: *events, ..DayFacts::default() };
            ServiceDay { day: day(text), partition: day(text), facts, uncounted: Vec::new() }
        };
        SpanFacts::of(days.iter().map(service_day).collect(), Vec::new()).by_span()
    }

    fn start(span: &str, events: u64) -> SpanStart {
        SpanStart { span: day(span), month: DayFacts { events, ..DayFacts::default() } }
    }

    #[test]
    fn the_newest_span_goes_on_from_the_one_that_facts_are_known_from() {
        let from = start("2026-03-09", 7);
        let newest = |days: &[(&str, u64)], before| from.newest(&spans(days), before);
        assert_eq!(newest(&[("2026-03-10", 1)], None), Some(from));
        assert_eq!(newest(&[("2026-03-10", 1), ("2026-03-31", 2)], Some(from)), Some(start("2026-03-25", 8)));
        let in_april = [("2026-03-10", 1), ("2026-04-01", 2), ("2026-04-09", 3)];
        assert_eq!(newest(&in_april, Some(from)), Some(start("2026-04-09", 2)));
    }

    #[test]
    fn a_newest_span_that_lost_its_days_is_not_known_any_more_and_one_that_was_not_read_is() {
        let (from, before) = (start("2026-03-09", 7), start("2026-02-25", 9));
        assert_eq!(from.newest(&BTreeMap::new(), Some(from)), None);
        assert_eq!(from.newest(&BTreeMap::new(), Some(start("2026-03-17", 9))), None);
        assert_eq!(from.newest(&BTreeMap::new(), Some(before)), Some(before));
    }
}
